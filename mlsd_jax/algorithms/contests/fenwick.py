"""Fenwick tree (Fenwick, 1994): prefix sums of numbers that change, O(log n) an operation."""

from collections.abc import Sequence


class Fenwick:
  """Node i holds the sum of the last lowbit(i) numbers up to i, counted from 1."""

  def __init__(self, values: Sequence[int]):
    self.tree = [0, *values]
    for node in range(1, len(self.tree)):
      parent = node + (node & -node)
      if parent < len(self.tree):
        self.tree[parent] += self.tree[node]

  def add(self, index: int, value: int) -> None:
    node = index + 1
    while node < len(self.tree):
      self.tree[node] += value
      node += node & -node

  def prefix(self, count: int) -> int:
    """The sum of the first `count` numbers."""
    total = 0
    while count:
      total += self.tree[count]
      count &= count - 1
    return total

  def find(self, total: int) -> int:
    """The greatest count whose prefix sum is at most `total`; the numbers must not be negative."""
    node, step = 0, 1 << (len(self.tree) - 1).bit_length()
    while step:
      if node + step < len(self.tree) and self.tree[node + step] <= total:
        node += step
        total -= self.tree[node]
      step //= 2
    return node
