"""Seconds, memory and bytes at the scale of Kaggle's H&M (or --scale of it), on generated purchases.

    python benchmarks/recsys_scale.py --scale=1.0

Generates the purchases, takes a snapshot (what `prepare` of a week is), computes the vectors of every user with
untrained towers and asks the index for 100 candidates each. Untrained: what is measured is time, not quality.
"""

import argparse
import resource
import time

import jax
import numpy as np

from mlsd_jax.models import two_tower
from mlsd_jax.recsys import snapshot, tower_examples, towers
from mlsd_jax.recsys.generator import Synthetic, generate
from mlsd_jax.recsys.retrieval import Retriever
from mlsd_jax.recsys.tower_examples import Histories

MODEL = {'embed_dim': 64, 'hidden_dim': 128, 'history_length': 64, 'sequence_length': 24, 'history_code': 1}


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--scale', type=float, default=0.1, help='of 1,371,980 users; items are always 105,542')
  parser.add_argument('--asked', type=int, default=0, help='users whose candidates are looked for; 0 for all')
  options = parser.parse_args()
  users = int(1_371_980 * options.scale)
  config = Synthetic(num_users=users, num_items=105_542, events_per_user=23.2, weeks=104, tastes=30)
  began = time.perf_counter()
  data = generate(config).dataset
  _tell(f'{data.events.height:,} purchases of {users:,} users generated', began)
  began = time.perf_counter()
  now = int(data.events['time'][-1]) + 1
  state = snapshot.take(data, now)
  _tell('snapshot', began)
  for name in sorted(state.arrays, key=lambda name: -state[name].nbytes)[:8]:
    array = state[name]
    print(f'  {name:<16} {array.nbytes / 1e6:10.1f} MB, {array.nbytes / max(len(array), 1):7.1f} bytes a row')
  total = sum(array.nbytes for array in state.arrays.values())
  print(f'  in all {total / 1e6:.1f} MB, {total / users:.0f} bytes a user')
  began = time.perf_counter()
  histories = Histories.of(data.events, users)
  codes = tower_examples.item_codes(data)
  nothing = np.zeros(0, np.int32)
  of_users = tower_examples.user_codes(data)
  known = tower_examples.TowerData(nothing, nothing, nothing, histories, codes, of_users, np.zeros(len(codes)))
  tower = towers.model_config(known, MODEL)
  params = jax.device_get(two_tower.init(jax.random.key(0), tower))
  retriever = Retriever.build(params, tower, known)
  _tell('histories, item vectors, index', began)
  asked = np.arange(min(options.asked or users, users))
  vectors, search = 0.0, 0.0
  for first in range(0, len(asked), 65_536):
    began = time.perf_counter()
    queries = retriever.users(histories, asked[first : first + 65_536], now)
    vectors += time.perf_counter() - began
    began = time.perf_counter()
    retriever.index.search(queries, 100)
    search += time.perf_counter() - began
  both = vectors + search
  print(
    f'candidates of {len(asked):,} users: {vectors:.0f} s of user vectors, {search:.0f} s of search, '
    f'{len(asked) / both:,.0f} users a second; all 1,371,980: {1_371_980 / len(asked) * both / 60:.1f} minutes'
  )


def _tell(what: str, began: float) -> None:
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
  print(f'{what}: {time.perf_counter() - began:.0f} s, peak memory {peak:.1f} GB', flush=True)


if __name__ == '__main__':
  main()
