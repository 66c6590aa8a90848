"""Sparse table: the minimum of any range of numbers that do not change, O(1) a query after O(n log n)."""

from collections.abc import Sequence


class SparseTable:
  """Row k holds the minimum of the 2**k numbers from each place on; two of them cover any range."""

  def __init__(self, values: Sequence[int]):
    self.rows = [list(values)]
    width = 1
    while 2 * width <= len(values):
      row = self.rows[-1]
      self.rows.append([min(row[i], row[i + width]) for i in range(len(row) - width)])
      width *= 2

  def minimum(self, left: int, right: int) -> int:
    """Of the numbers left to right - 1, of which there is at least one."""
    level = (right - left).bit_length() - 1
    row = self.rows[level]
    return min(row[left], row[right - (1 << level)])
