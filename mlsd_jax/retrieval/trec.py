"""Collections of TREC: documents in SGML, topics, judgements.

A folder has files whose names hold 'topics' (or 'queries') and 'qrels', and documents in all others, also in folders
below it, packed (.gz) or not: <DOC> with <DOCNO>, as the disks of TREC have it, or rows (JSONL, ...) as elsewhere.
Topics are those of the ad hoc tracks (<top>, whose fields are not closed), XML (<topic number=...>), or lines of an
id, a tab and a query.
"""

import html
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping

from mlsd_jax import reading
from mlsd_jax.errors import UserError
from mlsd_jax.printable import printable
from mlsd_jax.ranking_measures import Judgements
from mlsd_jax.retrieval import rows
from mlsd_jax.retrieval.judged_files import Judged, pair_judged, read_older_text, read_qrels, read_queries
from mlsd_jax.retrieval.page import MAX_BYTES, Page

_DOCUMENT = re.compile(r'<DOC>(.*?)</DOC>', re.DOTALL | re.IGNORECASE)
_NUMBER = re.compile(r'<DOCNO>\s*(.*?)\s*</DOCNO>', re.DOTALL | re.IGNORECASE)
_TITLE = re.compile(r'<(HEADLINE|TITLE|TTL|TI|HL|HEAD)>(.*?)</\1>', re.DOTALL | re.IGNORECASE)
_BODY = re.compile(r'<(LP|LEADPARA|TEXT|BODY)>(.*?)</\1>', re.DOTALL | re.IGNORECASE)
_ABOUT = re.compile(r'<(DOCNO|DOCID|DOCHDR|DOCOLDNO)>.*?</\1>|<!--.*?-->', re.DOTALL | re.IGNORECASE)
_TAG = re.compile(r'</?[A-Za-z][^<>]*>')
_PARAGRAPH = re.compile(r'</?P>', re.IGNORECASE)
_TOP = re.compile(r'<top>(.*?)</top>', re.DOTALL | re.IGNORECASE)
_FIELD = re.compile(  # also those that nothing is read of: none is closed, and the next one ends it
  r'<(num|title|desc|narr|head|dom|smry|con|fac|nat|time|def|geog|org)>'
  r'(?:\s*(?:Number|Topic|Description|Narrative)\s*:)?',
  re.IGNORECASE,
)
_TOPIC = re.compile(r'<topic\b([^>]*)>(.*?)</topic>', re.DOTALL | re.IGNORECASE)
_ATTRIBUTE = re.compile(r'\b(?:number|id)\s*=\s*["\']?\s*([^"\'\s>]+)', re.IGNORECASE)
_ASKED = ('query', 'title', 'question', 'description', 'summary')  # what is asked of an XML topic, the first there is


def is_trec(folder: pathlib.Path) -> bool:
  """Whether a folder has topics and judgements."""
  return folder.is_dir() and bool(_topics(folder)) and bool(_named(folder, 'qrels'))


def read_trec(
  folder: pathlib.Path, warn: Callable[[str], None] = print, split: str = ''
) -> tuple[Iterator[Page], Judged]:
  """Pages, and the topics with what was judged.

  A page's title is the headline, its text that of <LP>, <LEADPARA>, <TEXT> and <BODY>, or of all but the number. A
  query is a topic's title, or its description where it has none.

  Args:
    warn: gets a line for what is left out.
    split: only files of topics and judgements whose names hold it; '': all, taken together.

  Raises:
    UserError: a file is missing or damaged, holds none of what it should, or two say different things of one id.
  """
  topics, qrels = _topics(folder, split), _named(folder, 'qrels', split)
  for kind, paths in (('topics', topics), ('qrels', qrels)):
    if not paths:
      raise UserError(f'{folder} has no file whose name holds {kind!r}' + (f' and {split!r}' if split else ''))
  asked: dict[str, str] = {}
  for path in topics:
    for id_, text in read_topics(path).items():
      if asked.setdefault(id_, text) != text:
        raise UserError(f'{path}: topic {id_!r} is in another file, too, with another text; name one with data.split')
  judged = _together([(path, read_qrels(path)) for path in qrels])
  others = {*_topics(folder), *_named(folder, 'qrels')}
  return _pages(folder, others, warn), pair_judged(_as_judged(asked, judged), judged, (topics[0], qrels[0]), warn)


def _as_judged(asked: Mapping[str, str], judged: Judgements) -> dict[str, str]:
  """Topics by their numbers as the judgements write them: with zeros before (051), or without."""
  written = {int(id_): id_ for id_ in judged if id_.isdecimal() and id_ not in asked}
  return {
    written.get(int(id_), id_) if id_.isdecimal() and id_ not in judged else id_: text for id_, text in asked.items()
  }


def read_topics(path: pathlib.Path) -> dict[str, str]:
  """Queries by their numbers.

  Raises:
    UserError: the file cannot be read, holds no topic, or has one without number or words, or twice.
  """
  text = read_older_text(path)
  if not text.lstrip('\ufeff \n\t').startswith('<'):
    return read_queries(path)
  found = [_top(record) for record in _TOP.findall(text)] or [_topic(*each) for each in _TOPIC.findall(text)]
  queries: dict[str, str] = {}
  for place, (id_, query) in enumerate(found, start=1):
    if not id_ or not query:
      raise UserError(f'{path}, topic {place} has no {"number" if not id_ else "title, query or description"}')
    if id_ in queries:
      raise UserError(f'{path}, topic {place}: {id_!r} is there already')
    queries[id_] = query
  if not queries:
    raise UserError(f'{path} holds no topic: neither <top> nor <topic>, nor lines of an id, a tab and a query')
  return queries


def _top(record: str) -> tuple[str, str]:
  _, *parts = _FIELD.split(record)
  fields: dict[str, str] = {}
  for name, text in zip(parts[::2], parts[1::2], strict=True):
    fields.setdefault(name.lower(), _plain(text))
  return fields.get('num', '').partition(' ')[0], fields.get('title') or fields.get('desc', '')


def _topic(attributes: str, body: str) -> tuple[str, str]:
  number = _ATTRIBUTE.search(attributes)
  named = re.search(r'<(?:number|num|id)>(.*?)</', body, re.DOTALL)
  id_ = number[1] if number else _plain(named[1]) if named else ''
  fields = (re.search(rf'<{name}>(.*?)</{name}>', body, re.DOTALL | re.IGNORECASE) for name in _ASKED)
  asked = next((text for field in fields if field and (text := _plain(field[1]))), '')
  return id_, asked or ('' if _TAG.search(body) else _plain(body))


def _plain(text: str) -> str:
  """Without tags and references to characters, with single spaces."""
  return ' '.join(html.unescape(_TAG.sub(' ', text)).split())


def _together(read: list[tuple[pathlib.Path, Judgements]]) -> Judgements:
  judgements: dict[str, dict[str, int]] = {}
  for path, judged in read:
    for query, graded in judged.items():
      for page, grade in graded.items():
        if judgements.setdefault(query, {}).setdefault(page, grade) != grade:
          raise UserError(
            f'{path}: page {page!r} is judged otherwise for topic {query!r} in another file; name one with data.split'
          )
  return judgements


def _topics(folder: pathlib.Path, split: str = '') -> list[pathlib.Path]:
  return _named(folder, 'topics' if _named(folder, 'topics') else 'queries', split)


def _named(folder: pathlib.Path, kind: str, split: str = '') -> list[pathlib.Path]:
  names = lambda path: kind in path.name.lower() and split.lower() in path.name.lower()
  return [path for path in sorted(folder.iterdir()) if names(path) and path.is_file() and path.name[0] != '.']


def _pages(folder: pathlib.Path, others: set[pathlib.Path], warn: Callable[[str], None]) -> Iterator[Page]:
  left_out: list[str] = []
  seen: set[str] = set()
  for path, name in reading.files_below(folder, warn):
    if path in others:
      continue
    if path.name.lower().endswith(rows.SUFFIXES):
      read = rows.read_rows(path, name, warn)
    elif _is_sgml(path):
      read = read_documents(path)
    else:
      left_out.append(name)
      continue
    for page in read:
      if page.id in seen:
        raise UserError(f'{path}: the document {page.id!r} is there already; ids must be unique')
      seen.add(page.id)
      yield page
  if not seen:
    raise UserError(f'{folder} holds no document: no file of it begins with <DOC>')
  if left_out:
    warn(f'left out, as they hold no <DOC>: {len(left_out):,} files ({printable(", ".join(left_out[:3]))})')


def _is_sgml(path: pathlib.Path) -> bool:
  with reading.opened(path) as file:
    return file.read(4096).lstrip(b'\xef\xbb\xbf \r\n\t').upper().startswith(b'<DOC>')


def read_documents(path: pathlib.Path) -> Iterator[Page]:
  """The documents of a file.

  Raises:
    UserError: it cannot be read, or a document has no number, is not closed, or is too long.
  """
  text = read_older_text(path)
  ended = 0
  for place, found in enumerate(_DOCUMENT.finditer(text), start=1):
    if text[ended : found.start()].strip():
      raise UserError(f'{path}: something stands between documents, before number {place}')
    ended, record = found.end(), found[1]
    number = _NUMBER.search(record)
    if number is None or not number[1]:
      raise UserError(f'{path}: document {place} has no <DOCNO>')
    if len(record) > MAX_BYTES:
      raise UserError(f'{path}: document {number[1]!r} is too long for a page')
    titled = _TITLE.search(record)
    title = _plain(titled[2]) if titled else ''
    bodies = [each[1] for each in _BODY.findall(record)]
    rest = record.replace(titled[0], '', 1) if titled else record
    body = _paragraphs('\n\n'.join(bodies) if bodies else _ABOUT.sub(' ', rest))
    if body or title:
      yield Page(number[1], title, body or title)
  if text[ended:].strip():
    raise UserError(f'{path}: its last document is not closed (</DOC>)')


def _paragraphs(text: str) -> str:
  bare = html.unescape(_TAG.sub(' ', _PARAGRAPH.sub('\n\n', re.sub(r'<!--.*?-->', ' ', text, flags=re.DOTALL))))
  parts = (' '.join(part.split()) for part in re.split(r'\n\s*\n', bare))
  return '\n\n'.join(part for part in parts if part)
