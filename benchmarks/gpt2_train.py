"""Milliseconds of a GPT-2 training step: ours, and transformers' GPT2LMHeadModel in PyTorch, in one run.

    python benchmarks/gpt2_train.py --size=shakespeare_char_cpu --peer_python=/path/to/python   # one with torch

Forward, backward, clipping and AdamW at equal work. Every variant is a process of its own, alone on the machine; they
take turns, `--rounds` times, and medians are shown. 'in N' is the batch in N microbatches whose gradients are summed,
which keeps a microbatch in a CPU's cache; bfloat16 is measured so too, on both sides. Both have memory in huge pages,
where Linux gives them. On a GPU ours computes with cudnn attention where there is no dropout, and the MFU is printed.
"""

import argparse
import json
import os
import pathlib
import statistics
import sys
import time

import limits
import record
from side import Side

HERE = pathlib.Path(__file__).parent
SIZES = {
  'shakespeare_char_cpu': dict(num_layers=4, num_heads=4, embed_dim=128, length=64, batch=12, dropout=0.0, steps=50),
  'shakespeare_char': dict(num_layers=6, num_heads=6, embed_dim=384, length=256, batch=64, dropout=0.2, steps=1),
  'gpt2_124m': dict(num_layers=12, num_heads=12, embed_dim=768, length=1024, batch=4, dropout=0.0, steps=1),
}
MICROBATCHES = {'shakespeare_char_cpu': 2, 'shakespeare_char': 16, 'gpt2_124m': 4}
VOCAB = {'shakespeare_char_cpu': 65, 'shakespeare_char': 65, 'gpt2_124m': 50304}
DTYPES = ('float32', 'bfloat16')
HUGE_PAGES = 'glibc.malloc.hugetlb=1'


def make_step(size: dict, dtype: str, accumulation: int):
  """Our side: the trainer's own step as a function of (state, batch), a state and a batch."""
  from mlsd_jax.training import devices

  devices.configure_backend(bfloat16=dtype == 'bfloat16')
  import jax
  import numpy as np

  from mlsd_jax.language_model.task import gpt_task
  from mlsd_jax.models import gpt
  from mlsd_jax.training import sharding, step
  from mlsd_jax.training.optimizers import OptimizerConfig, make_optimizer
  from mlsd_jax.training.step import DTYPES as KNOWN

  fused = jax.default_backend() == 'gpu' and not size['dropout'] and dtype == 'bfloat16'
  config = gpt.GPTConfig(
    vocab_size=size['vocab_size'],
    context_length=size['length'],
    num_layers=size['num_layers'],
    num_heads=size['num_heads'],
    embed_dim=size['embed_dim'],
    dropout=size['dropout'],
    attention='cudnn' if fused else 'xla',
  )
  task = gpt_task(config, batch_size=size['batch'], length=size['length'])
  optimizer = make_optimizer(OptimizerConfig(learning_rate=1e-4, schedule='constant'), 1000)
  mesh = sharding.make_mesh({'data': -1})
  state = step.init_state(task, optimizer, jax.random.key(0), rng='rbg')
  state = jax.device_put(state, sharding.replicated(mesh))
  train_step = step.make_train_step(task, optimizer, mesh, accumulation=accumulation, dtype=KNOWN[dtype])
  shape = (size['steps'], size['batch'], size['length'] + 1)
  tokens = np.random.default_rng(0).integers(0, size['vocab_size'], shape).astype(np.int32)
  batch = sharding.place_batch({'tokens': tokens}, mesh, leading=1)
  return train_step, state, batch


def serve(size: dict, dtype: str, accumulation: int) -> None:
  """Our side, one timed run a line."""
  train_step, state, batch = make_step(size, dtype, accumulation)
  import jax

  for _ in range(2):
    state, metrics = train_step(state, batch)
  jax.block_until_ready(metrics)
  print('ready', flush=True)
  for _ in sys.stdin:
    began = time.perf_counter()
    state, metrics = train_step(state, batch)
    jax.block_until_ready((state, metrics))
    print((time.perf_counter() - began) / size['steps'], flush=True)


def variants(name: str, size: dict, peer_python: str | None) -> dict[str, list]:
  """The command of each variant by its name."""
  pieces = MICROBATCHES[name]
  ours = [sys.executable, __file__, f'--size={name}', '--serve']
  commands = {f'ours {dtype}': [*ours, dtype, 1] for dtype in DTYPES}
  commands[f'ours bfloat16 in {pieces}'] = [*ours, 'bfloat16', pieces]
  if peer_python:
    peer = [peer_python, HERE / 'torch_train.py', json.dumps(size)]
    for mode in ('eager', 'compile'):
      commands |= {f'torch {mode} {dtype}': [*peer, mode, dtype, 1] for dtype in DTYPES}
    commands[f'torch compile bfloat16 in {pieces}'] = [*peer, 'compile', 'bfloat16', pieces]
  return commands


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--size', default='shakespeare_char_cpu', choices=SIZES)
  parser.add_argument('--rounds', type=int, default=2)
  parser.add_argument('--runs', type=int, default=3, help='timed runs of a variant in each round')
  parser.add_argument('--only', default='', help="variants with this in their name, such as 'bfloat16 in'")
  parser.add_argument('--peer_python', default=os.environ.get('MLSD_PEER_PYTHON'))
  parser.add_argument('--serve', nargs=2, metavar=('DTYPE', 'ACCUMULATION'), help='internal: be one of our variants')
  options = parser.parse_args()
  size = SIZES[options.size] | {'vocab_size': VOCAB[options.size]}
  if options.serve:
    return serve(size, options.serve[0], int(options.serve[1]))

  if not options.peer_python:
    print('no peer: give --peer_python or MLSD_PEER_PYTHON, an interpreter with torch and transformers')
  # As experiments.gpt2 starts, and for the peer too: memory in huge pages, where Linux gives them.
  os.environ.setdefault('GLIBC_TUNABLES', HUGE_PAGES)
  commands = variants(options.size, size, options.peer_python)
  commands = {name: command for name, command in commands.items() if options.only in name}
  seconds: dict[str, list[float]] = {name: [] for name in commands}
  for _ in range(options.rounds):
    for name, command in commands.items():
      side = Side(command)
      side.ready()
      seconds[name] += [side.run() for _ in range(options.runs)]
      side.close()
  report(options.size, size, seconds)
  return None


def report(name: str, size: dict, taken: dict[str, list[float]]) -> None:
  import jax

  from mlsd_jax.models import gpt
  from mlsd_jax.training import devices

  shape = {key: size[key] for key in ('vocab_size', 'num_layers', 'num_heads', 'embed_dim')}
  config = gpt.GPTConfig(context_length=size['length'], **shape)
  tokens = size['batch'] * size['length']
  flops = gpt.flops_per_token(config, size['length']) * tokens
  medians = {side: statistics.median(seconds) for side, seconds in taken.items()}
  print(f'{name}: {tokens:,} tokens and {flops / 1e9:,.1f} GFLOP a step')
  peak = devices.peak_flops(jax.devices()[0])
  for side, seconds in medians.items():
    speed = flops / seconds
    mfu = f'  {speed / peak:6.1%} MFU' if peak else ''
    print(f'  {side:<27} {1e3 * seconds:9.1f} ms  {tokens / seconds:10,.0f} tokens/s  {speed / 1e9:8,.0f} GFLOP/s{mfu}')
  best = {who: min((n for n in medians if n.startswith(who)), key=medians.get, default='') for who in ('ours', 'torch')}
  if best['ours'] and best['torch']:
    ratio = medians[best['torch']] / medians[best['ours']]
    print(f'  best of torch / best of ours  {ratio:.2f} (above 1: ours is faster)')
    floor = 1e3 * flops / (peak or limits.measured()['bfloat16' if 'bfloat16' in best['ours'] else 'float32'])
    ours, peer = ([1e3 * seconds for seconds in taken[best[who]]] for who in ('ours', 'torch'))
    record.pair(f'training step, {name}', ours, peer, against=best['torch'], unit='ms', limit=floor)


if __name__ == '__main__':
  main()
