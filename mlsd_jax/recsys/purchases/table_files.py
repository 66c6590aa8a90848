"""Files of rows as a shop exports them: text with separators, workbooks, Parquet, and archives with one of these."""

import io
import pathlib
import re
import zipfile
import zlib

import fastexcel
import polars as pl

from mlsd_jax import reading
from mlsd_jax.errors import UserError
from mlsd_jax.recsys.purchases.text_files import scan_text

_WORKBOOKS = ('.xlsx', '.xlsm', '.xlsb', '.xls', '.ods')
_PARQUET = ('.parquet', '.pq')
_TEXT = ('.csv', '.tsv', '.txt', '.dat', '.data', '.gz')
_VALUE = re.compile(
  r'[-+]?[\d.,]+|\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}.*|'
)  # what names no column: a number, a day, nothing


def scan(path: str | pathlib.Path) -> tuple[pl.LazyFrame, tuple[str, ...]]:
  """The rows of a text (its separator found out, every column text), a workbook (every column text) or a Parquet file,
  and lines on what was taken for granted in reading it.

  Of a .zip the one table in it, which is unpacked into memory.

  Raises:
    UserError: no such file, an empty one, a damaged workbook or archive, an archive with no table or with several;
      what `scan_text` refuses.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise UserError(f'no such file: {path}')
  if path.suffix.lower() != '.zip':
    return _scan(path, path.suffix.lower(), str(path))
  name, content = _unzipped(path)
  return _scan(content, pathlib.PurePath(name).suffix.lower(), f'{path} ({name})')


def check_names(names: list[str], chosen: list[str], what: str) -> None:
  """Looks whether the first line names the columns, and names those that are `chosen` once.

  Raises:
    UserError: it holds values, a chosen name is not there, or it is there twice.
  """
  missing = [name for name in chosen if name not in names]
  values = [name for name in names if _VALUE.fullmatch(name.strip())]
  if values and (missing or not chosen or set(values) & set(chosen)):
    raise UserError(
      f'{what} has no line that names its columns: the first is {", ".join(map(repr, names))}; '
      'add one, such as user_id,item_id,time'
    )
  if missing:
    raise UserError(f'{what} has no column {missing[0]!r}; it has {", ".join(names)}')
  twice = [name for name in chosen if f'{name}_duplicated_0' in names]
  if twice:
    raise UserError(f'{what} has two columns called {twice[0]!r}: rename one')


def _unzipped(path: pathlib.Path) -> tuple[str, bytes]:
  """Name and content of the one table of an archive."""
  reading.check_archive(path, str(path), None)
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


def _scan(source: pathlib.Path | bytes, suffix: str, what: str) -> tuple[pl.LazyFrame, tuple[str, ...]]:
  if suffix in _WORKBOOKS:
    return _workbook(source, what).lazy(), ()
  if suffix in _PARQUET:
    try:
      table = pl.scan_parquet(source)
      table.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
      raise UserError(f'{what} cannot be read as Parquet: {str(error).splitlines()[0]}') from error
    return table, ()
  return scan_text(source, what, packed=suffix == '.gz')


def _workbook(source: pathlib.Path | bytes, what: str) -> pl.DataFrame:
  """Rows of a workbook's largest sheet and of those with the same columns (a sheet ends at 1,048,576 rows)."""
  if zipfile.is_zipfile(io.BytesIO(source) if isinstance(source, bytes) else source):
    reading.check_archive(source, what, None)
  try:
    sheets = list(pl.read_excel(source, sheet_id=0, infer_schema_length=0, raise_if_empty=False).values())
  except (fastexcel.FastExcelError, pl.exceptions.PolarsError) as error:
    raise UserError(f'{what} cannot be read as a workbook: {str(error).splitlines()[0]}') from None
  largest = max(sheets, key=lambda sheet: sheet.height)
  if not largest.width:
    raise UserError(f'{what} is empty: it has no sheet with anything in it')
  return pl.concat(sheet for sheet in sheets if sheet.columns == largest.columns)
