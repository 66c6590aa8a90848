"""Set of numbers given by ranges.

`add_range(left, right)` puts the numbers from left to right - 1 in, `remove_range` takes them out, `query_range`
answers whether all of them are in. Where right is not above left there are none: nothing changes, and all are in."""

import random

from mlsd_jax.algorithms.problem import Call, Problem
from mlsd_jax.algorithms.sorted_list import SortedList


class RangeModule:
  """The places where the set begins or ends, sorted: an odd number of them at or before x means that x is in.

  Amortised: each range adds two places at most, and a place that goes was added once.
  """

  def __init__(self):
    self.places = SortedList()

  def add_range(self, left: int, right: int) -> None:
    self._cover(left, right, inside=False)

  def remove_range(self, left: int, right: int) -> None:
    self._cover(left, right, inside=True)

  def query_range(self, left: int, right: int) -> bool:
    if left >= right:
      return True
    first = self.places.bisect_right(left)
    return first % 2 == 1 and self.places.bisect_left(right) == first

  def _cover(self, left: int, right: int, *, inside: bool) -> None:
    if left >= right:
      return
    first, last = self.places.bisect_left(left), self.places.bisect_right(right)
    for _ in range(last - first):
      self.places.pop(first)
    if first % 2 == inside:
      self.places.add(left)
    if last % 2 == inside:
      self.places.add(right)


class Oracle:
  """The set itself."""

  def __init__(self):
    self.numbers = set()

  def add_range(self, left, right):
    self.numbers.update(range(left, right))

  def remove_range(self, left, right):
    self.numbers.difference_update(range(left, right))

  def query_range(self, left, right):
    return all(number in self.numbers for number in range(left, right))


def operations(rng: random.Random, count: int, size: int) -> list[Call]:
  calls: list[Call] = [('RangeModule', [])]
  for _ in range(count):
    left = rng.randrange(16 * size)
    width = rng.choice((-3, 0, *range(1, 9))) if rng.random() < 0.2 else rng.randint(1, 8)
    calls.append((rng.choice(('add_range', 'remove_range', 'query_range')), [left, left + width]))
  return calls


PROBLEM = Problem(
  RangeModule, Oracle, operations, {'add_range': 'log n', 'remove_range': 'log n', 'query_range': 'log n'}
)
