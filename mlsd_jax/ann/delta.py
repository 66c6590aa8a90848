"""Vectors added since the segments were built: searched exactly, visible at once."""

import numpy as np
import polars as pl


class Delta:
  """A growing list of vectors. Places are handed out in order and never again; a removed one stays, dead."""

  def __init__(self, dim: int, id_type: pl.DataType | type[pl.DataType]):
    self._vectors = np.empty((0, dim), np.float32)
    self._rows = np.empty(0, np.int64)
    self._alive = np.empty(0, bool)
    self._id_type = id_type
    self._ids: list[int | str] = []
    self._places: dict[int | str, int] = {}
    self._tables: list[pl.DataFrame] = []

  def __len__(self) -> int:
    return len(self._ids)

  @property
  def num_alive(self) -> int:
    return len(self._places)

  def place(self, id: int | str) -> int:
    """Where the living vector of this id is, or -1."""
    return self._places.get(id, -1)

  def add(self, ids: list[int | str], vectors: np.ndarray, rows: np.ndarray, metadata: pl.DataFrame | None) -> None:
    """Takes checked vectors of ids that are not here alive."""
    start, end = len(self), len(self) + len(ids)
    if end > len(self._rows):
      size = max(end, 2 * len(self._rows), 64)
      self._vectors, self._rows, self._alive = (
        np.concatenate([old, np.zeros((size - len(old), *old.shape[1:]), old.dtype)])
        for old in (self._vectors, self._rows, self._alive)
      )
    self._vectors[start:end] = vectors
    self._rows[start:end] = rows
    self._alive[start:end] = True
    self._places.update(zip(ids, range(start, end), strict=True))
    self._ids.extend(ids)
    if metadata is not None:
      self._tables.append(metadata)

  def remove(self, ids: list[int | str]) -> None:
    """Marks living vectors dead."""
    alive = self._alive.copy()  # a search that runs meanwhile keeps the old one
    alive[[self._places.pop(id) for id in ids]] = False
    self._alive = alive

  def view(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(vectors [N, D], rows [N], alive [N]) as they are now; later changes do not show in them."""
    size = len(self)
    return self._vectors[:size], self._rows[:size], self._alive[:size]

  @property
  def ids(self) -> pl.Series:
    return pl.Series('id', self._ids, dtype=self._id_type)

  @property
  def metadata(self) -> pl.DataFrame | None:
    if len(self._tables) > 1:
      self._tables = [pl.concat(self._tables)]
    return self._tables[0] if self._tables else None
