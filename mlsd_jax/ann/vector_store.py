"""The vectors an index keeps: float32, bfloat16 or int8, in memory or memory-mapped."""

import pathlib

import numpy as np

from mlsd_jax.ann import exact

_ROWS = 32_768


class Store:
  """Vectors [N, D] that are read back as float32.

  bfloat16 is the upper half of a float32, rounded to even; int8 has one factor a vector.
  """

  def __init__(self, codes: np.ndarray, factors: np.ndarray | None = None):
    self._codes, self._factors = codes, factors

  @staticmethod
  def encode(vectors: np.ndarray, dtype: str) -> 'Store':
    """float32 [N, D] as `dtype`; float32 itself is not copied."""
    if dtype == 'float32':
      return Store(vectors)
    codes = np.empty(vectors.shape, np.uint16 if dtype == 'bfloat16' else np.int8)
    factors = None if dtype == 'bfloat16' else np.empty(len(vectors), np.float32)
    for at in range(0, len(vectors), _ROWS):
      part, block = slice(at, at + _ROWS), vectors[at : at + _ROWS]
      if factors is None:
        bits = np.ascontiguousarray(block).view(np.uint32)
        codes[part] = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
      else:
        largest = np.abs(block).max(1)
        factors[part] = largest / 127
        codes[part] = np.rint(block * (127 / np.where(largest == 0, 1, largest))[:, None])
    return Store(codes, factors)

  def __len__(self) -> int:
    return len(self._codes)

  @property
  def dim(self) -> int:
    return self._codes.shape[1]

  def rows(self, rows: np.ndarray | slice) -> np.ndarray:
    """float32 [M, D]."""
    codes = self._codes[rows]
    if codes.dtype == np.float32:
      return np.asarray(codes)
    if codes.dtype == np.uint16:
      return (codes.astype(np.uint32) << 16).view(np.float32)
    assert self._factors is not None
    return codes * self._factors[rows][:, None]

  def exact(self, queries: np.ndarray, k: int, keep: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The exact best `k` among the rows of `keep`, bool [N]: (rows [Q, K], scores [Q, K]), K = min(k, rows kept)."""
    top = exact.TopK(len(queries), k)
    if keep is not None and keep.sum() * 8 < len(self):
      kept = np.flatnonzero(keep)
      for at in range(0, len(kept), _ROWS):
        top.add(queries, self.rows(kept[at : at + _ROWS]), at)
      rows, scores = top.result()
      return kept[rows] if len(kept) else rows, scores
    for at in range(0, len(self), _ROWS):
      part = slice(at, at + _ROWS)
      top.add(queries, self.rows(part), at, None if keep is None else keep[part])
    return top.result()

  def score(self, queries: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Dot products [Q, C] of each query [Q, D] with its own candidate rows [Q, C]; -inf where the row is -1."""
    scores = np.empty(candidates.shape, np.float32)
    step = max(1, _ROWS // max(candidates.shape[1], 1))
    for at in range(0, len(queries), step):
      part = slice(at, at + step)
      flat = candidates[part].ravel()
      vectors = self.rows(np.maximum(flat, 0)).reshape(*candidates[part].shape, -1)
      scores[part] = np.matmul(vectors, queries[part, :, None])[..., 0]
    scores[candidates < 0] = -np.inf
    return scores

  def write(self, folder: pathlib.Path) -> None:
    """Writes vectors.npy, and factors.npy where there are any."""
    np.save(folder / 'vectors.npy', self._codes, allow_pickle=False)
    if self._factors is not None:
      np.save(folder / 'factors.npy', self._factors, allow_pickle=False)

  @staticmethod
  def read(folder: pathlib.Path) -> 'Store':
    """Memory-maps what `write` wrote."""
    codes = np.load(folder / 'vectors.npy', mmap_mode='r', allow_pickle=False)
    factors = folder / 'factors.npy'
    return Store(codes, np.load(factors, allow_pickle=False) if factors.exists() else None)
