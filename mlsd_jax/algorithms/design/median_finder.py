"""Median of a stream.

`add_num(number)` takes a number in; `find_median()` answers the median of all so far (of an even count the mean of the
two in the middle), which needs at least one.
"""

import bisect
import heapq
import random

from mlsd_jax.algorithms.problem import Call, Problem


class MedianFinder:
  """The lower half in a heap that gives its greatest, the upper half in one that gives its smallest."""

  def __init__(self):
    self.low: list[int] = []  # negated
    self.high: list[int] = []

  def add_num(self, number: int) -> None:
    if len(self.low) > len(self.high):
      heapq.heappush(self.high, -heapq.heappushpop(self.low, -number))
    else:
      heapq.heappush(self.low, -heapq.heappushpop(self.high, number))

  def find_median(self) -> float:
    if len(self.low) > len(self.high):
      return float(-self.low[0])
    return (self.high[0] - self.low[0]) / 2


class Oracle:
  """A sorted list."""

  def __init__(self):
    self.numbers = []

  def add_num(self, number):
    bisect.insort(self.numbers, number)

  def find_median(self):
    middle = len(self.numbers) // 2
    return (self.numbers[middle] + self.numbers[-1 - middle]) / 2


def operations(rng: random.Random, count: int, size: int) -> list[Call]:
  calls: list[Call] = [('MedianFinder', []), ('add_num', [rng.randrange(size)])]
  for _ in range(count - 1):
    adds = rng.random() < 0.6
    calls.append(('add_num', [rng.randrange(-4 * size, 4 * size)]) if adds else ('find_median', []))
  return calls


PROBLEM = Problem(MedianFinder, Oracle, operations, {'add_num': 'log n', 'find_median': '1'})
