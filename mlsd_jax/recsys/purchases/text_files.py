"""Tables that are text, with commas or another separator: looked through once before they are read.

Every line must have as many fields as the first names; text that is no UTF-8 is read by what it is, or refused where
that is not certain, so that no two ids become one.
"""

import codecs
import csv
import io
import pathlib
import re
from collections.abc import Iterator
from typing import BinaryIO

import polars as pl
import pyarrow as pa
from pyarrow import csv as arrow_csv

from mlsd_jax import reading
from mlsd_jax.errors import UserError

_AT_ONCE = 1 << 24  # bytes
_SEPARATORS = ',;\t|'
# A line of ratings as MovieLens has them, without names before them: u.data with tabs, ratings.dat with '::'.
_MOVIELENS = re.compile(r'\d+(\t|::)\d+\1\d(?:\.\d)?\1\d{8,10}')
_RATED_BY = (r'\d+', r'\d+', r'\d(?:\.\d)?', r'\d{8,10}')  # its fields
_SEPARATOR_LINE = re.compile(rb'(?:\xef\xbb\xbf)?sep=([\x01-\x7f])\r?\n')
_RATED = ('user_id', 'item_id', 'rating', 'time')
_BOMS = {codecs.BOM_UTF16_LE: 'utf-16', codecs.BOM_UTF16_BE: 'utf-16'}


def scan_text(source: pathlib.Path | bytes, what: str, *, packed: bool = False) -> tuple[pl.LazyFrame, tuple[str, ...]]:
  """Its rows, every column text, and what was taken for granted. (A file that is packed, or no UTF-8, is read into
  memory, and so is one with quotation marks.) The first line names the columns, but for MovieLens's u.data and
  ratings.dat, which have none.

  Args:
    what: the file in messages.
    packed: by gzip.

  Raises:
    UserError: no text, no first line, text of two encodings, a line with more or fewer fields than the first.
  """
  if packed:
    source = reading.unpack(source, what)
  source, notes = _as_utf8(source, what)
  line = _first_line(source)
  if b'\r' in line and not line.endswith(b'\n'):  # lines end as on the first Macintosh
    source = _whole(source).replace(b'\r', b'\n')
    line = _first_line(source)
  said = _SEPARATOR_LINE.fullmatch(line)  # as spreadsheets write and read it
  if said:
    source = _whole(source)[len(line) :]
    line = _first_line(source)
  if len(line) == _AT_ONCE:
    raise UserError(f'{what} is no table: its first line has more than {_AT_ONCE / 2**20:.0f} MB')
  head = line.decode('utf-8-sig')
  if not head:
    raise UserError(f'{what} is empty')
  if not head.strip():
    raise UserError(f'{what}, line 1 is empty, and is to name the columns')
  if movielens := _MOVIELENS.fullmatch(head.rstrip('\r\n')):
    notes += (f'{what} is read as MovieLens has it, without a line of names: {", ".join(_RATED)}',)
    return _read_ratings(source, movielens[1], what), notes
  if damage := _damaged_rating(head.rstrip('\r\n')):
    raise UserError(
      f'{what}, line 1: {damage}; a file without a line of names is read if it is as MovieLens has it ('
      f'{", ".join(_RATED)}): mend the line, or add one of names'
    )
  separator = said[1].decode() if said else max(_SEPARATORS, key=head.count)
  if not _has_quotes(source):
    _check_lines(source, separator, what)
    return pl.scan_csv(source, separator=separator, infer_schema=False, quote_char=None), notes
  names = _check_quoted(source, separator, what)
  return _read_quoted(source, separator, names).lazy(), notes


def _opened(source: pathlib.Path | bytes) -> BinaryIO:
  return io.BytesIO(source) if isinstance(source, bytes) else source.open('rb')


def _first_line(source: pathlib.Path | bytes) -> bytes:
  with _opened(source) as file:
    return file.readline(_AT_ONCE)


def _parts(source: pathlib.Path | bytes) -> Iterator[bytes]:
  with _opened(source) as file:
    while part := file.read(_AT_ONCE):
      yield part


def _has_quotes(source: pathlib.Path | bytes) -> bool:
  return any(b'"' in part for part in _parts(source))


def _as_utf8(source: pathlib.Path | bytes, what: str) -> tuple[pathlib.Path | bytes, tuple[str, ...]]:
  """The same text in UTF-8."""
  with _opened(source) as file:
    encoding = _BOMS.get(file.read(2), '')
  if encoding:
    try:
      return _whole(source).decode(encoding).encode(), (f'{what} was read as {encoding.upper()}',)
    except UnicodeDecodeError:
      raise UserError(f'{what} begins as UTF-16 does and goes on as something else') from None
  decoder, is_utf8 = codecs.getincrementaldecoder('utf-8')(), True
  try:
    for part in _parts(source):
      if b'\0' in part:
        raise UserError(
          f'{what} is no text in UTF-8, nor named as Parquet (.parquet), a workbook (.xlsx) or packed (.gz, .zip)'
        )
      decoder.decode(part)
    decoder.decode(b'', final=True)
  except UnicodeDecodeError:
    is_utf8 = False
  return (source, ()) if is_utf8 else _from_single_bytes(_whole(source), what)


def _whole(source: pathlib.Path | bytes) -> bytes:
  return source if isinstance(source, bytes) else source.read_bytes()


def _from_single_bytes(content: bytes, what: str) -> tuple[bytes, tuple[str, ...]]:
  """Text of one byte a letter. Windows-1252 has Latin-1's letters; under another code page the names would look odd,
  but what differs stays different."""
  if b'\0' in content:
    raise UserError(f'{what} is no text: it has a zero byte')
  beyond = [(number, line) for number, line in enumerate(content.splitlines(), 1) if not line.isascii()]
  number, strange = next((number, line) for number, line in beyond if not _is_utf8(line))
  if any(_is_utf8(line) for _, line in beyond):  # a line of one byte a letter hardly ever is
    raise UserError(f'{what}, line {number} is no UTF-8, and others are: save all of it as UTF-8')
  try:
    text, encoding = content.decode('windows-1252'), 'Windows-1252'
  except UnicodeDecodeError:
    text, encoding = content.decode('latin-1'), 'Latin-1'
  example = strange.decode(encoding)[:60]
  note = f'{what} is no UTF-8 and was read as {encoding}, such as {example!r}; if that looks odd, save it as UTF-8'
  return text.encode(), (note,)


def _is_utf8(line: bytes) -> bool:
  try:
    line.decode()
  except UnicodeDecodeError:
    return False
  return True


def _check_lines(source: pathlib.Path | bytes, separator: str, what: str) -> None:
  """Of a text without quotation marks."""
  line = pl.col('line').str.strip_chars_end('\r')
  width = line.str.count_matches(separator, literal=True) + 1
  lines = pl.scan_lines(source).select(line.alias('line'), width.alias('width')).with_row_index('number', 1)
  first = lines.head(1).collect()['width'][0]
  ragged = lines.filter((pl.col('line').str.strip_chars() != '') & (pl.col('width') != first)).head(1)
  found = ragged.collect(engine='streaming')
  if found.height:
    _refuse(what, int(found['number'][0]), int(found['width'][0]), int(first))


def _damaged_rating(line: str) -> str:
  """The field that keeps a line from being one of MovieLens: one of four, as names would be none of them."""
  for separator in ('\t', '::'):
    fields = line.split(separator)
    wrong = [i for i, field in enumerate(fields) if i < len(_RATED) and not re.fullmatch(_RATED_BY[i], field)]
    if len(fields) == len(_RATED) and len(wrong) == 1:
      return f'{fields[wrong[0]]!r} is no {_RATED[wrong[0]]}'
  return ''


def _read_ratings(source: pathlib.Path | bytes, separator: str, what: str) -> pl.LazyFrame:
  """What a shop exports may have holes; a line of a collection that is published is damaged where it has one."""
  _check_lines(source, separator, what)
  line = pl.col('line').str.strip_chars_start('\ufeff').str.strip_chars_end('\r')
  fields = line.str.split_exact(separator, len(_RATED) - 1).struct.rename_fields(_RATED)
  rows = pl.scan_lines(source).with_row_index('number', 1).filter(line.str.strip_chars() != '')
  rows = rows.select('number', fields.alias('fields')).unnest('fields')
  for name, pattern in (('rating', r'^\d+(\.\d+)?$'), ('time', r'^\d+$')):
    wrong = rows.filter(~pl.col(name).str.contains(pattern).fill_null(False)).head(1).collect(engine='streaming')
    if wrong.height:
      raise UserError(f'{what}, line {wrong["number"][0]}: {wrong[name][0]!r} is no {name}; mend the line')
  return rows.select(_RATED)


def _check_quoted(source: pathlib.Path | bytes, separator: str, what: str) -> list[str]:
  """Of a text with some, in which a field may go over several lines: the names of its columns."""
  names: list[str] = []
  with _opened(source) as file, io.TextIOWrapper(file, 'utf-8-sig', newline='') as text:
    rows, before = csv.reader(text, delimiter=separator, strict=True), 0
    try:
      for row in rows:
        names = names or row
        if len(row) != len(names) and ''.join(row).strip():
          _refuse(what, before + 1, len(row), len(names))
        before = rows.line_num
    except csv.Error as error:
      raise UserError(f'{what}, line {before + 1}: a quotation mark does not close ({error})') from None
  return names


def _refuse(what: str, line: int, fields: int, names: int) -> None:
  count = f'{fields} field' if fields == 1 else f'{fields} fields'
  raise UserError(f'{what}, line {line} has {count}, and the first line names {names} columns: mend the line')


def _read_quoted(source: pathlib.Path | bytes, separator: str, names: list[str]) -> pl.DataFrame:
  """By Arrow, which takes a quotation mark inside a field (19" screen) for a letter."""
  types = {str(number): pa.string() for number in range(len(names))}
  with _opened(source) as file:
    table = arrow_csv.read_csv(
      file,
      read_options=arrow_csv.ReadOptions(column_names=list(types)),
      parse_options=arrow_csv.ParseOptions(delimiter=separator, newlines_in_values=True),
      convert_options=arrow_csv.ConvertOptions(column_types=types, strings_can_be_null=False),
    )
  frame = pl.DataFrame(pl.from_arrow(table))[1:]
  frame.columns = _distinct(names)
  return frame.with_columns(pl.when(pl.all() != '').then(pl.all()))


def _distinct(names: list[str]) -> list[str]:
  """Names as Polars has them: of two alike the later has a suffix."""
  seen: dict[str, int] = {}
  out = []
  for name in names:
    out.append(f'{name}_duplicated_{seen[name] - 1}' if name in seen else name)
    seen[name] = seen.get(name, 0) + 1
  return out
