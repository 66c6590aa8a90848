"""LFU cache.

Keep at most `capacity` values by key, none if that is 0 or less. `get(key)` answers the value or -1; `put(key,
value)` stores one and, when there are too many, first drops the key used least often, of several such the one whose
last use is longest ago. Reading and writing are uses; a key that was dropped starts from nothing.
"""

import random
from collections import OrderedDict

from mlsd_jax.algorithms.problem import Call, Problem


class LFUCache:
  """For each number of uses the keys that have it, oldest use first."""

  def __init__(self, capacity: int):
    self.capacity = capacity
    self.values: dict[int, int] = {}
    self.uses: dict[int, int] = {}
    self.keys: dict[int, OrderedDict[int, None]] = {}
    self.fewest = 0

  def get(self, key: int) -> int:
    if key not in self.values:
      return -1
    self._use(key)
    return self.values[key]

  def put(self, key: int, value: int) -> None:
    if key in self.values:
      self._use(key)
    elif self.capacity <= 0:
      return
    else:
      if len(self.values) == self.capacity:
        self._drop()
      self.uses[key] = self.fewest = 1
      self.keys.setdefault(1, OrderedDict())[key] = None
    self.values[key] = value

  def _use(self, key: int) -> None:
    uses = self.uses[key]
    self.uses[key] = uses + 1
    same = self.keys[uses]
    del same[key]
    if not same:
      del self.keys[uses]
      if self.fewest == uses:
        self.fewest += 1
    self.keys.setdefault(uses + 1, OrderedDict())[key] = None

  def _drop(self) -> None:
    same = self.keys[self.fewest]
    key, _ = same.popitem(last=False)
    if not same:
      del self.keys[self.fewest]
    del self.values[key], self.uses[key]


class Oracle:
  """Looks at every key when one must go."""

  def __init__(self, capacity: int):
    self.capacity, self.clock = capacity, 0
    self.entries: dict[int, tuple[int, int, int]] = {}

  def get(self, key):
    if key not in self.entries:
      return -1
    return self._use(key, self.entries[key][2])

  def put(self, key, value):
    if self.capacity <= 0:
      return
    if key not in self.entries and len(self.entries) == self.capacity:
      del self.entries[min(self.entries, key=lambda each: self.entries[each][:2])]
    self._use(key, value)

  def _use(self, key, value):
    self.clock += 1
    self.entries[key] = (self.entries.get(key, (0,))[0] + 1, self.clock, value)
    return value


def operations(rng: random.Random, count: int, size: int) -> list[Call]:
  calls: list[Call] = [('LFUCache', [size if size > 2 else rng.randint(-1, size)])]
  for _ in range(count):
    key = rng.randrange(2 * size)
    calls.append(('get', [key]) if rng.random() < 0.4 else ('put', [key, rng.randrange(1000)]))
  return calls


PROBLEM = Problem(LFUCache, Oracle, operations, {'get': '1', 'put': '1'})
