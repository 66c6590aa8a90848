"""Evaluation over many judged collections, each a part: indexed, asked and measured by whoever is free.

OUTPUT/NAME/result.json           the measures of each stage
OUTPUT/NAME/queries.json          nDCG@10 by query
OUTPUT/NAME/STAGE.trec            what each stage found
"""

import functools
import os
import pathlib
import re
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

from mlsd_jax import files
from mlsd_jax.encoder.encoder import Encoder
from mlsd_jax.errors import UserError
from mlsd_jax.executor import ExecutorConfig, Parts, map_parts
from mlsd_jax.retrieval import judged_collections, stage_table
from mlsd_jax.retrieval.bm25 import BM25Config
from mlsd_jax.retrieval.build import BuildConfig, build_store
from mlsd_jax.retrieval.chunking import ChunkConfig
from mlsd_jax.retrieval.search import SearchConfig, Searcher
from mlsd_jax.retrieval.store import open_store


def evaluate(
  names: Sequence[str],
  output: str | os.PathLike[str],
  make_encoder: Callable[[], Encoder],
  *,
  search: SearchConfig,
  bm25: BM25Config,
  config: ExecutorConfig | None = None,
  setup: Callable[[], object] | None = None,
  on_part: Callable[[str], object] = lambda name: None,
) -> Parts:
  """Measures every stage on each collection, its pages as one chunk each, as published figures have it.

  Args:
    names: of judged_collections.open_collection.

  Raises:
    UserError: one is not there or has no judgements, two have one name, or what `map_parts` says.
  """
  parts = {_part_name(name): name for name in names}
  if len(parts) < len(names):
    raise UserError(f'two of the collections {", ".join(names)} would have one folder')
  identity = {'pages': search.pages, 'bm25': [bm25.k1, bm25.b, bm25.stem], 'encoder': make_encoder().fingerprint}
  return map_parts(
    parts, functools.partial(_Evaluator.open, make_encoder, search, bm25), output, identity=identity, config=config,
    setup=setup, on_part=lambda name, note: on_part(name),
  )  # fmt: skip


def table(parts: Parts) -> str:
  """nDCG@10 and recall@100 of each stage, a line a collection."""
  stages = list(next(iter(parts.notes.values()))['ndcg@10'])
  lines = [f'{"collection":<24}{"queries":>8}' + ''.join(f'{name:>16}' for name in stages) + '   nDCG@10 (recall@100)']
  for note in parts.notes.values():
    values = ''.join(f'{note["ndcg@10"][name]:8.4f} ({note["recall@100"][name]:.3f})' for name in stages)
    lines.append(f'{note["collection"]:<24.24}{note["num_queries"]:8,}{values}')
  return '\n'.join(lines)


def _part_name(name: str) -> str:
  return re.sub(r'[^A-Za-z0-9_-]+', '-', pathlib.PurePath(name).name).strip('-') or 'collection'


class _Evaluator:
  """A worker, which holds an encoder."""

  def __init__(self, encoder: Encoder, search: SearchConfig, bm25: BM25Config):
    self._encoder, self._search, self._bm25 = encoder, search, bm25

  @classmethod
  def open(cls, make_encoder: Callable[[], Encoder], search: SearchConfig, bm25: BM25Config) -> '_Evaluator':
    return cls(make_encoder(), search, bm25)

  def __call__(self, name: str, folder: pathlib.Path) -> dict[str, Any]:
    warnings: list[str] = []
    found, judged = judged_collections.open_collection(name, warnings.append)
    if judged is None:
      raise UserError(f'{name} has no judged queries: --mode=evaluate makes some of titles')
    pages = list(found)
    config = BuildConfig(chunk=ChunkConfig(max_tokens=0), bm25=self._bm25, near_duplicate=0.0)
    with tempfile.TemporaryDirectory() as place:
      build_store(pages, pathlib.Path(place), self._encoder, config)
      searcher = Searcher(open_store(pathlib.Path(place), self._encoder), self._encoder, self._search)
      judged_collections.check_judged(judged.judgements, searcher.store.page_ids, warnings.append, name)
      report = stage_table.evaluate(searcher, judged.queries, judged.judgements, texts=judged.answers)
    result = report.result()
    timed = [key for key in result if key.endswith('_ms')]  # which no two runs have the same
    files.write_json(folder / 'result.json', {key: value for key, value in result.items() if key not in timed})
    files.write_json(folder / 'queries.json', report.by_query())
    for stage in report.found:
      files.write_text(folder / f'{stage}.trec', report.trec(stage))
    kept = ('ndcg@10', 'recall@100', 'num_queries')
    return {'collection': name, 'pages': len(pages), **{key: result[key] for key in kept}, 'warnings': warnings[:20]}
