"""Faster dynamic programming: lines (Li Chao), divide and conquer, Knuth's bounds, slopes (Aliens' trick)."""

import math
from collections.abc import Callable, Sequence


class LiChao:
  """The lowest of many lines y = m x + b at any x of a range of integers. O(log range) a line and a query."""

  def __init__(self, low: int, high: int):
    self.low, self.high = low, high
    self.lines: dict[int, tuple[int, int]] = {}

  def add(self, m: int, b: int) -> None:
    node, low, high = 1, self.low, self.high
    line = (m, b)
    while True:
      if node not in self.lines:
        self.lines[node] = line
        return
      middle = (low + high) // 2
      other = self.lines[node]
      if _at(line, middle) < _at(other, middle):
        self.lines[node], line, other = line, other, line
      if low == high:
        return
      if _at(line, low) < _at(other, low):
        node, high = 2 * node, middle
      elif _at(line, high) < _at(other, high):
        node, low = 2 * node + 1, middle + 1
      else:
        return

  def minimum(self, x: int) -> float:
    """At x; infinite where there is no line."""
    node, low, high, best = 1, self.low, self.high, math.inf
    while node in self.lines:
      best = min(best, _at(self.lines[node], x))
      middle = (low + high) // 2
      if low == high:
        break
      node, low, high = (2 * node, low, middle) if x <= middle else (2 * node + 1, middle + 1, high)
    return best


def _at(line: tuple[int, int], x: int) -> int:
  return line[0] * x + line[1]


def partition_cost(count: int, parts: int, cost: Callable[[int, int], float]) -> float:
  """The least total of cost(i, j) over ways to cut 0..count into `parts` pieces [i, j), for a cost whose best cut moves
  only to the right (the quadrangle inequality). Divide and conquer: O(parts n log n) calls."""
  best = [0.0] + [math.inf] * count
  for _ in range(parts):
    following = [math.inf] * (count + 1)
    stack = [(1, count, 0, count - 1)]
    while stack:
      low, high, first, last = stack.pop()
      if low > high:
        continue
      middle = (low + high) // 2
      options = [(best[cut] + cost(cut, middle), cut) for cut in range(first, min(last, middle - 1) + 1)]
      following[middle], cut = min(options, default=(math.inf, first))
      stack += [(low, middle - 1, first, cut), (middle + 1, high, cut, last)]
    best = following
  return best[count]


def merge_cost(weights: Sequence[int]) -> int:
  """The least total cost of merging neighbours until one pile is left; a merge costs its pile (Knuth, 1971). O(n^2)."""
  count = len(weights)
  prefix = [0]
  for weight in weights:
    prefix.append(prefix[-1] + weight)
  cost = [[0] * count for _ in range(count)]
  cut = [[i] * count for i in range(count)]
  for width in range(2, count + 1):
    for left in range(count - width + 1):
      right = left + width - 1
      options = range(cut[left][right - 1], cut[left + 1][right] + 1)
      where = min((k for k in options if k < right), key=lambda k: cost[left][k] + cost[k + 1][right], default=left)
      cut[left][right] = where
      cost[left][right] = cost[left][where] + cost[where + 1][right] + prefix[right + 1] - prefix[left]
  return cost[0][-1] if count else 0


def best_with_exactly(solve: Callable[[int], tuple[int, int]], wanted: int, highest: int) -> int:
  """The greatest value with exactly `wanted` items, where the gain of one more item never grows (Aliens' trick).

  Args:
    solve: penalty -> (greatest value when each item costs the penalty, the fewest items that reach it).
    highest: penalty at which no item is taken any more.
  """
  low, high = 0, highest
  while low < high:
    middle = (low + high) // 2
    if solve(middle)[1] <= wanted:
      high = middle
    else:
      low = middle + 1
  return solve(low)[0] + low * wanted
