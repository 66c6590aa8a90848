"""Our structures beside the usual choice, in one run: operations a second and the ratio.

    uv run --with sortedcontainers --with cachetools python benchmarks/algorithms_structures.py

Above 1 we are faster. Each pair does the same calls on the same data; the median of five rounds, taken in turns.
"""

import argparse
import gc
import heapq
import random
import statistics
import time

import cachetools
import record
import sortedcontainers

from mlsd_jax.algorithms.design.heap import DaryHeap
from mlsd_jax.algorithms.design.lfu_cache import LFUCache
from mlsd_jax.algorithms.design.lru_cache import LRUCache
from mlsd_jax.algorithms.design.sliding_window_median import SlidingWindowMedian
from mlsd_jax.algorithms.sorted_list import SortedList


class HeapLFU:
  """The usual short answer: a heap of (uses, time, key) in which old entries are skipped."""

  def __init__(self, capacity):
    self.capacity, self.clock, self.entries, self.heap = capacity, 0, {}, []

  def _touch(self, key, value):
    self.clock += 1
    uses = self.entries[key][1] + 1 if key in self.entries else 1
    self.entries[key] = (value, uses, self.clock)
    heapq.heappush(self.heap, (uses, self.clock, key))

  def get(self, key):
    if key not in self.entries:
      return -1
    self._touch(key, self.entries[key][0])
    return self.entries[key][0]

  def put(self, key, value):
    if key not in self.entries and len(self.entries) == self.capacity:
      while True:
        uses, clock, oldest = heapq.heappop(self.heap)
        if oldest in self.entries and self.entries[oldest][1:] == (uses, clock):
          del self.entries[oldest]
          break
    self._touch(key, value)


class HeapqPriority:
  """heapq's documented recipe for changing priorities: entries are marked as removed."""

  def __init__(self):
    self.heap, self.entry = [], {}

  def push(self, key, priority):
    self.entry[key] = entry = [priority, key, True]
    heapq.heappush(self.heap, entry)

  def decrease_key(self, key, priority):
    self.entry.pop(key)[2] = False
    self.push(key, priority)

  def pop(self):
    while True:
      priority, key, valid = heapq.heappop(self.heap)
      if valid:
        del self.entry[key]
        return key, priority


def caches(make, get, put, size, keys):
  cache = make(size)
  for key in keys:
    if key & 1:
      get(cache, key)
    else:
      put(cache, key)


def sorted_lists(kind, values):
  ordered = kind()
  for value in values:
    ordered.add(value)
  for rank in range(0, len(values), 3):
    ordered[rank]
  for value in values[::2]:
    ordered.remove(value)


def ranks(kind, values):
  ordered = kind(values)
  for value in values:
    ordered.bisect_left(value)


def heaps(kind, priorities):
  heap = kind()
  for key, priority in enumerate(priorities):
    heap.push(key, priority)
  for key in range(0, len(priorities), 2):
    heap.decrease_key(key, priorities[key] // 2)
  for _ in priorities:
    heap.pop()


def window(kind, width, numbers):
  if kind is SlidingWindowMedian:
    median = SlidingWindowMedian(width)
    for number in numbers:
      median.add(number)
    return
  ordered = sortedcontainers.SortedList()
  for i, number in enumerate(numbers):
    if i >= width:
      ordered.remove(numbers[i - width])
    ordered.add(number)
    middle = len(ordered) // 2
    (ordered[middle] + ordered[-1 - middle]) / 2


def seconds(work):
  gc.collect()
  began = time.perf_counter()
  work()
  return time.perf_counter() - began


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--n', type=int, default=100_000)
  n = parser.parse_args().n
  rng = random.Random(0)
  keys = [min(int(rng.paretovariate(0.8)), 10**6) for _ in range(n)]
  values = [rng.randrange(10**9) for _ in range(n)]
  ours_get, ours_put = lambda cache, key: cache.get(key), lambda cache, key: cache.put(key, key)
  their_get, their_put = lambda cache, key: cache.get(key, -1), lambda cache, key: cache.__setitem__(key, key)
  pairs = {
    'LRU cache / cachetools.LRUCache': (
      lambda: caches(LRUCache, ours_get, ours_put, 1000, keys),
      lambda: caches(cachetools.LRUCache, their_get, their_put, 1000, keys),
    ),
    'LFU cache / cachetools.LFUCache': (
      lambda: caches(LFUCache, ours_get, ours_put, 1000, keys),
      lambda: caches(cachetools.LFUCache, their_get, their_put, 1000, keys),
    ),
    'LFU cache / heapq': (
      lambda: caches(LFUCache, ours_get, ours_put, 1000, keys),
      lambda: caches(HeapLFU, ours_get, ours_put, 1000, keys),
    ),
    'sorted list, add, rank, remove / sortedcontainers': (
      lambda: sorted_lists(SortedList, values),
      lambda: sorted_lists(sortedcontainers.SortedList, values),
    ),
    'sorted list, bisect / sortedcontainers': (
      lambda: ranks(SortedList, values),
      lambda: ranks(sortedcontainers.SortedList, values),
    ),
    'sliding median of 1,000 / sortedcontainers': (
      lambda: window(SlidingWindowMedian, 1000, values),
      lambda: window(None, 1000, values),
    ),
    'heap with decrease-key / heapq': (
      lambda: heaps(DaryHeap, values),
      lambda: heaps(HeapqPriority, values),
    ),
  }
  print(f'{"":<52}{"ours":>9}{"theirs":>9}  ratio')
  for name, (ours, theirs) in pairs.items():
    rounds = [(seconds(ours), seconds(theirs)) for _ in range(5)]
    mine, other = (statistics.median(column) for column in zip(*rounds, strict=True))
    print(f'{name:<52}{mine:8.3f}s{other:8.3f}s  {other / mine:5.2f}', flush=True)
    what, _, peer = name.partition(' / ')
    record.pair(what, *zip(*rounds, strict=True), against=peer, unit='s')


if __name__ == '__main__':
  main()
