"""Texts that are nearly the same, found by MinHash with banding (Broder 1997; Leskovec et al., chapter 3)."""

import zlib
from collections.abc import Iterable

import numpy as np

_PRIME = np.uint64(2**31 - 1)


def signatures(texts: Iterable[str], *, hashes: int = 64, shingle: int = 5, seed: int = 0) -> np.ndarray:
  """uint32 [N, hashes]: the share of places in which two rows agree estimates their texts' Jaccard similarity.

  Args:
    shingle: words in a run; the texts' sets of runs are compared. A shorter text is one run.
  """
  rng = np.random.default_rng(seed)
  a = rng.integers(1, int(_PRIME), hashes, dtype=np.uint64)
  b = rng.integers(0, int(_PRIME), hashes, dtype=np.uint64)
  rows = []
  for text in texts:
    words = np.array([zlib.crc32(word.encode()) for word in text.lower().split()], np.uint64)
    runs = np.zeros(max(len(words) - shingle + 1, 1), np.uint64)
    for offset in range(min(shingle, len(words))):
      runs = (runs * np.uint64(31) + words[offset : offset + len(runs)]) % _PRIME
    rows.append(((a[:, None] * runs + b[:, None]) % _PRIME).min(axis=1))
  return np.array(rows, np.uint32).reshape(-1, hashes)


def groups(signatures_: np.ndarray, *, threshold: float = 0.85, rows: int = 8) -> np.ndarray:
  """int32 [N]: the first text of each one's group; two whose estimated similarity reaches the threshold share one.

  Args:
    signatures_: [N, hashes].
    rows: hashes in a band; only texts that agree in all of some band are compared.
  """
  number, hashes = signatures_.shape
  first = np.arange(number, dtype=np.int32)

  def root(i: int) -> int:
    while first[i] != i:
      first[i] = first[first[i]]
      i = int(first[i])
    return i

  for start in range(0, hashes, rows):
    band = np.ascontiguousarray(signatures_[:, start : start + rows])
    keys = band.view(np.dtype((np.void, band.dtype.itemsize * band.shape[1]))).ravel()
    order = np.argsort(keys, kind='stable')
    same = np.flatnonzero(keys[order][1:] == keys[order][:-1])
    for place in same:  # neighbours in a bucket; a chain of them joins the whole bucket
      i, j = int(order[place]), int(order[place + 1])
      if (signatures_[i] == signatures_[j]).mean() >= threshold:
        a, b = sorted((root(i), root(j)))
        first[b] = a
  return np.array([root(i) for i in range(number)], np.int32)
