"""Examples for the two towers: a user at a weekly cut with one item of those bought in the week after it.

The history ends at the cut, as it does when the towers are asked for candidates.
"""

import dataclasses
import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from mlsd_jax.models import two_tower
from mlsd_jax.models.two_tower import TwoTowerConfig
from mlsd_jax.recsys.events import Dataset, vocabulary
from mlsd_jax.recsys.factors import Factors
from mlsd_jax.recsys.histories import Histories
from mlsd_jax.recsys.splits import WEEK, Targets

_POSITIVES = 64  # purchases of a user and week that are evaluated


@dataclasses.dataclass(frozen=True)
class TowerData:
  """Examples of some weeks, and what the model knows of items and users.

  Attributes:
    user, cut, item: [N] of each example; item is a row of the item table.
    histories: of all events (only what lies before an example's cut is read).
    codes: [num_items + 1, C] int32 columns of the item table's rows.
    user_codes: [U, number of user columns] int32.
    share: [num_items + 1] float64, each row's share of the examples.
    factors: of what was bought before the examples.
  """

  user: np.ndarray
  cut: np.ndarray
  item: np.ndarray
  histories: Histories
  codes: np.ndarray
  user_codes: np.ndarray
  share: np.ndarray
  factors: Factors

  @functools.cached_property
  def items(self) -> two_tower.Items:
    """What the item tower is told."""
    known = (self.codes, self.factors.table, self.factors.popularity)
    with jax.ensure_compile_time_eval():  # arrays, even if asked for first while something is traced
      return two_tower.Items(*map(jnp.asarray, known))

  @property
  def lean(self) -> 'TowerData':
    """The same without examples."""
    nothing = np.zeros(0, np.int32)
    return dataclasses.replace(self, user=nothing, cut=nothing, item=nothing)

  def users(self, histories: Histories, users: np.ndarray, cuts: np.ndarray, length: int) -> dict[str, np.ndarray]:
    """What the user tower is told of users at cuts: history, ages, factors, user_codes."""
    return histories.at(users, cuts, length) | {
      'factors': self.factors.of_users(histories, users, cuts),
      'user_codes': self.user_codes[users],
    }


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


def tower_data(dataset: Dataset, before: int, weeks: int, factor_dim: int = 0) -> TowerData:
  """Examples of the `weeks` weeks that end at `before`: a pair bought in a week, once a week.

  Factors are of what came before those weeks, as those of a request are of what came before it: a factor that has seen
  a purchase foretells it too well. So of a short history no more than half becomes examples.
  """
  begins = int(dataset.events['time'][0])
  first = before - min(weeks, max((before - begins) // (2 * WEEK), 1)) * WEEK
  week = (before - 1 - pl.col('time')) // WEEK + 1
  examples = (
    dataset.between(first, before)
    .select('user', pl.col('item') + 1, (before - week * WEEK).alias('cut'))
    .unique(maintain_order=True)
  )
  item = examples['item'].to_numpy()
  counts = np.bincount(item, minlength=dataset.num_items + 1)
  histories = Histories.of(dataset.before(before), dataset.num_users)
  return TowerData(
    examples['user'].to_numpy(),
    examples['cut'].to_numpy(),
    item,
    histories,
    item_codes(dataset),
    user_codes(dataset),
    counts / max(len(item), 1),
    Factors.at(histories, first, dataset.num_items, factor_dim),
  )


class TowerBatches:
  """Shuffled examples with one uniform negative each (TrainData)."""

  def __init__(self, data: TowerData, config: TwoTowerConfig, batch_size: int, *, seed: int = 0):
    self.data, self.config, self.batch_size, self.seed = data, config, batch_size, seed
    # A user buys many items a week: its factors of that week are made once.
    visits, self._visit = np.unique(np.stack([data.cut, data.user.astype(np.int64)]), axis=1, return_inverse=True)
    parts = np.array_split(visits, max(visits.shape[1] // 1024, 1), axis=1)
    self._factors = np.concatenate([data.factors.of_users(data.histories, part[1], part[0]) for part in parts])

  def batches(self, start: int, rows: slice = slice(None)) -> Iterator[dict[str, np.ndarray]]:
    data, number = self.data, start
    per_epoch = max(len(data.item) // self.batch_size, 1)
    while True:
      epoch, place = divmod(number, per_epoch)
      chosen = self._order(epoch)[place * self.batch_size : (place + 1) * self.batch_size]
      chosen = np.resize(chosen, self.batch_size)[rows]
      rng = np.random.default_rng([self.seed, 1, number])
      negative = rng.integers(1, len(data.share), size=self.batch_size, dtype=np.int32)[rows]
      users = data.user[chosen]
      yield data.histories.at(users, data.cut[chosen], self.config.history_length) | {
        'factors': self._factors[self._visit[chosen]],
        'user_codes': data.user_codes[users],
        'user': users,
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
    self.batch = data.users(histories, padded, np.full(batch_size, targets.cut), config.history_length) | {
      'positives': np.where(bought, targets.item[np.minimum(place, len(targets.user) - 1)] + 1, -1).astype(np.int32),
      'counted': (np.arange(batch_size) < len(users)).astype(np.float32),
    }

  def __len__(self) -> int:
    return 1

  def batches(self, rows: slice = slice(None)) -> Iterator[dict[str, np.ndarray]]:
    yield {name: array[rows] for name, array in self.batch.items()}
