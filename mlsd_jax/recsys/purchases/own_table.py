"""Any CSV or Parquet file or workbook, also in an archive, with a purchase a row: its columns are named by the user."""

import dataclasses
import pathlib
import tempfile
from collections.abc import Mapping

import polars as pl

from mlsd_jax.errors import UserError
from mlsd_jax.recsys.purchases import ids, numbers, times
from mlsd_jax.recsys.purchases.events import Dataset, make_dataset
from mlsd_jax.recsys.purchases.numbers import Numbers, is_empty
from mlsd_jax.recsys.purchases.table_files import check_names, scan

NEEDED = ('user_id', 'item_id', 'time')
COLUMNS = (*NEEDED, 'price', 'quantity', 'rating', 'place', 'name')
_UNREAD = {
  'price': 'not known',
  'quantity': 'taken as 1',
  'rating': 'left out',
}  # what a text that is no number becomes


@dataclasses.dataclass(frozen=True)
class Reading:
  """What a table does not tell of itself.

  Attributes:
    decimal: 'point' or 'comma', whichever its numbers have; '' finds it out, column by column.
    date_order: 'day' or 'month', whichever comes first in its dates; '' finds it out.
    min_rating: a rating below is no event; None where every line is one.
    ratings: whether each line's rating is a column of what is read, and lines without one are left out.
  """

  decimal: str = ''
  date_order: str = ''
  min_rating: float | None = None
  ratings: bool = False

  def __post_init__(self):
    for name, known in (('decimal', tuple(numbers.DECIMALS)), ('date_order', times.ORDERS)):
      if getattr(self, name) not in ('', *known):
        raise UserError(f'config.data.{name}={getattr(self, name)!r} is not one of {", ".join(known)}, nor empty')


def read_table(
  path: str | pathlib.Path,
  columns: Mapping[str, str],
  categories: tuple[str, ...] = (),
  reading: Reading = Reading(),
) -> Dataset:
  """Purchases of a file.

  Rows without a user, an item or a time are left out, and so are those of no or a negative quantity (returns) and those
  rated too low; `notes` of what comes back says how many. Rows that stand there twice count twice, as two pieces of a
  thing may be two rows.

  Args:
    columns: ours (COLUMNS) -> the file's; one that is missing, or '', is the column of our name where there is one.
    categories: columns that describe the item, from coarse to fine; an item has those of its first row that has any.

  Raises:
    UserError: no such file, a kind of file that is not read, missing columns, times that cannot be read, numbers or
      dates that can be read in two ways, no rows left.
  """
  path = pathlib.Path(path)
  lazy, notes = scan(path)
  names, categories = lazy.collect_schema().names(), tuple(dict.fromkeys(categories))
  if 'id' in categories:
    raise UserError("a category cannot be called 'id', as items are told apart by that; rename the column")
  unknown = [ours for ours in columns if ours not in COLUMNS]
  if unknown:
    raise UserError(f'config.data.columns.{unknown[0]} is not one of {", ".join(COLUMNS)}')
  chosen = {ours: columns.get(ours) or (ours if ours in names else '') for ours in COLUMNS}
  if reading.ratings and not chosen['rating']:
    raise UserError(f'say which column is the rating: --config.data.columns.rating=; {path} has {", ".join(names)}')
  if reading.min_rating is None and chosen['rating'] and not reading.ratings:
    if columns.get('rating'):
      raise UserError('config.data.columns.rating also requires --config.data.min_rating=, from which on a line counts')
    chosen['rating'] = ''
    notes += ("column 'rating': every line counts, whatever it says; --config.data.min_rating=4 takes those from 4 on",)
  if reading.min_rating is not None and not chosen['rating']:
    raise UserError('config.data.min_rating requires a column of ratings: --config.data.columns.rating=')
  check_names(names, [name for name in (*chosen.values(), *categories) if name], str(path))
  untold = [ours for ours in NEEDED if not chosen[ours]]
  if untold:
    raise UserError(
      f'say which column is the {untold[0]}: --config.data.columns.{untold[0]}=; {path} has {", ".join(names)}'
    )
  events = lazy.select(
    *(pl.col(theirs).alias(ours) for ours, theirs in chosen.items() if theirs),
    *(pl.col(name).cast(pl.String).alias(f'category:{name}') for name in categories),
  )
  with tempfile.TemporaryDirectory() as folder:
    # It is gone through several times: kept in a file, it is taken out of its text once, however long it is.
    rows = pathlib.Path(folder) / 'rows.parquet'
    events.sink_parquet(rows, engine='streaming')
    return _dataset(pl.scan_parquet(rows), path.stem, categories, reading, notes)


def _dataset(
  events: pl.LazyFrame, shop: str, categories: tuple[str, ...], reading: Reading, notes: tuple[str, ...]
) -> Dataset:
  present = events.collect_schema().names()
  read = {
    name: numbers.read_numbers(events, name, called=f'{shop}: {name}', decimal=reading.decimal)
    for name in _UNREAD
    if name in present
  }
  lines = events.select(pl.len()).collect(engine='streaming').item()
  notes += numbers.describe_unread(read, _UNREAD, lines)
  zero = times.is_zero(events)
  user, of_users = ids.read_ids(events, 'user_id')
  item, of_items = ids.read_ids(events, 'item_id')
  missing = {f'without a {name.removesuffix("_id")}': is_empty(name) for name in NEEDED}
  reasons = missing | {'with a time of 0, which says nothing': zero} | _no_purchases(read, reading)
  events, left_out = leave_out(events.with_columns(user, item), reasons)
  events = events.with_columns(numbers_.value.alias(name) for name, numbers_ in read.items())
  events = events.drop(name for name in ('rating',) if name in present and not reading.ratings)
  notes += (*of_users, *of_items, *left_out, *_describe_prices(events, 'price' in read))
  described = [f'category:{name}' for name in categories]
  described += ['name'] if 'name' in present and 'name' not in categories else []
  items = None
  if described:
    first = (pl.col(name).drop_nulls().first().alias(name.removeprefix('category:')) for name in described)
    items = events.group_by(pl.col('item_id').alias('id')).agg(*first).sort('id').collect(engine='streaming')
  return make_dataset(
    shop,
    events.drop(described),
    None,
    items,
    categories=categories,
    notes=notes,
    date_order=reading.date_order,
  )


def _no_purchases(read: Mapping[str, Numbers], reading: Reading) -> dict[str, pl.Expr]:
  """Why a line that has a user, an item and a time is no purchase."""
  reasons = {}
  if 'quantity' in read:
    reasons['of no or a negative quantity'] = read['quantity'].value.fill_null(1) <= 0
  if 'rating' in read:
    reasons['without a rating'] = read['rating'].value.is_null()
  if 'rating' in read and reading.min_rating is not None:
    reasons[f'rated below {reading.min_rating:g}'] = read['rating'].value < reading.min_rating
  return reasons


def _describe_prices(events: pl.LazyFrame, priced: bool) -> tuple[str, ...]:
  """A line on prices that are no prices."""
  if not priced:
    return ()
  nothing = pl.col('price') <= 0
  counted = events.select(
    nothing.sum().alias('none'), pl.len().alias('all'), pl.col('price').filter(nothing).min().alias('low')
  )
  none, every, low = counted.collect(engine='streaming').row(0)
  return (f'price of 0 or below, so not known: {none:,} of {every:,} lines, such as {low:g}',) if none else ()


def leave_out(rows: pl.LazyFrame, reasons: Mapping[str, pl.Expr]) -> tuple[pl.LazyFrame, tuple[str, ...]]:
  """Rows for which no reason holds, and how many were left out for each: a row counts for the first that holds."""
  counts = {}
  kept = pl.lit(True)
  for reason, holds in reasons.items():
    counts[reason] = (kept & holds).sum()
    kept = kept & ~holds
  counted = rows.select(pl.len().alias(''), *(count.alias(reason) for reason, count in counts.items()))
  counts_by_reason = counted.collect(engine='streaming').row(0, named=True)
  total = counts_by_reason.pop('')
  notes = tuple(
    f'left out: {count:,} of {total:,} lines, {reason}' for reason, count in counts_by_reason.items() if count
  )
  return rows.filter(kept), notes
