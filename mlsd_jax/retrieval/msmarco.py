"""Collections in the files of MS MARCO (Nguyen et al. 2016): fields between tabs, no line that names them.

    passages     collection.tsv: id, text; queries.SPLIT.tsv: id, text; qrels.SPLIT.tsv: query, 0, passage, 1
    documents    msmarco-docs.tsv: id, URL, title, text; msmarco-docSPLIT-queries.tsv, msmarco-docSPLIT-qrels.tsv

Each may be packed (.gz).
"""

import pathlib
import re
from collections.abc import Callable, Iterator

from mlsd_jax import reading
from mlsd_jax.errors import UserError
from mlsd_jax.printable import printable
from mlsd_jax.retrieval.judged_files import Judged, pair_judged, read_qrels, read_queries
from mlsd_jax.retrieval.page import MAX_BYTES, Page

_COLLECTION = re.compile(r'(?:.*[-_.])?(?:collection|docs)(?:\.[\w-]+)*\.tsv(?:\.gz)?', re.IGNORECASE)
_FIELDS = {2: 'an id and a text', 4: 'an id, a URL, a title and a text'}
_SHOWN = 3  # bad lines that are named


def is_msmarco(folder: pathlib.Path) -> bool:
  """Whether a folder has the three kinds of files."""
  return folder.is_dir() and _collection(folder) is not None and bool(_splits(folder))


def read_msmarco(
  folder: pathlib.Path, warn: Callable[[str], None] = print, split: str = ''
) -> tuple[Iterator[Page], Judged]:
  """Pages, and the queries of a split with what was judged.

  Args:
    warn: gets a line for what is left out.
    split: 'dev.small', 'dev', ...; '': the only one there is.

  Raises:
    UserError: a file is missing or damaged, or there is no such split or are several and none is named.
  """
  splits = _splits(folder)
  wanted = split or (next(iter(splits)) if len(splits) == 1 else '')
  if wanted not in splits:
    said = f'no split {split!r}' if split else 'several splits'
    raise UserError(f'{folder} has {said}: name one with data.split ({", ".join(splits)})')
  queries, qrels = splits[wanted]
  collection = _collection(folder)
  if collection is None:
    raise UserError(f'{folder} has no collection.tsv or msmarco-docs.tsv')
  return _pages(collection, warn), pair_judged(read_queries(queries), read_qrels(qrels), (queries, qrels), warn)


def _collection(folder: pathlib.Path) -> pathlib.Path | None:
  return next((path for path in sorted(folder.iterdir()) if _COLLECTION.fullmatch(path.name) and path.is_file()), None)


def _splits(folder: pathlib.Path) -> dict[str, tuple[pathlib.Path, pathlib.Path]]:
  """Queries and judgements by split; where there is one file of each, their names need not agree."""
  found: dict[str, dict[str, pathlib.Path]] = {'queries': {}, 'qrels': {}}
  for path in sorted(folder.iterdir()):
    bare = path.name.lower().removesuffix('.gz')
    kind = next((kind for kind in found if kind in bare), None)
    if kind is not None and bare.endswith(('.tsv', '.txt')) and path.is_file():
      found[kind][re.sub(rf'^msmarco-(?:doc)?|[-_.]?{kind}[-_.]?', '', bare[:-4])] = path
  queries, qrels = found.values()
  if len(queries) == len(qrels) == 1:
    return {next(iter(queries)): (*queries.values(), *qrels.values())}  # type: ignore[dict-item]
  return {split: (path, qrels[split]) for split, path in queries.items() if split in qrels}


def _pages(path: pathlib.Path, warn: Callable[[str], None]) -> Iterator[Page]:
  """A page a line; a line that is none is left out, and told."""
  problems: list[str] = []
  seen: set[str] = set()
  for number, line in reading.lines(path):
    try:
      page = _page(line, f'line {number}')
    except UserError as error:
      problems.append(str(error))
      continue
    if page.id in seen:
      raise UserError(f'{path}, line {number}: the id {page.id!r} is there already; ids must be unique')
    seen.add(page.id)
    yield page
  if not seen:
    raise UserError(f'{path} holds no page' + (f': {problems[0]}' if problems else ''))
  if problems:
    more = f'; {len(problems) - _SHOWN:,} more lines' if len(problems) > _SHOWN else ''
    warn(f'left out: {path}, {"; ".join(problems[:_SHOWN])}{more}')


def _page(line: bytes | UserError, where: str) -> Page:
  if isinstance(line, UserError):
    raise line
  try:
    fields = line.decode().split('\t')
  except UnicodeDecodeError as error:
    raise UserError(f'{where} is not UTF-8') from error
  if len(fields) not in _FIELDS:
    raise UserError(f'{where} has {len(fields)} fields, not {" or ".join(_FIELDS.values())}')
  title = fields[2] if len(fields) == 4 else ''
  if not fields[0] or not (title.strip() or fields[-1].strip()):
    raise UserError(f'{where} has no {"text" if fields[0] else "id"}: {printable(fields[0][:40])}')
  if len(fields[-1]) > MAX_BYTES:
    raise UserError(f'{where} is too long for a page')
  return Page(fields[0], title, fields[-1])
