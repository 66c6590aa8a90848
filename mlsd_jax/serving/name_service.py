"""makemore's models behind a server: new words, and what each letter of a word costs."""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mlsd_jax.data.words import WordList
from mlsd_jax.makemore.ladder import Trained
from mlsd_jax.serving.errors import ApiError, too_busy
from mlsd_jax.serving.requests import MAX_NAMES

_SIZES = (16, 128, MAX_NAMES)  # words that are computed at once: three programs a model, whatever is asked for


class NameService:
  """The rungs of one makemore run.

  Attributes:
    name: by which requests ask for it.
    models: by the name of their rung; the last is the one that answers where none is named.
  """

  def __init__(self, name: str, words: WordList, models: Mapping[str, Trained], *, max_waiting: int = 256):
    self.name, self.words, self.models = name, words, dict(models)
    self._known = set(words.train)
    self._thread, self._waiting, self._max_waiting = ThreadPoolExecutor(1, f'names of {name}'), 0, max_waiting

  @property
  def waiting(self) -> int:
    return self._waiting

  async def sample(self, number: int, seed: int = 0, rung: str | None = None) -> list[dict[str, Any]]:
    """`number` new words as `score` tells them. The same seed gives the same words, up to 16, 128 and 1,024 of them.

    Raises:
      ApiError: no such rung (404); too many requests wait (429).
    """
    model = self._find(rung)
    size = min(each for each in _SIZES if each >= number)
    return await self._in_thread(lambda: self._tell(model, model.make(size, seed)[:number]))

  async def score(self, words: Sequence[str], rung: str | None = None) -> list[dict[str, Any]]:
    """Of each word: nats in all, nats of each letter and of the end, and whether the training words lack it.

    Raises:
      ApiError: no such rung (404); too many requests wait (429).
      UserError: a word with a letter, or of a length, that the models do not know.
    """
    model = self._find(rung)
    self.words.encode(words)
    return await self._in_thread(lambda: self._tell(model, words))

  def warm_up(self) -> None:
    """Compiles what answers most requests."""
    for model in self.models.values():
      self._tell(model, model.make(_SIZES[0], 0))

  async def close(self) -> None:
    self._thread.shutdown(wait=False, cancel_futures=True)

  def _find(self, rung: str | None) -> Trained:
    rung = next(reversed(self.models)) if rung is None else rung
    if rung not in self.models:
      raise ApiError(404, f'{self.name} has no rung {rung[:100]!r}; it has {", ".join(self.models)}', param='rung')
    return self.models[rung]

  def _tell(self, model: Trained, words: Sequence[str]) -> list[dict[str, Any]]:
    size = min(each for each in _SIZES if each >= len(words))
    losses = model.losses([*words, *[''] * (size - len(words))])
    out = []
    for word, row in zip(words, losses, strict=False):  # behind them is padding
      letters = [{'letter': each, 'nats': float(nats)} for each, nats in zip([*word, ''], row, strict=False)]
      nats = sum(each['nats'] for each in letters)
      out.append({'word': word, 'nats': nats, 'is_new': word not in self._known, 'letters': letters})
    return out

  async def _in_thread(self, function: Any) -> Any:
    if self._waiting >= self._max_waiting:
      raise too_busy(self.name)
    self._waiting += 1
    try:
      return await asyncio.get_running_loop().run_in_executor(self._thread, function)
    finally:
      self._waiting -= 1
