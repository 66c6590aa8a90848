"""A small cache of prefixes: what a model made of a prompt's beginning, for the next prompt that begins alike."""

import collections
from typing import Any

import jax
import numpy as np


class PrefixCache:
  """Blocks of prompts, each known by all tokens from the start of its text to its own end.

  A prompt's blocks are used from the first on, so that of a text that has not been used for long the last go first.

  Attributes:
    bytes: memory that the blocks take.
  """

  def __init__(self, block: int, max_blocks: int):
    self._block, self._max_blocks = block, max_blocks
    self._blocks: collections.OrderedDict[bytes, Any] = collections.OrderedDict()
    self.bytes = 0

  def find(self, tokens: np.ndarray) -> list[Any]:
    """The blocks that `tokens` begins with, as long as they are held; one token at least is left to be read."""
    keys = []
    for end in range(self._block, len(tokens), self._block):
      key = _key(tokens[:end])
      if key not in self._blocks:
        break
      keys.append(key)
    for key in reversed(keys):
      self._blocks.move_to_end(key)
    return [self._blocks[key] for key in keys]

  def wants(self, tokens: np.ndarray) -> bool:
    """Whether the last block of `tokens`, a whole one, is still to be added."""
    return self._max_blocks > 0 and len(tokens) % self._block == 0 and _key(tokens) not in self._blocks

  def add(self, tokens: np.ndarray, block: Any) -> None:
    """Keeps the last block of `tokens`; what was used longest ago makes room."""
    self._blocks[_key(tokens)] = block
    self.bytes += _size(block)
    while len(self._blocks) > self._max_blocks:
      self.bytes -= _size(self._blocks.popitem(last=False)[1])


def _key(tokens: np.ndarray) -> bytes:
  return np.asarray(tokens, np.int32).tobytes()


def _size(block: Any) -> int:
  return sum(leaf.nbytes for leaf in jax.tree.leaves(block))
