"""Milliseconds of one request by stage, on one core.

    python benchmarks/recsys_request.py --scale=1.0                           # generated, the size of Kaggle's H&M
    python benchmarks/recsys_request.py --synthetic                           # of configs/recsys/synthetic.py
    python benchmarks/recsys_request.py --state=runs/recsys/quickstart/state  # of a trained run

One user a request: drawn at random, one in ten unknown. The process may use one core only. With --scale the models are
untrained and of the shape of configs/recsys/hm.py; the state is saved, and mapped into memory again as a server does.
Beside the time by the clock stands processor time, which what else runs on the machine changes less.
"""

import argparse
import dataclasses
import functools
import os
import pathlib
import tempfile
import time

# Before anything starts threads: one core is what is measured.
os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import numpy as np
import recsys_made as made
from ml_collections import ConfigDict

from configs.recsys import hm, synthetic
from mlsd_jax.recsys import funnel, saved_state, serving
from mlsd_jax.recsys.known import snapshot
from mlsd_jax.recsys.purchases import weeks
from mlsd_jax.recsys.purchases.events import Dataset
from mlsd_jax.recsys.purchases.generator import SyntheticConfig, generate
from mlsd_jax.recsys.purchases.histories import Histories
from mlsd_jax.recsys.stages import blend, candidates, features, scorer, tower_source

STAGES = {
  'user vector': (tower_source.Retriever, 'users'),
  'index search': (tower_source.Index, 'search'),
  'towers score the union': (tower_source.Retriever, 'scored'),
  'merge': (candidates, 'merge'),
  'signals of the blend': (blend, 'compute_signals'),
  'blend': (blend.Blend, 'score'),
  'features of the ranker': (features, 'compute'),
  'ranker': (scorer.Scorer, '__call__'),
}


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--scale', type=float, default=0.01, help='of 1,371,980 users; items are always 105,542')
  parser.add_argument('--synthetic', action='store_true', help='the shop and the models of configs/recsys/synthetic.py')
  parser.add_argument('--state', type=pathlib.Path, help='a saved state instead')
  parser.add_argument('--requests', type=int, default=1000)
  options = parser.parse_args()
  with tempfile.TemporaryDirectory(dir=pathlib.Path.cwd()) as folder:
    root = options.state or pathlib.Path(folder)
    if not options.state:
      began = time.perf_counter()
      config = synthetic.get_config() if options.synthetic else hm.get_config()
      shop = SyntheticConfig(**config.data.synthetic.to_dict())
      save(generate(shop).dataset if options.synthetic else made.make_dataset(options.scale), root, config)
      made.tell('state made', began)
    measure(saved_state.load(root), options.requests)


def save(data: Dataset, root: pathlib.Path, config: ConfigDict) -> None:
  cut = weeks.list_cuts(data, 1)[0]
  taken, histories = snapshot.take(data, cut), Histories.from_events(data.before(cut), data.num_users)
  state = made.make_state(data, taken, histories, made.make_retriever(data, histories, cut, config), config)
  saved_state.save(dataclasses.replace(state, purchases=data), root, {'data': data.name})


def measure(state: serving.State, requests: int) -> None:
  rng = np.random.default_rng(0)
  users = rng.integers(0, len(state.users), requests)
  users[::10] = len(state.users)
  for user in users[:50]:
    serving.recommend(state, np.array([user]))
  whole, sizes = [], []
  for user in users:
    began, used = time.perf_counter(), time.process_time()
    answer = serving.recommend(state, np.array([user]))
    whole.append((1000 * (time.perf_counter() - began), 1000 * (time.process_time() - used)))
    sizes.append(len(answer.candidates.item))
  taken = clocked(state, users)
  print(f'{len(state.users):,} users, {len(state.items):,} items; {np.mean(sizes):.0f} candidates ranked a request')
  print(f'{"":<26}{"p50 ms":>8}{"p99 ms":>8}{"processor: p50":>18}{"p99":>8}')
  for name, milliseconds in taken.items():
    report(f'  {name}', milliseconds)
  for name, of in (('a request', slice(None)), ('of an unknown user', slice(None, None, 10))):
    report(name, whole[of])
  for together in (8, 64):
    batch = np.resize(users, together)
    serving.recommend(state, batch)
    used = time.process_time()
    for _ in range(10):
      serving.recommend(state, batch)
    each = (time.process_time() - used) / 10 / together
    print(f'{together} users together: {1000 * each:.2f} ms of processor time a user, {1 / each:.0f} a second a core')


def report(name: str, milliseconds: list[tuple[float, float]]) -> None:
  wall, used = np.array(milliseconds).T
  cells = [np.median(wall), np.quantile(wall, 0.99), np.median(used), np.quantile(used, 0.99)]
  print(f'{name:<26}{cells[0]:8.2f}{cells[1]:8.2f}{cells[2]:18.2f}{cells[3]:8.2f}')


def clocked(state: serving.State, users: np.ndarray) -> dict[str, list[tuple[float, float]]]:
  """Milliseconds by stage of the same requests again, each stage wrapped in a clock."""
  taken: dict[str, list[tuple[float, float]]] = {}

  def clock(name, function):
    row = taken.setdefault(name, [])

    @functools.wraps(function)
    def timed(*args, **keywords):
      began, used = time.perf_counter(), time.process_time()
      result = function(*args, **keywords)
      row.append((1000 * (time.perf_counter() - began), 1000 * (time.process_time() - used)))
      return result

    return timed

  originals = [(where, name, getattr(where, name)) for where, name in STAGES.values()]
  sources = dict(candidates.SOURCES)
  for source, function in sources.items():
    funnel.SOURCES[source] = clock(source, function)  # type: ignore[index]
  for stage, (where, name) in STAGES.items():
    setattr(where, name, clock(stage, getattr(where, name)))
  for user in users:
    serving.recommend(state, np.array([user]))
  for where, name, function in originals:
    setattr(where, name, function)
  funnel.SOURCES.update(sources)  # type: ignore[attr-defined]
  return taken


if __name__ == '__main__':
  main()
