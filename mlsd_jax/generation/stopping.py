"""Text as it is sampled: whole characters only, cut before the first stop string."""

from collections.abc import Sequence

from mlsd_jax import tokenizers
from mlsd_jax.errors import UserError


class TextStream:
  """One row's text, token by token.

  Text is released once it can no longer be part of a stop string, so that what has been streamed never has to be
  taken back.

  Attributes:
    text: what was released so far. After `close`, the whole text.
    stopped: whether a stop string was met. `text` ends before it; further tokens are ignored.
  """

  def __init__(self, tokenizer: tokenizers.Tokenizer, stop: Sequence[str] = ()):
    if isinstance(stop, str):
      stop = (stop,)
    if '' in stop:
      raise UserError('a stop string is empty; give at least one character')
    self._decoder = tokenizers.StreamDecoder(tokenizer)
    self._stop = tuple(stop)
    self._held = ''
    self.text = ''
    self.stopped = False

  def push(self, token: int) -> str:
    """The text that `token` releases; '' while a character or a possible stop string is open."""
    return '' if self.stopped else self._release(self._decoder.push(token), final=False)

  def close(self) -> str:
    """The rest, at the end of the row."""
    return '' if self.stopped else self._release(self._decoder.flush(), final=True)

  def _release(self, piece: str, final: bool) -> str:
    self._held += piece
    found = [at for stop in self._stop if (at := self._held.find(stop)) >= 0]
    if found:
      self.stopped = True
      keep = min(found)
    else:
      keep = len(self._held) - (0 if final else self._open())
    released, self._held = self._held[:keep], self._held[keep:]
    self.text += released
    return released

  def _open(self) -> int:
    """Length of the longest end of the held text that a stop string begins with."""
    longest = min(len(self._held), max(map(len, self._stop), default=1) - 1)
    ends = (n for n in range(longest, 0, -1) if any(stop.startswith(self._held[-n:]) for stop in self._stop))
    return next(ends, 0)
