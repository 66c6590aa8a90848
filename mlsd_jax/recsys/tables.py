"""Any CSV or Parquet file or workbook with a purchase a row, its columns told by name."""

import gzip
import pathlib
from collections.abc import Mapping

import fastexcel
import polars as pl

from mlsd_jax.errors import UserError
from mlsd_jax.recsys.events import Dataset, make_dataset

NEEDED = ('user_id', 'item_id', 'time')
COLUMNS = (*NEEDED, 'price', 'quantity', 'place', 'name')
WORKBOOKS = ('.xlsx', '.xlsm', '.xlsb', '.xls', '.ods')


def table(path: str | pathlib.Path, columns: Mapping[str, str], categories: tuple[str, ...] = ()) -> Dataset:
  """Purchases of a file.

  Rows without a user, an item or a time are left out, and so are those of no or a negative quantity (returns); `notes`
  of what comes back says how many. Rows that stand there twice count twice, as two pieces of a thing may be two rows.

  Args:
    columns: ours (COLUMNS) -> the file's; one that is not told, or '', is the column of our name where there is one.
    categories: columns that describe the item, from coarse to fine; an item has those of its first row that has any.

  Raises:
    UserError: no such file, a kind of file that is not read, missing columns, times that cannot be read, no rows left.
  """
  path = pathlib.Path(path)
  lazy = scan(path)
  names, categories = lazy.collect_schema().names(), tuple(dict.fromkeys(categories))
  if 'id' in categories:
    raise UserError("a category cannot be called 'id', as items are told apart by that; rename the column")
  unknown = [ours for ours in columns if ours not in COLUMNS]
  if unknown:
    raise UserError(f'config.data.columns.{unknown[0]} is not one of {", ".join(COLUMNS)}')
  chosen = {ours: columns.get(ours) or (ours if ours in names else '') for ours in COLUMNS}
  missing = [name for name in (*chosen.values(), *categories) if name and name not in names]
  if missing:
    raise UserError(f'{path} has no column {missing[0]!r}; it has {", ".join(names)}')
  untold = [ours for ours in NEEDED if not chosen[ours]]
  if untold:
    raise UserError(
      f'say which column is the {untold[0]}: --config.data.columns.{untold[0]}=; {path} has {", ".join(names)}'
    )
  events = lazy.select(
    *(pl.col(theirs).alias(ours) for ours, theirs in chosen.items() if theirs),
    *(pl.col(name).cast(pl.String).alias(f'category:{name}') for name in categories),
  )
  events = events.with_columns(_ids(events, 'user_id'), _ids(events, 'item_id'))
  numbers = [name for name in ('price', 'quantity') if chosen[name]]
  strange = events.select(pl.len().alias(''), *((~empty(name) & number(name).is_null()).sum() for name in numbers))
  told = strange.collect(engine='streaming').row(0, named=True)
  unread = tuple(
    f'{name} that is no number, so not known: {told[name]:,} of {told[""]:,} lines' for name in numbers if told[name]
  )
  events = events.with_columns(number(name) for name in numbers)
  left_out = {f'without a {name.removesuffix("_id")}': empty(name) for name in NEEDED}
  if chosen['quantity']:
    left_out['of no or a negative quantity'] = pl.col('quantity').fill_null(1) <= 0
  events, notes = without(events, left_out)
  described = [f'category:{name}' for name in categories]
  described += ['name'] if chosen['name'] and 'name' not in categories else []
  items = None
  if described:
    first = (pl.col(name).drop_nulls().first().alias(name.removeprefix('category:')) for name in described)
    items = events.group_by(pl.col('item_id').alias('id')).agg(*first).sort('id').collect(engine='streaming')
  return make_dataset(path.stem, events.drop(described), None, items, categories=categories, notes=(*notes, *unread))


def scan(path: str | pathlib.Path) -> pl.LazyFrame:
  """A CSV file (its separator found out, every column text), a workbook (every column text) or a Parquet file."""
  path = pathlib.Path(path)
  if not path.is_file():
    raise UserError(f'no such file: {path}')
  if path.suffix.lower() in WORKBOOKS:
    return _workbook(path).lazy()
  if path.suffix.lower() in ('.parquet', '.pq'):
    return pl.scan_parquet(path)
  with gzip.open(path) if path.suffix == '.gz' else path.open('rb') as file:
    head = file.readline().decode('utf-8-sig', 'replace')
  if not head.strip():
    raise UserError(f'{path} is empty: its first line must name the columns')
  separator = max(',;\t|', key=head.count)
  return pl.scan_csv(path, separator=separator, infer_schema=False, encoding='utf8-lossy')


def _workbook(path: pathlib.Path) -> pl.DataFrame:
  """Rows of a workbook's largest sheet and of those with the same columns (a sheet ends at 1,048,576 rows)."""
  try:
    sheets = list(pl.read_excel(path, sheet_id=0, infer_schema_length=0, raise_if_empty=False).values())
  except (fastexcel.FastExcelError, pl.exceptions.PolarsError) as error:
    raise UserError(f'{path} cannot be read as a workbook: {str(error).splitlines()[0]}') from None
  largest = max(sheets, key=lambda sheet: sheet.height)
  if not largest.width:
    raise UserError(f'{path} is empty: the first line of a sheet must name the columns')
  return pl.concat(sheet for sheet in sheets if sheet.columns == largest.columns)


def empty(name: str) -> pl.Expr:
  """Whether a column has nothing to say."""
  text = pl.col(name).cast(pl.String).str.strip_chars()
  return text.is_null() | text.str.to_lowercase().is_in(['', 'nan', 'null', 'none', 'na', 'nat'])


def _ids(rows: pl.LazyFrame, name: str) -> pl.Expr:
  """A column as text; 17850.0 is 17850 where all of them are so: whole numbers become that where one was missing."""
  text = pl.col(name).cast(pl.String).str.strip_chars()
  whole = rows.select((text.str.contains(r'^\d+\.0$') | empty(name)).all()).collect(engine='streaming').item()
  return text.str.strip_suffix('.0') if whole else text


def number(name: str) -> pl.Expr:
  """A column as numbers: the first of a text, negative behind a minus, before one, or in parentheses.

  A comma may stand for the decimal point, points, commas, spaces or apostrophes at the thousands, words and currencies
  around.
  """
  text = pl.col(name).cast(pl.String).str.strip_chars().str.replace_all('−', '-', literal=True)
  negative = text.str.contains(r'^[^\d]*-') | text.str.contains(r'-$') | text.str.contains(r'^\(.*\)$')
  text = text.str.replace(r'^([-+]?)\.(\d)', '${1}0.${2}')
  digits = text.str.extract(r"(\d[\d.,\s']*(?:[eE][-+]?\d+)?)").str.replace_all(r"[\s']|[.,]+\s*$", '')
  comma_last = digits.str.contains(r',\d{1,2}$') | digits.str.contains(r'\..*,')
  plain = pl.when(comma_last).then(digits.str.replace_all('.', '', literal=True).str.replace(',', '.', literal=True))
  size = plain.otherwise(digits.str.replace_all(',', '', literal=True)).cast(pl.Float32, strict=False)
  return pl.when(negative).then(-size).otherwise(size).alias(name)


def without(rows: pl.LazyFrame, reasons: Mapping[str, pl.Expr]) -> tuple[pl.LazyFrame, tuple[str, ...]]:
  """Rows for which no reason holds, and how many were left out for each: a row counts for the first that holds."""
  counts = {}
  kept = pl.lit(True)
  for reason, holds in reasons.items():
    counts[reason] = (kept & holds).sum()
    kept = kept & ~holds
  found = rows.select(pl.len().alias(''), *(count.alias(reason) for reason, count in counts.items()))
  told = found.collect(engine='streaming').row(0, named=True)
  total = told.pop('')
  notes = tuple(f'left out: {count:,} of {total:,} lines, {reason}' for reason, count in told.items() if count)
  return rows.filter(kept), notes
