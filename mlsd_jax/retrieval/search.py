"""One query through the stages: BM25, dense, their fusion, the cross-encoder; each ranks pages and names a chunk."""

import collections
import dataclasses
import time
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from mlsd_jax.encoder.encoder import Encoder, PairScorer
from mlsd_jax.errors import UserError
from mlsd_jax.retrieval.bm25 import top
from mlsd_jax.retrieval.fusion import FUSIONS, best, fuse, weighted_fusion
from mlsd_jax.retrieval.store import Store

STAGES = ('bm25', 'dense', 'hybrid', 'rerank')
_KNOWN = 0.75  # share of a query's characters that an encoder has pieces for, from which it is trusted wholly
_COMPARED, _AGREED = 10, 0.5  # first pages of both rankings, and the share of them in common among English questions
_PER_PAGE = 4  # chunks that are fetched at first for each page wanted: neighbours are often of one page


@dataclasses.dataclass(frozen=True)
class SearchConfig:
  """How the stages work together.

  Attributes:
    pages: how many the first stages hand on.
    fusion: 'weighted' (normalised scores) or 'rrf' (ranks).
    dense_weight: of the dense ranking in the fusion; BM25 has the rest. It is less for a query in a script that the
      encoder does not know, unless both rankings agree.
    rerank: how many pages the cross-encoder sees; 0 turns it off.
    rerank_weight: of its scores beside the fusion's, both normalised.
  """

  pages: int = 100
  fusion: str = 'weighted'
  dense_weight: float = 0.5
  rerank: int = 0
  rerank_weight: float = 0.3

  def __post_init__(self):
    if self.pages < 1 or self.rerank < 0:
      raise UserError(f'search.pages={self.pages} must be at least 1 and search.rerank={self.rerank} at least 0')
    if self.fusion not in FUSIONS:
      raise UserError(f'search.fusion={self.fusion!r} is not one of {", ".join(FUSIONS)}')
    if not 0 <= self.dense_weight <= 1 or not 0 <= self.rerank_weight <= 1:
      raise UserError('search.dense_weight and search.rerank_weight must be from 0 to 1')


@dataclasses.dataclass(frozen=True)
class Hit:
  """A page that was found, by its row in the store, and its chunk that fits best."""

  page: int
  chunk: int
  score: float


@dataclasses.dataclass(frozen=True)
class Found:
  """What each stage made of a query, best page first, and how long it took in milliseconds."""

  stages: Mapping[str, Sequence[Hit]]
  milliseconds: Mapping[str, float]

  @property
  def hits(self) -> Sequence[Hit]:
    """Of the last stage that ran."""
    return self.stages[next(stage for stage in reversed(STAGES) if stage in self.stages)]


class Searcher:
  """A store with the models that search it."""

  def __init__(self, store: Store, encoder: Encoder, config: SearchConfig, cross_encoder: PairScorer | None = None):
    """Raises UserError if the config needs reranking and there is no cross-encoder."""
    if config.rerank and cross_encoder is None:
      raise UserError(
        'search.rerank requires a cross-encoder (python -m experiments.encoder trains one), or set it to 0'
      )
    self.store, self.encoder, self.config, self.cross_encoder = store, encoder, config, cross_encoder

  def search(
    self, query: str, *, rewrites: Sequence[str] = (), folder: str = '', without: Collection[int] = ()
  ) -> Found:
    """Every stage of one query.

    Args:
      folder: only pages filed under it or below.
      without: rows of pages that are not to be found, as if the corpus did not have them.
      rewrites: other words for the same: searched too, and fused with it (multi-query, or HyDE's made-up answers).

    Raises:
      UserError: the query is empty, or no page is filed under the folder.
    """
    if not query.strip():
      raise UserError('the query is empty')
    within = self._within(folder, without)
    clock = _Clock()
    lexical = [self._bm25(text, within) for text in (query, *rewrites)]
    clock.lap('bm25')
    vectors = self.encoder.encode([query, *rewrites], 'query')
    clock.lap('encode')
    dense = [self._dense(vector, within, folder, without) for vector in vectors]
    clock.lap('dense')
    bm25, near = (_mean(rankings, self.config.pages) for rankings in (lexical, dense))
    hybrid = self._fuse(bm25, near, self.config.dense_weight * self._trust(query, bm25, near))
    clock.lap('hybrid')
    stages = {'bm25': bm25, 'dense': near, 'hybrid': hybrid}
    if self.config.rerank:
      stages['rerank'] = self._rerank(query, hybrid)
      clock.lap('rerank')
    return Found({name: _ranked(hits) for name, hits in stages.items()}, clock.laps)

  def _within(self, folder: str, without: Collection[int]) -> np.ndarray | None:
    """bool [pages]; None: all."""
    if not folder and not without:
      return None
    inside = self._filed(folder) if folder else np.ones(len(self.store.folders), bool)
    inside[list(without)] = False
    return inside

  def _filed(self, folder: str) -> np.ndarray:
    inside = np.array([name == folder or name.startswith(f'{folder}/') for name in self.store.folders])
    if not inside.any():
      largest = collections.Counter(name for name in self.store.folders if name).most_common(8)
      raise UserError(f'no page is filed under {folder!r}; folders are {", ".join(name for name, _ in largest)}, ...')
    return inside

  def _bm25(self, query: str, within: np.ndarray | None) -> dict[int, Hit]:
    """By page: BM25 of the page as a whole plus that of its best chunk."""
    store = self.store
    scores = store.bm25_pages.scores(query)
    if within is not None:
      scores = scores * within
    if store.bm25_chunks is None:
      places, values = top(scores, self.config.pages)
      return {int(row): Hit(int(row), int(row), float(score)) for row, score in zip(places, values, strict=True)}
    chunks = store.bm25_chunks.scores(query)
    both = scores + np.maximum.reduceat(chunks, store.starts)
    places, values = top(both if within is None else both * within, self.config.pages)
    return {
      int(row): Hit(int(row), self._best_chunk(int(row), chunks), float(score))
      for row, score in zip(places, values, strict=True)
    }

  def _best_chunk(self, page: int, scores: np.ndarray) -> int:
    start = int(self.store.starts[page])
    end = int(self.store.starts[page + 1]) if page + 1 < len(self.store.starts) else len(scores)
    return start + int(np.argmax(scores[start:end]))

  def _dense(
    self, vector: np.ndarray, within: np.ndarray | None, folder: str, without: Collection[int]
  ) -> dict[int, Hit]:
    """By page: the similarity of its nearest chunk."""
    folders = None if within is None else sorted({self.store.folders[row] for row in np.flatnonzero(within)})
    where = {'folder': folders} if folder and folders is not None else None
    there = len(self.store.starts) if within is None else int(within.sum())
    wanted = min(self.config.pages, there)
    if not wanted:
      return {}
    hidden = frozenset(without)
    found = nearest_of_pages(self.store, vector, wanted + len(hidden), where=where)
    shown = [(int(self.store.owner[row]), row, score) for row, score in found]
    return {
      page: Hit(page, row, score) for page, row, score in [each for each in shown if each[0] not in hidden][:wanted]
    }

  def _trust(self, query: str, bm25: Mapping[int, Hit], dense: Mapping[int, Hit]) -> float:
    """From 0 to 1: how much the encoder is to count for a query.

    All, if it has pieces for what is asked; else by how far it agrees with BM25 all the same.
    """
    known = self.encoder.known_share(query) / _KNOWN
    if known >= 1:
      return 1.0
    first = [{hit.page for hit in _ranked(hits)[:_COMPARED]} for hits in (bm25, dense)]
    agreed = len(first[0] & first[1]) / max(min(map(len, first)), 1) / _AGREED
    return min(max(known, agreed), 1.0)

  def _fuse(self, bm25: dict[int, Hit], dense: dict[int, Hit], dense_weight: float) -> dict[int, Hit]:
    rankings = [{page: hit.score for page, hit in hits.items()} for hits in (bm25, dense)]
    weights = [1 - dense_weight, dense_weight]
    fused = fuse(self.config.fusion, rankings, weights)
    return {page: Hit(page, (dense.get(page) or bm25[page]).chunk, score) for page, score in fused.items()}

  def _rerank(self, query: str, hybrid: dict[int, Hit]) -> dict[int, Hit]:
    """The first pages of the fusion by the cross-encoder's scores and its own; the others keep their order below."""
    assert self.cross_encoder is not None
    order = best({page: hit.score for page, hit in hybrid.items()})
    first = order[: self.config.rerank]
    scores = self.cross_encoder.score_pairs([(query, self.store.chunk_text(hybrid[page].chunk)) for page in first])
    new = dict(zip(first, scores.tolist(), strict=True))
    old = {page: hybrid[page].score for page in first}
    weight = self.config.rerank_weight
    mixed = weighted_fusion([old, new], [1 - weight, weight])
    hits = {page: dataclasses.replace(hybrid[page], score=1 + mixed[page]) for page in first}
    return hits | {page: hybrid[page] for page in order[self.config.rerank :]}


def nearest_of_pages(
  store: Store, vector: np.ndarray, pages: int, *, where: Mapping[str, Sequence[str]] | None = None
) -> list[tuple[int, float]]:
  """(row, similarity) of the nearest chunk of each of the `pages` nearest pages, or of as many as there are.

  A page of many chunks can be all of the nearest ones: more are fetched until enough pages are among them.

  Args:
    vector: of the query, [D].
    where: as in `Index.search`.
  """
  wanted = pages * (_PER_PAGE if len(store.owner) > len(store.starts) else 1)
  while True:
    found = store.vectors.search(vector[None], wanted, where=where, parallel=False)
    rows = store.rows(found.ids[0])
    owners = store.owner[rows]
    first = np.sort(np.unique(owners, return_index=True)[1])[:pages]  # nearest first
    if len(first) == pages or len(rows) < wanted:
      return [(int(rows[at]), float(found.scores[0][at])) for at in first]
    wanted *= 4


def _mean(rankings: Sequence[dict[int, Hit]], pages: int) -> dict[int, Hit]:
  """Several queries' rankings made one by their mean score, 0 for a page that one lacks; the first query's chunks."""
  if len(rankings) == 1:
    return rankings[0]
  totals: dict[int, Hit] = {}
  for hits in rankings:
    for page, hit in hits.items():
      seen = totals.get(page, dataclasses.replace(hit, score=0.0))
      totals[page] = dataclasses.replace(seen, score=seen.score + hit.score / len(rankings))
  return {hit.page: hit for hit in _ranked(totals)[:pages]}


def _ranked(hits: Mapping[int, Hit]) -> list[Hit]:
  return sorted(hits.values(), key=lambda hit: hit.score, reverse=True)


class _Clock:
  """Milliseconds between laps."""

  def __init__(self, now: Callable[[], float] = time.perf_counter):
    self._now, self._last = now, now()
    self.laps: dict[str, float] = {}

  def lap(self, name: str) -> None:
    now = self._now()
    self.laps[name], self._last = 1000 * (now - self._last), now
