"""Training the two towers: weekly examples from the events, sampled softmax, and what retrieval needs of the result.

An example is a user at a weekly cut with one item of those bought in the week after it. The history ends at the cut,
as it does when the towers are asked for candidates.
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from mlsd_jax.models import two_tower
from mlsd_jax.models.two_tower import TwoTowerConfig
from mlsd_jax.recsys.events import DAY, Dataset, vocabulary
from mlsd_jax.recsys.splits import WEEK
from mlsd_jax.training.sharding import Rules
from mlsd_jax.training.task import Task

# Rows of the big tables are split over the mesh; an id's row then lives on one device.
TOWER_RULES: Rules = (('(item|code|user)_tables?(/[0-9]+)?$', ('vocab', None)), ('item_bias$', ('vocab', None)))
_USERS_AT_ONCE = 1024


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


def item_codes(dataset: Dataset, min_count: int = 5) -> np.ndarray:
  """[num_items + 1, C] codes of categories and attributes; row 0, of no item, is all zero."""
  columns = [vocabulary(dataset.items[name], min_count=min_count)[0] for name in (*dataset.categories, *dataset.attributes)]
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


def tower_task(
  config: TwoTowerConfig, data: TowerData, *, batch_size: int, log_q: bool = True, uniform_negatives: bool = True
) -> Task:
  """In-batch sampled softmax; the items of the other rows are the negatives, and one uniform item a row joins them.

  Args:
    log_q: subtract from each logit the logarithm of how often its item is expected among the negatives, without which
      popular items are pushed down (Yi et al. 2019, eq. 3).
    uniform_negatives: mixed negative sampling (Yang et al. 2020), so that items that are never bought are seen too.
  """
  codes_IC = jnp.asarray(data.codes)
  expected = batch_size * data.share + (batch_size / (len(data.share) - 1) if uniform_negatives else 0.0)
  log_expected_I = jnp.asarray(np.log(np.maximum(expected, 1e-9)), jnp.float32)

  def metrics_of(params, batch):
    described = (batch[name] for name in ('history', 'ages', 'weights', 'user_codes'))
    users_BD = two_tower.user_vectors(params, *described, codes_IC, config)
    pool_N = jnp.concatenate([batch['item'], batch['negative']]) if uniform_negatives else batch['item']
    logits_BN = (users_BD @ two_tower.item_vectors(params, pool_N, codes_IC, config).T).astype(jnp.float32)
    if log_q:
      logits_BN = logits_BN - log_expected_I[pool_N][None]
    size = len(batch['item'])
    own_BN = jnp.arange(size)[:, None] == jnp.arange(len(pool_N))[None]
    same_item_BN = batch['item'][:, None] == pool_N[None]
    same_user_BN = jnp.pad(batch['user'][:, None] == batch['user'][None], ((0, 0), (0, len(pool_N) - size)))
    logits_BN = jnp.where((same_item_BN | same_user_BN) & ~own_BN, -1e9, logits_BN)
    nll_B = jax.nn.logsumexp(logits_BN, -1) - jnp.diagonal(logits_BN[:, :size])
    return {'loss': (nll_B.sum(), jnp.float32(size))}

  def loss(params, batch, key):
    del key
    metrics = metrics_of(params, batch)
    return metrics['loss'][0] / metrics['loss'][1], metrics

  return Task(
    init=lambda key: two_tower.init(key, config),
    loss=loss,
    evaluate=metrics_of,
    sharding_rules=TOWER_RULES,
    items_per_batch=batch_size,
    item_name='examples',
  )


def model_config(data: TowerData, settings: dict[str, Any]) -> TwoTowerConfig:
  """The model of a data set, with what the settings say of its size."""
  sizes = lambda codes: tuple(int(column.max()) + 1 for column in codes.T)
  return TwoTowerConfig(
    num_items=len(data.share) - 1, code_sizes=sizes(data.codes), user_sizes=sizes(data.user_codes), **settings
  )


def all_items(params: Any, data: TowerData, config: TwoTowerConfig) -> np.ndarray:
  """[num_items, D + 1] vectors of every item."""
  compute = jax.jit(lambda params, rows: two_tower.item_vectors(params, rows, jnp.asarray(data.codes), config))
  rows = np.arange(1, len(data.share), dtype=np.int32)
  size = 1 << 15
  padded = np.resize(rows, -(-len(rows) // size) * size) if len(rows) > size else rows
  parts = [np.asarray(compute(params, part)) for part in np.split(padded, max(len(padded) // size, 1))]
  return np.concatenate(parts)[: len(rows)]


def some_users(
  params: Any, data: TowerData, config: TwoTowerConfig, histories: Histories, users: np.ndarray, cut: int
) -> np.ndarray:
  """[U, D + 1] vectors of users with what they had bought at a cut."""
  compute = _user_vectors(config, _Array(data.codes))
  parts: list[np.ndarray] = []
  for first in range(0, len(users), _USERS_AT_ONCE):
    some = users[first : first + _USERS_AT_ONCE]
    whole = np.resize(some, min(_USERS_AT_ONCE, 1 << (len(users) - 1).bit_length()))
    known = histories.at(whole, np.full(len(whole), cut), config.history_length)
    vectors = compute(params, known['history'], known['ages'], known['weights'], data.user_codes[whole])
    parts.append(np.asarray(vectors)[: len(some)])
  return np.concatenate(parts)


class _Array:
  """An array that caches know by its identity."""

  def __init__(self, values: np.ndarray):
    self.values = values

  def __hash__(self) -> int:
    return id(self.values)

  def __eq__(self, other: object) -> bool:
    return isinstance(other, _Array) and other.values is self.values


@functools.lru_cache(maxsize=8)
def _user_vectors(config: TwoTowerConfig, codes: _Array):
  table = jnp.asarray(codes.values)
  return jax.jit(lambda params, *described: two_tower.user_vectors(params, *described, table, config))


def exact_top(users: np.ndarray, items: np.ndarray, k: int, chunk: int = 512) -> tuple[np.ndarray, np.ndarray]:
  """The k items of the largest dot product with each user, best first, by comparing all."""
  k = min(k, len(items))
  found: Sequence[Any] = [
    jax.lax.top_k(jnp.asarray(users[first : first + chunk]) @ items.T, k) for first in range(0, len(users), chunk)
  ]
  scores = np.concatenate([np.asarray(part[0]) for part in found])
  return np.concatenate([np.asarray(part[1]) for part in found]).astype(np.int32), scores
