"""Counters with the most and the least counted key.

`inc(key)` counts a key, which is not empty, up from nothing, `dec(key)` counts it down (its rule: the key is there)
and forgets it at nothing; `get_max_key()` and `get_min_key()` answer a key of the highest and of the lowest count,
'' when there is none. Any of several will do."""

import random

from mlsd_jax.algorithms.problem import Call, Problem


class _Level:
  """The keys of one count, between the next lower and the next higher count that has any."""

  __slots__ = ('count', 'higher', 'keys', 'lower')

  def __init__(self, count: int):
    self.count = count
    self.keys: dict[str, None] = {}
    self.lower = self.higher = self


class AllOne:
  """A ring of levels; the level of count 0 is never used and closes the ring."""

  def __init__(self):
    self.base = _Level(0)
    self.level: dict[str, _Level] = {}

  def inc(self, key: str) -> None:
    here = self.level.get(key, self.base)
    above = here.higher
    if above.count != here.count + 1:
      above = self._insert(here, here.count + 1)
    self._move(key, here, above)

  def dec(self, key: str) -> None:
    here = self.level[key]
    below = here.lower
    if below.count != here.count - 1:
      below = self._insert(below, here.count - 1)
    self._move(key, here, below)

  def get_max_key(self) -> str:
    return next(iter(self.base.lower.keys), '')

  def get_min_key(self) -> str:
    return next(iter(self.base.higher.keys), '')

  def _insert(self, lower: _Level, count: int) -> _Level:
    level = _Level(count)
    level.lower, level.higher = lower, lower.higher
    lower.higher.lower = level
    lower.higher = level
    return level

  def _move(self, key: str, here: _Level, there: _Level) -> None:
    if here is not self.base:
      del here.keys[key]
      if not here.keys:
        here.lower.higher, here.higher.lower = here.higher, here.lower
    if there is self.base:
      del self.level[key]
    else:
      there.keys[key] = None
      self.level[key] = there


class Oracle:
  """A dictionary that is searched through."""

  def __init__(self):
    self.counts = {}

  def inc(self, key):
    self.counts[key] = self.counts.get(key, 0) + 1

  def dec(self, key):
    self.counts[key] -= 1
    if not self.counts[key]:
      del self.counts[key]

  def get_max_key(self):
    return max(self.counts, key=self.counts.__getitem__, default='')

  def get_min_key(self):
    return min(self.counts, key=self.counts.__getitem__, default='')


def operations(rng: random.Random, count: int, size: int) -> list[Call]:
  calls: list[Call] = [('AllOne', [])]
  held: dict[str, int] = {}
  for _ in range(count):
    kind = rng.random()
    if kind < 0.2:
      calls.append((rng.choice(('get_max_key', 'get_min_key')), []))
      continue
    key = f'k{rng.randrange(size)}'
    name = 'dec' if key in held and kind < 0.5 else 'inc'
    held[key] = held.get(key, 0) + (1 if name == 'inc' else -1)
    if not held[key]:
      del held[key]
    calls.append((name, [key]))
  return calls


def accepts(oracle, method, arguments, actual, expected) -> bool:
  return actual in oracle.counts and oracle.counts[actual] == oracle.counts[expected]


PROBLEM = Problem(AllOne, Oracle, operations, {'inc': '1', 'dec': '1', 'get_max_key': '1', 'get_min_key': '1'}, accepts)
