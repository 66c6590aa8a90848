"""Seconds, memory and bytes at the scale of Kaggle's H&M (or --scale of it), on generated purchases.

    python benchmarks/recsys_scale.py --scale=1.0

Generates the purchases, takes a snapshot (what `prepare` of a week is), computes the vectors of every user and asks the
index for --near candidates each, then makes the whole funnel's answers (all sources, blend, ranker) for --ranked users.
Untrained models of the shape of configs/recsys/hm.py: what is measured is time, not quality.
"""

import argparse
import time

import numpy as np
import recsys_made as made

from configs.recsys import hm
from mlsd_jax.recsys import serving
from mlsd_jax.recsys.known import snapshot
from mlsd_jax.recsys.purchases import weeks
from mlsd_jax.recsys.purchases.histories import Histories

_AT_ONCE = 65_536


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--scale', type=float, default=0.1, help='of 1,371,980 users; items are always 105,542')
  parser.add_argument('--asked', type=int, default=0, help='users whose candidates are looked for; 0 for all')
  parser.add_argument('--near', type=int, default=200, help='candidates of each from the index')
  parser.add_argument('--ranked', type=int, default=20_000, help='users who go through the whole funnel')
  options = parser.parse_args()
  config = hm.get_config()

  began = time.perf_counter()
  data = made.make_dataset(options.scale)
  users = data.num_users
  made.tell(f'{data.events.height:,} purchases of {users:,} users generated', began)

  began = time.perf_counter()
  cut = weeks.list_cuts(data, 1)[0]
  taken = snapshot.take(data, cut)
  made.tell('snapshot', began)
  for name in sorted(taken.arrays, key=lambda name: -taken[name].nbytes)[:8]:
    array = taken[name]
    print(f'  {name:<16} {array.nbytes / 1e6:10.1f} MB, {array.nbytes / max(len(array), 1):7.1f} bytes a row')
  total = sum(array.nbytes for array in taken.arrays.values())
  print(f'  in all {total / 1e6:.1f} MB, {total / users:.0f} bytes a user')

  began = time.perf_counter()
  histories = Histories.from_events(data.before(cut), users)
  size = histories.start.nbytes + histories.item.nbytes + histories.time.nbytes
  towers = made.make_retriever(data, histories, cut, config)
  made.tell('histories, item vectors, index', began)
  print(f'  histories {size / 1e6:.1f} MB, {size / users:.0f} bytes a user')

  asked = np.arange(min(options.asked or users, users))
  vectors, search = 0.0, 0.0
  for first in range(0, len(asked), _AT_ONCE):
    began = time.perf_counter()
    queries = towers.users(histories, asked[first : first + _AT_ONCE], cut)
    vectors += time.perf_counter() - began
    began = time.perf_counter()
    towers.index.search(queries, options.near)
    search += time.perf_counter() - began
  both = vectors + search
  print(
    f'{options.near} candidates of {len(asked):,} users through {towers.index.describe()[0]["kind"]}: '
    f'{vectors:.0f} s of user vectors, {search:.0f} s of search, '
    f'{len(asked) / both:,.0f} users a second; all {made.USERS:,}: {made.USERS / len(asked) * both / 60:.1f} minutes'
  )

  began = time.perf_counter()
  state = made.make_state(data, taken, histories, towers, config)
  made.tell('blend fitted, ranker made', began)
  some = np.random.default_rng(0).permutation(users)[: options.ranked]
  serving.recommend(state, some[:1000])
  began = time.perf_counter()
  for first in range(0, len(some), 1000):
    serving.recommend(state, some[first : first + 1000])
  seconds = time.perf_counter() - began
  made.tell(f'whole funnel for {len(some):,} users', began)
  print(
    f'  {len(some) / seconds:,.0f} users a second; all {made.USERS:,}: {made.USERS * seconds / len(some) / 60:.0f} min'
  )


if __name__ == '__main__':
  main()
