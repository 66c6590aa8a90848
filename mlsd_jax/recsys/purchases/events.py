"""Purchases as one table, whatever they were read from.

    events   user i32, item i32, time i64 (seconds since 1970), price f32, quantity f32, place i32; sorted by time
             (and rating f32 where ratings were asked for)
    users    id (text), then attributes; row u is user u
    items    id (text), name, then attributes; row i is item i

What a shop announces beforehand may stand beside them:

    promotions  item i32, place i32, start and stop (dates, stop not included), display, mailer, front (bool)

Users and items are row numbers from here on, so that a lookup is an index and a join cannot multiply rows.
"""

import dataclasses
import datetime
import functools
import hashlib
import zlib
from collections.abc import Sequence

import numpy as np
import polars as pl

from mlsd_jax.errors import UserError
from mlsd_jax.recsys.purchases import times

DAY = times.DAY


@dataclasses.dataclass(frozen=True)
class Dataset:
  """Events with their users and items.

  Attributes:
    name: of the source.
    categories: attributes of items from coarse to fine, such as ('department', 'type').
    user_attributes: attributes of users, as a model may use them.
    attributes: further attributes of items (brand, colour, ...).
    notes: what a reader left out or took for granted, a line each.
    promotions: what is on display or in the mailer (on its front) where and when; None where nothing is known of that.
    closed: days on which the shop sells nothing, known beforehand.
  """

  name: str
  events: pl.DataFrame
  users: pl.DataFrame
  items: pl.DataFrame
  categories: tuple[str, ...]
  attributes: tuple[str, ...] = ()
  user_attributes: tuple[str, ...] = ()
  notes: tuple[str, ...] = ()
  promotions: pl.DataFrame | None = None
  closed: tuple[datetime.date, ...] = ()

  @property
  def num_users(self) -> int:
    return self.users.height

  @property
  def num_items(self) -> int:
    return self.items.height

  @functools.cached_property
  def fingerprint(self) -> str:
    """Of every event and of the ids of users and items. (Each reading gives events in the same order.)"""
    digest = hashlib.blake2b(digest_size=16)
    for column in self.events:
      digest.update(np.ascontiguousarray(column.to_numpy()))
    for table in (self.users, self.items):
      digest.update('\n'.join(table['id']).encode())
    return digest.hexdigest()

  @functools.cached_property
  def on_promotion(self) -> np.ndarray:
    """[E] bool: whether what each event bought was promoted there and then."""
    promoted = np.zeros(self.events.height, bool)
    if self.promotions is None:
      return promoted
    keyed = lambda table: (table['place'].cast(pl.Int64) * self.num_items + table['item']).to_numpy()
    keys, seconds = keyed(self.events), self.events['time'].to_numpy()
    # As many lookups as there are distinct weeks: a join by intervals would meet every promotion of an item.
    for (start, stop), announced in self.promotions.group_by('start', 'stop'):
      bounds = [int(np.datetime64(day, 's').astype(np.int64)) for day in (start, stop)]
      first, last = np.searchsorted(seconds, bounds)
      promoted[first:last] |= np.isin(keys[first:last], keyed(announced))
    return promoted

  def before(self, cut: int) -> pl.DataFrame:
    """Events earlier than `cut`."""
    return self.events[: self.events['time'].search_sorted(cut, 'left')]

  def until(self, stop: int) -> 'Dataset':
    """The same shop as it was before `stop`."""
    return dataclasses.replace(self, events=self.before(stop))

  def between(self, start: int, stop: int) -> pl.DataFrame:
    """Events of start <= time < stop."""
    first, last = self.events['time'].search_sorted(pl.Series([start, stop]), 'left')
    return self.events[int(first) : int(last)]


def make_dataset(
  name: str,
  events: pl.DataFrame | pl.LazyFrame,
  users: pl.DataFrame | None = None,
  items: pl.DataFrame | None = None,
  *,
  categories: Sequence[str] = (),
  attributes: Sequence[str] = (),
  user_attributes: Sequence[str] = (),
  notes: Sequence[str] = (),
  promotions: pl.LazyFrame | None = None,
  closed: Sequence[datetime.date] = (),
  date_order: str = '',
) -> Dataset:
  """A Dataset of events that name their users and items by id.

  Args:
    events: user_id, item_id, time (see times.py); price, quantity and place where there are any, and a rating, which is
      a further column of the events then. Order does not matter. A price that is missing, NaN or below 0 becomes 0,
      which features take as unknown.
    users: a table with `id`; None makes it from the events. Ids there must be unique, and an event must not name one
      that is not there.
    items: the same of the items.
    promotions: item_id, place, start, stop, display, mailer, front; those of other items and places are left out.
    date_order: see times.parse_seconds.

  Raises:
    UserError: missing columns, duplicate or unknown ids, times that cannot be read, no events.
  """
  lazy = events.lazy()
  names = lazy.collect_schema().names()
  missing = [column for column in ('user_id', 'item_id', 'time') if column not in names]
  if missing:
    raise UserError(f'{name} has no column {missing[0]!r}; it has {", ".join(names)}')
  defaults = {'price': 0.0, 'quantity': 1.0, 'place': ''}
  lazy = lazy.with_columns(
    pl.col('user_id').cast(pl.String),
    pl.col('item_id').cast(pl.String),
    *(pl.lit(value).alias(column) for column, value in defaults.items() if column not in names),
  )
  seconds = times.parse_seconds(lazy, name, date_order)
  rated = ('rating',) if 'rating' in names else ()
  named = lazy.select('user_id', 'item_id', seconds, *defaults, *rated)
  users = _described(named, 'user_id', users, f'users of {name}')
  items = _described(named, 'item_id', items, f'items of {name}')
  if 'name' not in items.columns:
    items = items.with_columns(pl.col('id').alias('name'))
  place = pl.col('place').cast(pl.String).fill_null('')  # what is missing is a place of its own
  places = named.select(place.unique().sort()).collect().to_series()
  coded = (
    named.join(_index(users, 'user'), left_on='user_id', right_on='id', how='left')
    .join(_index(items, 'item'), left_on='item_id', right_on='id', how='left')
    .select(
      'user',
      'item',
      'time',
      pl.col('price').cast(pl.Float32, strict=False).fill_null(0).fill_nan(0).clip(0),
      pl.col('quantity').cast(pl.Float32, strict=False).fill_null(1).fill_nan(1),
      place.replace_strict(places, pl.int_range(len(places), eager=True), return_dtype=pl.Int32),
      *(pl.col(name).cast(pl.Float32) for name in rated),
    )
    .sort(
      'time', 'user', 'item', 'quantity', 'price', 'place', *rated
    )  # by all, so that each reading gives the same order
    .collect(engine='streaming')
  )
  rows = named.select(pl.len()).collect().item()
  if coded.height != rows:
    raise UserError(f'{name}: {rows:,} events became {coded.height:,} when users and items were looked up')
  for column in ('user', 'item', 'time'):
    if unknown := coded[column].null_count():
      source = 'time' if column == 'time' else f'{column}_id'
      bad = (
        seconds.is_null()
        if column == 'time'
        else ~pl.col(source).is_in((users if column == 'user' else items)['id'].implode())
      )
      example = lazy.filter(bad.fill_null(True)).select(source).head(1).collect(engine='streaming').item()
      shown = str(example) if column == 'time' and not isinstance(example, str) else repr(example)
      what = 'no time that can be read' if column == 'time' else f'{column}s that the {column}s table does not have'
      raise UserError(f'{name}: {unknown:,} of {rows:,} events have {what}, such as {shown}')
  if not rows:
    raise UserError(f'{name} has no events')
  return Dataset(
    name,
    coded,
    users,
    items,
    tuple(categories),
    tuple(attributes),
    tuple(user_attributes),
    tuple(notes),
    None if promotions is None else _announced(promotions, items, places),
    tuple(closed),
  )


def _announced(promotions: pl.LazyFrame, items: pl.DataFrame, places: pl.Series) -> pl.DataFrame:
  """Promotions by row numbers. Distinct ids are compared as text, the many rows by what they were."""

  def coded(column: str, ids: pl.LazyFrame) -> pl.LazyFrame:
    distinct = promotions.select(column).unique().with_columns(pl.col(column).cast(pl.String).alias('id'))
    return distinct.join(ids, on='id').drop('id')

  numbered = pl.LazyFrame({'id': places, 'number': pl.int_range(len(places), dtype=pl.Int32, eager=True)})
  return (
    promotions.join(coded('item_id', _index(items, 'item')), on='item_id')
    .join(coded('place', numbered), on='place')
    .select('item', pl.col('number').alias('place'), 'start', 'stop', 'display', 'mailer', 'front')
    .collect(engine='streaming')
  )


def _described(events: pl.LazyFrame, column: str, table: pl.DataFrame | None, what: str) -> pl.DataFrame:
  if table is None:
    return events.select(pl.col(column).alias('id').unique().sort()).collect(engine='streaming')
  if 'id' not in table.columns:
    raise UserError(f'{what}: no column id; there are {", ".join(table.columns)}')
  table = table.with_columns(pl.col('id').cast(pl.String))
  twice = table.filter(pl.col('id').is_duplicated())
  if twice.height:
    raise UserError(f'{what}: id {twice["id"][0]!r} stands there {(table["id"] == twice["id"][0]).sum()} times')
  return table


def _index(table: pl.DataFrame, name: str) -> pl.LazyFrame:
  return table.lazy().select('id', pl.int_range(pl.len(), dtype=pl.Int32).alias(name))


def vocabulary(values: pl.Series, *, min_count: int = 1, buckets: int = 0) -> tuple[np.ndarray, list[str]]:
  """Codes [N] int32 of a column of text, and the values of the codes.

  Code 0 is what is missing. What occurs fewer than `min_count` times shares the `buckets` codes behind the known ones,
  by a hash that is the same on every machine (Weinberger et al. 2009, arXiv:0902.2206), or code 0 where
  there are none.
  """
  text = values.cast(pl.String)
  counts = text.drop_nulls().value_counts(name='count')
  distinct, often = counts[counts.columns[0]], counts['count'] >= min_count
  known = distinct.filter(often).sort().to_list()
  codes = {value: code for code, value in enumerate(known, 1)}
  if buckets:
    codes |= {value: 1 + len(known) + zlib.crc32(value.encode()) % buckets for value in distinct.filter(~often)}
  coded = text.replace_strict(codes, default=0, return_dtype=pl.Int32) if codes else values.len() * [0]
  return np.asarray(coded, np.int32), ['', *known, *(f'rare {bucket}' for bucket in range(buckets))]


def encode(values: pl.Series, names: Sequence[str], buckets: int = 0) -> np.ndarray:
  """Codes [N] int32 of further values of a column whose `vocabulary` has `names`; what is not there is rare."""
  codes = {name: code for code, name in enumerate(names[: len(names) - buckets]) if code}
  rare = lambda text: len(names) - buckets + zlib.crc32(text.encode()) % buckets if buckets else 0
  texts = values.cast(pl.String).to_list()
  return np.array([0 if text is None else codes.get(text, rare(text)) for text in texts], np.int32)
