"""Pages out of files with one on each row: JSONL, Parquet, and CSV or TSV whose first line names the columns."""

import csv
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

from mlsd_jax import reading
from mlsd_jax.errors import UserError
from mlsd_jax.retrieval.page import MARKDOWN, MAX_BYTES, PLAIN, Page

_JSON = ('.jsonl', '.ndjson')
_TABLES = ('.csv', '.tsv')
_PARQUET = '.parquet'
SUFFIXES = (*(f'{suffix}{packed}' for suffix in (*_JSON, *_TABLES) for packed in ('', '.gz')), _PARQUET)
_TEXTS = ('text', 'contents', 'body')  # BEIR's name, Pyserini's, and one of web crawls
_IDS = ('_id', 'id', 'docid')
_NAMED = "'text', 'contents' or 'body'"
_SHOWN = 3  # bad rows of a file that are named


def read_rows(path: pathlib.Path, name: str, warn: Callable[[str], None]) -> Iterator[Page]:
  """A page for each row: its text, and what there is of id, title and folder.

  A row without an id has the file's name and its line. Rows that are no pages are left out; the others are read.

  Args:
    name: of the file below the corpus.
    warn: gets one line a file for all the rows that are left out.

  Raises:
    UserError: the file cannot be read, or no row of it is a page.
  """
  tables = name.lower().removesuffix('.gz').endswith(_TABLES)
  problems: list[str] = []
  good = False
  columns = name.lower().endswith(_PARQUET)
  for number, row in (
    parquet_rows(path) if columns else _table(path) if tables else reading.json_lines(path, unique=True)
  ):
    try:
      if isinstance(row, UserError):
        raise row
      yield _page(row, f'{path}, line {number}', f'{name}:{number}', name.rpartition('/')[0])
      good = True
    except UserError as error:
      problems.append(str(error) if len(problems) < _SHOWN else '')
  if problems:
    others = [problem.removeprefix(f'{path}, ') for problem in problems[1:_SHOWN]]
    more = f'; {len(problems) - _SHOWN:,} more rows' if len(problems) > _SHOWN else ''
    line = '; '.join([problems[0], *others]) + more
    if not good:
      raise UserError(line)
    warn(f'left out: {line}')


def parquet_rows(path: pathlib.Path) -> Iterator[tuple[int, dict[str, Any]]]:
  """Numbered rows of a Parquet file, a thousand of which are held at a time.

  Raises:
    UserError: it cannot be read, or is damaged.
  """
  import pyarrow
  import pyarrow.parquet

  number = 0
  try:
    with pyarrow.parquet.ParquetFile(path) as table:
      for batch in table.iter_batches(batch_size=1024):
        for row in batch.to_pylist():
          number += 1
          yield number, row
  except OSError as error:
    raise UserError(f'cannot read {path}: {error}') from error
  except pyarrow.ArrowException as error:
    raise UserError(f'{path} is damaged, or no Parquet file: {error}') from error


def _page(row: Any, where: str, default_id: str, folder: str) -> Page:
  if not isinstance(row, dict):
    raise UserError(f'{where}: a JSON {type(row).__name__}, not an object')
  present = [key for key in _TEXTS if key in row]
  if not present:
    keys = ', '.join(repr(key[:40]) for key in row) or 'no keys'
    raise UserError(f'{where}: no text under {_NAMED} (the row has {keys})')
  key = next((key for key in present if row[key] is not None), present[0])
  text, title = row[key], _words(row, ('title',), where)
  if text is not None and not isinstance(text, str):
    raise UserError(f'{where}: {key!r} is a JSON {type(text).__name__}, not a text')
  text = reading.newlines(text or '')
  if len(text) > MAX_BYTES:
    raise UserError(f'{where}: the text is too long for a page ({reading.megabytes(len(text), MAX_BYTES)})')
  if not text.strip() and not title.strip():
    raise UserError(f'{where}: neither a title nor a text')
  path = row.get('path')
  is_markdown = isinstance(path, str) and path.lower().endswith(('.md', '.markdown', '.mdx', '.erb'))
  filed = _words(row, ('repo', 'folder'), where) or folder
  return Page(
    _words(row, _IDS, where, whole=True) or default_id, title, text, filed, MARKDOWN if is_markdown else PLAIN
  )


def _words(row: dict[str, Any], keys: tuple[str, ...], where: str, whole: bool = False) -> str:
  """What stands under the first of `keys` that has anything: text or number (an id: a whole one); '' if none has."""
  for key in keys:
    value = row.get(key)
    if value is None or value == '':
      continue
    kinds = (str, int) if whole else (str, int, float)
    if isinstance(value, bool) or not isinstance(value, kinds):
      wanted = 'a text or a whole number' if whole else 'a text'
      raise UserError(f'{where}: {key!r} is a JSON {type(value).__name__}, not {wanted}')
    return str(value)
  return ''


def _table(path: pathlib.Path) -> Iterator[tuple[int, dict[str, str] | UserError]]:
  """Rows of a CSV or TSV file by the names in its first line; a row that is too long or too short is an error."""
  csv.field_size_limit(reading.LINE_BYTES)
  lines = (line.decode() + '\n' for _, line in reading.strict(reading.lines(path)))
  try:
    first = next(lines, '')
    if not first.strip():
      raise UserError(f'{path} is empty: its first line must name the columns')
    tabs = path.name.lower().removesuffix('.gz').endswith('.tsv')
    separator = '\t' if tabs else max(',;\t|', key=first.count)
    form: dict[str, Any] = {'delimiter': separator, 'strict': True}
    form['quoting'] = csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL
    (names,) = csv.reader([first], **form)
    names = [name.strip() for name in names]
    if not set(names) & set(_TEXTS):
      held = ', '.join(repr(name[:40]) for name in names)
      raise UserError(f'{path} is no table of pages: its first line names no column {_NAMED} (it has {held})')
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
      raise UserError(f'{path} names the column {twice!r} twice')
    rows = csv.reader(lines, **form)
    for row in rows:
      number = rows.line_num + 1
      if row and len(row) != len(names):
        yield number, UserError(f'{path}, line {number}: {len(row)} fields, and the first line has {len(names)}')
      elif row:
        yield number, dict(zip(names, row, strict=True))
  except UnicodeDecodeError as error:
    raise UserError(f'{path} is not UTF-8 text ({error.reason}); convert it to UTF-8') from error
  except csv.Error as error:
    raise UserError(f'{path} cannot be read as a table: {error}') from error
