"""LSM tree with Bloom filters.

A sorted map: `put(key, value)`, `get(key)` answers the value or None, `delete(key)`, `scan(low, high, limit)`
answers the first `limit` (0 or more) pairs [key, value] with low <= key < high. Writes go to a small table in
memory; a full one becomes a sorted run that is never changed but merged into the next level, so that every write is
sequential (O'Neil et al., 1996). Each run has a Bloom filter (Bloom, 1970), which keeps nearly all vain look-ups
away from it."""

import bisect
import heapq
import random
from collections.abc import Iterable, Iterator
from typing import Any

from mlsd_jax.algorithms.problem import Call, Problem

TABLE_SIZE = 64
RATIO = 4  # how much larger than a level the next one may be
BITS_A_KEY = 10  # with 7 hashes: a false positive rate of 0.8 %
HASHES = 7
_GONE = object()  # the value of a key that was deleted, until the last level forgets it


class BloomFilter:
  """A set that forgets no member and takes few others for one."""

  def __init__(self, keys: Iterable[int], count: int):
    self.size = max(64, BITS_A_KEY * count)
    bits = bytearray(self.size // 8 + 1)
    for key in keys:
      for bit in self._bits(key):
        bits[bit >> 3] |= 1 << (bit & 7)
    self.bits = bytes(bits)

  def __contains__(self, key: int) -> bool:
    return all(self.bits[bit >> 3] >> (bit & 7) & 1 for bit in self._bits(key))

  def _bits(self, key: int) -> Iterator[int]:
    """Double hashing (Kirsch and Mitzenmacher, 2006) of splitmix64's output."""
    mixed = (key + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
    mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
    mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
    mixed ^= mixed >> 31
    first, step = mixed & 0xFFFFFFFF, mixed >> 32 | 1
    return ((first + number * step) % self.size for number in range(HASHES))


class _Run:
  """Pairs in the order of their keys."""

  def __init__(self, pairs: dict[int, Any]):
    self.keys = sorted(pairs)  # two sorted runs one after the other: Timsort merges them in linear time
    self.values = [pairs[key] for key in self.keys]
    self.filter = BloomFilter(self.keys, len(self.keys))

  def get(self, key: int, otherwise: Any) -> Any:
    if key not in self.filter:
      return otherwise
    place = bisect.bisect_left(self.keys, key)
    return self.values[place] if place < len(self.keys) and self.keys[place] == key else otherwise

  def pairs(self, low: int, high: int) -> Iterator[tuple[int, Any]]:
    place = bisect.bisect_left(self.keys, low)
    while place < len(self.keys) and self.keys[place] < high:
      yield self.keys[place], self.values[place]
      place += 1


class LSMTree:
  """One run a level, each level four times as large as the one before. Writes amortised."""

  def __init__(self):
    self.table: dict[int, Any] = {}
    self.levels: list[_Run | None] = []

  def put(self, key: int, value: int) -> None:
    self.table[key] = value
    if len(self.table) == TABLE_SIZE:
      self._flush()

  def delete(self, key: int) -> None:
    self.put(key, _GONE)  # type: ignore[arg-type]

  def get(self, key: int) -> int | None:
    missing = object()
    value = self.table.get(key, missing)
    for run in self.levels:
      if value is not missing:
        break
      if run is not None:
        value = run.get(key, missing)
    return None if value is missing or value is _GONE else value

  def scan(self, low: int, high: int, limit: int) -> list[list[int]]:
    inside = sorted((key, self.table[key]) for key in self.table if low <= key < high)
    sources: list[Iterable[tuple[int, Any]]] = [inside]
    sources += [run.pairs(low, high) for run in self.levels if run is not None]
    found: list[list[int]] = []
    latest = None
    # Of one key the newest source comes first: heapq.merge keeps the order of its sources.
    for key, value in heapq.merge(*sources, key=lambda pair: pair[0]):
      if len(found) == limit:
        break
      if key != latest:
        latest = key
        if value is not _GONE:
          found.append([key, value])
    return found

  def _flush(self) -> None:
    pairs, room, level = self.table, TABLE_SIZE * RATIO, 0
    self.table = {}
    while True:
      if level == len(self.levels):
        self.levels.append(None)
      run = self.levels[level]
      if run is not None:
        pairs = dict(zip(run.keys, run.values, strict=True)) | pairs
      if level == len(self.levels) - 1:
        pairs = {key: value for key, value in pairs.items() if value is not _GONE}
      if len(pairs) <= room:
        self.levels[level] = _Run(pairs)
        return
      self.levels[level] = None
      level, room = level + 1, room * RATIO


class Oracle:
  """A dictionary that is searched through."""

  def __init__(self):
    self.pairs = {}

  def put(self, key, value):
    self.pairs[key] = value

  def delete(self, key):
    self.pairs.pop(key, None)

  def get(self, key):
    return self.pairs.get(key)

  def scan(self, low, high, limit):
    return sorted([key, value] for key, value in self.pairs.items() if low <= key < high)[:limit]


def operations(rng: random.Random, count: int, size: int) -> list[Call]:
  calls: list[Call] = [('LSMTree', [])]
  for _ in range(count):
    key, kind = rng.randrange(2 * size), rng.random()
    if kind < 0.5:
      calls.append(('put', [key, rng.randrange(1000)]))
    elif kind < 0.6:
      calls.append(('delete', [key]))
    elif kind < 0.95:
      calls.append(('get', [key]))
    else:
      calls.append(('scan', [key, key + rng.randint(1, 40), rng.randint(1, 8)]))
  return calls


PROBLEM = Problem(
  LSMTree,
  Oracle,
  operations,
  {'put': 'log n', 'delete': 'log n', 'get': 'log n', 'scan': 'log n'},
  sizes=(2048, 8192),
  together=('put', 'delete'),
)
