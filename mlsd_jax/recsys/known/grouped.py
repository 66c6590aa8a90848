"""Tables of rows by key, from one sort: sums, the latest, and distinct counts of what only falls or rises in a group.

A hash table that keeps the distinct values of every group takes several times the room of the answer. Sorted rows need
none, go through in parts that fit a core's cache, and a distinct value is one that its neighbour does not have.

Names: N rows, G keys.
"""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

_AT_ONCE = 1 << 15  # rows


@dataclasses.dataclass(frozen=True)
class Part:
  """Some groups whole, one after the other.

  Attributes:
    first: [N] bool, where a group begins.
    start: [G] rows where they begin.
    size: [G] rows of each.
  """

  first: np.ndarray
  start: np.ndarray
  size: np.ndarray

  def sum(self, values: np.ndarray) -> np.ndarray:
    return np.add.reduceat(values, self.start, dtype=np.int32 if values.dtype == bool else np.float64)

  def mean(self, values: np.ndarray) -> np.ndarray:
    return self.sum(values) / self.size

  def earliest(self, values: np.ndarray) -> np.ndarray:
    return values[self.start]

  def latest(self, values: np.ndarray) -> np.ndarray:
    return values[self.start + self.size - 1]

  def begins(self, values: np.ndarray) -> np.ndarray:
    """[N] bool: where another value begins than that of the row before."""
    differs = self.first.copy()
    differs[1:] |= values[1:] != values[:-1]
    return differs

  def distinct(self, values: np.ndarray, among: np.ndarray | None = None) -> np.ndarray:
    """How many values there are in each group, of the rows `among` if there are any, which must be neighbours."""
    differs = self.begins(values)
    if among is not None:
      differs[1:] |= ~among[:-1]
      differs &= among
    return self.sum(differs)


class Grouped:
  """Rows in the order of a key [N] int64, those of one key as they came.

  Attributes:
    key: [G] the distinct ones, ascending.
    order: [N] the rows in that order.
    first: [N] bool, where a group begins in it.
  """

  def __init__(self, key: np.ndarray):
    self.order = _stable_order(key)
    ordered = key[self.order]
    self.first = np.ones(len(key), bool)
    np.not_equal(ordered[1:], ordered[:-1], out=self.first[1:])
    self._start = np.append(np.flatnonzero(self.first), len(key))
    self.key = ordered[self._start[:-1]]

  @property
  def earliest(self) -> np.ndarray:
    """[G] the first row of each key."""
    return self.order[self._start[:-1]]

  def table(
    self,
    names: Sequence[str],
    columns: Mapping[str, np.ndarray],
    values: Callable[[Part, Mapping[str, np.ndarray]], Mapping[str, np.ndarray]],
  ) -> np.ndarray:
    """[G, names] float32: what `values` makes of each part of the columns [N]."""
    out = np.empty((len(self.key), len(names)), np.float32)

    def fill(groups: slice, part: Part, rows: np.ndarray) -> None:
      computed = values(part, {name: column[rows] for name, column in columns.items()})
      for place, name in enumerate(names):
        out[groups, place] = computed[name]

    self._each(fill)
    return out

  def column(
    self, columns: Mapping[str, np.ndarray], values: Callable[[Part, Mapping[str, np.ndarray]], np.ndarray]
  ) -> np.ndarray:
    """[N] int32, in the order that the rows had: what `values` makes of each row."""
    out = np.empty(len(self.order), np.int32)

    def fill(groups: slice, part: Part, rows: np.ndarray) -> None:
      del groups
      out[rows] = values(part, {name: column[rows] for name, column in columns.items()})

    self._each(fill)
    return out

  def _each(self, fill: Callable[[slice, Part, np.ndarray], None]) -> None:
    bounds = np.unique(np.searchsorted(self._start, np.arange(0, len(self.order) + _AT_ONCE, _AT_ONCE)))
    bounds = np.minimum(bounds, len(self.key))

    def fill_groups(first: int, last: int) -> None:
      begin, end = self._start[first], self._start[last]
      start = self._start[first : last + 1]
      fill(slice(first, last), Part(self.first[begin:end], start[:-1] - begin, np.diff(start)), self.order[begin:end])

    with ThreadPoolExecutor(os.cpu_count()) as pool:
      list(pool.map(fill_groups, bounds[:-1], bounds[1:]))


def distinct(values: np.ndarray) -> np.ndarray:
  """The distinct ones, ascending. np.unique goes through a hash table, which takes ten times as long."""
  ordered = np.sort(values)
  return ordered[np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)]]


def contains(ordered: np.ndarray, values: np.ndarray) -> np.ndarray:
  """Which of `asked` are among the ascending values."""
  if not len(ordered):
    return np.zeros(len(values), bool)
  return ordered[np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)] == values


def _stable_order(key: np.ndarray) -> np.ndarray:
  """As np.argsort(kind='stable'); where key and row fit one number, sorting those is four times as fast."""
  bits = max(len(key) - 1, 1).bit_length()
  if len(key) and int(key.max()).bit_length() + bits > 63:
    return np.argsort(key, kind='stable')
  packed = (key.astype(np.int64) << bits) | np.arange(len(key))
  packed.sort()
  packed &= (1 << bits) - 1
  return packed
