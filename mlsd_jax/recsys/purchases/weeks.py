"""Splits by time only: what happened before a cut may be known, what follows within a week is to be predicted."""

import dataclasses

import numpy as np
import polars as pl

from mlsd_jax.errors import UserError
from mlsd_jax.recsys.purchases.events import DAY, Dataset

WEEK = 7 * DAY
_HISTORY = 4  # weeks before the ranker's first
_FEW = 0.05  # of all purchases, at most, may be slips
_TYPICAL = 12  # weeks before a gap that say how much a week usually sees
_LONG_AGO = 26  # weeks


@dataclasses.dataclass(frozen=True)
class Targets:
  """What was bought in one week: the distinct (user, item) pairs, sorted.

  Attributes:
    cut: the week is cut <= time < cut + WEEK.
    user, item: [N] int32.
    days: [N] float32, days from the cut to the first purchase.
    quantity: [N] float32, how many were bought in the week.
  """

  cut: int
  user: np.ndarray
  item: np.ndarray
  days: np.ndarray
  quantity: np.ndarray

  @property
  def users(self) -> np.ndarray:
    """Users who bought anything, ascending."""
    return np.unique(self.user)

  def only(self, users: np.ndarray) -> 'Targets':
    """Those of some users."""
    keep = np.isin(self.user, users)
    return Targets(self.cut, self.user[keep], self.item[keep], self.days[keep], self.quantity[keep])

  def sample(self, users: int, seed: int = 0) -> 'Targets':
    """Those of `users` users drawn at random; all of them if they are fewer, or if `users` is 0."""
    buyers = self.users
    if not users or len(buyers) <= users:
      return self
    return self.only(np.sort(np.random.default_rng([seed, self.cut]).choice(buyers, users, replace=False)))


def list_cuts(dataset: Dataset, weeks: int) -> list[int]:
  """The cuts of the last `weeks` weeks of the data, the last week's first.

  Raises:
    UserError: the data does not reach back far enough to leave a history before the earliest.
  """
  first, last = dataset.events['time'][0], dataset.events['time'][-1]
  latest_first = [last + 1 - WEEK * number for number in range(1, weeks + 1)]
  if latest_first[-1] <= first:
    fewer = ', or a smaller config.funnel.weeks' if weeks > 2 else ''
    raise UserError(
      f'{dataset.name} spans {(last - first) / DAY:.0f} days, too few to hold out {weeks} weeks and leave a '
      f'history: at least {7 * weeks + 1} days{fewer}'
    )
  return latest_first


def choose_cuts(dataset: Dataset, number: int) -> list[int]:
  """The cut of the week held out, then those of the ranker's weeks, the latest first: at most `number` of them.

  They are fewer where little history would be left, and weeks in which nothing was bought are left out.

  Raises:
    UserError: no week is left to train on, the data is too short, or a few purchases lie long after all others.
  """
  if late := find_late(dataset):
    raise UserError(late)
  whole = int(dataset.events['time'][-1] - dataset.events['time'][0]) // WEEK
  held_out, *earlier = list_cuts(dataset, min(number, max(whole - _HISTORY, 1)) + 1)
  with_purchases = [cut for cut in earlier if dataset.between(cut, cut + WEEK).height]
  if not with_purchases:
    raise UserError(
      f'{dataset.name}: nothing was bought in the {len(earlier)} weeks before the one held out; '
      'there must be a week to train on: a larger config.funnel.weeks reaches further back'
    )
  return [held_out, *with_purchases]


def find_late(dataset: Dataset) -> str:
  """A line on a few purchases that lie a week and more after all others, which would be the week held out; '' if the
  last week is one like those before. (A wrong year is the usual cause.)"""
  time = dataset.events['time'].to_numpy()
  last_week = len(time) - int(np.searchsorted(time, time[-1] - WEEK, 'right'))
  # The earliest gap behind which hardly anything lies: of several wrong days all are behind it.
  for gap in np.flatnonzero(np.diff(time) >= WEEK):
    after = len(time) - gap - 1
    if after > _FEW * len(time) and after > 1:
      continue
    weekly = np.bincount((time[gap] - time[: gap + 1]) // WEEK)[:_TYPICAL]
    if last_week < np.median(weekly) / 4:
      skip = -(-(int(time[-1]) + 1 - int(time[gap + 1])) // WEEK)
      days = (time[gap + 1] - time[gap]) // DAY
      return (
        f'{dataset.name}: {after:,} of {len(time):,} purchases {"is" if after == 1 else "are"} of {day(time[gap + 1])} '
        f'or later, {days:,} days after all others, whose last is of {day(time[gap])}: mend the time, or hold out the '
        f'week before it by --config.funnel.skip={skip}'
      )
  return ''


def describe_early(dataset: Dataset) -> str:
  """A line on a few purchases that lie long before all others; '' if there are none."""
  time = dataset.events['time'].to_numpy()
  gaps = np.flatnonzero(np.diff(time) >= _LONG_AGO * WEEK)
  gaps = gaps[gaps + 1 <= max(_FEW * len(time), 1)]
  if not len(gaps) or len(time) < 3:
    return ''
  before = gaps[-1] + 1
  return (
    f'{before:,} of {len(time):,} purchases {"is" if before == 1 else "are"} of {day(time[before - 1])} or earlier, '
    f'{(time[before] - time[before - 1]) // DAY:,} days before all others: if that is wrong, mend the time'
  )


def first_day(cut: int) -> np.datetime64:
  """The day with which a week begins: where days are all that is known, cuts lie a second past the midnight before."""
  return day(cut - 1 + DAY if cut % DAY == 1 else cut)


def day(second: int) -> np.datetime64:
  """The day that a second since 1970 lies in."""
  return np.datetime64(int(second), 's').astype('datetime64[D]')


def find_targets(dataset: Dataset, cut: int) -> Targets:
  """What was bought in the week from `cut` on; empty where that week has no events."""
  pairs = (
    dataset.between(cut, cut + WEEK)
    .group_by('user', 'item')
    .agg(pl.col('time').min(), pl.col('quantity').sum())
    .sort('user', 'item')
  )
  days = (pairs['time'].to_numpy() - cut) / DAY
  return Targets(
    cut,
    pairs['user'].to_numpy(),
    pairs['item'].to_numpy(),
    days.astype(np.float32),
    pairs['quantity'].to_numpy(),
  )


def segment_users(history: pl.DataFrame, num_users: int, light: int = 10) -> np.ndarray:
  """[num_users] of 'cold' (no purchase in the history), 'light' (up to `light` distinct days) and 'heavy'."""
  days = history.group_by('user').agg((pl.col('time') // DAY).n_unique().alias('days'))
  visits = np.zeros(num_users, np.int64)
  visits[days['user'].to_numpy()] = days['days'].to_numpy()
  return np.select([visits == 0, visits <= light], ['cold', 'light'], 'heavy')
