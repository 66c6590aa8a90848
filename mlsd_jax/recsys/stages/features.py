"""Features of candidates, looked up in a snapshot: the same code for training weeks and for serving.

Every value is 0 or more and grows as log1p of counts, days, prices and ratios do, so that no later step need know which
is which.
"""

import functools

import numpy as np

from mlsd_jax.recsys.known.promotions import PROMOTION
from mlsd_jax.recsys.known.snapshot import AFFINITY, ITEM, NEVER, PAIR, USER, Snapshot, look_up, once
from mlsd_jax.recsys.stages import row_blocks
from mlsd_jax.recsys.stages.candidates import Candidates

DERIVED = (
  *('due', 'pair_share', 'trend', 'cheaper', 'price_ratio', 'repeat_days'),
  *('trip_share', 'trip_due', 'cheaper7', 'stocked'),
)
PROMOTED = (*PROMOTION, 'share', 'of_pair', 'of_item', 'of_user')
PER_LEVEL = (*AFFINITY, 'share', 'price_ratio', 'item_share', 'reorder')
REORDERS = ('item', 'item_now', 'user', 'ratio')


def dense_names(snapshot: Snapshot, sources: tuple[str, ...]) -> list[str]:
  """The F columns of `compute`."""
  names = [f'pair_{name}' for name in PAIR] + [f'item_{name}' for name in ITEM] + [f'user_{name}' for name in USER]
  names += list(DERIVED)
  names += [f'{level}_{name}' for level in snapshot.categories for name in PER_LEVEL]
  names += ['place_count', 'place_share']
  names += [f'reorder_{name}' for name in REORDERS]
  names += [f'promotion_{name}' for name in PROMOTED] if snapshot.promoted else []
  return names + [f'{source}_{what}' for source in sources for what in ('rank', 'score')]


def compute(snapshot: Snapshot, candidates: Candidates) -> np.ndarray:
  """[N, F] float32 features of every candidate at the snapshot's cut, see `dense_names`."""
  looked_up = functools.partial(_features_of, snapshot)
  return row_blocks.over_rows(looked_up, candidates.user, candidates.item, candidates.rank, candidates.score)


def _features_of(
  snapshot: Snapshot, user: np.ndarray, item: np.ndarray, rank: np.ndarray, score: np.ndarray
) -> np.ndarray:
  pair = snapshot.pair_rows(user, item)
  of_item, of_user = snapshot['item'][item], snapshot['user'][user]
  parts = [pair, of_item, of_user, _derived(pair, of_item, of_user)]
  for level in range(len(snapshot.categories)):
    parts.append(_of_level(snapshot, level, user, item, of_item, of_user))
  parts += [
    _of_place(snapshot, user, item, of_item),
    _reorders(snapshot, user, item),
    look_up_promotions(snapshot, user, item),
  ]
  dense = np.log1p(np.maximum(np.concatenate(parts, 1), 0.0))
  # Ranks: 1 for the first, falling, 0 where the source did not name the item.
  rank = np.where(rank > 0, 1 / np.log2(1.0 + np.maximum(rank, 1)), 0.0)
  of_sources = np.stack([rank, _signed_log(score)], 2).reshape(len(item), 2 * rank.shape[1])
  return np.concatenate([dense, of_sources], 1).astype(np.float32)


def _signed_log(x: np.ndarray) -> np.ndarray:
  return np.sign(x) * np.log1p(np.abs(x))


def _derived(pair: np.ndarray, of_item: np.ndarray, of_user: np.ndarray) -> np.ndarray:
  get = lambda table, names, name: table[:, names.index(name)]
  since, first, days = (get(pair, PAIR, name) for name in ('since', 'first', 'days'))
  repeated = days > 1
  own = np.where(repeated, (first - since) / np.maximum(days - 1, 1), 0.0)
  interval = np.where(repeated, own, get(of_item, ITEM, 'interval'))
  bought = get(pair, PAIR, 'n') > 0
  due = np.where(bought & (interval > 0), since / np.maximum(interval, 0.5), 0.0)
  share = days / np.maximum(get(of_user, USER, 'days'), 1)
  trend = get(of_item, ITEM, 'n7') * 30 / 7 / np.maximum(get(of_item, ITEM, 'n30'), 1)
  price, price30 = get(of_item, ITEM, 'price'), get(of_item, ITEM, 'price30')
  cheaper = np.where(price30 > 0, price30 / np.maximum(price, 0.01), 1.0)
  ratio = price / np.maximum(get(of_user, USER, 'price'), 0.01)
  trips, trips_since = get(pair, PAIR, 'trips'), get(pair, PAIR, 'trips_since')
  trip_share = 100 * days / np.maximum(trips, 1)
  trip_due = np.where(repeated, trips_since * (days - 1) / np.maximum(trips - 1 - trips_since, 1), 0.0)
  price7 = get(of_item, ITEM, 'price7')
  cheaper7 = np.where((price7 > 0) & (price30 > 0), price7 / np.maximum(price30, 0.01), 1.0)
  stocked = get(pair, PAIR, 'latest') / np.maximum(get(pair, PAIR, 'quantity'), 0.01)
  every = [due, 100 * share, trend, cheaper, ratio, np.where(repeated, own, NEVER), trip_share, trip_due]
  every += [cheaper7, stocked]
  return np.stack(every, 1)


def _of_level(
  snapshot: Snapshot, level: int, user: np.ndarray, item: np.ndarray, of_item: np.ndarray, of_user: np.ndarray
) -> np.ndarray:
  known = snapshot.affinity_rows(level, user, item)
  share = 100 * known[:, AFFINITY.index('n')] / np.maximum(of_user[:, USER.index('n')], 1)
  usual = known[:, AFFINITY.index('price')]
  ratio = np.where(usual > 0, of_item[:, ITEM.index('price')] / np.maximum(usual, 0.01), 0.0)
  reorder = snapshot[f'reorder_{level}'][snapshot['category'][level][item]]
  return np.concatenate([known, np.stack([share, ratio, _item_share(snapshot, level)[item], reorder], 1)], 1)


@once
def _item_share(snapshot: Snapshot, level: int) -> np.ndarray:
  """[I] percent of its category's purchases in 90 days that each item has."""
  codes, counts = snapshot['category'][level], snapshot.column('item', 'n90')
  totals = np.bincount(codes, counts)
  return (100 * counts / np.maximum(totals[codes], 1)).astype(np.float32)


def _of_place(snapshot: Snapshot, user: np.ndarray, item: np.ndarray, of_item: np.ndarray) -> np.ndarray:
  place = snapshot['place'][user].astype(np.int64)
  count = look_up(
    snapshot['place_key'], snapshot['place_count'], place * snapshot.num_items + item, np.zeros(1, np.float32)
  )
  return np.concatenate([count, 100 * count / np.maximum(of_item[:, ITEM.index('n30'), None], 1)], 1)


def _reorders(snapshot: Snapshot, user: np.ndarray, item: np.ndarray) -> np.ndarray:
  rates, of_user = snapshot['reorder_item'][item], snapshot['reorder_user'][user]
  ratio = rates[:, 1] / np.maximum(rates[:, 0], 1e-3)
  return np.concatenate([rates, np.stack([of_user, ratio], 1)], 1)


def look_up_promotions(snapshot: Snapshot, user: np.ndarray, item: np.ndarray) -> np.ndarray:
  """[N, len(PROMOTED)]: what is announced for each item in its user's usual place, whether it was promoted there in the
  week before too, in which share of the places it is, and how much of the pair, the item and the user is promotions.

  No columns where the shop announces nothing.
  """
  if not snapshot.promoted:
    return np.zeros((len(item), 0), np.float32)
  keys_of = lambda owner: owner.astype(np.int64) * snapshot.num_items + item
  known = look_up(
    snapshot['promotion_key'],
    snapshot['promotion'],
    keys_of(snapshot['place'][user]),
    np.zeros(len(PROMOTION), np.float32),
  )
  of_pair = look_up(snapshot['pair_key'], snapshot['promotion_pair'][:, None], keys_of(user), np.zeros(1, np.float32))
  others = (snapshot['promotion_share'][item], of_pair[:, 0], snapshot['promotion_item'][item])
  return np.concatenate([known, np.stack([*others, snapshot['promotion_user'][user]], 1)], 1)


def bucket_bounds(dense: np.ndarray, bins: int, sample: int = 200_000, seed: int = 0) -> np.ndarray:
  """[F, bins + 1] ascending quantiles of each column, the bounds of its buckets."""
  rng = np.random.default_rng(seed)
  rows = rng.choice(len(dense), min(sample, len(dense)), replace=False)
  # Zeros (nothing known) are many: quantiles of the rest, so that the buckets lie where something is known.
  columns = []
  for column in dense[rows].T:
    known = column[column != 0]
    bounds = np.quantile(known, np.linspace(0, 1, bins + 1)) if len(known) else np.linspace(0, 1, bins + 1)
    columns.append(np.maximum.accumulate(bounds + 1e-6 * np.arange(bins + 1)))
  bounds = np.array(columns, np.float32)
  for bucket in range(bins):  # from 16 on float32 has no steps of 1e-6
    bounds[:, bucket + 1] = np.maximum(bounds[:, bucket + 1], np.nextafter(bounds[:, bucket], np.float32(np.inf)))
  return bounds
