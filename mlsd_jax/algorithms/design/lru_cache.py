"""LRU cache.

Keep at most `capacity` values by key, none if that is 0 or less. `get(key)` answers the value, or -1 for a key that
is not there; `put(key, value)` stores one and, when there are too many, drops the key that was neither read nor
written for longest."""

import random
from collections import OrderedDict

from mlsd_jax.algorithms.problem import Call, Problem


class LRUCache:
  """Keys in the order of their last use."""

  def __init__(self, capacity: int):
    self.capacity = capacity
    self.values: OrderedDict[int, int] = OrderedDict()

  def get(self, key: int) -> int:
    if key not in self.values:
      return -1
    self.values.move_to_end(key)
    return self.values[key]

  def put(self, key: int, value: int) -> None:
    if self.capacity <= 0:
      return
    if key in self.values:
      self.values.move_to_end(key)
    elif len(self.values) == self.capacity:
      self.values.popitem(last=False)
    self.values[key] = value


class Oracle:
  """A list, the most recent last."""

  def __init__(self, capacity: int):
    self.capacity = capacity
    self.pairs: list[tuple[int, int]] = []

  def get(self, key):
    for pair in self.pairs:
      if pair[0] == key:
        self.pairs.remove(pair)
        self.pairs.append(pair)
        return pair[1]
    return -1

  def put(self, key, value):
    self.pairs = [pair for pair in self.pairs if pair[0] != key]
    self.pairs.append((key, value))
    self.pairs = self.pairs[-self.capacity :] if self.capacity > 0 else []


def operations(rng: random.Random, count: int, size: int) -> list[Call]:
  calls: list[Call] = [('LRUCache', [size if size > 2 else rng.randint(-1, size)])]
  for _ in range(count):
    key = rng.randrange(2 * size)
    calls.append(('get', [key]) if rng.random() < 0.4 else ('put', [key, rng.randrange(1000)]))
  return calls


PROBLEM = Problem(LRUCache, Oracle, operations, {'get': '1', 'put': '1'})
