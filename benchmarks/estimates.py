"""Estimate beside measurement for every system: quantity, formula, naive, calibrated, measured, error.

    uv run python benchmarks/estimates.py                          # all of it, ten minutes of one core
    uv run python benchmarks/estimates.py --only training decoding

Calibrated at small sizes, judged at large ones that the calibration has not seen: steps of 1 and 2 layers -> 4 and 12,
products -> a whole model, 100,000 vectors -> 1,000,000, 1,000 users -> 13,719, 10 MB of novels -> 75 MB, 20 and 40
cases -> 200. One core, and processor time, so that other work on the machine counts less. 'naive' is the formula with
this machine's peak and bandwidth (one product of 1024 x 1024, reading 256 MB once), or with the estimator's constants.
"""

import argparse
import dataclasses
import math
import os
import pathlib
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

CORES = os.sched_getaffinity(0)
# One core for this thread and those that it starts, before anything starts threads.
os.sched_setaffinity(0, {max(CORES)})
os.environ['NPROC'] = '1'

import numpy as np

from mlsd_jax.estimates import here, retrieval, training, transformer
from mlsd_jax.estimates.hardware import Device, Hardware
from mlsd_jax.estimates.units import show
from mlsd_jax.training import devices

NAN = math.nan
clock = time.process_time


@dataclasses.dataclass(frozen=True)
class Row:
  """A quantity by formula with peaks (naive), by formula with small measurements (calibrated), and measured."""

  quantity: str
  formula: str
  unit: str
  naive: float
  calibrated: float
  measured: float


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--only', nargs='*', default=list(PARTS), choices=PARTS)
  parser.add_argument('--count', type=int, default=1_000_000, help='vectors of the large index')
  options = parser.parse_args()
  devices.configure_backend(bfloat16=True)
  print(f'{_processor()}, one core, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}', flush=True)
  print(
    f'| {"quantity":<58} | {"naive":>9} | {"calibrated":>10} | {"measured":>9} | naive off | calibrated off | formula |'
  )
  print('| --- | ---: | ---: | ---: | ---: | ---: | --- |')
  rows = []
  for name in options.only:
    for row in PARTS[name](options):
      rows.append(row)
      off = [_off(value, row.measured) for value in (row.naive, row.calibrated)]
      shown = [show(value, row.unit) if value == value else '' for value in (row.naive, row.calibrated, row.measured)]
      cells = (
        f'{row.quantity:<58}',
        f'{shown[0]:>9}',
        f'{shown[1]:>10}',
        f'{shown[2]:>9}',
        f'{off[0]:>9}',
        f'{off[1]:>14}',
      )
      print(f'| {" | ".join(cells)} | {row.formula} |', flush=True)
  errors = [abs(row.calibrated / row.measured - 1) for row in rows]
  print(f'calibrated within 15% on {sum(e <= 0.15 for e in errors)} of {len(errors)} rows; largest {max(errors):.0%}')


def _off(value: float, measured: float) -> str:
  if value != value:
    return ''
  return f'{value / measured - 1:+.0%}'


def _processor() -> str:
  names = [
    line.partition(':')[2].strip()
    for line in pathlib.Path('/proc/cpuinfo').read_text().splitlines()
    if 'model name' in line
  ]
  return names[0] if names else platform.machine()


def machine() -> Device:
  """This core, measured anew: what a minute ago held does not hold now."""
  return here.measure(clock)


# Training, decoding, the encoder


def of_training(options: argparse.Namespace) -> Iterator[Row]:
  """A step of 4 narrow layers, and of 12 wide ones, from 1 and 2 layers."""
  from mlsd_jax.estimates import calibration

  for name, section, vocabulary, batch, steps in (
    ('shakespeare_char_cpu', dict(num_layers=4, num_heads=4, embed_dim=128, context_length=64), 65, 12, 10),
    ('124M, 1 x 512 tokens', dict(num_layers=12, num_heads=12, embed_dim=768, context_length=512), 50_304, 1, 1),
  ):
    core, sizes = machine(), transformer.of_gpt(section, vocabulary)
    layers = section['num_layers']
    settings = dict(batch_size=batch, dtype='bfloat16', steps=steps, rounds=5, clock=clock)
    one, two, real = calibration.training_by_layers(section, vocabulary, beside=layers, **settings)
    seconds, temporary = (calibration.Layers(one[n], two[n]) for n in (0, 1))
    plan = training.Plan(sizes, section['context_length'], batch, 1, dtype='bfloat16')
    mesh = {'data': 1, 'fsdp': 1, 'tensor': 1}
    naive = max(training.seconds(plan, Hardware(core, 1), mesh).values())
    yield Row(f'training step, {name}', f't1 + {layers - 1} (t2 - t1)', 'seconds', naive, seconds.at(layers), real[0])
    held = training.memory(plan, mesh)
    naive = sum(held[name] for name in ('gradients', 'gathered weights', 'activations', 'logits'))
    yield Row(
      f'its memory beside the state, {name}',
      f'm1 + {layers - 1} (m2 - m1)',
      'bytes',
      naive,
      temporary.at(layers),
      real[1],
    )


def of_decoding(options: argparse.Namespace) -> Iterator[Row]:
  """A step of the 124M over a cache of 64 tokens."""
  from mlsd_jax.estimates import calibration, decoding
  from mlsd_jax.models import gpt

  config = gpt.GPTConfig()
  sizes = transformer.of_gpt(dict(num_layers=12, num_heads=12, embed_dim=768, context_length=1024), 50_257)
  for dtype in ('float32', 'bfloat16'):
    for rows in (1, 8):
      naive = decoding.step_seconds(sizes, Hardware(machine(), 1), dtype, rows, 64)
      by_products = calibration.decoding_by_products(config, rows, 64, dtype, clock=clock)
      real = calibration.decode_step(config, rows, 64, dtype, clock=clock)
      yield Row(
        f'decoding step, 124M, {rows} rows, {dtype}',
        'products at their rows + attention',
        'seconds',
        naive,
        by_products,
        real,
      )


def of_encoder(options: argparse.Namespace) -> Iterator[Row]:
  """A batch of 16 chunks of 128 tokens, and a query of 12 tokens, through MiniLM, from 1 and 2 layers."""
  import jax
  import jax.numpy as jnp

  from mlsd_jax.estimates import calibration
  from mlsd_jax.models import bert

  def seconds(layers: int, texts: int, length: int) -> float:
    config = dataclasses.replace(bert.BertConfig(**bert.SIZES['minilm-l6']), num_layers=layers)
    params = jax.jit(lambda key: bert.init(key, config))(jax.random.key(0))
    tokens, mask = jnp.ones((texts, length), jnp.int32), jnp.ones((texts, length), bool)
    embed = jax.jit(lambda params: bert.embed(params, tokens, mask, config, 'mean'))
    return calibration.median_seconds(lambda: embed(params).block_until_ready(), 7, clock)

  sizes = transformer.of_bert(dataclasses.asdict(bert.BertConfig(**bert.SIZES['minilm-l6'])))
  for name, texts, length in (('16 chunks of 128 tokens', 16, 128), ('a query of 12 tokens', 1, 12)):
    core = machine()
    compute = texts * length * sizes.forward_flops(length) / core.peak['float32']
    naive = max(compute, 4.0 * sizes.matrix_weights / core.bandwidth)
    predicted = calibration.Layers(seconds(1, texts, length), seconds(2, texts, length)).at(6)
    yield Row(f'encoding {name}, MiniLM', 't1 + 5 (t2 - t1)', 'seconds', naive, predicted, seconds(6, texts, length))


# Retrieval


def of_index(options: argparse.Namespace) -> Iterator[Row]:
  """Recall, seconds a query and bytes of an index of 1,000,000 vectors, from one of 100,000."""
  import ann

  from mlsd_jax.ann import Index, IndexConfig, tuning

  dim = 384
  with tempfile.TemporaryDirectory(dir=pathlib.Path.cwd()) as name:
    folder = pathlib.Path(name)
    ann.write_vectors(folder / 'queries.npy', 'clustered', 300, dim, seed=2)
    queries = np.load(folder / 'queries.npy')

    def build(count: int) -> tuple[Index, float]:
      ann.write_vectors(folder / f'{count}.npy', 'clustered', count, dim, seed=1)
      vectors = np.load(folder / f'{count}.npy', mmap_mode='r')
      os.sched_setaffinity(0, CORES)  # a build is not what is timed
      parts = (np.array(vectors[at : at + 50_000]) for at in range(0, count, 50_000))
      index = Index.build(parts, settings=IndexConfig(), folder=folder / f'index{count}')
      os.sched_setaffinity(0, {max(CORES)})
      files = sum(path.stat().st_size for path in (folder / f'index{count}').rglob('*') if path.is_file())
      return index, files

    def recall(index: Index, truth: np.ndarray, leaves: int) -> float:
      return tuning.recall(index.search(queries, 10, leaves_to_search=leaves, parallel=False).rows, truth)

    def seconds(index: Index, leaves: int) -> float:
      for query in queries[:50]:
        index.search(query[None], 10, leaves_to_search=leaves, parallel=False)
      began = clock()
      for query in queries:
        index.search(query[None], 10, leaves_to_search=leaves, parallel=False)
      return (clock() - began) / len(queries)

    small, small_files = build(100_000)
    truth = small.search(queries, 10, exact=True).rows
    looked_at = np.array([2, 5, 10, 20, 40])
    found = np.array([recall(small, truth, leaves) for leaves in looked_at])
    power, scale = np.polyfit(np.log(looked_at), np.log(-np.log(1 - found)), 1)
    few, many = 20, 160
    timed = [seconds(small, leaves) for leaves in (few, many)]
    scan = lambda count, leaves: retrieval.scanned(count, math.isqrt(int(count)), leaves)
    a_vector = (timed[1] - timed[0]) / (scan(1e5, many) - scan(1e5, few))
    core = machine()
    # Centroids are compared one by one, at what a core reads; the rest of a query does not grow.
    centroids = lambda count: math.isqrt(int(count)) * dim * 4 / core.bandwidth
    fixed = timed[0] - a_vector * scan(1e5, few) - centroids(1e5)
    del small

    large, large_files = build(options.count)
    truth = large.search(queries, 10, exact=True).rows
    for leaves in (11, 31, 62):
      predicted = retrieval.recall(leaves, math.exp(scale), power)
      yield Row(
        f'recall@10 of {options.count:,} vectors, {leaves} partitions',
        '1 - exp(-a s^b), a and b at 100,000',
        'share',
        NAN,
        predicted,
        recall(large, truth, leaves),
      )
    for leaves in (31, 62):
      naive = retrieval.search_seconds(options.count, dim, leaves, bandwidth=core.bandwidth)
      predicted = fixed + centroids(options.count) + a_vector * scan(options.count, leaves)
      yield Row(
        f'a query of {options.count:,} vectors, {leaves} partitions',
        'fixed + centroids + seconds a vector x scanned',
        'seconds',
        naive,
        predicted,
        seconds(large, leaves),
      )
    naive = retrieval.bytes_on_disk(dim, retrieval.Setting()) * options.count
    yield Row(
      f'the index of {options.count:,} vectors on disk',
      'bytes a vector at 100,000 x vectors',
      'bytes',
      naive,
      small_files / 1e5 * options.count,
      large_files,
    )


# Recommender, tokenizer, judge


def of_recommender(options: argparse.Namespace) -> Iterator[Row]:
  """Batch scoring of all users at a hundredth of H&M's users, from 1,000 of them."""
  import recsys_made as made
  import recsys_request

  from configs.recsys import hm
  from experiments import estimate_systems
  from experiments.run import Run
  from mlsd_jax.estimates import recommender
  from mlsd_jax.recsys import saved_state, serving

  with tempfile.TemporaryDirectory(dir=pathlib.Path.cwd()) as name:
    config = hm.get_config()
    recsys_request.save(made.make_dataset(0.01), pathlib.Path(name), config)
    state = saved_state.load(pathlib.Path(name))
    users = np.random.default_rng(0).permutation(len(state.users))

    def seconds(chosen: np.ndarray) -> float:
      began = clock()
      for first in range(0, len(chosen), 500):
        serving.recommend(state, chosen[first : first + 500])
      return clock() - began

    seconds(users[-1000:])  # compiles
    calibrated = seconds(users[:1000]) / 1000 * len(users)
    funnel = estimate_systems.funnel_of(Run('recsys', config, {}, pathlib.Path(name)), len(users), made.ITEMS)
    load = recommender.Load(len(users), made.ITEMS, len(users), 1, 1, 1)
    naive = recommender.estimate(funnel, load)[2]['batch for all users']
    yield Row(
      f'recommending to all {len(users):,} users',
      'seconds a user at 1,000 x users',
      'seconds',
      naive,
      calibrated,
      seconds(users),
    )


def of_tokenizer(options: argparse.Namespace) -> Iterator[Row]:
  """Distinct pieces of 75 MB of novels from 1 to 10 MB, and encoding from 2."""
  from mlsd_jax.data.sources import open_source
  from mlsd_jax.tokenizers import TiktokenTokenizer
  from mlsd_jax.tokenizers.patterns import PATTERNS
  from mlsd_jax.tokenizers.pieces import count_pieces

  text = '\n'.join(document.text for document in open_source('novels').documents())
  pieces = lambda part: len(count_pieces([part], PATTERNS['gpt2'], workers=1).pieces)
  sizes = [1_000_000, 2_000_000, 5_000_000, 10_000_000]
  # A beginning is one author's: blocks from all over the text have the words of all.
  blocks = [text[at : at + 20_000] for at in range(0, len(text), 20_000)]
  order = np.random.default_rng(0).permutation(len(blocks))
  counted = [pieces(''.join(blocks[i] for i in order[: size // 20_000])) for size in sizes]
  # Heaps' law is a straight line of the logarithms; the text's own bends, and a parabola bends with it.
  parabola = np.polyfit(np.log(sizes), np.log(counted), 2)
  predicted = math.exp(np.polyval(parabola, math.log(len(text))))
  naive = counted[-1] * (len(text) / sizes[-1]) ** 0.52
  yield Row(
    'distinct pieces of 75 MB of novels', "Heaps' law that bends, 1 to 10 MB", 'count', naive, predicted, pieces(text)
  )
  tokenizer = TiktokenTokenizer('gpt2')

  def seconds(part: str) -> float:
    began = clock()
    tokenizer.encode(part)
    return clock() - began

  seconds(text[:100_000])
  rate = min(seconds(text[:2_000_000]) for _ in range(3)) / 2_000_000
  yield Row(
    "encoding 75 MB with GPT-2's vocabulary",
    'seconds a byte at 2 MB x bytes',
    'seconds',
    len(text.encode()) / 20e6,
    rate * len(text),
    seconds(text),
  )


def of_judge(options: argparse.Namespace) -> Iterator[Row]:
  """200 cases of a program of 20 ms, from 20 of them, by processor time of judge and programs together."""
  from algorithms_judge import PROGRAM

  from mlsd_jax.algorithms.judge import Case, judge
  from mlsd_jax.algorithms.languages import build
  from mlsd_jax.algorithms.limits import Limits
  from mlsd_jax.algorithms.pool import Pool
  from mlsd_jax.estimates.judge import CAGE_SECONDS

  def spent() -> float:
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in usage)

  def seconds(number: int) -> float:
    cases = [Case(str(n), b'%d\n' % n, b'%d\n' % (n + 1)) for n in range(number)]
    with tempfile.TemporaryDirectory() as name:
      folder = pathlib.Path(name)
      (folder / 'program.py').write_text(PROGRAM)
      began = spent()
      with Pool(1) as pool:
        judge(build(folder / 'program.py', folder / 'build', pool), cases, pool=pool, limits=Limits(time=1))
    return spent() - began

  few = seconds(20), seconds(40)
  predicted = few[1] + 160 * (few[1] - few[0]) / 20
  yield Row(
    'judging 200 cases of 20 ms',
    't(40) + 160 (t(40) - t(20)) / 20',
    'seconds',
    200 * (0.020 + CAGE_SECONDS),
    predicted,
    seconds(200),
  )


PARTS: dict[str, Callable[[argparse.Namespace], Iterator[Row]]] = {
  'training': of_training,
  'decoding': of_decoding,
  'encoder': of_encoder,
  'index': of_index,
  'recommender': of_recommender,
  'tokenizer': of_tokenizer,
  'judge': of_judge,
}

if __name__ == '__main__':
  sys.exit(main())
