"""A corpus that is searched and asked, a request at a time in a thread."""

import asyncio
import dataclasses
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mlsd_jax.retrieval import answers
from mlsd_jax.retrieval.as_typed import Marker, Speller, facets
from mlsd_jax.retrieval.search import Found, Searcher
from mlsd_jax.serving.errors import ApiError, too_busy


@dataclasses.dataclass(frozen=True)
class AskConfig:
  """Sentences that are cited, pages that they are picked from, the confidence below which the answer abstains."""

  sentences: int = 3
  pages: int = 5
  min_confidence: float = 0.5


class SearchService:
  """Pages of a corpus for a query, and the sentences that answer it.

  Attributes:
    name: by which requests ask for it.
  """

  def __init__(
    self,
    name: str,
    searcher: Searcher,
    calibration: answers.Calibration | None = None,
    config: AskConfig | None = None,
    *,
    rewrite: Callable[[str], Sequence[str]] = lambda query: (),
    write: Callable[[str], str] | None = None,
    max_waiting: int = 256,
  ):
    """`rewrite` gives other words for the same query, which are searched too; `write` words an answer from a prompt."""
    self._rewrite, self._write = rewrite, write
    self.name, self.searcher, self.calibration, self.config = name, searcher, calibration, config or AskConfig()
    self._thread, self._waiting, self._max_waiting = ThreadPoolExecutor(1, f'search in {name}'), 0, max_waiting
    self._speller = Speller(searcher.store)
    self._rows = {id_: row for row, id_ in enumerate(searcher.store.page_ids)}

  @property
  def waiting(self) -> int:
    return self._waiting

  async def search(self, query: str, *, folder: str = '', number: int = 100) -> tuple[Found, dict[str, Any]]:
    """What was found, and of it 'pages', the best first, 'folders' and 'did_you_mean'.

    Of each page its id, title, folder, score, the chunk that fits best, a snippet of it with the places of the query's
    words, and its rank (from 1) in each stage that has it; how many of all that were found each folder has; the query
    in words of the corpus, '' if it has them all or none like them.

    Raises:
      UserError: an empty query, a folder without pages.
      ApiError: too many requests wait (429).
    """
    return await self._in_thread(self._search, query, folder, number)

  async def ask(self, query: str, *, folder: str = '') -> tuple[Found, answers.Answer]:
    """What was found, and what the corpus says; errors as `search`."""
    return await self._in_thread(self._ask, query, folder)

  def page(self, page_id: str) -> dict[str, str]:
    """The text of a page, whose characters are what the places of citations count.

    Raises:
      ApiError: no such page (404).
    """
    if page_id not in self._rows:
      raise ApiError(404, f'{self.name} has no page {page_id[:100]!r}', code='page_not_found')
    page = self.searcher.store.page(self._rows[page_id])
    return {'id': page.id, 'title': page.title, 'text': page.text, 'format': page.format}

  def warm_up(self) -> None:
    """Compiles the shapes that answers mostly need."""
    titles = self.searcher.store.titles
    for title in titles[:: max(len(titles) // 4, 1)]:
      self._ask(title or 'title', '')

  async def _in_thread(self, function: Any, *arguments: Any) -> Any:
    if self._waiting >= self._max_waiting:
      raise too_busy(self.name)
    self._waiting += 1
    try:
      return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)
    finally:
      self._waiting -= 1

  def _search(self, query: str, folder: str, number: int) -> tuple[Found, dict[str, Any]]:
    found = self.searcher.search(query, rewrites=self._rewrite(query), folder=folder)
    store = self.searcher.store
    ranks = {stage: {hit.page: rank for rank, hit in enumerate(hits, 1)} for stage, hits in found.stages.items()}
    marker = Marker(query)
    texts = [store.chunk_text(hit.chunk) for hit in found.hits[:number]]
    pages = [
      {
        'id': store.page_ids[hit.page],
        'title': store.titles[hit.page],
        'folder': store.folders[hit.page],
        'score': hit.score,
        'text': text,
        'snippet': dataclasses.asdict(marker.snippet(text)),
        'ranks': {stage: rank[hit.page] for stage, rank in ranks.items() if hit.page in rank},
      }
      for hit, text in zip(found.hits[:number], texts, strict=True)
    ]
    folders = [{'folder': name, 'pages': count} for name, count in facets(store, found.hits)]
    return found, {'pages': pages, 'folders': folders, 'did_you_mean': self._speller.suggest(query)}

  def _ask(self, query: str, folder: str) -> tuple[Found, answers.Answer]:
    found = self.searcher.search(query, rewrites=self._rewrite(query), folder=folder)
    said = answers.answer(
      self.searcher,
      query,
      found,
      calibration=self.calibration,
      min_confidence=self.config.min_confidence,
      sentences=self.config.sentences,
      pages=self.config.pages,
      write=self._write,
    )
    return found, said

  async def close(self) -> None:
    self._thread.shutdown(wait=False, cancel_futures=True)
