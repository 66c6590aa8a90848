"""Examples for the two towers: a user at a weekly cut with one item of those bought in the week after it.

The history ends at the cut, as it does when the towers are asked for candidates.
"""

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np
import polars as pl

from mlsd_jax.models.two_tower import TwoTowerConfig
from mlsd_jax.recsys.events import DAY, Dataset, vocabulary
from mlsd_jax.recsys.splits import WEEK, Targets

_POSITIVES = 64  # purchases of a user and week that are evaluated


@dataclasses.dataclass(frozen=True)
class Histories:
  """Events by user, in time, so that what a user had bought at any moment is one slice.

  Attributes:
    start: [U + 2] where each user's events begin; user U, whom nobody knows, has none.
    item: [E] rows of the item table (item + 1).
    day: [E] float32 days since `origin`, ascending within a user.
    origin: seconds.
  """

  start: np.ndarray
  item: np.ndarray
  day: np.ndarray
  origin: int

  @classmethod
  def of(cls, events: pl.DataFrame, num_users: int) -> 'Histories':
    # Lines of one basket come in no order: without repeats, and sorted by item.
    ordered = events.select('user', 'time', 'item').sort('user', 'time', 'item')
    user = ordered['user'].to_numpy()
    origin = int(events['time'][0]) if events.height else 0
    day = ((ordered['time'].to_numpy() - origin) / DAY).astype(np.float32)
    return cls(np.searchsorted(user, np.arange(num_users + 2)), ordered['item'].to_numpy() + 1, day, origin)

  def at(
    self,
    users: np.ndarray,
    cuts: np.ndarray,
    length: int,
    *,
    latest: int = 0,
    sampled: int = 0,
    rng: np.random.Generator | None = None,
  ) -> dict[str, np.ndarray]:
    """The last `length` purchases before each cut, the latest last.

    Args:
      latest, sampled, rng: if given, only the `latest` and `sampled` drawn from those before them, to train on.

    Returns:
      history [B, H] rows (-1: none), ages [B, H] in days, weights [B, H]: purchases that each stands for.
    """
    moments = (np.asarray(cuts, np.int64) - self.origin) / DAY
    stops = self._stops(users, moments.astype(np.float32))
    back = np.broadcast_to(np.arange(length, 0, -1), (len(users), length))
    weights = np.ones(back.shape, np.float32)
    if rng is not None and latest + sampled < length:
      earlier = np.clip(stops - self.start[users] - latest, 0, length - latest)[:, None]
      drawn = np.where(
        earlier > sampled, rng.integers(0, np.maximum(earlier, 1), (len(users), sampled)), np.arange(sampled)[::-1]
      )
      back = np.concatenate([latest + 1 + drawn, np.broadcast_to(np.arange(latest, 0, -1), (len(users), latest))], 1)
      weights = np.ones(back.shape, np.float32)
      weights[:, :sampled] = np.maximum(earlier / sampled, 1.0)
    place = stops[:, None] - back
    known = place >= self.start[users][:, None]
    place = np.where(known, place, 0)
    items = np.where(known, self.item[place], -1) if len(self.item) else np.full(place.shape, -1)
    ages = np.where(known, moments[:, None] - self.day[place], 0.0) if len(self.item) else np.zeros(place.shape)
    return {'history': items.astype(np.int32), 'ages': ages.astype(np.float32), 'weights': weights}

  def _stops(self, users: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """Where each user's events before a moment end: a binary search in all slices at once."""
    low, high = self.start[users].copy(), self.start[users + 1].copy()
    while (low < high).any():
      middle = (low + high) // 2
      open_ = low < high
      earlier = open_ & (self.day[np.minimum(middle, len(self.day) - 1)] < moments)
      low = np.where(earlier, middle + 1, low)
      high = np.where(open_ & ~earlier, middle, high)
    return low


@dataclasses.dataclass(frozen=True)
class TowerData:
  """Examples of some weeks, and what the model knows of items and users.

  Attributes:
    user, cut, item: [N] of each example; item is a row of the item table.
    histories: of all events (only what lies before an example's cut is read).
    codes: [num_items + 1, C] int32 columns of the item table's rows.
    user_codes: [U, number of user columns] int32.
    share: [num_items + 1] float64, each row's share of the examples.
  """

  user: np.ndarray
  cut: np.ndarray
  item: np.ndarray
  histories: Histories
  codes: np.ndarray
  user_codes: np.ndarray
  share: np.ndarray


def item_codes(dataset: Dataset, min_count: int = 5, buckets: int = 16) -> np.ndarray:
  """[num_items + 1, C] codes of categories and attributes, rare ones hashed; row 0, of no item, is all zero."""
  columns = [
    vocabulary(dataset.items[name], min_count=min_count, buckets=buckets)[0]
    for name in (*dataset.categories, *dataset.attributes)
  ]
  codes = np.stack(columns, 1) if columns else np.zeros((dataset.num_items, 0), np.int32)
  return np.concatenate([np.zeros((1, codes.shape[1]), np.int32), codes])


def user_codes(dataset: Dataset) -> np.ndarray:
  """[U + 1, number of columns] codes of the users' attributes; the last row is of a user nobody knows."""
  columns = [vocabulary(dataset.users[name])[0] for name in dataset.user_attributes]
  codes = np.stack(columns, 1) if columns else np.zeros((dataset.num_users, 0), np.int32)
  return np.concatenate([codes, np.zeros((1, codes.shape[1]), np.int32)])


def tower_data(dataset: Dataset, before: int, weeks: int) -> TowerData:
  """Examples of the `weeks` weeks that end at `before`: a pair bought in a week, once a week."""
  first = max(before - weeks * WEEK, int(dataset.events['time'][0]) + WEEK)
  week = (before - 1 - pl.col('time')) // WEEK + 1
  examples = (
    dataset.between(first, before)
    .select('user', pl.col('item') + 1, (before - week * WEEK).alias('cut'))
    .unique(maintain_order=True)
  )
  item = examples['item'].to_numpy()
  counts = np.bincount(item, minlength=dataset.num_items + 1)
  return TowerData(
    examples['user'].to_numpy(),
    examples['cut'].to_numpy(),
    item,
    Histories.of(dataset.before(before), dataset.num_users),
    item_codes(dataset),
    user_codes(dataset),
    counts / max(len(item), 1),
  )


class TowerBatches:
  """Shuffled examples with one uniform negative each (TrainData)."""

  def __init__(self, data: TowerData, config: TwoTowerConfig, batch_size: int, *, sampled: int = 32, seed: int = 0):
    self.data, self.config, self.batch_size, self.sampled, self.seed = data, config, batch_size, sampled, seed

  def batches(self, start: int, rows: slice = slice(None)) -> Iterator[dict[str, np.ndarray]]:
    data, number = self.data, start
    per_epoch = max(len(data.item) // self.batch_size, 1)
    while True:
      epoch, place = divmod(number, per_epoch)
      chosen = self._order(epoch)[place * self.batch_size : (place + 1) * self.batch_size]
      chosen = np.resize(chosen, self.batch_size)[rows]
      rng = np.random.default_rng([self.seed, 1, number])
      negative = rng.integers(1, len(data.share), size=self.batch_size, dtype=np.int32)[rows]
      histories = data.histories.at(
        data.user[chosen],
        data.cut[chosen],
        self.config.history_length,
        latest=self.config.sequence_length,
        sampled=self.sampled,
        rng=np.random.default_rng([self.seed, 2, number, rows.start or 0]),
      )
      yield histories | {
        'user': data.user[chosen],
        'user_codes': data.user_codes[data.user[chosen]],
        'item': data.item[chosen],
        'negative': negative,
      }
      number += 1

  @functools.lru_cache(maxsize=2)  # noqa: B019
  def _order(self, epoch: int) -> np.ndarray:
    return np.random.default_rng([self.seed, 0, epoch]).permutation(len(self.data.item))


class TowerEval:
  """One batch of users at a cut with what they bought in the week after it (EvalData); users beyond it are left out."""

  def __init__(self, data: TowerData, config: TwoTowerConfig, targets: Targets, histories: Histories, batch_size: int):
    users = np.random.default_rng(0).permutation(targets.users)[:batch_size]
    padded = np.resize(users, batch_size)
    first = np.searchsorted(targets.user, padded)
    place = first[:, None] + np.arange(_POSITIVES)
    bought = (place < len(targets.user)) & (targets.user[np.minimum(place, len(targets.user) - 1)] == padded[:, None])
    self.batch = histories.at(padded, np.full(batch_size, targets.cut), config.history_length) | {
      'user_codes': data.user_codes[padded],
      'positives': np.where(bought, targets.item[np.minimum(place, len(targets.user) - 1)] + 1, -1).astype(np.int32),
      'counted': (np.arange(batch_size) < len(users)).astype(np.float32),
    }

  def __len__(self) -> int:
    return 1

  def batches(self, rows: slice = slice(None)) -> Iterator[dict[str, np.ndarray]]:
    yield {name: array[rows] for name, array in self.batch.items()}
