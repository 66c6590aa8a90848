"""Files of queries, judgements and runs, in the forms of TREC and BEIR.

TREC's fields are separated by blanks, so an id that has a blank in it is written with an escape for each (\\x20), and
read back from that. BEIR's are separated by tabs, and ids stand as they are.
"""

import dataclasses
import math
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from mlsd_jax import reading
from mlsd_jax.errors import UserError
from mlsd_jax.ranking_measures import Judgements, Run
from mlsd_jax.retrieval.rows import parquet_rows

# What Python or trec_eval takes for the end of a field or of a line, and what would be read as an escape.
_BLANK = re.compile(r'[\s\x1c-\x1f\x85\u2028\u2029]|\\(?=x[0-9a-f]{2}|u[0-9a-f]{4})')
_ESCAPED = re.compile(r'\\(?:x([0-9a-f]{2})|u([0-9a-f]{4}))')
_WHOLE = re.compile(r'([+-]?[0-9]+)(?:\.0+)?')
_NAMED = re.compile(r'(query|topic|q)[-_ ]?(id)?', re.IGNORECASE)  # the first field of a line that names the fields


@dataclasses.dataclass(frozen=True)
class Judged:
  """Queries by id, and what was judged of their pages.

  Attributes:
    answers: where it is known, by query the texts any of which answers it.
    made: the queries are parts of their pages, made for want of queries that people asked.
  """

  queries: Mapping[str, str]
  judgements: Judgements
  answers: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
  made: bool = False


def pair_judged(
  asked: Mapping[str, str],
  judgements: Judgements,
  paths: tuple[pathlib.Path, pathlib.Path],
  warn: Callable[[str], None],
) -> Judged:
  """Queries with what was judged of them.

  Args:
    paths: of both, for what is told.
    warn: gets a line if one of them names queries that the other has not, which are left out.

  Raises:
    UserError: they share no query.
  """
  queries, qrels = paths
  shared = {query: text for query, text in asked.items() if query in judgements}
  if not shared:
    first, other = next(iter(asked)), next(iter(judgements))
    raise UserError(f'no query of {queries} is judged in {qrels}: their ids must be the same ({first!r} and {other!r})')
  for ids, there, missing in ((asked, queries, qrels), (judgements, qrels, queries)):
    lone = [query for query in ids if query not in shared]
    if lone:
      warn(f'left out: {len(lone):,} of {len(ids):,} queries of {there} are not in {missing} ({some_ids(lone)})')
  return Judged(shared, {query: judgements[query] for query in shared})


def some_ids(ids: Sequence[str]) -> str:
  """The first three, quoted."""
  return ', '.join(map(repr, ids[:3])) + (', ...' if len(ids) > 3 else '')


def read_older_text(path: pathlib.Path) -> str:
  """Text of files that may be older than Unicode: UTF-8 where they are, else Latin 1; what is packed in a .gz.

  Raises:
    UserError: it cannot be read, or is larger than what is read whole.
  """
  content = reading.read_bytes(path)
  try:
    return reading.newlines(content.decode())
  except UnicodeDecodeError:
    return reading.newlines(content.decode('latin-1'))


def escape_id(id_: str) -> str:
  """An id as one field of TREC's files; most are as they were."""
  return _BLANK.sub(lambda found: (r'\x%02x' if ord(found[0]) < 256 else r'\u%04x') % ord(found[0]), id_)


def unescape_id(field: str) -> str:
  """The id that `escape_id` made a field of."""
  return _ESCAPED.sub(lambda found: chr(int(found[1] or found[2], 16)), field)


def read_queries(path: pathlib.Path) -> dict[str, str]:
  """BEIR's queries (*.jsonl, *.parquet: _id or id, and text), or lines of an id, a tab and the query; packed too (.gz).

  Raises:
    UserError: the file is missing or damaged, holds no query, or has an empty one or two of an id; the line is named.
  """
  queries: dict[str, str] = {}
  first: dict[str, int] = {}
  name = path.name.lower().removesuffix('.gz')
  rows = name.endswith(('.jsonl', '.ndjson', '.parquet'))
  for number, id_, text in _row_queries(path) if rows else _tab_queries(path):
    if not text.strip():
      raise UserError(f'{path}, line {number}: query {id_!r} is empty')
    if id_ in queries:
      raise UserError(f'{path}, line {number}: query {id_!r} is there already, on line {first[id_]}')
    queries[id_], first[id_] = text.strip(), number
  if not queries:
    raise UserError(f'{path} holds no query')
  return queries


def _row_queries(path: pathlib.Path) -> Iterator[tuple[int, str, str]]:
  columns = path.name.lower().endswith('.parquet')
  for number, row in reading.strict(parquet_rows(path) if columns else reading.json_lines(path, unique=True)):
    where = f'{path}, line {number}'
    if not isinstance(row, dict) or not {'_id', 'id'} & row.keys() or 'text' not in row:
      raise UserError(f'{where}: not an object with _id and text')
    id_, text = row['_id' if '_id' in row else 'id'], row['text']
    if isinstance(id_, bool) or not isinstance(id_, str | int) or id_ == '':
      raise UserError(f'{where}: _id is {_kind(id_)}, not a text or a whole number')
    if text is not None and not isinstance(text, str):
      raise UserError(f'{where}: the text of query {id_!r} is {_kind(text)}')
    yield number, str(id_), text or ''


def _kind(value: object) -> str:
  return 'empty' if value in (None, '') else f'a JSON {type(value).__name__}'


def _tab_queries(path: pathlib.Path) -> Iterator[tuple[int, str, str]]:
  for number, line in _lines(path):
    id_, tab, text = line.partition('\t')
    if not tab or not id_:
      raise UserError(f'{path}, line {number}: not an id, a tab and a query: {line[:80]!r}')
    yield number, id_, text


def read_qrels(path: pathlib.Path) -> Judgements:
  """TREC's judgements (query, iteration, page, grade on each line), or BEIR's (query, page, grade, with tabs).

  A first line that names the fields is passed over; a grade is whole, and may be written 1.0.

  Raises:
    UserError: the file is missing or damaged, holds no judgement, or judges a page twice and differently.
  """
  judgements: dict[str, dict[str, int]] = {}
  for number, line in _lines(path):
    tabs = '\t' in line
    fields = line.split('\t') if tabs else _fields(line)
    whole = _WHOLE.fullmatch(fields[-1].strip())
    if number == 1 and not whole and _NAMED.fullmatch(fields[0].strip()):
      continue
    if len(fields) not in (3, 4) or not whole:
      hint = '' if tabs or len(fields) < 5 else '; if ids have blanks, separate the fields by tabs'
      raise UserError(f'{path}, line {number}: not a judgement: {line[:80]!r}{hint}')
    query, page = (fields[0], fields[-2]) if len(fields) == 3 and tabs else map(unescape_id, (fields[0], fields[-2]))
    grade = int(whole[1])
    if judgements.setdefault(query, {}).setdefault(page, grade) != grade:
      was = judgements[query][page]
      raise UserError(f'{path}, line {number}: page {page!r} is judged twice for query {query!r}, {was} and {grade}')
  if not judgements:
    raise UserError(f'{path} holds no judgement')
  return judgements


def read_run(path: pathlib.Path) -> Run:
  """TREC's runs: query, Q0, page, rank, score, tag on each line; ordered by score, then as the file lists them.

  Raises:
    UserError: the file is missing or damaged, ranks nothing, or ranks a page twice for a query.
  """
  scored: dict[str, dict[str, float]] = {}
  for number, line in _lines(path):
    fields = line.split('\t') if '\t' in line else _fields(line)
    if len(fields) not in (5, 6) or not (score := _number(fields[4])):
      hint = '; if ids have blanks, separate the fields by tabs' if len(fields) > 6 else ''
      raise UserError(f'{path}, line {number}: not a line of a run: {line[:80]!r}{hint}')
    query, page = unescape_id(fields[0]), unescape_id(fields[2])
    if page in scored.setdefault(query, {}):
      raise UserError(f'{path}, line {number}: page {page!r} is ranked twice for query {query!r}')
    scored[query][page] = score[0]
  if not scored:
    raise UserError(f'{path} ranks nothing')
  return {query: sorted(pages, key=pages.__getitem__, reverse=True) for query, pages in scored.items()}


def _fields(line: str) -> list[str]:
  return [field for field in line.split(' ') if field]


def _number(field: str) -> tuple[float] | None:
  try:
    value = float(field)
  except ValueError:
    return None
  return None if math.isnan(value) else (value,)


def format_run(run: Mapping[str, Sequence[tuple[str, float]]], tag: str) -> str:
  """A run in TREC's format, blanks in ids as escapes."""
  return ''.join(
    f'{escape_id(query)} Q0 {escape_id(page)} {rank} {score:.6f} {tag}\n'
    for query, ranked in run.items()
    for rank, (page, score) in enumerate(ranked, start=1)
  )


def _lines(path: pathlib.Path) -> Iterator[tuple[int, str]]:
  """Numbered lines that are not empty; a run may be of any size."""
  for number, line in reading.strict(reading.lines(path)):
    try:
      text = line.decode()
    except UnicodeDecodeError as error:
      raise UserError(f'{path}, line {number}: is not UTF-8') from error
    if text.strip():
      yield number, text
