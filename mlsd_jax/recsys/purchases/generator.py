"""Purchases with a known cause, at any scale: what a model recovers can be measured against the truth.

Every item belongs to one taste, every user has a few tastes of known weights. An event picks a taste of the user, then
an item of that taste by Zipf's law among those on sale in that week; some events buy again what was bought before.
"""

import dataclasses
from typing import Annotated

import numpy as np
import polars as pl

from mlsd_jax.errors import UserError
from mlsd_jax.recsys.purchases.events import DAY, Dataset
from mlsd_jax.schema import above

_START = 1_546_300_800  # 2019-01-01
_USERS_AT_ONCE = 200_000


@dataclasses.dataclass(frozen=True)
class SyntheticConfig:
  """Sizes and habits. Kaggle's H&M: 1,371,980 users, 105,542 items, 31.8 M events, 104 weeks, 30 tastes or so."""

  num_users: int = 3000
  num_items: int = 2000
  events_per_user: Annotated[float, above(0)] = 23.2  # the mean; users differ as an exponential does
  weeks: int = 30
  tastes: int = 20
  tastes_per_user: int = 3
  zipf: float = 1.0
  on_sale_weeks: float = 26.0  # the mean life of an item; 0 for ever
  repeat: float = 0.1  # share of events that buy again
  seed: int = 0

  def __post_init__(self):
    for name in ('num_users', 'num_items', 'weeks', 'tastes', 'tastes_per_user'):
      if getattr(self, name) < 1:
        raise UserError(f'{name} must be at least 1, got {getattr(self, name)}')
    if self.tastes < self.tastes_per_user:
      raise UserError(f'tastes must be at least the {self.tastes_per_user} of tastes_per_user, got {self.tastes}')
    if self.num_items < self.tastes:
      raise UserError(f'num_items must be at least {self.tastes}, one for each of tastes, got {self.num_items}')
    if not 0 <= self.repeat < 1:
      raise UserError(f'repeat must be at least 0 and below 1, got {self.repeat}')


@dataclasses.dataclass(frozen=True)
class Truth:
  """What the purchases were drawn from.

  Attributes:
    user_taste, user_weight: [U, tastes_per_user].
    item_taste: [I]; item_weight: [I] within its taste; on_sale: [I, 2] first week and the week after the last.
  """

  config: SyntheticConfig
  user_taste: np.ndarray
  user_weight: np.ndarray
  item_taste: np.ndarray
  item_weight: np.ndarray
  on_sale: np.ndarray

  def shares(self, week: int) -> np.ndarray:
    """[I]: each item's share of its taste's purchases in a week."""
    weight = self.item_weight * ((self.on_sale[:, 0] <= week) & (week < self.on_sale[:, 1]))
    total = np.bincount(self.item_taste, weight, minlength=self.config.tastes)
    return weight / np.maximum(total[self.item_taste], 1e-12)

  def probabilities(self, users: np.ndarray, week: int) -> np.ndarray:
    """[len(users), I]: how likely each item is to be the user's next purchase that is no repeat."""
    by_taste = np.zeros((len(users), self.config.tastes))
    np.put_along_axis(by_taste, self.user_taste[users], self.user_weight[users], 1)
    return by_taste[:, self.item_taste] * self.shares(week)


@dataclasses.dataclass(frozen=True)
class Generated:
  dataset: Dataset
  truth: Truth


def generate(config: SyntheticConfig) -> Generated:
  """Draws everything; the same config gives the same purchases."""
  rng = np.random.default_rng(config.seed)
  truth = _truth(config, rng)
  parts = [
    _events(config, truth, first, min(first + _USERS_AT_ONCE, config.num_users))
    for first in range(0, config.num_users, _USERS_AT_ONCE)
  ]
  events = pl.concat(parts).sort('time', 'user', 'item')
  users = pl.DataFrame({'id': [f'u{i}' for i in range(config.num_users)]})
  taste = truth.item_taste
  items = pl.DataFrame(
    {
      'id': [f'{i:010d}' for i in range(config.num_items)],
      'name': [f'item {i} of taste {t}' for i, t in enumerate(taste)],
      'department': [f'd{t // 5}' for t in taste],
      # A coarse view of the truth, so that content says something without saying it all.
      'kind': [f'k{t // 2}-{i % 3}' for i, t in enumerate(taste)],
    }
  )
  dataset = Dataset('synthetic', events, users, items, ('department', 'kind'))
  return Generated(dataset, truth)


def _truth(config: SyntheticConfig, rng: np.random.Generator) -> Truth:
  user_taste = rng.random((config.num_users, config.tastes)).argpartition(config.tastes_per_user - 1, 1)
  user_taste = user_taste[:, : config.tastes_per_user].astype(np.int32)
  user_weight = rng.dirichlet(np.ones(config.tastes_per_user), config.num_users).astype(np.float32)
  item_taste = rng.permutation(np.arange(config.num_items) % config.tastes).astype(np.int32)
  place = np.empty(config.num_items)
  for taste in range(config.tastes):
    mine = np.flatnonzero(item_taste == taste)
    place[mine] = rng.permutation(len(mine)) + 1
  weight = 1 / (place + 3) ** config.zipf
  if config.on_sale_weeks:
    length = 4 + rng.exponential(config.on_sale_weeks, config.num_items)
    first = rng.uniform(-config.on_sale_weeks, config.weeks, config.num_items)
    on_sale = np.stack([first, first + length], 1)
  else:
    on_sale = np.tile([0.0, np.inf], (config.num_items, 1))
  # The last item of each taste is always on sale: no week is without one.
  _, first_of_taste = np.unique(item_taste, return_index=True)
  on_sale[first_of_taste] = (-np.inf, np.inf)
  return Truth(config, user_taste, user_weight, item_taste, weight, on_sale)


def _events(config: SyntheticConfig, truth: Truth, first: int, last: int) -> pl.DataFrame:
  """Purchases of the users first, ..., last - 1."""
  rng = np.random.default_rng([config.seed, 1, first])
  counts = 1 + rng.geometric(1 / max(config.events_per_user, 1.0), last - first) - 1
  user = np.repeat(np.arange(first, last), counts)
  number = len(user)
  week = rng.integers(0, config.weeks, number)
  # All lines of a user and week are one basket, at one moment.
  second = (week * 7 + (user * 7919 + week * 104_729) % 7) * DAY + 3600 * (8 + (user + week) % 12)
  order = np.argsort(user * np.int64(config.weeks * 8) + week, kind='stable')
  user, week, second = user[order], week[order], second[order]
  cumulative = np.cumsum(truth.user_weight[user], 1)
  slot = np.minimum((rng.random((number, 1)) > cumulative).sum(1), config.tastes_per_user - 1)
  taste = truth.user_taste[user, slot]
  item = np.empty(number, np.int32)
  for this_week in range(config.weeks):
    chosen = np.flatnonzero(week == this_week)
    if len(chosen):
      item[chosen] = _draw(truth, this_week, taste[chosen], rng)
  # A repeat takes the item of an earlier event of the same user.
  begins = np.searchsorted(user, user)
  back = np.arange(number) - begins
  repeats = np.flatnonzero((rng.random(number) < config.repeat) & (back > 0))
  source = begins[repeats] + (rng.random(len(repeats)) * back[repeats]).astype(np.int64)
  item[repeats] = item[source]
  price = (5 + truth.item_taste[item] % 7 * 4 + item % 5).astype(np.float32)
  return pl.DataFrame(
    {
      'user': user.astype(np.int32),
      'item': item,
      'time': _START + second.astype(np.int64),
      'price': price,
      'quantity': np.ones(number, np.float32),
      'place': (user % 2).astype(np.int32),
    }
  )


def _draw(truth: Truth, week: int, taste: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  """An item on sale of each taste."""
  share = truth.shares(week)
  order = np.argsort(truth.item_taste, kind='stable')
  cumulative = np.cumsum(share[order])
  # Tastes lie one behind the other, each of total 1.
  position = taste + rng.random(len(taste)) * (1 - 1e-9)
  place = np.minimum(np.searchsorted(cumulative, position, 'right'), len(order) - 1)
  return order[place].astype(np.int32)
