"""Where candidates come from: each source gives a user its best items; `merge` keeps who said what.

    repurchase    what the user bought, by decayed count
    popular       what everyone bought this week
    place         what was bought in the user's usual place (store, channel) in 30 days
    category      what is popular in the categories the user buys from
    covisit       what is bought together with the user's recent items
    tower         what the two towers find near the user (towers.py)

Names: U users asked for, K candidates of a source, S sources, N candidates in all.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import scipy.sparse as sp

from mlsd_jax.recsys.known.snapshot import AFFINITY, Snapshot, once
from mlsd_jax.recsys.purchases.histories import concatenate_ranges
from mlsd_jax.recsys.stages.filters import Filter

_CHUNK = 1024  # users whose sparse scores are in memory at once
_OF_CATEGORY = 100  # items of a category that can become candidates
RECENT_HALF = 21.0  # days after which a recent item weighs half in co-visitation

type Found = tuple[np.ndarray, np.ndarray]  # items [U, K] int32 (-1: none), scores [U, K] float32, best first
type Source = Callable[[Snapshot, np.ndarray, int, Filter | None], Found]


def repurchase(snapshot: Snapshot, users: np.ndarray, k: int, only: Filter | None = None) -> Found:
  """What each user bought, by slowly decayed counts: a purchase weighs half after 3 HALF days."""
  starts, stops = snapshot.pairs_of(users)
  rows = np.repeat(np.arange(len(users)), stops - starts)
  flat = concatenate_ranges(starts, stops)
  items = (snapshot['pair_key'][flat] % snapshot.num_items).astype(np.int32)
  scores = snapshot.column('pair', 'slow')[flat]
  if only is not None:
    passes = only.passing(snapshot, users[rows], items)
    rows, items, scores = rows[passes], items[passes], scores[passes]
  return _top(rows, items, scores, len(users), k)


def popular(snapshot: Snapshot, users: np.ndarray, k: int, only: Filter | None = None) -> Found:
  """What everyone bought in the last 7 days; ties by 30 days."""
  if only is None:
    items, scores = _best_everywhere(snapshot, k)
    return np.tile(items, (len(users), 1)), np.tile(scores, (len(users), 1))
  items, scores = _best(only.stocked(_lately_sold(snapshot)), k + only.spare(snapshot, users))
  return only.first_passing(snapshot, users, np.tile(items, (len(users), 1)), np.tile(scores, (len(users), 1)), k)


@once
def _best_everywhere(snapshot: Snapshot, k: int) -> Found:
  return _best(_lately_sold(snapshot), k)


@once
def _lately_sold(snapshot: Snapshot) -> np.ndarray:
  return snapshot.column('item', 'n7') + 1e-3 * snapshot.column('item', 'n30')


def place(snapshot: Snapshot, users: np.ndarray, k: int, only: Filter | None = None) -> Found:
  """What was bought in the user's usual place in 30 days; a user without one gets what is popular everywhere."""
  items = np.full((len(users), k), -1, np.int32)
  scores = np.zeros((len(users), k), np.float32)
  usual = snapshot['place'][users]
  for shop in np.unique(usual):
    mine = users[usual == shop]
    if only is None:
      items[usual == shop], scores[usual == shop] = _best_of_place(snapshot, int(shop), k)
      continue
    best, sold = _best(only.stocked(_sold_in_place(snapshot, int(shop))), k + only.spare(snapshot, mine))
    lists = np.tile(best, (len(mine), 1)), np.tile(sold, (len(mine), 1))
    items[usual == shop], scores[usual == shop] = only.first_passing(snapshot, mine, lists[0], lists[1], k)
  return items, scores


@once
def _best_of_place(snapshot: Snapshot, place: int, k: int) -> Found:
  return _best(_sold_in_place(snapshot, place), k)


def _sold_in_place(snapshot: Snapshot, place: int) -> np.ndarray:
  everywhere = snapshot.column('item', 'n30')
  # Below one sale of the place itself: it breaks ties, and fills the list of a place that sold little.
  score = 1e-3 * everywhere / max(float(everywhere.sum()), 1.0)
  key = snapshot['place_key']
  first, last = np.searchsorted(key, [place * snapshot.num_items, (place + 1) * snapshot.num_items])
  if place >= 0 and last > first:
    score[key[first:last] - place * snapshot.num_items] += snapshot['place_count'][first:last, 0]
  return score


def category(snapshot: Snapshot, users: np.ndarray, k: int, only: Filter | None = None) -> Found:
  """What the user bought of each category, decayed, times the item's share of that category; all levels added up."""
  levels = range(len(snapshot.categories))
  # Users by categories times categories by items: one sparse product scores every item of every category at once.
  by_user = sp.hstack([_bought_of(snapshot, users, level) for level in levels], format='csr')
  best = best_of_categories(snapshot) if only is None or only.in_stock is None else _best_of_levels(snapshot, only)
  return _product(by_user, best, k, snapshot, users, only)


def _bought_of(snapshot: Snapshot, users: np.ndarray, level: int) -> sp.csr_matrix:
  """[U, C] decayed purchases of each category of a level."""
  size = int(snapshot['category'][level].max()) + 1
  key, table = snapshot[f'affinity_key_{level}'], snapshot[f'affinity_{level}']
  starts, stops = np.searchsorted(key, users * np.int64(size)), np.searchsorted(key, (users + 1) * np.int64(size))
  flat = concatenate_ranges(starts, stops)
  start = np.concatenate([[0], np.cumsum(stops - starts)])
  return sp.csr_matrix((table[flat, AFFINITY.index('decayed')], key[flat] % size, start), (len(users), size))


@once
def best_of_categories(snapshot: Snapshot) -> sp.csr_matrix:
  """[C of all levels, I]: the share that each of the best items of a category has of what was bought of it."""
  return _best_of_levels(snapshot, Filter())


def _best_of_levels(snapshot: Snapshot, only: Filter) -> sp.csr_matrix:
  return sp.vstack([_best_of_level(snapshot, codes, only) for codes in snapshot['category']], format='csr')


def _best_of_level(snapshot: Snapshot, codes: np.ndarray, only: Filter) -> sp.csr_matrix:
  # A little of the quarter before: of a slow category a month alone is chance.
  counts = snapshot.column('item', 'n30') + 0.05 * snapshot.column('item', 'n90')
  size = int(codes.max()) + 1
  totals = np.bincount(codes, counts, minlength=size)
  share = only.stocked((counts / np.maximum(totals[codes], 1.0)).astype(np.float32))
  best = np.lexsort((-share, codes))
  place = np.arange(len(codes)) - np.searchsorted(codes[best], codes[best])
  best = best[(place < _OF_CATEGORY) & (share[best] > 0)]
  return sp.csr_matrix((share[best], (codes[best], best)), (size, snapshot.num_items))


def covisit(snapshot: Snapshot, users: np.ndarray, k: int, only: Filter | None = None) -> Found:
  """Items bought in one basket with the user's recent ones, the latest weighing most."""
  recent, age = snapshot['recent'][users], snapshot['recent_age'][users]
  rows, columns = np.nonzero(recent >= 0)
  # What was bought lately says what is missing now; a basket of last season says little.
  weights = 0.5 ** (age[rows, columns] / RECENT_HALF)
  shape = (len(users), snapshot.num_items)
  by_user = sp.csr_matrix((weights.astype(np.float32), (rows, recent[rows, columns])), shape)
  return _product(by_user, read_covisitation(snapshot), k, snapshot, users, only)


@once
def read_covisitation(snapshot: Snapshot) -> sp.csr_matrix:
  """Co-visitation [I, I] as the snapshot has it."""
  arrays = (snapshot['covisit_score'], snapshot['covisit_item'], snapshot['covisit_start'])
  return sp.csr_matrix(arrays, (snapshot.num_items, snapshot.num_items))


SOURCES: Mapping[str, Source] = {
  'repurchase': repurchase,
  'popular': popular,
  'place': place,
  'category': category,
  'covisit': covisit,
}


@dataclasses.dataclass(frozen=True)
class Candidates:
  """The union of several sources.

  Attributes:
    users: [U] int32.
    start: [U + 1]; candidates of users[u] are start[u]:start[u + 1], ascending by item.
    item: [N] int32.
    rank: [N, S] int16: place in each source from 1 on, 0 where it did not name the item.
    score: [N, S] float32, 0 where it did not.
    sources: S names.
  """

  users: np.ndarray
  start: np.ndarray
  item: np.ndarray
  rank: np.ndarray
  score: np.ndarray
  sources: tuple[str, ...]

  @property
  def row(self) -> np.ndarray:
    """[N] which of `users` each candidate is of."""
    return np.repeat(np.arange(len(self.users)), np.diff(self.start))

  @property
  def user(self) -> np.ndarray:
    return self.users[self.row]

  @classmethod
  def join(cls, parts: Sequence['Candidates']) -> 'Candidates':
    """Those of several groups of users, one group behind the other."""
    whole = lambda name: np.concatenate([getattr(part, name) for part in parts])
    before = np.cumsum([0, *(len(part.item) for part in parts)])
    start = np.concatenate([[0], *(part.start[1:] + first for part, first in zip(parts, before, strict=False))])
    return cls(whole('users'), start, whole('item'), whole('rank'), whole('score'), parts[0].sources)

  def slice_users(self, users: slice) -> 'Candidates':
    """Those of users[first:last]."""
    start = self.start[users.start : users.stop + 1]
    rows = slice(start[0], start[-1])
    return Candidates(
      self.users[users], start - start[0], self.item[rows], self.rank[rows], self.score[rows], self.sources
    )

  def ranked(self, score: np.ndarray, k: int) -> np.ndarray:
    """[U, k] items by a score [N], best first, -1 behind the last."""
    return _top(self.row, self.item, score, len(self.users), k)[0]

  def top(self, score: np.ndarray, k: int) -> Found:
    """[U, k] items by a score [N], best first, and their scores; -1 and -inf behind the last."""
    items, scores = _top(self.row, self.item, score, len(self.users), k)
    return items, np.where(items >= 0, scores, -np.inf).astype(np.float32)

  def keep(self, mask: np.ndarray) -> 'Candidates':
    """Those of a mask [N]."""
    start = np.concatenate([[0], np.cumsum(mask)])[self.start]
    return Candidates(self.users, start, self.item[mask], self.rank[mask], self.score[mask], self.sources)

  def best(self, score: np.ndarray, k: int) -> 'Candidates':
    """The first `k` of each user by a score [N]."""
    order = sort_best_first(self.row, score)
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order)) - self.start[self.row[order]]
    return self.keep(place < k)


def merge(users: np.ndarray, by_source: Mapping[str, Found], num_items: int) -> Candidates:
  """The union of what the sources found, each item of a user once."""
  keys, owners, ranks, scores = [], [], [], []
  for number, (items, score) in enumerate(by_source.values()):
    rows, columns = np.nonzero(items >= 0)
    keys.append(rows.astype(np.int64) * num_items + items[rows, columns])
    owners.append(np.full(len(rows), number, np.int32))
    ranks.append((columns + 1).astype(np.int16))
    scores.append(score[rows, columns])
  # One number for a user and an item: what several sources named falls on one key, its ranks and scores side by side.
  key, inverse = np.unique(np.concatenate(keys), return_inverse=True)
  owner = np.concatenate(owners)
  rank = np.zeros((len(key), len(by_source)), np.int16)
  scores_of_union = np.zeros((len(key), len(by_source)), np.float32)
  rank[inverse, owner] = np.concatenate(ranks)
  scores_of_union[inverse, owner] = np.concatenate(scores)
  start = np.searchsorted(key, np.arange(len(users) + 1, dtype=np.int64) * num_items)
  return Candidates(users, start, (key % num_items).astype(np.int32), rank, scores_of_union, tuple(by_source))


def collect(
  snapshot: Snapshot,
  users: np.ndarray,
  sources: Mapping[str, Source],
  k: Mapping[str, int] | int,
  only: Filter | None = None,
) -> Candidates:
  """Asks every source for its best `k` (one number, or one a source) of each user, of what passes the filter."""
  number = lambda name: k if isinstance(k, int) else k[name]
  found = {name: source(snapshot, users, number(name), only) for name, source in sources.items()}
  return merge(users, found, snapshot.num_items)


def fill(ranking: np.ndarray, with_items: np.ndarray) -> np.ndarray:
  """`ranking` [U, K] with its empty places taken by the first of `with_items` [M] or [U, M] that are not there yet."""
  out = ranking.copy()
  for row in np.flatnonzero((ranking < 0).any(1)):
    chosen = with_items if with_items.ndim == 1 else with_items[row][with_items[row] >= 0]
    new = chosen[~np.isin(chosen, ranking[row])]
    empty = np.flatnonzero(ranking[row] < 0)[: len(new)]
    out[row, empty] = new[: len(empty)]
  return out


def _top(rows: np.ndarray, items: np.ndarray, scores: np.ndarray, num_rows: int, k: int) -> Found:
  """The best k of each row; `rows` ascend, and among equals what comes first stays first."""
  order = sort_best_first(rows, scores)
  rows, items, scores = rows[order], items[order], scores[order]
  place = np.arange(len(rows)) - np.searchsorted(rows, np.arange(num_rows))[rows]
  keep = place < k
  out = np.full((num_rows, k), -1, np.int32)
  values = np.zeros((num_rows, k), np.float32)
  out[rows[keep], place[keep]] = items[keep]
  values[rows[keep], place[keep]] = scores[keep]
  return out, values


def sort_best_first(rows: np.ndarray, scores: np.ndarray) -> np.ndarray:
  """The order that sorts by row, then by falling score; stable. One sort of integers, as two of floats take thrice."""
  bits = np.ascontiguousarray(-scores, np.float32).view(np.int32).astype(np.int64)
  bits = np.where(bits < 0, bits ^ 0x7FFFFFFF, bits)  # two's complement orders as the floats do
  return np.argsort((rows.astype(np.int64) << 32) + bits, kind='stable')


def _best(score: np.ndarray, k: int) -> Found:
  """The best k items [k] by a score [I] above 0, and their scores."""
  best = np.argsort(-score, kind='stable')[:k]
  best = best[score[best] > 0].astype(np.int32)
  items, scores = np.full(k, -1, np.int32), np.zeros(k, np.float32)
  items[: len(best)], scores[: len(best)] = best, score[best]
  return items, scores


def _product(
  left: sp.csr_matrix, right: sp.csr_matrix, k: int, snapshot: Snapshot, users: np.ndarray, only: Filter | None
) -> Found:
  """The best k of each row of a sparse product that pass, some rows at a time."""
  parts = []
  for first in range(0, left.shape[0], _CHUNK):
    scores = left[first : first + _CHUNK] @ right
    scores.sort_indices()
    rows, items, values = np.repeat(np.arange(scores.shape[0]), np.diff(scores.indptr)), scores.indices, scores.data
    if only is not None:
      passes = only.passing(snapshot, users[first + rows], items)
      rows, items, values = rows[passes], items[passes], values[passes]
    parts.append(_top(rows, items, values, scores.shape[0], k))
  return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
