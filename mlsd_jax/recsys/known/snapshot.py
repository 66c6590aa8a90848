"""What is known at a cut: counts, ages, prices and affinities of users, items and pairs, from earlier events only.

Training weeks and serving look their features up in a snapshot by the same code (features.py), so neither can see what
the other does not. A snapshot is a dictionary of arrays: it is saved as a folder and mapped into memory by the server.

Names: U users, I items, P pairs (user, item) with a purchase, C codes of a category.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from mlsd_jax import files
from mlsd_jax.errors import UserError
from mlsd_jax.recsys.known import promotions
from mlsd_jax.recsys.known.covisitation import covisitation
from mlsd_jax.recsys.known.grouped import Grouped, Part, contains
from mlsd_jax.recsys.known.reorders import reorders
from mlsd_jax.recsys.purchases.events import DAY, Dataset, vocabulary

WINDOWS = (3, 7, 30, 90)  # days
PAIR_WINDOWS = (3, 7, 14, 30, 60, 90, 180)  # days
NEVER = 9999.0  # days since what has not happened
HALF = 30.0  # days after which a purchase weighs half in decayed counts; in slow ones three times as many
_AGAIN = 1e-3  # of all pairs; fewer are slips of a table of ratings
RECENT = 64  # distinct items kept of each user, the latest first

WEEKS = (4, 12, 26)  # of how many of the last so many weeks saw a purchase
TRIPS = (5, 10, 20)  # of how many of a user's last so many trips (days with a purchase) saw one of the item

_COUNTS = tuple(f'n{days}' for days in WINDOWS)
_WEEKS = tuple(f'weeks{weeks}' for weeks in WEEKS)
_TRIPS = tuple(f'trips{trips}' for trips in TRIPS)
PAIR = (
  *(f'n{days}' for days in PAIR_WINDOWS),
  'n',
  *_WEEKS,
  *('decayed', 'slow', 'since', 'first', 'days', 'quantity', 'price'),
  *_TRIPS,
  *('trips_since', 'trips', 'latest'),  # trips after the latest purchase; trips from the first purchase on
)
ITEM = (*_COUNTS, 'n', 'buyers', 'since', 'age', 'price', 'price30', 'price7', 'repeat', 'interval', 'quantity')
USER = (*_COUNTS, 'n', *_WEEKS, 'since', 'age', 'price', 'spread', 'days', 'days30', 'items')
AFFINITY = ('n30', 'n', 'decayed', 'since', 'price')


@dataclasses.dataclass(frozen=True, eq=False)
class Snapshot:
  """The state at `cut`.

  Attributes:
    categories: names of the category levels, coarse to fine.
    arrays: pair_key [P] int64 (user * I + item, ascending) with pair [P, len(PAIR)]; item [I, len(ITEM)]; user
      [U + 1, len(USER)], the last row of unknown users; category [levels, I] int32 and for each level
      affinity_key_LEVEL and affinity_LEVEL; place [U + 1] (the user's usual one), place_key and place_count; recent
      [U + 1, RECENT] items (-1: none) and recent_age in days; covisit_start, covisit_item and covisit_score;
      reorder_item, reorder_user and for each level reorder_LEVEL (reorders.py);
      open_share [1]. Where the shop announces promotions: promotion_key (place * I + item, ascending) with promotion
      [_, len(announced.PROMOTION)], promotion_share [I] of the places with any; promotion_pair [P], promotion_item [I]
      and promotion_user [U + 1], which share of their purchases was made on promotion.
  """

  cut: int
  num_users: int
  num_items: int
  categories: tuple[str, ...]
  arrays: Mapping[str, np.ndarray]
  derived: dict[Any, Any] = dataclasses.field(default_factory=dict, repr=False)  # see `once`

  def __getitem__(self, name: str) -> np.ndarray:
    return self.arrays[name]

  def pairs_of(self, users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each user's pairs begin and end in pair_key."""
    starts = users.astype(np.int64) * self.num_items
    key = self['pair_key']
    return np.searchsorted(key, starts), np.searchsorted(key, starts + self.num_items)

  def pair_rows(self, user: np.ndarray, item: np.ndarray) -> np.ndarray:
    """[N, len(PAIR)] of users with items."""
    return look_up(self['pair_key'], self['pair'], user.astype(np.int64) * self.num_items + item, missing_row(PAIR))

  def bought(self, user: np.ndarray, item: np.ndarray) -> np.ndarray:
    """[N] bool: whether each user ever bought the item."""
    return contains(self['pair_key'], user.astype(np.int64) * self.num_items + item)

  def affinity_rows(self, level: int, user: np.ndarray, item: np.ndarray) -> np.ndarray:
    """[N, len(AFFINITY)] of users to the categories of items."""
    codes = self['category'][level]
    key = user.astype(np.int64) * (int(codes.max()) + 1) + codes[item]
    return look_up(self[f'affinity_key_{level}'], self[f'affinity_{level}'], key, missing_row(AFFINITY))

  @property
  def open_share(self) -> float:
    """Share of the days of the week to come on which anything will be sold."""
    return float(self['open_share'][0])

  @property
  def promoted(self) -> bool:
    """Whether the shop is one that announces promotions."""
    return 'promotion_key' in self.arrays

  @property
  def buys_again(self) -> bool:
    """Whether people buy what they have bought before: one pair in a thousand at least has purchases on two days."""
    return bool((self.column('pair', 'days') > 1).mean() >= _AGAIN)

  def column(self, table: str, name: str) -> np.ndarray:
    """One named column of 'pair', 'item' or 'user'."""
    return self[table][:, {'pair': PAIR, 'item': ITEM, 'user': USER}[table].index(name)]


def once[**P, T](function: Callable[P, T]) -> Callable[P, T]:
  """What `function(snapshot, ...)` returned is kept with the snapshot, and goes when the snapshot goes."""

  @functools.wraps(function)
  def kept(*args: P.args, **keywords: P.kwargs) -> T:
    assert not keywords
    snapshot: Any = args[0]
    key = (function, *args[1:])
    if key not in snapshot.derived:
      snapshot.derived[key] = function(*args, **keywords)
    return snapshot.derived[key]

  return kept


def look_up(keys: np.ndarray, table: np.ndarray, queries: np.ndarray, missing: np.ndarray) -> np.ndarray:
  """Rows of `table` at the ascending `keys` that are `asked` for [N]; `missing` where there is none."""
  if not len(keys):
    return np.broadcast_to(missing, (len(queries), len(missing))).copy()
  place = np.minimum(np.searchsorted(keys, queries), len(keys) - 1)
  present = keys[place] == queries
  rows = table[place]
  rows[~present] = missing
  return rows


def missing_row(names: Sequence[str]) -> np.ndarray:
  """What a pair or affinity without a purchase has: nothing counted, never seen."""
  return np.array([NEVER if name in ('since', 'first', 'trips_since') else 0.0 for name in names], np.float32)


def take(dataset: Dataset, cut: int) -> Snapshot:
  """The snapshot of `dataset` at `cut`; events from `cut` on are never touched.

  What the shop plans before a week begins is known too: its promotions of the week from `cut` on, and its closed days.

  Raises:
    UserError: there is no event before the cut.
  """
  history = dataset.before(cut)
  if not history.height:
    raise UserError(f'{dataset.name} has no event before the cut')
  history = date_events(history, cut)
  columns = list_columns(history)
  codes = np.stack(
    [vocabulary(dataset.items[name])[0] for name in dataset.categories] or [np.zeros(dataset.num_items, np.int32)]
  )
  arrays: dict[str, np.ndarray] = {'category': codes}
  arrays |= count_pairs(columns, dataset.num_items)
  pairs = pair_frame(arrays, dataset.num_items)
  arrays['item'] = count_items(history, pairs, dataset.num_items)
  # One more than there are users: the last row is that of a user nobody knows.
  arrays['user'] = count_users(columns, pairs['user'].to_numpy(), dataset.num_users + 1)
  for level, coded in enumerate(codes):
    arrays |= count_affinity(columns, coded, level)
  arrays |= count_places(history, dataset.num_users + 1, dataset.num_items)
  arrays |= reorders(history, codes, dataset.num_users + 1, dataset.num_items)
  arrays |= list_recent(pairs, dataset.num_users + 1)
  arrays |= covisitation(history, dataset.num_items)
  arrays |= promotions.read_week(dataset, cut)
  arrays |= promotions.count_deals(dataset, history, arrays['pair_key'])
  return Snapshot(cut, dataset.num_users, dataset.num_items, dataset.categories or ('all',), arrays)


def date_events(events: pl.DataFrame, cut: int) -> pl.DataFrame:
  """Events with their age at a cut, in days, and the day that they were on."""
  age = ((cut - pl.col('time')) / DAY).cast(pl.Float32)
  return events.with_columns(age.alias('age'), (pl.col('time') // DAY).cast(pl.Int32).alias('day'))


def list_columns(history: pl.DataFrame) -> dict[str, np.ndarray]:
  """What is counted of dated events that ascend in time, by name."""
  columns = {name: history[name].to_numpy() for name in ('user', 'item', 'age', 'day', 'price', 'quantity')}
  return columns | {'trip': trips_after(columns['user'], columns['day'])}


def trips_after(user: np.ndarray, day: np.ndarray) -> np.ndarray:
  """How many trips of its user came after the one that each event is of."""

  def after(part: Part, rows: Mapping[str, np.ndarray]) -> np.ndarray:
    trip = np.cumsum(part.begins(rows['day']))
    return np.repeat(part.latest(trip), part.size) - trip

  return Grouped(user).column({'day': day}, after)


def _counts(part: Part, age: np.ndarray, windows: Sequence[int] = WINDOWS) -> dict[str, np.ndarray]:
  return {f'n{days}': part.sum(age <= days) for days in windows} | {'n': part.size}


def _weeks(part: Part, age: np.ndarray) -> dict[str, np.ndarray]:
  week = age // 7
  return {f'weeks{weeks}': part.distinct(week, week < weeks) for weeks in WEEKS}


def _decayed(part: Part, age: np.ndarray, half: float = HALF) -> np.ndarray:
  return part.sum(np.exp(age * np.float32(-np.log(2) / half)))


def _mean_price(part: Part, price: np.ndarray) -> np.ndarray:
  """Of the prices that are known, which are above 0; 0 where none is."""
  return part.sum(price) / np.maximum(part.sum(price > 0), 1)


def _matrix(table: pl.DataFrame, names: Sequence[str]) -> np.ndarray:
  return np.stack([table[name].cast(pl.Float32).to_numpy() for name in names], 1)


def count_pairs(columns: Mapping[str, np.ndarray], num_items: int) -> dict[str, np.ndarray]:
  """pair_key and pair, see Snapshot."""

  def values(part: Part, rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    age, trip = rows['age'], rows['trip']
    return (
      _counts(part, age, PAIR_WINDOWS)
      | _weeks(part, age)
      | {f'trips{n}': part.distinct(trip, trip < n) for n in TRIPS}
      | {
        'decayed': _decayed(part, age),
        'slow': _decayed(part, age, 3 * HALF),
        'since': part.latest(age),
        'first': part.earliest(age),
        'days': part.distinct(rows['day']),
        'quantity': part.mean(rows['quantity']),
        'latest': part.latest(rows['quantity']),
        'price': part.latest(rows['price']),
        'trips_since': part.latest(trip),
        'trips': part.earliest(trip) + 1,
      }
    )

  by = Grouped(columns['user'].astype(np.int64) * num_items + columns['item'])
  return {'pair_key': by.key, 'pair': by.table(PAIR, columns, values)}


def pair_frame(arrays: Mapping[str, np.ndarray], num_items: int) -> pl.DataFrame:
  """Pairs as a table: user, item, and when and on how many days."""
  key, values = arrays['pair_key'], arrays['pair']
  columns = {name: values[:, PAIR.index(name)] for name in ('since', 'first', 'days')}
  return pl.DataFrame(
    {'user': (key // num_items).astype(np.int32), 'item': (key % num_items).astype(np.int32)} | columns
  )


def _filled(table: pl.DataFrame, by: str, rows: int, names: Sequence[str]) -> np.ndarray:
  """[rows, names] in the order of the ids; those of whom there is nothing have the missing row."""
  out = np.tile(missing_row(names), (rows, 1))
  out[table[by].to_numpy()] = np.nan_to_num(_matrix(table, names), nan=0.0)
  return out


def count_items(history: pl.DataFrame, pairs: pl.DataFrame, num_items: int) -> np.ndarray:
  """[num_items, len(ITEM)] of dated events and their pairs."""
  known = pl.when(pl.col('price') > 0).then('price')
  by_item = history.group_by('item').agg(
    *((pl.col('age') <= days).sum().alias(f'n{days}') for days in WINDOWS),
    pl.len().alias('n'),
    pl.col('age').min().alias('since'),
    pl.col('age').max().alias('age'),
    known.mean(),
    known.filter(pl.col('age') <= 30).mean().alias('price30'),
    known.filter(pl.col('age') <= 7).mean().alias('price7'),
    pl.col('quantity').mean(),
  )
  again = pl.col('days') > 1
  by_pair = pairs.group_by('item').agg(
    pl.len().alias('buyers'),
    again.mean().alias('repeat'),
    ((pl.col('first') - pl.col('since')) / (pl.col('days') - 1)).filter(again).mean().alias('interval'),
  )
  joined = by_item.join(by_pair, on='item', how='left')
  return _filled(joined, 'item', num_items, ITEM)


def count_users(columns: Mapping[str, np.ndarray], pair_user: np.ndarray, num_users: int) -> np.ndarray:
  """[num_users, len(USER)]; `pair_user` [P] is the user of each pair."""

  def values(part: Part, rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    age, price = rows['age'], rows['price']
    mean = _mean_price(part, price)
    off = part.sum(np.square(price - np.repeat(mean, part.size)) * (price > 0))
    return (
      _counts(part, age)
      | _weeks(part, age)
      | {
        'since': part.latest(age),
        'age': part.earliest(age),
        'price': mean,
        'spread': np.sqrt(off / np.maximum(part.sum(price > 0) - 1, 1)),
        'days': part.distinct(rows['day']),
        'days30': part.distinct(rows['day'], age <= 30),
        'items': items[rows['user'][part.start]],
      }
    )

  items = np.bincount(pair_user, minlength=num_users)
  by = Grouped(columns['user'])
  out = np.tile(missing_row(USER), (num_users, 1))
  out[by.key] = by.table(USER, columns, values)
  return out


def count_affinity(columns: Mapping[str, np.ndarray], codes: np.ndarray, level: int) -> dict[str, np.ndarray]:
  """affinity_key_LEVEL and affinity_LEVEL, see Snapshot."""

  def values(part: Part, rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    age = rows['age']
    known = {'decayed': _decayed(part, age), 'since': part.latest(age), 'price': _mean_price(part, rows['price'])}
    return _counts(part, age, (30,)) | known

  by = Grouped(columns['user'].astype(np.int64) * (int(codes.max()) + 1) + codes[columns['item']])
  return {f'affinity_key_{level}': by.key, f'affinity_{level}': by.table(AFFINITY, columns, values)}


def count_places(history: pl.DataFrame, num_users: int, num_items: int) -> dict[str, np.ndarray]:
  """Each user's usual place, and how often each item was bought at each in 30 days."""
  usual = (
    history.group_by('user', 'place')
    .agg((-pl.col('age') / 90).exp().sum().alias('weight'))
    .sort('user', 'weight', 'place', descending=[False, True, False])
    .unique('user', keep='first', maintain_order=True)
  )
  place = np.full(num_users, -1, np.int32)
  place[usual['user'].to_numpy()] = usual['place'].to_numpy()
  key = pl.col('place').cast(pl.Int64) * num_items + pl.col('item')
  counts = history.filter(pl.col('age') <= 30).group_by(key.alias('key')).agg(pl.len().alias('n')).sort('key')
  return {
    'place': place,
    'place_key': counts['key'].to_numpy(),
    'place_count': _matrix(counts, ('n',)),
  }


def list_recent(pairs: pl.DataFrame, num_users: int) -> dict[str, np.ndarray]:
  """recent and recent_age, see Snapshot."""
  latest = pairs.select('user', 'item', 'since').sort('user', 'since', 'item')
  user = latest['user'].to_numpy()
  rank = np.arange(len(user)) - np.searchsorted(user, user)
  keep = rank < RECENT
  items = np.full((num_users, RECENT), -1, np.int32)
  ages = np.full((num_users, RECENT), NEVER, np.float32)
  items[user[keep], rank[keep]] = latest['item'].to_numpy()[keep]
  ages[user[keep], rank[keep]] = latest['since'].to_numpy()[keep]
  return {'recent': items, 'recent_age': ages}


def save(snapshot: Snapshot, folder: pathlib.Path) -> None:
  """One .npy file an array, and snapshot.json, which is written last: without it the folder is not a snapshot."""
  for name, array in snapshot.arrays.items():
    with files.atomic_path(folder / f'{name}.npy') as temporary:
      np.save(temporary, array)
  described = {field: getattr(snapshot, field) for field in ('cut', 'num_users', 'num_items', 'categories')}
  files.write_json(folder / 'snapshot.json', described | {'arrays': sorted(snapshot.arrays)})


def load(folder: pathlib.Path) -> Snapshot:
  """A saved snapshot, its arrays mapped into memory.

  Raises:
    UserError: the folder holds none.
  """
  if not (folder / 'snapshot.json').exists():
    raise UserError(f'{folder} holds no snapshot; train first')
  described = files.read_json(folder / 'snapshot.json')
  arrays = {name: mapped(folder / f'{name}.npy') for name in described.pop('arrays')}
  return Snapshot(**described | {'categories': tuple(described['categories'])}, arrays=arrays)


def mapped(path: pathlib.Path) -> np.ndarray:
  """An .npy file mapped into memory, as a plain array: slicing an np.memmap takes several times as long."""
  return np.asarray(np.load(path, mmap_mode='r'))
