"""Candidates for whoever the sources named too few."""

import numpy as np

from mlsd_jax.recsys.known.snapshot import Snapshot, once
from mlsd_jax.recsys.stages.candidates import Candidates
from mlsd_jax.recsys.stages.filters import Filter


def fill_up(snapshot: Snapshot, candidates: Candidates, least: int, only: Filter | None = None) -> Candidates:
  """Candidates with at least `least` of each user, where so many items pass: what sells most, which no source named."""
  short = np.flatnonzero(np.diff(candidates.start) < least)
  if not len(short):
    return candidates
  only, users = only or Filter(), candidates.users[short]
  order = _by_sales(snapshot)
  order = order if only.in_stock is None else order[only.in_stock[order]]
  most = least + only.spare(snapshot, users)  # of which `least` are there already at most
  best = np.tile(order[: most + least], (len(users), 1))
  best, _ = only.first_passing(snapshot, users, best, np.zeros(best.shape, np.float32), 2 * least)
  rows, items, num_items = candidates.row, candidates.item, snapshot.num_items
  keys = [rows * np.int64(num_items) + items]
  for row, chosen in zip(short, best, strict=True):
    mine = items[candidates.start[row] : candidates.start[row + 1]]
    new = chosen[(chosen >= 0) & ~np.isin(chosen, mine)][: least - len(mine)]
    keys.append(row * np.int64(num_items) + new)
  key = np.concatenate(keys)
  sorting = np.argsort(key, kind='stable')
  added = len(key) - len(items)
  widen = lambda values: np.pad(values, ((0, added), (0, 0)))[sorting]
  key = key[sorting]
  start = np.searchsorted(key, np.arange(len(candidates.users) + 1, dtype=np.int64) * num_items)
  return Candidates(
    candidates.users,
    start,
    (key % num_items).astype(np.int32),
    widen(candidates.rank),
    widen(candidates.score),
    candidates.sources,
  )


@once
def _by_sales(snapshot: Snapshot) -> np.ndarray:
  """[I] items, what sold most in the latest week first, then in longer times."""
  return np.lexsort([-snapshot.column('item', name) for name in ('n', 'n90', 'n30', 'n7')]).astype(np.int32)
