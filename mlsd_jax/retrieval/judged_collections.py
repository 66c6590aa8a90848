"""Collections with judgements: BEIR folders, Cranfield, TREC files; and queries made of titles where nobody judged.

A judged query's relevant pages are known; see ranking_measures.py for what is made of that.
"""

import collections
import dataclasses
import gzip
import json
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from mlsd_jax.data import fetch
from mlsd_jax.errors import UserError
from mlsd_jax.ranking_measures import Judgements, Run
from mlsd_jax.retrieval.pages import Page, read_pages, read_text

_CRANFIELD_HOME = 'http://ir.dcs.gla.ac.uk/resources/test_collections/cran'
_CRANFIELD = {
  'cran.all.1400.gz': 'e8cbab3418c1cf48acc945bbd718b4f49f624d29e83bb2a17d2cfca00ba29900',
  'cran.qry': '99578ceb88941ef89c14faf7c63c23776a376d8fba319b990f01d0c601d8b03f',
  'cranqrel': 'a90f56082cd44db70bf2c21ebca39a1a34e37c82ccb5ddf1bcc64f18795234c7',
}
_SCIFACT = {
  'corpus.jsonl.gz': '22382a4ac149819ac6901cffde295e41b4fd65772fb88a945278b2d90adcfc81',
  'queries.jsonl': 'd3161c84e70775b287de2665f3ef4e45abfb64ba39f5fd80465deb17745b7b22',
  'qrels/test.tsv': '68c0ac63f1c24b9e8ce497649694f09b2d0850bab7ec2b103cc66996f5f8b3a3',
}


@dataclasses.dataclass(frozen=True)
class Judged:
  """Queries by id, and what was judged of their pages."""

  queries: Mapping[str, str]
  judgements: Judgements


def is_beir(folder: pathlib.Path) -> bool:
  """Whether a folder is laid out as BEIR's datasets are."""
  return (folder / 'queries.jsonl').is_file() and _corpus_file(folder) is not None


def read_beir(folder: pathlib.Path, split: str = 'test') -> tuple[Iterator[Page], Judged]:
  """corpus.jsonl (or .gz), queries.jsonl and qrels/SPLIT.tsv (Thakur et al. 2021). Only judged queries are kept.

  Raises:
    UserError: a file is missing or damaged, or a judgement names a query that there is not.
  """
  corpus = _corpus_file(folder)
  if corpus is None:
    raise UserError(f'{folder} has no corpus.jsonl or corpus.jsonl.gz')
  queries = read_queries(folder / 'queries.jsonl')
  judgements = read_qrels(folder / 'qrels' / f'{split}.tsv')
  unknown = next((query for query in judgements if query not in queries), None)
  if unknown is not None:
    raise UserError(f'{folder}/qrels/{split}.tsv judges query {unknown!r}, which queries.jsonl does not have')
  return read_pages(str(corpus), print), Judged({query: queries[query] for query in judgements}, judgements)


def read_scifact() -> tuple[Iterator[Page], Judged]:
  """SciFact (Wadden et al. 2020) as BEIR has it: 5,183 abstracts, 300 claims."""
  home = 'https://public.ukp.informatik.tu-darmstadt.de/thakur/BEIR/datasets/scifact.zip'
  found = {name: fetch.locate('scifact', name) for name in _SCIFACT}
  missing = next((name for name, path in found.items() if path is None), None)
  if missing:
    raise UserError(f'collection scifact is not on this machine: unpack {home} and name its folder as the corpus')
  for name, path in found.items():
    assert path is not None
    fetch.check(path, fetch.RemoteFile(name, home, _SCIFACT[name]))
  queries = found['queries.jsonl']
  assert queries is not None
  return read_beir(queries.parent)


def read_cranfield() -> tuple[Iterator[Page], Judged]:
  """The Cranfield collection: 1,400 abstracts, 225 questions.

  cranqrel numbers a query by its place in cran.qry, not by the number written there. Its codes run from 1 (a complete
  answer) to 4 (of minimum interest), -1 being of no interest: not gains, the best is the least. As is usual, a page
  with any of 1 to 4 is relevant, with gain 1.
  """
  paths = {
    name: fetch.fetch('cranfield', fetch.RemoteFile(name, f'{_CRANFIELD_HOME}/{name}', digest))
    for name, digest in _CRANFIELD.items()
  }
  pages = []
  with gzip.open(paths['cran.all.1400.gz'], 'rt', encoding='latin-1') as file:
    for number, record in _records(file.read()):
      fields = dict(zip(*[iter(re.split(r'^\.([TABW])\n', record, flags=re.MULTILINE)[1:])] * 2, strict=True))
      title, text = ' '.join(fields['T'].split()), ' '.join(fields['W'].split())
      pages.append(Page(number, title, text.removeprefix(title).strip() or title))
  texts = [record.split('.W\n')[1] for _, record in _records(read_text(paths['cran.qry']))]
  queries = {str(place): ' '.join(text.split()) for place, text in enumerate(texts, start=1)}
  codes = read_qrels(paths['cranqrel'])
  judgements = {query: {page: int(code > 0) for page, code in judged.items()} for query, judged in codes.items()}
  return iter(pages), Judged(queries, judgements)


def _records(text: str) -> Iterator[tuple[str, str]]:
  for record in re.split(r'^\.I ', text, flags=re.MULTILINE)[1:]:
    number, _, rest = record.partition('\n')
    yield number.strip(), rest


def open_collection(spec: str, warn: Callable[[str], None]) -> tuple[Iterator[Page], Judged | None]:
  """The pages of a corpus, and its judged queries if it has any: scifact, cranfield, a BEIR folder; else `read_pages`.

  Raises:
    UserError: as those.
  """
  if spec == 'scifact':
    return read_scifact()
  if spec == 'cranfield':
    return read_cranfield()
  if is_beir(pathlib.Path(spec)):
    return read_beir(pathlib.Path(spec))
  return read_pages(spec, warn), None


KNOWN_ITEMS = ('auto', 'title', 'summary')
_ENOUGH = 100  # titles fit for queries that 'auto' needs


def known_items(pages: Sequence[Page], kind: str = 'auto', *, min_words: int = 3) -> tuple[list[Page], Judged]:
  """Queries without judges: a title, or a first sentence, that only one page has asks for its page.

  Args:
    kind: 'title'; 'summary', for pages titled by names in code; 'auto': titles if enough of them are fit for it.
    min_words: of a title; a summary has twice as many at least, and ten times as many must be left of its page.

  Returns:
    the pages, those asked for without what is asked; the queries and judgements.

  Raises:
    UserError: no page is fit for it.
  """
  if kind not in KNOWN_ITEMS:
    raise UserError(f'evaluate.known_items={kind!r} is not one of {", ".join(KNOWN_ITEMS)}')
  titles = _unique({page.id: page.title for page in pages if len(page.title.split()) >= min_words}, pages)
  if kind == 'title' or (kind == 'auto' and len(titles) >= _ENOUGH):
    asked = titles
    hidden = [_without(page, page.title, title='') if page.id in asked else page for page in pages]
  else:
    asked = _unique({page.id: text for page in pages if (text := _summary(page, min_words))}, None)
    hidden = [_without(page, asked[page.id], title=page.title) if page.id in asked else page for page in pages]
  if not asked:
    raise UserError(
      f'known-item queries want titles of {min_words} words or more, or first sentences, of one page each'
    )
  queries = {id_: ' '.join(text.split()) for id_, text in asked.items()}
  return hidden, Judged(queries, {id_: {id_: 1} for id_ in queries})


def _unique(queries: Mapping[str, str], pages: Sequence[Page] | None) -> dict[str, str]:
  number = collections.Counter(queries.values() if pages is None else (page.title for page in pages))
  return {id_: text for id_, text in queries.items() if number[text] == 1}


def _summary(page: Page, min_words: int) -> str:
  """The first sentence of a page, its heading left out; '' if it is short or little is left without it."""
  head, _, rest = page.text.partition('\n\n')
  body = rest if head.startswith(page.title) else page.text
  sentence = re.split(r'(?<=[.!?])\s|\n\s*\n', body.strip(), maxsplit=1)[0]
  long_enough = len(sentence.split()) >= 2 * min_words and len(body.split()) >= 12 * min_words
  return sentence if long_enough and len(sentence) < 300 else ''


def _without(page: Page, words: str, title: str) -> Page:
  text = re.sub(re.escape(words), ' ', page.text, flags=re.IGNORECASE)
  return dataclasses.replace(page, title=title, text=text)


def read_judged(queries: pathlib.Path, qrels: pathlib.Path) -> Judged:
  """Queries and judgements of one's own; what only one of the files names is left out.

  Raises:
    UserError: a file is missing or damaged, or they share no query.
  """
  asked, judgements = read_queries(queries), read_qrels(qrels)
  shared = {query: text for query, text in asked.items() if query in judgements}
  if not shared:
    raise UserError(f'no query of {queries} is judged in {qrels}: their ids must be the same')
  return Judged(shared, {query: judgements[query] for query in shared})


def read_queries(path: pathlib.Path) -> dict[str, str]:
  """BEIR's queries (*.jsonl: objects with _id and text), or lines of an id, a tab and the query.

  Raises:
    UserError: the file is missing or damaged.
  """
  queries: dict[str, str] = {}
  for number, line in _lines(path):
    if not line.strip():
      continue
    if path.suffix == '.jsonl':
      try:
        row = json.loads(line)
        queries[str(row['_id'])] = row['text']
      except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise UserError(f'{path}, line {number}: not an object with _id and text') from error
    else:
      id_, tab, text = line.partition('\t')
      if not tab or not text.strip():
        raise UserError(f'{path}, line {number}: not an id, a tab and a query: {line[:80]!r}')
      queries[id_.strip()] = text.strip()
  return queries


def read_qrels(path: pathlib.Path) -> Judgements:
  """TREC's judgements (query, iteration, page, grade on each line), or BEIR's (query, page, grade below a head).

  Raises:
    UserError: the file is missing or damaged.
  """
  judgements: dict[str, dict[str, int]] = {}
  for number, line in _lines(path):
    fields = line.split()
    if not fields or (number == 1 and fields[0] == 'query-id'):
      continue
    try:
      query, *_, page, grade = fields
      judgements.setdefault(query, {})[page] = int(grade)
    except ValueError as error:
      raise UserError(f'{path}, line {number}: not a judgement: {line[:80]!r}') from error
  return judgements


def _lines(path: pathlib.Path) -> Iterator[tuple[int, str]]:
  """Numbered lines without their ends; a run may be of any size."""
  try:
    with path.open(encoding='utf-8-sig') as file:
      yield from enumerate((line.rstrip('\n') for line in file), start=1)
  except OSError as error:
    raise UserError(f'cannot read {path}: {error.strerror}') from error
  except UnicodeDecodeError as error:
    raise UserError(f'{path} is not UTF-8') from error


def read_run(path: pathlib.Path) -> Run:
  """TREC's runs: query, Q0, page, rank, score, tag on each line; ordered by score, then as the file lists them.

  Raises:
    UserError: the file is missing or damaged.
  """
  scored: dict[str, list[tuple[float, str]]] = {}
  for number, line in _lines(path):
    fields = line.split()
    try:
      if fields:
        scored.setdefault(fields[0], []).append((float(fields[4]), fields[2]))
    except (IndexError, ValueError) as error:
      raise UserError(f'{path}, line {number}: not a line of a run: {line[:80]!r}') from error
  return {
    query: [page for _, page in sorted(rows, key=lambda row: row[0], reverse=True)] for query, rows in scored.items()
  }


def format_run(run: Mapping[str, Sequence[tuple[str, float]]], tag: str) -> str:
  """A run in TREC's format."""
  return ''.join(
    f'{query} Q0 {page} {rank} {score:.6f} {tag}\n'
    for query, ranked in run.items()
    for rank, (page, score) in enumerate(ranked, start=1)
  )


def _corpus_file(folder: pathlib.Path) -> pathlib.Path | None:
  return next((folder / name for name in ('corpus.jsonl', 'corpus.jsonl.gz') if (folder / name).is_file()), None)
