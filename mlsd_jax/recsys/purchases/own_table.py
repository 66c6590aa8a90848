"""Any CSV or Parquet file or workbook, also in an archive, with a purchase a row: its columns are named by the user."""

import gzip
import io
import pathlib
import tempfile
import zipfile
import zlib
from collections.abc import Mapping, Sequence

import fastexcel
import polars as pl

from mlsd_jax.errors import UserError
from mlsd_jax.recsys.purchases.events import Dataset, make_dataset

NEEDED = ('user_id', 'item_id', 'time')
COLUMNS = (*NEEDED, 'price', 'quantity', 'place', 'name')
_WORKBOOKS = ('.xlsx', '.xlsm', '.xlsb', '.xls', '.ods')
_PARQUET = ('.parquet', '.pq')
_TEXT = ('.csv', '.tsv', '.txt', '.gz')


def read_table(path: str | pathlib.Path, columns: Mapping[str, str], categories: tuple[str, ...] = ()) -> Dataset:
  """Purchases of a file.

  Rows without a user, an item or a time are left out, and so are those of no or a negative quantity (returns); `notes`
  of what comes back says how many. Rows that stand there twice count twice, as two pieces of a thing may be two rows.

  Args:
    columns: ours (COLUMNS) -> the file's; one that is missing, or '', is the column of our name where there is one.
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
  with tempfile.TemporaryDirectory() as folder:
    numbers = [name for name in ('price', 'quantity') if chosen[name]]
    return _dataset(_with_numbers(events, numbers, pathlib.Path(folder)), path.stem, numbers, categories)


def _with_numbers(events: pl.LazyFrame, names: Sequence[str], folder: pathlib.Path) -> pl.LazyFrame:
  """The rows with texts of some columns read as numbers, and `strange:NAME` where that failed.

  They are gone through several times: kept in a file, they are read and parsed once, however many they are.
  """
  path = folder / 'events.parquet'
  read = events.with_columns(*map(parse_number, names), *((~is_empty(name)).alias(f'strange:{name}') for name in names))
  read = read.with_columns(pl.col(f'strange:{name}') & pl.col(name).is_null() for name in names)
  read.sink_parquet(path, engine='streaming')
  return pl.scan_parquet(path)


def _dataset(events: pl.LazyFrame, shop: str, numbers: Sequence[str], categories: tuple[str, ...]) -> Dataset:
  events = events.with_columns(_ids(events, 'user_id'), _ids(events, 'item_id'))
  counts = events.select(pl.len().alias(''), *(pl.col(f'strange:{name}').sum().alias(name) for name in numbers))
  count = counts.collect(engine='streaming').row(0, named=True)
  unread = tuple(
    f'{name} that is no number, so not known: {count[name]:,} of {count[""]:,} lines' for name in numbers if count[name]
  )
  left_out = {f'without a {name.removesuffix("_id")}': is_empty(name) for name in NEEDED}
  if 'quantity' in numbers:
    left_out['of no or a negative quantity'] = pl.col('quantity').fill_null(1) <= 0
  events, notes = leave_out(events.drop(f'strange:{name}' for name in numbers), left_out)
  described = [f'category:{name}' for name in categories]
  described += ['name'] if 'name' in events.collect_schema().names() and 'name' not in categories else []
  items = None
  if described:
    first = (pl.col(name).drop_nulls().first().alias(name.removeprefix('category:')) for name in described)
    items = events.group_by(pl.col('item_id').alias('id')).agg(*first).sort('id').collect(engine='streaming')
  return make_dataset(shop, events.drop(described), None, items, categories=categories, notes=(*notes, *unread))


def is_empty(name: str) -> pl.Expr:
  """Whether a column has nothing to say."""
  text = pl.col(name).cast(pl.String).str.strip_chars()
  return text.is_null() | text.str.to_lowercase().is_in(['', 'nan', 'null', 'none', 'na', 'nat'])


def _ids(rows: pl.LazyFrame, name: str) -> pl.Expr:
  """A column as text; 17850.0 is 17850 where all of them are so: whole numbers become that where one was missing."""
  text = pl.col(name).cast(pl.String).str.strip_chars()
  whole = rows.select((text.str.contains(r'^\d+\.0$') | is_empty(name)).all()).collect(engine='streaming').item()
  return text.str.strip_suffix('.0') if whole else text


def parse_number(name: str) -> pl.Expr:
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


def scan(path: str | pathlib.Path) -> pl.LazyFrame:
  """A CSV file (its separator found out, every column text), a workbook (every column text) or a Parquet file.

  Of a .zip the one table in it, which is unpacked into memory.

  Raises:
    UserError: no such file, an empty one, a damaged workbook or archive, an archive with no table or with several.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise UserError(f'no such file: {path}')
  if path.suffix.lower() != '.zip':
    return _scan(path, path.suffix.lower(), str(path))
  name, content = _unzipped(path)
  return _scan(content, pathlib.PurePath(name).suffix.lower(), f'{path} ({name})')


def _unzipped(path: pathlib.Path) -> tuple[str, bytes]:
  """Name and content of the one table of an archive."""
  try:
    with zipfile.ZipFile(path) as archive:
      files = [name for name in archive.namelist() if not name.startswith('__MACOSX/')]
      tables = [name for name in files if name.lower().endswith((*_TEXT, *_PARQUET, *_WORKBOOKS))]
      if len(tables) != 1:
        held = ', '.join((tables or files)[:5]) or 'nothing'
        raise UserError(f'{path} is to hold one table, and holds {held}: unpack it and name the file')
      return tables[0], archive.read(tables[0])
  except (zipfile.BadZipFile, zlib.error, RuntimeError) as error:  # the last: a password, an unknown method
    raise UserError(f'{path} cannot be unpacked: {error}') from None


def _scan(source: pathlib.Path | bytes, suffix: str, what: str) -> pl.LazyFrame:
  if suffix in _WORKBOOKS:
    return _workbook(source, what).lazy()
  if suffix in _PARQUET:
    return pl.scan_parquet(source)
  opened = io.BytesIO(source) if isinstance(source, bytes) else source.open('rb')
  with opened as file, gzip.open(file) if suffix == '.gz' else file as text:
    head = text.readline().decode('utf-8-sig', 'replace')
  if '\0' in head:
    raise UserError(
      f'{what} is no text in UTF-8, nor named as Parquet (.parquet), a workbook (.xlsx) or packed (.gz, .zip)'
    )
  if not head.strip():
    raise UserError(f'{what} is empty: its first line must name the columns')
  separator = max(',;\t|', key=head.count)
  return pl.scan_csv(source, separator=separator, infer_schema=False, encoding='utf8-lossy')


def _workbook(source: pathlib.Path | bytes, what: str) -> pl.DataFrame:
  """Rows of a workbook's largest sheet and of those with the same columns (a sheet ends at 1,048,576 rows)."""
  try:
    sheets = list(pl.read_excel(source, sheet_id=0, infer_schema_length=0, raise_if_empty=False).values())
  except (fastexcel.FastExcelError, pl.exceptions.PolarsError) as error:
    raise UserError(f'{what} cannot be read as a workbook: {str(error).splitlines()[0]}') from None
  largest = max(sheets, key=lambda sheet: sheet.height)
  if not largest.width:
    raise UserError(f'{what} is empty: the first line of a sheet must name the columns')
  return pl.concat(sheet for sheet in sheets if sheet.columns == largest.columns)
