"""A corpus that is searched and asked, a request at a time in a thread."""

import asyncio
import dataclasses
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mlsd_jax.retrieval import answers
from mlsd_jax.retrieval.search import Found, Searcher
from mlsd_jax.serving.errors import too_busy


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

  @property
  def waiting(self) -> int:
    return self._waiting

  async def search(self, query: str, *, folder: str = '') -> tuple[Found, list[dict[str, Any]]]:
    """What was found, and the pages of the last stage, best first: id, title, score, the chunk that fits best.

    Raises:
      UserError: an empty query, a folder without pages.
      ApiError: too many requests wait (429).
    """
    return await self._in_thread(self._search, query, folder)

  async def ask(self, query: str, *, folder: str = '') -> tuple[Found, answers.Answer]:
    """What was found, and what the corpus says; errors as `search`."""
    return await self._in_thread(self._ask, query, folder)

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

  def _search(self, query: str, folder: str) -> tuple[Found, list[dict[str, Any]]]:
    found = self.searcher.search(query, rewrites=self._rewrite(query), folder=folder)
    store = self.searcher.store
    pages = [
      {
        'id': store.page_ids[hit.page],
        'title': store.titles[hit.page],
        'score': hit.score,
        'text': store.chunk_text(hit.chunk),
      }
      for hit in found.hits
    ]
    return found, pages

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
