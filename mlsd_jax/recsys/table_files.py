"""Files that hold a table: CSV, Parquet, workbooks, and archives with one of them."""

import gzip
import io
import pathlib
import zipfile
import zlib

import fastexcel
import polars as pl

from mlsd_jax.errors import UserError

_WORKBOOKS = ('.xlsx', '.xlsm', '.xlsb', '.xls', '.ods')
_PARQUET = ('.parquet', '.pq')
_TEXT = ('.csv', '.tsv', '.txt', '.gz')


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
