"""Arrays that grow at the end while others read them."""

import numpy as np

_LEAST = 1024  # rows of room


class Growing:
  """An array with room behind its last row. Who holds a view of it sees no change: only what lies behind is written."""

  def __init__(self, rows: np.ndarray):
    self.view = rows  # itself until something is added: what is mapped into memory is not copied for nothing
    self._store = rows[:0]

  def __len__(self) -> int:
    return len(self.view)

  def extend(self, rows: np.ndarray) -> np.ndarray:
    """All rows, `rows` the last of them."""
    first, last = len(self.view), len(self.view) + len(rows)
    if last > len(self._store):
      store = np.empty((max(last, first + first // 4) + _LEAST, *self.view.shape[1:]), self.view.dtype)
      store[:first] = self.view
      self._store = store
    self._store[first:last] = rows
    self.view = self._store[:last]
    return self.view
