"""Median of the last numbers of a stream.

`SlidingWindowMedian(width)`: `add(number)` takes a number in and answers the median of the last `width` (1 or more)
numbers, or of all while there are fewer (of an even count the mean of the two in the middle)."""

import random
from collections import deque

from mlsd_jax.algorithms.problem import Call, Problem
from mlsd_jax.algorithms.sorted_list import SortedList


class SlidingWindowMedian:
  """The window twice: as it came, and sorted."""

  def __init__(self, width: int):
    self.width = width
    self.window: deque[int] = deque()
    self.ordered = SortedList()

  def add(self, number: int) -> float:
    if len(self.window) == self.width:
      self.ordered.remove(self.window.popleft())
    self.window.append(number)
    self.ordered.add(number)
    middle = len(self.ordered) // 2
    if len(self.ordered) % 2:
      return float(self.ordered[middle])
    return (self.ordered[middle - 1] + self.ordered[middle]) / 2


class Oracle:
  """Sorts each window."""

  def __init__(self, width: int):
    self.width = width
    self.numbers: list[int] = []

  def add(self, number):
    self.numbers = [*self.numbers, number][-self.width :]
    ordered = sorted(self.numbers)
    middle = len(ordered) // 2
    return (ordered[middle] + ordered[-1 - middle]) / 2


def operations(rng: random.Random, count: int, size: int) -> list[Call]:
  return [('SlidingWindowMedian', [size]), *(('add', [rng.randrange(4 * size)]) for _ in range(count))]


PROBLEM = Problem(SlidingWindowMedian, Oracle, operations, {'add': 'log n'})
