"""Counted n-grams of characters: what a model must beat that only looks up how often something came next."""

import dataclasses
import functools

import numpy as np

from mlsd_jax.errors import UserError

MOST_ENTRIES = 2**26  # of a table: half a gigabyte, and counting holds some five of that size at once


@dataclasses.dataclass(frozen=True)
class NGram:
  """Interpolated n-grams with Witten-Bell smoothing (Witten and Bell 1991; Chen and Goodman 1998, section 2.5).

  The probability after a context of n - 1 tokens is what was counted there, mixed with that after the context one
  shorter by how many different tokens followed; at the end stands the uniform guess.

  Attributes:
    tables: for n = 1, 2, ...: probabilities [V^(n-1), V] by context number (the oldest token counts most).
  """

  tables: tuple[np.ndarray, ...]

  @classmethod
  def count(cls, tokens: np.ndarray, weights: np.ndarray, vocab_size: int, order: int) -> 'NGram':
    """Counts n-grams up to n = `order`.

    Args:
      tokens: [N, T + 1] words; token 0 stands before each as often as is needed.
      weights: [N, T], 1 where tokens[:, 1:] counts.

    Raises:
      UserError: an order below 1, or the last table would have more than MOST_ENTRIES.
    """
    if order < 1 or vocab_size**order > MOST_ENTRIES:
      raise UserError(
        f'n-grams of order {order} over {vocab_size} symbols cannot be counted: the order must be at least 1, '
        f'and {vocab_size}^{order} at most {MOST_ENTRIES:,}'
      )
    counted = weights.ravel() > 0
    targets = tokens[:, 1:].ravel()[counted]
    below = np.full((1, vocab_size), 1 / vocab_size)
    tables = []
    for n in range(1, order + 1):
      contexts = _number_contexts(tokens[:, :-1], n - 1, vocab_size).ravel()[counted]
      counts = np.bincount(contexts * vocab_size + targets, minlength=vocab_size**n).reshape(-1, vocab_size)
      kinds = (counts > 0).sum(1, keepdims=True)
      total = counts.sum(1, keepdims=True)
      shorter = np.tile(below, (len(counts) // len(below), 1))
      below = np.where(total > 0, (counts + kinds * shorter) / np.maximum(total + kinds, 1), shorter)
      tables.append(below)
    return cls(tuple(tables))

  def losses(self, tokens: np.ndarray) -> np.ndarray:
    """[N, T] nats of tokens[:, 1:]."""
    table = self.tables[-1]
    contexts = _number_contexts(tokens[:, :-1], len(self.tables) - 1, table.shape[1])
    return -np.log(table[contexts, tokens[:, 1:]])

  def sample(self, rng: np.random.Generator, longest: int) -> list[int]:
    """Tokens of one word, drawn until token 0 or `longest`."""
    order, vocab_size = len(self.tables), self.tables[-1].shape[1]
    drawn: list[int] = []
    while len(drawn) < longest:
      context = [0] * max(order - 1 - len(drawn), 0) + drawn[max(len(drawn) - order + 1, 0) :]
      number = functools.reduce(lambda total, token: total * vocab_size + token, context, 0)
      token = int(rng.choice(vocab_size, p=self.tables[-1][number]))
      if token == 0:
        break
      drawn.append(token)
    return drawn


def _number_contexts(tokens: np.ndarray, size: int, vocab_size: int) -> np.ndarray:
  """[N, T] number of the `size` tokens up to each place."""
  padded = np.pad(tokens.astype(np.int64), ((0, 0), (size - 1 if size else 0, 0)))
  length = tokens.shape[1]
  numbers = np.zeros(tokens.shape, np.int64)
  for place in range(size):
    numbers = numbers * vocab_size + padded[:, place : place + length]
  return numbers
