"""Folders of corpus, queries and judgements as BEIR (Thakur et al. 2021) and MTEB (Muennighoff et al. 2022) have them.

    BEIR    corpus.jsonl, queries.jsonl (or .gz), qrels/SPLIT.tsv
    MTEB    the same with qrels/SPLIT.jsonl, or corpus/*.parquet, queries/*.parquet and qrels/SPLIT-*.parquet, the last
            also in default/ or data/; where a repository has several subsets: SUBSET-corpus/, SUBSET-queries/, ...

A row of judgements has query-id, corpus-id and score; one of the corpus _id or id, title and text.
"""

import pathlib
import re
from collections.abc import Callable, Iterator, Sequence

from mlsd_jax import reading
from mlsd_jax.errors import UserError
from mlsd_jax.ranking_measures import Judgements
from mlsd_jax.retrieval.judged_files import Judged, read_qrels, read_queries
from mlsd_jax.retrieval.pages import Page, read_pages
from mlsd_jax.retrieval.rows import parquet_rows

_SUFFIXES = ('.jsonl', '.jsonl.gz', '.parquet')
_QRELS = ('.tsv', '.tsv.gz', *_SUFFIXES)
_HOLDERS = ('qrels', 'default', 'data')  # folders of judgements
_SHARD = re.compile(r'-\d{5}-of-\d{5}$')


def is_beir(folder: pathlib.Path) -> bool:
  """Whether a folder is laid out as BEIR's or MTEB's datasets are."""
  return folder.is_dir() and bool(_subsets(folder))


def read_beir(
  folder: pathlib.Path, warn: Callable[[str], None] = print, split: str = ''
) -> tuple[Iterator[Page], Judged]:
  """Pages, and the queries that are judged in a split, with what was judged.

  Args:
    warn: gets a line for what is left out.
    split: 'test', 'dev', ...; '': 'test', or the only one there is. Of a folder with subsets SUBSET or SUBSET/SPLIT.

  Raises:
    UserError: a file is missing or damaged, there is no such split, or a judgement names a query that there is not.
  """
  subset, split = _chosen_subset(folder, split)
  corpus = _part(folder, subset, 'corpus')
  if not corpus:
    raise UserError(f'{folder} has no corpus.jsonl or corpus.jsonl.gz, nor a folder corpus with such files or .parquet')
  name, files = _chosen_split(folder, subset, split)
  queries = _queries(_of_split(_part(folder, subset, 'queries') or [folder / 'queries.jsonl'], name))
  judgements = _judgements(files)
  unknown = next((query for query in judgements if query not in queries), None)
  if unknown is not None:
    raise UserError(f'{files[0]} judges query {unknown!r}, which the queries of {folder} do not have')
  if len(judgements) < len(queries):
    warn(f'{len(judgements):,} of {len(queries):,} queries are judged in {files[0].name}; the others are not asked')
  return _pages(_of_split(corpus, name), warn), Judged({query: queries[query] for query in judgements}, judgements)


def _subsets(folder: pathlib.Path) -> list[str]:
  """'' for a folder with one corpus, and the names of subsets that have theirs."""
  found = [path.name.removesuffix('-corpus') for path in sorted(folder.glob('*-corpus')) if path.is_dir()]
  return [subset for subset in ('', *found) if _part(folder, subset, 'corpus') and _part(folder, subset, 'queries')]


def _chosen_subset(folder: pathlib.Path, split: str) -> tuple[str, str]:
  subsets = _subsets(folder) or ['']
  first, slash, rest = split.partition('/')
  if first and first in subsets:
    return first, rest
  if slash or (len(subsets) > 1 and '' not in subsets):
    raise UserError(f'{folder} has the subsets {", ".join(subsets)}; name one with data.split=SUBSET or SUBSET/SPLIT')
  return subsets[0], split


def _part(folder: pathlib.Path, subset: str, kind: str) -> list[pathlib.Path]:
  """The files of the corpus or of the queries."""
  name = f'{subset}-{kind}' if subset else kind
  single = [path for suffix in _SUFFIXES if (path := folder / f'{name}{suffix}').is_file()]
  return single[:1] or _files(folder / name, _SUFFIXES)


def _files(folder: pathlib.Path, suffixes: Sequence[str]) -> list[pathlib.Path]:
  if not folder.is_dir():
    return []
  return [path for path in sorted(folder.iterdir()) if path.name.lower().endswith(tuple(suffixes)) and path.is_file()]


def _of_split(paths: list[pathlib.Path], split: str) -> list[pathlib.Path]:
  """Where a corpus is written a split at a time, the files of that one; else all."""
  return [path for path in paths if _split_name(path) == split] or paths


def _split_name(path: pathlib.Path) -> str:
  stem = next(path.name[: -len(suffix)] for suffix in sorted(_QRELS, key=len)[::-1] if path.name.endswith(suffix))
  return _SHARD.sub('', stem)


def _chosen_split(folder: pathlib.Path, subset: str, split: str) -> tuple[str, list[pathlib.Path]]:
  """The name of the split, and the files of its judgements."""
  prefixes = (f'{subset}-qrels', subset) if subset else _HOLDERS
  by_split: dict[str, list[pathlib.Path]] = {}
  for holder in prefixes:
    for path in _files(folder / holder, _QRELS):
      by_split.setdefault(_split_name(path), []).append(path)
    if by_split:
      break
  wanted = split or ('test' if 'test' in by_split or len(by_split) != 1 else next(iter(by_split)))
  if wanted not in by_split:
    there = f'; there are {", ".join(by_split)}' if by_split else ''
    raise UserError(f'cannot read, no such file: {folder}/{prefixes[0]}/{wanted}.tsv (or .jsonl, .parquet){there}')
  return wanted, by_split[wanted]


def _pages(paths: Sequence[pathlib.Path], warn: Callable[[str], None]) -> Iterator[Page]:
  """Of one file or of several; an id that comes again in another file is refused as one in the same is."""
  seen: set[str] = set()
  for path in paths:
    for page in read_pages(str(path), warn):
      if page.id in seen:
        raise UserError(f'{path}: the page {page.id!r} is in another file, too; ids must be unique')
      seen.add(page.id)
      yield page


def _queries(paths: Sequence[pathlib.Path]) -> dict[str, str]:
  queries: dict[str, str] = {}
  for path in paths:
    for id_, text in read_queries(path).items():
      if queries.setdefault(id_, text) != text:
        raise UserError(f'{path}: query {id_!r} is in another file, too, with another text')
  return queries


def _judgements(paths: Sequence[pathlib.Path]) -> Judgements:
  """Of .tsv as `read_qrels` has it, and of rows."""
  judgements: dict[str, dict[str, int]] = {}
  for path in paths:
    tabs = path.name.lower().removesuffix('.gz').endswith('.tsv')
    for query, graded in (read_qrels(path) if tabs else _row_judgements(path)).items():
      for page, grade in graded.items():
        if judgements.setdefault(query, {}).setdefault(page, grade) != grade:
          raise UserError(f'{path}: page {page!r} is judged twice for query {query!r}, and differently')
  if not judgements:
    raise UserError(f'{paths[0]} holds no judgement')
  return judgements


def _row_judgements(path: pathlib.Path) -> Judgements:
  rows = parquet_rows(path) if path.name.endswith('.parquet') else reading.json_lines(path, unique=True)
  judgements: dict[str, dict[str, int]] = {}
  for number, row in reading.strict(rows):
    where = f'{path}, line {number}'
    fields = [row.get(key) for key in ('query-id', 'corpus-id', 'score')] if isinstance(row, dict) else [None]
    if any(value is None or isinstance(value, bool) or not isinstance(value, str | int | float) for value in fields):
      raise UserError(f'{where}: not a judgement: an object with query-id, corpus-id and score')
    query, page, score = fields
    if not isinstance(score, int | float) or score != int(score):
      raise UserError(f'{where}: the score {score!r} is no whole number')
    if judgements.setdefault(str(query), {}).setdefault(str(page), int(score)) != int(score):
      raise UserError(f'{where}: page {page!r} is judged twice for query {query!r}, and differently')
  return judgements
