"""Parts by workers beside parts in this process: embedding chunks and scoring users, equal and how fast; then kills.

python benchmarks/executor.py                                             # Ray; 20,000 chunks and 100,000 made users
python benchmarks/executor.py --executor=processes --chunks=2000 --users=5000 --task=embed
python benchmarks/executor.py --task=kills --seconds=180                   # a worker killed every 30 s

Both sides make the same parts, one side after the other; rates are of what is made after each worker's first part,
whose time (the start of the workers, and compiling) is told apart. In this process XLA has all cores, as usual; a
worker has --cpus. The ratio means something on a machine that does nothing else.
"""

import argparse
import functools
import os
import pathlib
import signal
import tempfile
import threading
import time

import numpy as np

from mlsd_jax.encoder.encoder import load_encoder
from mlsd_jax.executor import ExecutorConfig, map_parts, open_parts
from mlsd_jax.executor.parts import numbered
from mlsd_jax.recsys import batches
from mlsd_jax.training import devices

WORDS = ('copy', 'move', 'folder', 'file', 'time', 'stamp', 'keep', 'return', 'value', 'list', 'sort', 'key', 'read')


def texts_of(number: int) -> list[str]:
  """Made texts of 20 to 200 words, about as chunks are."""
  rng = np.random.default_rng(0)
  return [' '.join(rng.choice(WORDS, rng.integers(20, 200))) for _ in range(number)]


class Embedder:
  """A worker that embeds."""

  def __init__(self):
    self._encoder = load_encoder()

  def __call__(self, texts, folder):
    began = time.perf_counter()
    np.save(folder / 'vectors.npy', self._encoder.encode(texts))
    return {'seconds': time.perf_counter() - began, 'pid': os.getpid()}


class Timed:
  """A worker, with what each part took."""

  def __init__(self, make):
    self._worker = make()

  def __call__(self, task, folder):
    began = time.perf_counter()
    self._worker(task, folder)
    return {'seconds': time.perf_counter() - began, 'pid': os.getpid()}


def made_shop(folder: pathlib.Path, users: int) -> pathlib.Path:
  """The saved state of a shop whose models are not trained: what a request costs does not depend on that."""
  import jax

  from mlsd_jax.models import sparsenn, two_tower
  from mlsd_jax.models.sparsenn import SparseNNConfig
  from mlsd_jax.recsys import funnel, preparation, saved_state, serving
  from mlsd_jax.recsys.funnel import Funnel, Week
  from mlsd_jax.recsys.known import snapshot
  from mlsd_jax.recsys.purchases import weeks
  from mlsd_jax.recsys.purchases.generator import SyntheticConfig, generate
  from mlsd_jax.recsys.purchases.histories import Histories
  from mlsd_jax.recsys.stages import features, tower_examples, towers
  from mlsd_jax.recsys.stages.scorer import Scorer
  from mlsd_jax.recsys.stages.tower_source import NAME, Retriever

  sources = dict.fromkeys(('repurchase', 'popular', 'place', 'category', 'covisit', NAME), 50)
  data = generate(SyntheticConfig(num_users=users, num_items=2000, events_per_user=10, weeks=8)).dataset
  cut = weeks.list_cuts(data, 1)[0]
  examples, _ = tower_examples.make_examples(data, cut, 2, factor_dim=16)
  model = towers.make_model_config(
    examples, {'embed_dim': 32, 'hidden_dim': 32, 'history_length': 16, 'sequence_length': 8}
  )
  retriever = Retriever.build(jax.device_get(two_tower.init(jax.random.key(0), model)), model, examples)
  histories = Histories.from_events(data.events, data.num_users)
  taken, targets = snapshot.take(data, cut), weeks.find_targets(data, cut)
  some = np.isin(targets.user, targets.users[:2000])
  columns = (targets.user, targets.item, targets.days, targets.quantity)
  targets = weeks.Targets(targets.cut, *(column[some] for column in columns))
  union = funnel.gather(taken, histories, targets.users, sources, retriever)
  blend = preparation.fit_blend(Week(targets, union))
  _, dense = funnel.select(union, blend, 100)
  ranker = SparseNNConfig(
    num_dense=dense.shape[1], num_items=data.num_items, code_sizes=model.code_sizes, bins=8, bag_length=8
  )
  params = jax.device_get(sparsenn.init(jax.random.key(1), ranker))
  scorer = Scorer(params, ranker, examples.codes, examples.user_codes, features.bucket_bounds(dense, 8))
  trained = Funnel(sources, 100, retriever, blend, scorer)
  saved_state.save(serving.State(trained, taken, histories, *serving.name_tables(data)), folder, {'data': 'made'})
  return folder


def compare(title, tasks, make_worker, config, warm, equal, place) -> None:
  """Prints both sides and their ratio. The first `warm` parts of each worker are not counted.

  Args:
    place: folder in which the parts made here are left as `here`.
  """
  sides = {}
  for name, how in (('here', ExecutorConfig()), (config.kind, config)):
    began, stamps = time.perf_counter(), []
    map_parts(
      tasks, make_worker, f'{place}/{name}', identity={}, config=how, setup=devices.configure_backend,
      on_part=lambda *_, stamps=stamps: stamps.append(time.perf_counter()),
    )  # fmt: skip
    first = warm if name == 'here' else warm * (config.workers or 2)
    rate = (len(stamps) - first) / (stamps[-1] - stamps[first - 1])
    sides[name] = rate
    print(
      f'{title:<10} {name:<10} first part after {stamps[0] - began:6.1f} s, then {rate:7.3f} parts/s '
      f'({len(stamps) - first} parts), {time.perf_counter() - began:.1f} s in all',
      flush=True,
    )
  here, other = sides.values()
  print(f'{title:<10} {config.kind} over here, once warm: {other / here:.2f}')
  one, two = (open_parts(f'{place}/{name}') for name in sides)
  equals = all(equal(a, b) for a, b in zip(one.folders(), two.folders(), strict=True))
  print(f'{title:<10} equal: {equals}', flush=True)


def same_files(one: pathlib.Path, other: pathlib.Path) -> bool:
  return {p.name: p.read_bytes() for p in one.iterdir()} == {p.name: p.read_bytes() for p in other.iterdir()}


def kills(config: ExecutorConfig, tasks, every: float, seconds: float, whole: str) -> None:
  """A worker killed every so often: parts equal an undisturbed run's, and how many were made again.

  Args:
    whole: where the undisturbed run's parts are, or are made.
  """
  with tempfile.TemporaryDirectory() as place:
    log = pathlib.Path(place, 'starts')
    undisturbed = map_parts(tasks, Embedder, whole, identity={})
    done, killed = threading.Event(), 0

    def logged():
      worker = Embedder()

      def work(task, folder):
        with open(log, 'a') as file:
          file.write(f'{os.getpid()}\n')
        return worker(task, folder)

      return work

    def kill():
      nonlocal killed
      end = time.monotonic() + seconds
      while not done.wait(every) and time.monotonic() < end:
        pids = log.read_text().split() if log.exists() else []
        if pids:
          try:
            os.kill(int(pids[-1]), signal.SIGKILL)
            killed += 1
          except ProcessLookupError:
            pass

    thread, began = threading.Thread(target=kill), time.perf_counter()
    thread.start()
    parts = map_parts(tasks, logged, f'{place}/killed', identity={}, config=config, setup=devices.configure_backend)
    done.set()
    thread.join()
    pairs = zip(undisturbed.folders(), parts.folders(), strict=True)
    equal = all(same_files(one, two) for one, two in pairs)
    again, took = len(log.read_text().split()) - len(tasks), time.perf_counter() - began
    print(
      f'kills      {killed} of a worker, {len(tasks)} parts in {took:.1f} s: equal: {equal}; made again: {again}',
      flush=True,
    )


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--executor', choices=('ray', 'processes'), default='ray')
  parser.add_argument('--workers', type=int, default=2)
  parser.add_argument('--cpus', type=int, default=1)
  parser.add_argument('--task', choices=('embed', 'score', 'kills', 'all'), default='all')
  parser.add_argument('--chunks', type=int, default=20_000)
  parser.add_argument('--users', type=int, default=100_000)
  parser.add_argument('--part', type=int, default=500, help='chunks of a part')
  parser.add_argument('--users_part', type=int, default=2500)
  parser.add_argument('--every', type=float, default=30.0, help='seconds between two kills')
  parser.add_argument('--seconds', type=float, default=300.0, help='for which workers are killed')
  arguments = parser.parse_args()
  devices.configure_backend()
  config = ExecutorConfig(arguments.executor, arguments.workers, arguments.cpus, attempts=20)
  texts = texts_of(arguments.chunks)
  tasks = numbered([texts[at : at + arguments.part] for at in range(0, len(texts), arguments.part)])
  with tempfile.TemporaryDirectory() as place:
    if arguments.task in ('embed', 'all'):
      compare('embedding', tasks, Embedder, config, 1, same_files, f'{place}/embedding')
    if arguments.task in ('score', 'all'):
      root = made_shop(pathlib.Path(place, 'shop'), arguments.users)
      from mlsd_jax.recsys import saved_state

      version = saved_state.load(root).version
      step = arguments.users_part
      ranges = numbered([(at, min(at + step, arguments.users)) for at in range(0, arguments.users, step)])
      worker = functools.partial(Timed, functools.partial(batches.Recommender.open, root, version, 12))
      compare('scoring', ranges, worker, config, 1, same_files, f'{place}/scoring')
    if arguments.task in ('kills', 'all'):
      kills(config, tasks, arguments.every, arguments.seconds, f'{place}/embedding/here')


if __name__ == '__main__':
  main()
