"""Exact nearest neighbours by blocked matrix products: the reference, and what a small or a filtered index uses."""

import numpy as np

_ROWS, _QUERIES = 32_768, 256


def search(queries: np.ndarray, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
  """The `k` rows of `vectors` [N, D] with the largest dot product with each of `queries` [Q, D].

  Returns:
    (rows int64 [Q, K], scores float32 [Q, K]) with K = min(k, N), best first, of equal scores the earlier row.
  """
  top = TopK(len(queries), k)
  for start in range(0, len(vectors), _ROWS):
    top.add(queries, vectors[start : start + _ROWS], start)
  return top.result()


class TopK:
  """The best `k` so far of each query, fed with one block of vectors after another."""

  def __init__(self, num_queries: int, k: int):
    self._k = k
    self._rows = np.zeros((num_queries, 0), np.int64)
    self._scores = np.zeros((num_queries, 0), np.float32)

  def add(self, queries: np.ndarray, block: np.ndarray, start: int, keep: np.ndarray | None = None) -> None:
    """Takes vectors `start` and on, float32 [B, D]; `keep`, bool [B], leaves out the others."""
    kept = len(block) if keep is None else int(keep.sum())
    width = min(self._k, self._rows.shape[1] + kept)
    rows, best = np.empty((len(queries), width), np.int64), np.empty((len(queries), width), np.float32)
    for at in range(0, len(queries), _QUERIES):
      part = slice(at, at + _QUERIES)
      scores = queries[part] @ block.T
      if keep is not None:
        scores[:, ~keep] = -np.inf
      rows[part], best[part] = self._merge(self._rows[part], self._scores[part], scores, start, width)
    self._rows, self._scores = rows, best

  def _merge(
    self, old_rows: np.ndarray, old: np.ndarray, scores: np.ndarray, start: int, width: int
  ) -> tuple[np.ndarray, np.ndarray]:
    if old.shape[1] < self._k:
      taken = min(self._k, scores.shape[1])
      found = best_columns(scores, taken)
      pairs = (
        np.concatenate([old, np.take_along_axis(scores, found, 1)], 1),
        np.concatenate([old_rows, found + start], 1),
      )
    else:
      # Of a later block few columns pass the k-th score so far; finding those is cheaper than partitioning them all.
      passed = scores > old[:, -1:]
      counts = passed.sum(1)
      more = int(counts.max(initial=0))
      if more == 0:
        return old_rows, old
      if more > 4 * self._k:
        found = best_columns(scores, self._k)
        new, new_rows = np.take_along_axis(scores, found, 1), found + start
      else:
        query, column = np.nonzero(passed)
        place = np.arange(len(query)) - np.repeat(np.cumsum(counts) - counts, counts)
        new = np.full((len(scores), more), -np.inf, np.float32)
        new_rows = np.full((len(scores), more), np.iinfo(np.int64).max)
        new[query, place] = scores[query, column]
        new_rows[query, place] = column + start
      pairs = np.concatenate([old, new], 1), np.concatenate([old_rows, new_rows], 1)
    return take_best(pairs[1], pairs[0], width)

  def result(self) -> tuple[np.ndarray, np.ndarray]:
    """(rows, scores), best first."""
    return self._rows, self._scores


def best_columns(scores: np.ndarray, k: int) -> np.ndarray:
  """Columns of the `k` largest of each row, in no order; of equal ones the earlier columns."""
  if k >= scores.shape[1]:
    return np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
  found = np.argpartition(scores, -k, axis=1)[:, -k:]
  # argpartition breaks ties as it likes: where the k-th score occurs outside of what was taken, take the first columns.
  edge = np.take_along_axis(scores, found, 1).min(1, keepdims=True)
  tied = np.flatnonzero((scores >= edge).sum(1) > k)
  for row in tied:
    order = np.lexsort((np.arange(scores.shape[1]), -scores[row]))
    found[row] = order[:k]
  return found


def take_best(rows: np.ndarray, scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
  """The `k` best of each line of (rows, scores) [Q, C], best first, of equal scores the smaller row."""
  best = order(rows, scores, k)
  return np.take_along_axis(rows, best, 1), np.take_along_axis(scores, best, 1)


def order(rows: np.ndarray, scores: np.ndarray, k: int) -> np.ndarray:
  """Columns [Q, k] of the best of each line, best first, of equal scores the smaller row."""
  return np.lexsort((rows, -scores), axis=1)[:, :k]
