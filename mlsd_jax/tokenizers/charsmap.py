"""SentencePiece's precompiled normalisation (Kudo and Richardson 2018, arXiv:1808.06226): a trie from texts to texts.

The file holds the trie as a double array (Darts-clone's units of 32 bits) and behind it the texts, each ended by a zero
byte. It is applied as Hugging Face's tokenizers do: to a grapheme of less than six bytes as a whole, else, and where it
has none, to its characters.
"""

import base64
import binascii
import functools
import struct

import numpy as np
import regex

from mlsd_jax.errors import UserError

_GRAPHEME = regex.compile(r'\X')
_SHORT = 6  # bytes


class CharsMap:
  """Texts as they are normalised; what the trie does not have stays."""

  def __init__(self, encoded: str):
    """`encoded`: base64 of the file. Raises UserError if it is none."""
    try:
      content = base64.b64decode(encoded, validate=True)
      (size,) = struct.unpack_from('<I', content)
      self._units: list[int] = np.frombuffer(content, '<u4', size // 4, 4).tolist()
    except (binascii.Error, struct.error, ValueError) as error:
      raise UserError(f'the precompiled charsmap is damaged: {error}') from error
    self._texts = content[4 + size :]
    # White space and marks apart, most texts are of characters that stay: these need not be looked up in graphemes.
    self._plain = frozenset(chr(c) for c in range(32, 127) if self._found(chr(c)) is None)

  def __call__(self, text: str) -> str:
    if self._plain.issuperset(text):
      return text
    return ''.join(map(self._of_grapheme, _GRAPHEME.findall(text)))

  @functools.lru_cache(maxsize=2**16)  # noqa: B019, one tokenizer lives as long as the process
  def _of_grapheme(self, grapheme: str) -> str:
    if len(grapheme.encode()) < _SHORT and (whole := self._found(grapheme)) is not None:
      return whole
    return ''.join(c if (found := self._found(c)) is None else found for c in grapheme)

  def _found(self, text: str) -> str | None:
    """What stands for the shortest beginning of the text that the trie has; None if it has none."""
    try:
      unit = self._units[0]
      at = _offset(unit)
      for byte in text.encode():
        at ^= byte
        unit = self._units[at]
        if byte == 0 or unit & 0x800000FF != byte:
          return None
        at ^= _offset(unit)
        if unit >> 8 & 1:
          start = self._units[at] & 0x7FFFFFFF
          return self._texts[start : self._texts.index(b'\0', start)].decode()
    except (IndexError, ValueError) as error:
      raise UserError(f'the precompiled charsmap is damaged: {error}') from error
    return None


def _offset(unit: int) -> int:
  return (unit >> 10) << ((unit & 1 << 9) >> 6)
