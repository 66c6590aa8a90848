"""Skip list.

A bag of numbers: `add(number)`, `search(number)` answers whether it is there, `erase(number)` takes one out and answers
whether there was one. Built as a skip list (Pugh, 1990), so in O(log n) expected."""

import bisect
import random

from mlsd_jax.algorithms.problem import Call, Problem

_LEVELS = 20


class _Node:
  __slots__ = ('number', 'onward')

  def __init__(self, number: float, levels: int):
    self.number = number
    self.onward: list[_Node | None] = [None] * levels


class Skiplist:
  """A node stands in the lowest list, and with probability 1/4 in each next one above."""

  def __init__(self, seed: int = 0):
    self.head = _Node(float('-inf'), _LEVELS)
    self.rng = random.Random(seed)
    self.levels = 1

  def search(self, number: int) -> bool:
    node = self._before(number)[0].onward[0]
    return node is not None and node.number == number

  def add(self, number: int) -> None:
    before = self._before(number)
    levels = 1
    while levels < _LEVELS and self.rng.random() < 0.25:
      levels += 1
    self.levels = max(self.levels, levels)
    node = _Node(number, levels)
    for level in range(levels):
      node.onward[level] = before[level].onward[level]
      before[level].onward[level] = node

  def erase(self, number: int) -> bool:
    before = self._before(number)
    node = before[0].onward[0]
    if node is None or node.number != number:
      return False
    for level, following in enumerate(node.onward):
      before[level].onward[level] = following
    return True

  def _before(self, number: int) -> list[_Node]:
    """On each level the last node of a smaller number."""
    found = [self.head] * _LEVELS
    node = self.head
    for level in range(self.levels - 1, -1, -1):
      while (following := node.onward[level]) is not None and following.number < number:
        node = following
      found[level] = node
    return found


class Oracle:
  """A sorted list."""

  def __init__(self, seed: int = 0):
    self.numbers: list[int] = []

  def search(self, number):
    return number in self.numbers

  def add(self, number):
    bisect.insort(self.numbers, number)

  def erase(self, number):
    if number not in self.numbers:
      return False
    self.numbers.remove(number)
    return True


def operations(rng: random.Random, count: int, size: int) -> list[Call]:
  calls: list[Call] = [('Skiplist', [])]
  for number in range(count):
    name = (
      rng.choice(('add', 'add', 'search', 'erase')) if number < 4 * size else rng.choice(('add', 'search', 'erase'))
    )
    calls.append((name, [rng.randrange(2 * size)]))
  return calls


PROBLEM = Problem(Skiplist, Oracle, operations, {'add': 'log n', 'search': 'log n', 'erase': 'log n'})
