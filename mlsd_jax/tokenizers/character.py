"""One token a character, over the characters of a given text."""

import hashlib
from collections.abc import Iterable
from typing import Any, Self

import numpy as np

from mlsd_jax.errors import UserError
from mlsd_jax.tokenizers import base


class CharacterTokenizer(base.Tokenizer):
  """The sorted distinct characters of a text are the vocabulary, as in nanoGPT's shakespeare_char.

  There is no end-of-text token: documents simply follow each other.
  """

  kind = 'char'
  end_of_text = None

  def __init__(self, characters: str):
    """Args: characters: the vocabulary, sorted and distinct; a character's id is its position."""
    if not characters or list(characters) != sorted(set(characters)):
      raise UserError('a character vocabulary must be one or more distinct characters in sorted order')
    self.characters = characters
    self.name = f'char-{len(characters)}'
    self.vocab_size = len(characters)
    self.fingerprint = hashlib.sha256(b'char\0' + characters.encode()).hexdigest()
    code_points = _code_points(characters)
    self._ids = np.full(int(code_points[-1]) + 2, -1, np.int32)  # the last entry stays -1: all higher code points
    self._ids[code_points] = np.arange(len(characters))

  @classmethod
  def train(cls, texts: Iterable[str]) -> Self:
    """The vocabulary of `texts`.

    Raises:
      UserError: the texts hold no character at all.
    """
    characters: set[str] = set()
    for text in texts:
      characters.update(base.well_formed(text))
    return cls(''.join(sorted(characters)))

  def encode(self, text: str) -> np.ndarray:
    code_points = _code_points(text)
    ids = self._ids[np.minimum(code_points, len(self._ids) - 1)]
    if ids.size and ids.min() < 0:
      position = int(np.argmin(ids))
      character = chr(code_points[position])
      raise UserError(
        f'character {character!r} (U+{ord(character):04X}) at position {position} is not among the '
        f'{self.vocab_size} characters of the vocabulary'
      )
    return ids

  def decode_bytes(self, ids: base.Ids) -> bytes:
    return ''.join(self.characters[i] for i in self._checked(ids)).encode()

  def state(self) -> dict[str, Any]:
    return {'characters': self.characters}

  @classmethod
  def from_state(cls, state: dict[str, Any]) -> Self:
    return cls(state['characters'])


def _code_points(text: str) -> np.ndarray:
  return np.frombuffer(base.well_formed(text).encode('utf-32-le'), np.uint32)
