"""Collections with judgements: SciFact, Cranfield, folders in the layouts that are in use; or titles as queries.

A judged query's relevant pages are known; see ranking_measures.py for what is made of that.
"""

import collections
import dataclasses
import gzip
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from mlsd_jax.data import fetch
from mlsd_jax.errors import UserError
from mlsd_jax.ranking_measures import Judgements
from mlsd_jax.retrieval.beir import is_beir, read_beir
from mlsd_jax.retrieval.judged_files import (
  Judged,
  format_run,
  pair_judged,
  read_qrels,
  read_queries,
  read_run,
  some_ids,
)
from mlsd_jax.retrieval.msmarco import is_msmarco, read_msmarco
from mlsd_jax.retrieval.pages import Page, read_pages, read_text
from mlsd_jax.retrieval.smart import is_smart, read_smart
from mlsd_jax.retrieval.squad import is_squad, read_squad
from mlsd_jax.retrieval.trec import is_trec, read_trec

__all__ = [
  'KNOWN_ITEMS',
  'Judged',
  'check_judged',
  'format_run',
  'is_beir',
  'known_items',
  'open_collection',
  'read_beir',
  'read_cranfield',
  'read_judged',
  'read_msmarco',
  'read_qrels',
  'read_queries',
  'read_run',
  'read_scifact',
  'read_smart',
  'read_squad',
  'read_trec',
]

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


def read_scifact(warn: Callable[[str], None] = print) -> tuple[Iterator[Page], Judged]:
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
  return read_beir(queries.parent, warn)


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


_FOLDERS = ((is_beir, read_beir), (is_msmarco, read_msmarco), (is_trec, read_trec))  # those with splits


def open_collection(spec: str, warn: Callable[[str], None], split: str = '') -> tuple[Iterator[Page], Judged | None]:
  """The pages of a corpus, and its judged queries if it has any; else `read_pages`.

  Args:
    spec: scifact, cranfield, a folder of BEIR, MTEB, TREC, MS MARCO or SMART, a file in SQuAD's form (*.json; by its
      name alone, one of XQuAD's that is on this machine), or what `read_pages` takes.
    split: which judgements of a folder with several.

  Raises:
    UserError: as those.
  """
  folder = pathlib.Path(spec)
  for is_one, read in () if spec in ('scifact', 'cranfield') else _FOLDERS:
    if is_one(folder):
      return read(folder, warn, split)
  if split:
    raise UserError(f'data.split={split!r} is for folders of BEIR, MTEB, TREC or MS MARCO, and {spec} is none')
  if spec == 'scifact':
    return read_scifact(warn)
  if spec == 'cranfield':
    return read_cranfield()
  if is_smart(folder):
    return read_smart(folder, warn)
  if spec.lower().endswith('.json'):
    return read_squad(_squad_file(spec), warn)
  if folder.is_dir() and spec not in ('python_docs', 'vmware_docs'):
    _check_whole(folder, warn)
  return read_pages(spec, warn), None


def _check_whole(folder: pathlib.Path, warn: Callable[[str], None]) -> None:
  """Tells of judged collections in a folder that is none itself; refuses one that holds nothing else."""
  there = [path for path in sorted(folder.iterdir()) if path.name[0] not in '._']
  judged = [path for path in there if path.is_dir() and (is_smart(path) or any(is_one(path) for is_one, _ in _FOLDERS))]
  judged += [path for path in there if path.name.lower().endswith('.json') and path.is_file() and is_squad(path)]
  if judged and len(there) == len(judged):
    raise UserError(f'{folder} is no judged collection itself; name {judged[0]}, which is one')
  if judged:
    warn(f'{judged[0]} is a judged collection: name it, and not {folder}, to have its judgements')


def _squad_file(spec: str) -> pathlib.Path:
  path = pathlib.Path(spec)
  found = path if path.is_file() else fetch.locate('xquad', spec)
  if found is None:
    raise UserError(f'no file {spec} here, nor $MLSD_DATA_DIR/xquad/{spec} (github.com/google-deepmind/xquad has them)')
  return found


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
  return hidden, Judged(queries, {id_: {id_: 1} for id_ in queries}, made=True)


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


def read_judged(queries: pathlib.Path, qrels: pathlib.Path, warn: Callable[[str], None]) -> Judged:
  """Queries and judgements of one's own.

  Args:
    warn: gets a line if one of the files names queries that the other has not, which are left out.

  Raises:
    UserError: a file is missing or damaged, or they share no query.
  """
  return pair_judged(read_queries(queries), read_qrels(qrels), (queries, qrels), warn)


def check_judged(
  judgements: Judgements, page_ids: Sequence[str], warn: Callable[[str], None], name: str = 'the file'
) -> None:
  """Compares what is judged with what is indexed.

  Args:
    name: of the file or collection, for the error.
    warn: gets a line if some judged pages are not in the corpus; no search can find those.

  Raises:
    UserError: no page judged relevant is in the corpus.
  """
  known = set(page_ids)
  judged = dict.fromkeys(page for grades in judgements.values() for page in grades)
  relevant = dict.fromkeys(page for grades in judgements.values() for page, grade in grades.items() if grade > 0)
  missing = [page for page in judged if page not in known]
  if relevant and not known & relevant.keys():
    raise UserError(
      f'{name} judges no page of the corpus: {next(iter(relevant))!r} there, {page_ids[0]!r} here; ids must be the same'
    )
  if missing:
    of_them = sum(page in relevant for page in missing)
    warn(
      f'{len(missing):,} of {len(judged):,} judged pages are not in the corpus and count as not found, '
      f'{of_them:,} of them relevant ({some_ids(missing)})'
    )
