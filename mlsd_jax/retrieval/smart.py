"""Collections in the form of the SMART system (Salton 1971), as CISI, CACM and others come: .I, .T, .A, .W, ...

A folder has three files, told by the ends of their names: documents (*.all, *.all.1400), queries (*.qry or query.text)
and what is relevant (*.rel, qrels.text or cranqrel). A line of the last has query, document, and what nobody uses
unless it is below 0; or query, 0, document and 1, as MED's has.
"""

import pathlib
import re
from collections.abc import Callable, Iterator

from mlsd_jax.errors import UserError
from mlsd_jax.retrieval.judged_files import Judged, read_older_text
from mlsd_jax.retrieval.page import Page

_ENDS = {'documents': ('.all',), 'queries': ('.qry', 'query.text'), 'relevant': ('.rel', 'qrels.text', 'cranqrel')}
_RECORD = re.compile(r'^\.I[ \t]+(\d+)[ \t]*$', re.MULTILINE)
_FIELD = re.compile(r'^\.([A-Z])[ \t]*$', re.MULTILINE)


def is_smart(folder: pathlib.Path) -> bool:
  """Whether a folder has the three files."""
  return folder.is_dir() and all(_file(folder, kind) is not None for kind in _ENDS)


def read_smart(folder: pathlib.Path, warn: Callable[[str], None] = print) -> tuple[Iterator[Page], Judged]:
  """Pages with the title of .T and the text of .W, the queries of .W, and what is relevant to them.

  Args:
    warn: gets a line if queries are left out because nothing is relevant to them.

  Raises:
    UserError: a file is missing, is no text, holds no record, or has a line or record that is none.
  """
  paths = {kind: _file(folder, kind) for kind in _ENDS}
  for kind, path in paths.items():
    if path is None:
      raise UserError(f'{folder} has no file of {kind}: a name that ends in {" or ".join(_ENDS[kind])}')
  documents, queries, relevant = (path for path in paths.values() if path is not None)
  pages = []
  for number, fields in _records(documents):
    title, text = fields.get('T', ''), fields.get('W', '')
    if title or text:
      pages.append(Page(number, title, text or title))
  if not pages:
    raise UserError(f'{documents} holds no document with a title (.T) or text (.W)')
  asked = {number: ' '.join((fields.get('T', ''), fields.get('W', ''))).strip() for number, fields in _records(queries)}
  judgements = _relevant(relevant)
  if any(number not in asked for number in judgements) and max(map(int, judgements)) <= len(asked) < max(
    map(int, asked)
  ):
    warn(
      f'{relevant} counts the queries of {queries} instead of using their numbers, as Cranfield does; so they are taken'
    )
    asked = {str(place): text for place, text in enumerate(asked.values(), start=1)}
  shared = {number: text for number, text in asked.items() if number in judgements and text}
  if not shared:
    raise UserError(f'no query of {queries} is judged in {relevant}')
  if len(shared) < len(asked):
    warn(f'{len(asked) - len(shared):,} of {len(asked):,} queries of {queries} have nothing relevant and are not asked')
  return iter(pages), Judged(shared, {number: judgements[number] for number in shared})


def _relevant(path: pathlib.Path) -> dict[str, dict[str, int]]:
  lines = [(number, line.split()) for number, line in enumerate(read_older_text(path).splitlines(), start=1)]
  lines = [(number, parts) for number, parts in lines if parts]
  # Documents are counted from 1: zeros in all lines are TREC's second field.
  second = 2 if all(len(parts) == 4 and parts[1] == '0' for _, parts in lines) else 1
  judgements: dict[str, dict[str, int]] = {}
  for number, parts in lines:
    if len(parts) <= second or not (parts[0].isdigit() and parts[second].isdigit()):
      raise UserError(f'{path}, line {number}: not a query and a document: {" ".join(parts)[:80]!r}')
    unwanted = any(part.startswith('-') for part in parts[second + 1 :])
    judgements.setdefault(str(int(parts[0])), {})[str(int(parts[second]))] = 0 if unwanted else 1
  return judgements


def _file(folder: pathlib.Path, kind: str) -> pathlib.Path | None:
  return next((path for path in sorted(folder.iterdir()) if _bare(path).endswith(_ENDS[kind]) and path.is_file()), None)


def _bare(path: pathlib.Path) -> str:
  return re.sub(r'(?:\.\d+)?(?:\.gz)?$', '', path.name.lower())


def _records(path: pathlib.Path) -> Iterator[tuple[str, dict[str, str]]]:
  """The number of each record, without zeros before it, and its fields with single spaces; a field's parts together."""
  before, *parts = _RECORD.split(read_older_text(path))
  if not parts or before.strip():
    raise UserError(f'{path} does not begin with a record (.I and a number)')
  for number, record in zip(parts[::2], parts[1::2], strict=True):
    fields: dict[str, str] = {}
    _, *named = _FIELD.split(record)
    for name, text in zip(named[::2], named[1::2], strict=True):
      fields[name] = f'{fields.get(name, "")} {" ".join(text.split())}'.strip()
    yield str(int(number)), fields
