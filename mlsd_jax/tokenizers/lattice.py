"""All ways to cut many pieces into tokens at once: forward-backward and Viterbi over arrays.

Pieces of one length stand together. `tokens[p, i, w - 1]` is the number of the token that is bytes i to i + w of piece
p, or the number of no token, whose score is minus infinity.
"""

import collections
from collections.abc import Iterable, Mapping

import numpy as np


class Lattice:
  """Attributes: number: of each token, its place in the arrays of scores and counts."""

  def __init__(self, pieces: Mapping[bytes, int], scores: Mapping[bytes, tuple[int, float]]):
    """
    Args:
      pieces: how often each occurs.
      scores: (id, log probability) of every token; only tokens of id 256 and above are learned.
    """
    self.number = {token: i for i, token in enumerate(scores)}
    self._learned = np.array([i >= 256 for i, _ in scores.values()])
    self._scores = np.array([*(score for _, score in scores.values()), -np.inf])
    self._longest = max(map(len, scores))
    self._groups = [(self._table(group), np.array([pieces[p] for p in group], float)) for group in _by_length(pieces)]

  def score(self, token: bytes) -> float:
    return float(self._scores[self.number[token]])

  def set_scores(self, scores: np.ndarray) -> None:
    """New log probabilities of the learned tokens; those of the bytes stay."""
    self._scores[:-1] = np.where(self._learned, scores, self._scores[:-1])

  def expected_counts(self) -> np.ndarray:
    """How often each token occurs in a cut drawn by its probability, summed over the text: the E step."""
    counts = np.zeros(len(self._scores))
    for tokens, weights in self._groups:
      forward, backward = self._sums(tokens), self._sums(tokens, backward=True)
      length = tokens.shape[1]
      for start in range(length):
        for width in range(1, min(tokens.shape[2], length - start) + 1):
          number = tokens[:, start, width - 1]
          log_chance = forward[:, start] + self._scores[number] + backward[:, start + width] - forward[:, length]
          np.add.at(counts, number, weights * np.exp(log_chance))
    return counts[:-1]

  def best_counts(self) -> np.ndarray:
    """How often each token occurs in the likeliest cuts."""
    counts = np.zeros(len(self._scores))
    for tokens, weights in self._groups:
      _, width_at = self._best(tokens)
      end = np.full(len(tokens), tokens.shape[1])
      rows = np.arange(len(tokens))
      while (end > 0).any():
        rows = rows[end[rows] > 0]
        width = width_at[rows, end[rows]]
        end[rows] -= width
        np.add.at(counts, tokens[rows, end[rows], width - 1], weights[rows])
    return counts[:-1]

  def best_without_itself(self, tokens: Iterable[bytes]) -> dict[bytes, float]:
    """The log probability of the likeliest cut of each token into others."""
    found: dict[bytes, float] = {}
    for group in _by_length(tokens):
      table = self._table(group)
      if table.shape[2] == table.shape[1]:
        table[:, 0, -1] = len(self._scores) - 1
      found |= dict(zip(group, self._best(table)[0][:, -1].tolist(), strict=True))
    return found

  def _table(self, group: list[bytes]) -> np.ndarray:
    length = len(group[0])
    widest = min(self._longest, length)
    none = len(self._scores) - 1
    table = np.full((len(group), length, widest), none, np.int32)
    for p, piece in enumerate(group):
      for start in range(length):
        for end in range(start + 1, min(start + widest, length) + 1):
          table[p, start, end - start - 1] = self.number.get(piece[start:end], none)
    return table

  def _sums(self, tokens: np.ndarray, *, backward: bool = False) -> np.ndarray:
    """[pieces, length + 1]: log of the summed probability of all cuts of the first (or from the) i bytes."""
    length = tokens.shape[1]
    sums = np.full((len(tokens), length + 1), -np.inf)
    sums[:, length if backward else 0] = 0.0
    for here in range(length - 1, -1, -1) if backward else range(1, length + 1):
      for width in range(1, min(tokens.shape[2], length - here if backward else here) + 1):
        start, there = (here, here + width) if backward else (here - width, here - width)
        sums[:, here] = np.logaddexp(sums[:, here], sums[:, there] + self._scores[tokens[:, start, width - 1]])
    return sums

  def _best(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[pieces, length + 1] each: score of the likeliest cut of the first i bytes, and the width of its last token."""
    length = tokens.shape[1]
    best = np.full((len(tokens), length + 1), -np.inf)
    width_at = np.zeros(best.shape, np.int64)
    best[:, 0] = 0.0
    for end in range(1, length + 1):
      for width in range(1, min(tokens.shape[2], end) + 1):
        score = best[:, end - width] + self._scores[tokens[:, end - width, width - 1]]
        better = score > best[:, end]
        best[better, end], width_at[better, end] = score[better], width
    return best, width_at


def _by_length(pieces: Iterable[bytes]) -> list[list[bytes]]:
  groups: dict[int, list[bytes]] = collections.defaultdict(list)
  for piece in pieces:
    groups[len(piece)].append(piece)
  return list(groups.values())
