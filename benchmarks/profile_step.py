"""Where the time of a GPT-2 training step goes on a CPU, by operation: the trainer's own step under jax.profiler.

    python benchmarks/profile_step.py                                   # 124M, bfloat16 in 4
    python benchmarks/profile_step.py --size=shakespeare_char --microbatches=16
    python benchmarks/profile_step.py --size=gpt2_124m --layers=2       # the same width in less time
    python benchmarks/profile_step.py --trace=FOLDER                    # and keeps the trace, for Perfetto or XProf

Classes come from the functions of our source that an operation was traced in. Milliseconds add up to the step's own:
where operations run side by side, an instant is shared among them (timeline.py). Each shape of product stands beside
the same product called alone, with sides that lie in memory as they do in the step. Memory is in huge pages, as
experiments that train have it; GLIBC_TUNABLES=glibc.malloc.hugetlb=0 shows the step without.
"""

import argparse
import collections
import dataclasses
import mmap
import os
import pathlib
import resource
import statistics
import sys
import tempfile
import time

import gpt2_train
import timeline
from step_classes import HOLDERS, PRODUCTS, Product, find_product, name_class

SHOWN = 12  # operations that are no products
SMALL = 0.01  # of the step: products below are shown as one


@dataclasses.dataclass(frozen=True)
class Step:
  """One traced step.

  Attributes:
    text: the compiled program.
    seconds: of the step while it was traced.
    untraced: of those before it.
    processor_seconds: used by all threads of the process.
    faults: pages of memory touched for the first time.
    spans: its operations.
  """

  text: str
  seconds: float
  untraced: float
  processor_seconds: float
  faults: int
  spans: list[timeline.Span]


def trace_step(size: dict, dtype: str, microbatches: int, folder: str) -> Step:
  """Compiles the step, runs it until it is warm, and once under the profiler."""
  train_step, state, batch = gpt2_train.make_step(size, dtype, microbatches)
  import jax

  compiled = train_step.lower(state, batch).compile()
  seconds = []
  for _ in range(3):
    began = time.perf_counter()
    state, metrics = compiled(state, batch)
    jax.block_until_ready((state, metrics))
    seconds.append(time.perf_counter() - began)
  options = jax.profiler.ProfileOptions()
  options.python_tracer_level = 0
  jax.profiler.start_trace(folder, profiler_options=options)
  before, began, used = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter(), time.process_time()
  state, metrics = compiled(state, batch)
  jax.block_until_ready((state, metrics))
  taken, used = time.perf_counter() - began, time.process_time() - used
  faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before.ru_minflt
  jax.profiler.stop_trace()
  untraced = statistics.median(seconds[1:])
  return Step(compiled.as_text(), taken, untraced, used, faults, timeline.read_spans(folder))


def time_product(product: Product) -> float:
  """Seconds of the product alone, its sides in memory as they lie in the step; the best of several."""
  import jax
  import jax.numpy as jnp
  import limits

  dtypes = {'bf16': jnp.bfloat16, 'f32': jnp.float32, 'f16': jnp.float16}
  batch = (product.batch,) if product.batch > 1 else ()
  left = (product.inner, product.rows) if product.left_transposed else (product.rows, product.inner)
  right = (product.columns, product.inner) if product.right_transposed else (product.inner, product.columns)
  at = len(batch)
  contracted = ((at + (not product.left_transposed),), (at + product.right_transposed,))
  batched = ((0,), (0,)) if batch else ((), ())
  a, b = jnp.ones(batch + left, dtypes[product.dtype]), jnp.ones(batch + right, dtypes[product.dtype])
  call = jax.jit(lambda a, b: jax.lax.dot_general(a, b, (contracted, batched)))
  return limits.best_seconds(lambda: call(a, b), 5)


def fault_seconds(megabytes: int = 256) -> float:
  """Seconds to touch a page of memory for the first time."""
  pages = megabytes * 2**20 // mmap.PAGESIZE
  with mmap.mmap(-1, megabytes * 2**20) as memory:
    began = time.perf_counter()
    for page in range(pages):
      memory[page * mmap.PAGESIZE] = 1
    first = time.perf_counter() - began
    began = time.perf_counter()
    for page in range(pages):
      memory[page * mmap.PAGESIZE] = 1
    return max(first - (time.perf_counter() - began), 0.0) / pages


def report(step: Step, cores: int) -> None:
  """Prints the table."""
  from mlsd_jax.compilation.hlo import Module

  module = Module(step.text)
  runs = {run.instruction.name: run for run in module.runs()}
  holders = [name for name, run in runs.items() if run.instruction.opcode in HOLDERS]
  shares = timeline.share_out(step.spans, skip=holders)
  times = timeline.times_run(step.spans)
  products: dict[Product, list[float]] = collections.defaultdict(lambda: [0.0, 0.0])
  classes: dict[str, float] = collections.defaultdict(float)
  others: dict[str, tuple[float, str]] = {}
  for name, seconds in shares.items():
    if name == timeline.NOTHING:
      classes['no operation runs'] += seconds
      continue
    run = runs.get(name)
    product = find_product(module, run) if run else None
    if product:
      classes[PRODUCTS] += seconds
      products[product][0] += seconds
      products[product][1] += times[name]
    else:
      kind = name_class(module, run) if run else 'others'
      classes[kind] += seconds
      others[name] = (seconds, kind)
  classes['before the first and behind the last'] = max(step.seconds - sum(shares.values()), 0.0)

  print(f'a step {1e3 * step.seconds:,.0f} ms, {1e3 * step.untraced:,.0f} without the profiler\n')
  print(f'  {"":<42} {"ms":>8}  {"share":>6}')
  for kind, seconds in sorted(classes.items(), key=lambda each: -each[1]):
    print(f'  {kind:<42} {1e3 * seconds:8.0f}  {seconds / step.seconds:6.1%}')
  print(f'  {"sum":<42} {1e3 * sum(classes.values()):8.0f}')

  print(f'\n  {"products":<42} {"ms":>8}  {"number":>6}  {"GFLOP/s":>8}  {"alone":>8}')
  floor = 0.0
  rest = {'seconds': 0.0, 'number': 0.0, 'flops': 0.0, 'alone': 0.0}
  for product, (seconds, number) in sorted(products.items(), key=lambda each: -each[1][0]):
    alone = time_product(product) * number
    floor += alone
    if seconds < SMALL * step.seconds:
      part = {'seconds': seconds, 'number': number, 'flops': product.flops * number, 'alone': alone}
      rest = {name: value + part[name] for name, value in rest.items()}
    else:
      print(_product_line(str(product), seconds, number, product.flops * number, alone))
  if rest['number']:
    print(_product_line('smaller ones', **rest))
  print(f'  all at the speed that they have alone: {1e3 * floor:,.0f} ms, {floor / step.seconds:.0%} of the step')

  print('\n  the longest of the others')
  for name, (seconds, kind) in sorted(others.items(), key=lambda each: -each[1][0])[:SHOWN]:
    shapes = ', '.join(f'{s.dtype}{list(s.dims)}' for s in runs[name].instruction.shapes) if name in runs else ''
    print(f'  {1e3 * seconds:8.0f}  {times[name]:4.0f} x {kind}: {name}, {shapes[:60]}')

  a_page = fault_seconds()
  touched = f'{step.faults:,} pages touched first, {1e3 * step.faults * a_page:,.0f} ms at {1e6 * a_page:.2f} us'
  print(f'\n  within these: {touched}')
  print(
    f'  processors: {step.processor_seconds:.2f} s used of {cores} x {step.seconds:.2f} s; '
    f'{1 - step.processor_seconds / (cores * step.seconds):.0%} of them waited'
  )


def _product_line(name: str, seconds: float, number: float, flops: float, alone: float) -> str:
  speeds = f'{flops / seconds / 1e9:8,.0f}  {flops / alone / 1e9:8,.0f}'
  return f'  {name:<42} {1e3 * seconds:8.0f}  {number:6.0f}  {speeds}'


def main() -> None:
  if 'GLIBC_TUNABLES' not in os.environ:  # read when a process starts; experiments that train do the same
    os.execve(sys.executable, sys.orig_argv, os.environ | {'GLIBC_TUNABLES': gpt2_train.HUGE_PAGES})
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--size', default='gpt2_124m', choices=gpt2_train.SIZES)
  parser.add_argument('--dtype', default='bfloat16', choices=gpt2_train.DTYPES)
  parser.add_argument('--microbatches', type=int, help='default: as benchmarks/gpt2_train.py has it')
  parser.add_argument('--layers', type=int, help='fewer than the size has')
  parser.add_argument('--trace', type=pathlib.Path, help='a folder to keep the trace in')
  options = parser.parse_args()
  size = gpt2_train.SIZES[options.size] | {'vocab_size': gpt2_train.VOCAB[options.size]}
  size |= {'num_layers': options.layers or size['num_layers']}
  microbatches = options.microbatches or gpt2_train.MICROBATCHES[options.size]
  cores = len(os.sched_getaffinity(0))
  print(f'{options.size}, {size["num_layers"]} layers, {options.dtype} in {microbatches}, {cores} cores')
  with tempfile.TemporaryDirectory() as folder:
    report(trace_step(size, options.dtype, microbatches, str(options.trace or folder)), cores)


if __name__ == '__main__':
  main()
