"""Bag with a random element.

`insert(value)` puts one more of a value in and answers whether there was none before; `remove(value)` takes one out and
answers whether there was one; `get_random()` answers an element with every one equally likely, so that a value that is
in twice comes twice as often; it needs a bag that is not empty.
"""

import random

from mlsd_jax.algorithms.problem import Call, Problem


class RandomizedCollection:
  """A list, and the places of each value in it; the last element fills the hole that a removal leaves."""

  def __init__(self, seed: int = 0):
    self.values: list[int] = []
    self.places: dict[int, set[int]] = {}
    self.rng = random.Random(seed)

  def insert(self, value: int) -> bool:
    places = self.places.setdefault(value, set())
    places.add(len(self.values))
    self.values.append(value)
    return len(places) == 1

  def remove(self, value: int) -> bool:
    places = self.places.get(value)
    if not places:
      return False
    hole, last = places.pop(), len(self.values) - 1
    moved = self.values.pop()
    if hole != last:
      self.values[hole] = moved
      self.places[moved].remove(last)
      self.places[moved].add(hole)
    if not places:
      del self.places[value]
    return True

  def get_random(self) -> int:
    return self.values[int(self.rng.random() * len(self.values))]


class Oracle:
  """A list."""

  def __init__(self, seed: int = 0):
    self.values: list[int] = []

  def insert(self, value):
    self.values.append(value)
    return self.values.count(value) == 1

  def remove(self, value):
    if value not in self.values:
      return False
    self.values.remove(value)
    return True

  def get_random(self):
    return self.values[0]


def operations(rng: random.Random, count: int, size: int) -> list[Call]:
  calls: list[Call] = [('RandomizedCollection', [])]
  held: dict[int, int] = {}
  total = 0
  for _ in range(count):
    if total and rng.random() < 0.3:
      calls.append(('get_random', []))
      continue
    value = rng.randrange(max(1, size // 2))
    if rng.random() < min(0.7, 0.5 + size / (total + 1) / 10):
      held[value] = held.get(value, 0) + 1
      total += 1
      calls.append(('insert', [value]))
    else:
      if held.get(value):
        held[value] -= 1
        total -= 1
      calls.append(('remove', [value]))
  return calls


def accepts(oracle, method, arguments, actual, expected) -> bool:
  return method == 'get_random' and actual in oracle.values


PROBLEM = Problem(RandomizedCollection, Oracle, operations, {'insert': '1', 'remove': '1', 'get_random': '1'}, accepts)
