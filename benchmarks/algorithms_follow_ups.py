"""The follow-ups of the design problems that can be run: sharded, approximate, batched, on disk, at a larger size.

    uv run python benchmarks/algorithms_follow_ups.py
    uv run python benchmarks/algorithms_follow_ups.py lru_cache hash_ring

Counts, shares and bytes are the same in every run; times are ratios of two sides taken in turns, in processor time (of
the disk's: on the clock), the median of five rounds. docs/explanation/follow_ups.md cites what is printed.
"""

import argparse
import bisect
import collections
import gc
import itertools
import pathlib
import random
import statistics
import tempfile
import threading
import time
import tracemalloc

from mlsd_jax.algorithms.design.autocomplete import AutocompleteSystem
from mlsd_jax.algorithms.design.bounded_queue import BoundedBlockingQueue
from mlsd_jax.algorithms.design.database import Database
from mlsd_jax.algorithms.design.hash_ring import HashRing
from mlsd_jax.algorithms.design.heap import DaryHeap, HeapTree
from mlsd_jax.algorithms.design.key_value_store import KeyValueStore
from mlsd_jax.algorithms.design.lfu_cache import LFUCache
from mlsd_jax.algorithms.design.lru_cache import LRUCache
from mlsd_jax.algorithms.design.lsm_tree import LSMTree
from mlsd_jax.algorithms.design.movie_rental import MovieRentingSystem, SortedRenting
from mlsd_jax.algorithms.design.phone_book import ListBook, PhoneBook
from mlsd_jax.algorithms.design.skiplist import Skiplist
from mlsd_jax.algorithms.design.sliding_log import SlidingLog
from mlsd_jax.algorithms.design.snapshot_array import SnapshotArray
from mlsd_jax.algorithms.sorted_list import SortedList


def keys(count, seed=0, shape=1.0):
  """Keys by Pareto's law: few are asked for often."""
  rng = random.Random(seed)
  return [min(int(rng.paretovariate(shape)), 10**6) for _ in range(count)]


def held(make):
  """Bytes that what `make` returns keeps."""
  gc.collect()
  tracemalloc.start()
  kept = make()
  size = tracemalloc.get_traced_memory()[0]
  tracemalloc.stop()
  return size, kept


def ratio(one, other, clock=time.process_time, rounds=5):
  """How many times as long `one` takes as `other`."""
  taken = ([], [])
  for _ in range(rounds):
    for times, work in zip(taken, (one, other), strict=True):
      gc.collect()
      began = clock()
      work()
      times.append(clock() - began)
  return statistics.median(taken[0]) / statistics.median(taken[1])


def hits(get, put, asked):
  found = 0
  for key in asked:
    if get(key) == -1:
      put(key, key)
    else:
      found += 1
  return found / len(asked)


def lru_cache():
  asked, whole = keys(200_000, shape=0.3), LRUCache(1600)
  one = hits(whole.get, whole.put, asked)
  shards = [LRUCache(100) for _ in range(16)]
  of = lambda key: shards[hash((key, 1)) % 16]
  sharded = hits(lambda key: of(key).get(key), lambda key, value: of(key).put(key, value), asked)
  load = collections.Counter(hash((key, 1)) % 16 for key in asked)
  print(f'  one cache of 1,600: {one:.2%} hits; 16 shards of 100: {sharded:.2%}; the busiest shard gets '
        f'{max(load.values()) * 16 / len(asked):.2f} times its share')  # fmt: skip


class SampledLFU:
  """Drops the least used of five keys drawn at random, as Redis does, in place of the least used of all."""

  def __init__(self, capacity):
    self.capacity, self.values, self.uses, self.order = capacity, {}, {}, []
    self.rng = random.Random(0)

  def get(self, key):
    if key not in self.values:
      return -1
    self.uses[key] += 1
    return self.values[key]

  def put(self, key, value):
    if len(self.order) == self.capacity:
      among = [self.rng.randrange(self.capacity) for _ in range(5)]
      place = min(among, key=lambda each: self.uses[self.order[each]])
      gone, self.order[place] = self.order[place], key
      del self.values[gone], self.uses[gone]
    else:
      self.order.append(key)
    self.values[key], self.uses[key] = value, 1


def lfu_cache():
  asked, exact, sampled = keys(200_000, shape=0.3), LFUCache(1600), SampledLFU(1600)
  recent = LRUCache(1600)
  a, b, c = (hits(each.get, each.put, asked) for each in (exact, sampled, recent))
  shifted = keys(100_000, shape=0.3) + [key + 10**7 for key in keys(100_000, 1, shape=0.3)]
  old, new = LFUCache(1600), LRUCache(1600)
  print(f'  hits: exact {a:.2%}, the least of five sampled {b:.2%}, LRU {c:.2%}; where all keys change half-way: '
        f'LFU {hits(old.get, old.put, shifted):.2%}, LRU {hits(new.get, new.put, shifted):.2%}')  # fmt: skip


def hash_ring():
  asked = [f'key{number}' for number in range(20_000)]
  for points in (1, 10, 100, 400):
    ring = HashRing(points)
    for number in range(20):
      ring.add_node(f'node{number}', 1)
    load = collections.Counter(map(ring.get, asked))
    before = {key: ring.get(key) for key in asked}
    ring.add_node('new', 1)
    moved = sum(ring.get(key) != before[key] for key in asked) / len(asked)
    modulo = sum(hash((key, 1)) % 20 != hash((key, 1)) % 21 for key in range(20_000)) / 20_000
    fullest = max(load.values()) * 20 / len(asked)
    print(f'  {points:>3} points a node: the fullest of 20 has {fullest:.2f} times the mean; a new node moves '
          f'{moved:.1%} of the keys (1/21 is 4.8%, by modulo {modulo:.1%})')  # fmt: skip


def sliding_log():
  """Two counters, the last window's weighted by what of it still counts, in place of a log."""
  limit, window, rng = 100, 60_000, random.Random(0)
  exact, counts = SlidingLog(limit, window), collections.Counter()
  now, total, exactly, roughly, recent, most = 0, 100_000, 0, 0, collections.deque(), 0
  for _ in range(total):
    now += int(rng.expovariate(1 / (500 if now // 200_000 % 2 else 2000)))
    about = counts[now // window] + counts[now // window - 1] * (1 - now % window / window)
    exactly += exact.allow(1, now)
    while recent and recent[0] <= now - window:
      recent.popleft()
    if about < limit:
      counts[now // window] += 1
      roughly += 1
      recent.append(now)
    most = max(most, len(recent))
  log, _ = held(lambda: collections.deque(range(10**9, 10**9 + limit), maxlen=limit))
  pair, _ = held(lambda: [10**9, 10**9 + 1])
  print(f'  of {total:,} requests the log allows {exactly:,}, two counters {roughly:,}, at most {most} in '
        f'a window of {limit}; {log:,} bytes a full log, {pair:,} the two counters')  # fmt: skip


def median_finder():
  rng = random.Random(0)
  numbers = [rng.lognormvariate(0, 1) for _ in range(1_000_000)]
  ordered = sorted(numbers)
  rank = lambda value: bisect.bisect_left(ordered, value) / len(ordered)
  kept = []
  for place, number in enumerate(numbers):
    if len(kept) < 10_000:
      kept.append(number)
    elif (other := rng.randrange(place + 1)) < 10_000:
      kept[other] = number
  counts = collections.Counter(int(number * 100) for number in numbers)
  below, middle = 0, 0
  for middle in sorted(counts):
    below += counts[middle]
    if 2 * below >= len(numbers):
      break
  print(f'  of a million: the median of a sample of 10,000 has rank {rank(statistics.median(kept)):.2%}, of '
        f'{len(counts):,} counted buckets {rank(middle / 100 + 0.005):.2%} (50% is right)')  # fmt: skip


def lsm_tree():
  tree, written, rng = LSMTree(), 0, random.Random(0)
  seen = [None] * 20
  count = 50_000
  for number in range(count):
    tree.put(rng.randrange(10**9), number)
    for level, run in enumerate(tree.levels):
      if run is not None and run is not seen[level]:
        written += len(run.keys)
        seen[level] = run
  runs = [run for run in tree.levels if run]
  vain = [rng.randrange(10**9, 2 * 10**9) for _ in range(10_000)]
  looked = sum(key in run.filter for key in vain for run in runs) / len(vain)
  print(f'  {count:,} puts: each is written {written / count:.1f} times in all; a vain get would '
        f'look into {len(runs)} runs, with filters into {looked:.3f}')  # fmt: skip


def key_value_store():
  with tempfile.TemporaryDirectory() as folder:
    numbers = itertools.count()

    def write(batch):
      store = KeyValueStore(str(pathlib.Path(folder) / f'{next(numbers)}.log'))
      for start in range(0, 400, batch):
        store.begin()
        for key in range(start, start + batch):
          store.set(f'k{key}', 'v' * 100)
        store.commit()
      store.close()

    found = ratio(lambda: write(1), lambda: write(50), time.perf_counter)
  print(f'  400 writes, each safe on disk by itself, take {found:.1f} times as long as in groups of 50')


def twitter():
  """Entries touched a second: on writing, one for each follower; on reading, one for each that is followed."""
  rng = random.Random(0)
  users = 20_000
  follows = [{min(int(rng.paretovariate(0.5)), users) for _ in range(rng.randint(10, 200))} for _ in range(users)]
  followers = collections.Counter(itertools.chain.from_iterable(follows))
  read = 50  # for one post
  on_read = read * sum(map(len, follows))
  on_write = sum(followers.values()) + users * read
  stars = {user for user, _ in followers.most_common(20)}
  writes = [count for user, count in followers.items() if user not in stars]
  mixed = sum(writes) + read * sum(1 + len(each & stars) for each in follows)
  print(f'  50 reads a post, entries touched: on reading {on_read:,}, on writing {on_write:,}, where one post '
        f'writes up to {max(followers.values()):,}; with the 20 most followed read and not written {mixed:,}, '
        f'and up to {max(writes):,}')  # fmt: skip


def heap():
  rng = random.Random(0)
  numbers = [rng.randrange(10**9) for _ in range(20_000)]

  def work(kind):
    found = kind()
    for key, number in enumerate(numbers):
      found.push(key, number)
    for key in range(0, len(numbers), 2):
      found.decrease_key(key, numbers[key] // 2)
    for _ in numbers:
      found.pop()

  def filled(kind, *arguments):
    found = kind(*arguments)
    for key, number in enumerate(numbers):
      found.push(key, number)
    return found

  array, tree = held(lambda: filled(DaryHeap))[0], held(lambda: filled(HeapTree))[0]
  slower = ratio(lambda: work(HeapTree), lambda: work(DaryHeap))
  wider = ratio(lambda: work(lambda: DaryHeap(4)), lambda: work(DaryHeap))
  print(f'  20,000 pushes, 10,000 decreases, 20,000 pops: the tree takes {slower:.2f} times as long as the array, '
        f'd = 4 {wider:.2f}; bytes a key: {tree / len(numbers):.0f}, the array {array / len(numbers):.0f}')  # fmt: skip


def movie_rental():
  for size in (1_000, 20_000):
    rng = random.Random(0)
    entries = [[shop, shop % max(1, size // 50), rng.randint(1, 100)] for shop in range(size)]
    order = [rng.randrange(size) for _ in range(10_000)]

    def work(kind, entries=entries, order=order, size=size):
      system, out = kind(size, entries), set()
      for number in order:
        shop, movie, _ = entries[number]
        (system.drop if shop in out else system.rent)(shop, movie)
        out ^= {shop}
        if number % 4 == 0:
          system.search(movie)
          system.report()

    found = ratio(lambda: work(MovieRentingSystem), lambda: work(SortedRenting))
    print(f'  {size:,} copies: the heaps take {found:.2f} times as long as the sorted lists')


def phone_book():
  for size in (2, 8, 64, 1024):
    books = [kind() for kind in (ListBook, PhoneBook)]
    for book in books:
      for number in range(size):
        book.add(f'n{number}', number)
    asked = [f'n{random.Random(0).randrange(size)}' for _ in range(20_000 // size + 200)]
    work = lambda book, asked=asked: [book.find(name) for name in asked for _ in range(20)]
    print(f'  {size:,} names: the list takes {ratio(lambda: work(books[0]), lambda: work(books[1])):.1f} times as long')


def autocomplete():
  rng = random.Random(0)
  words = [''.join(rng.choices('abcdefgh', k=rng.randint(2, 5))) for _ in range(2_000)]
  sentences = sorted({f'{rng.choice(words)} {rng.choice(words)} {rng.choice(words)}' for _ in range(10_000)})
  trie, _ = held(lambda: AutocompleteSystem(sentences, [1] * len(sentences)))
  plain, _ = held(lambda: [' '.join(sentence.split()) for sentence in sentences])
  shared = sum(
    bisect.bisect_left(sentences, each[:6] + '\uffff') - bisect.bisect_left(sentences, each[:6])
    for each in sentences[:500]
  )
  print(f'  {len(sentences):,} sentences: the trie {trie / len(sentences):,.0f} bytes a sentence, a sorted list '
        f'{plain / len(sentences):,.0f} and, after six letters, {shared / 500:.1f} sentences to rank')  # fmt: skip


def bounded_queue():
  """Items handed over one by one, and in lists of 100, between two threads."""

  def work(batch):
    queue = BoundedBlockingQueue(64)
    items = [list(range(batch))] * (20_000 // batch)
    thread = threading.Thread(target=lambda: [queue.enqueue(item) for item in items])
    thread.start()
    for _ in items:
      queue.dequeue()
    thread.join()

  print(
    f'  20,000 items one by one take {ratio(lambda: work(1), lambda: work(100)):.0f} times as long as in lists of 100'
  )


def snapshot_array():
  rng = random.Random(0)

  def fill(array):
    for _ in range(200):
      for _ in range(50):
        array.set(rng.randrange(10_000), rng.randrange(100))
      array.snap()
    return array

  changes, _ = held(lambda: fill(SnapshotArray(10_000)))
  copies, _ = held(lambda: [[0] * 10_000 for _ in range(200)])
  print(
    f'  200 snapshots of 10,000 elements, 50 changes between two: changes kept {changes / 1e6:.2f} MB, '
    f'copies {copies / 1e6:.2f} MB'
  )


def skiplist():
  numbers = [random.Random(0).randrange(10**9) for _ in range(20_000)]

  def work(kind):
    found = kind()
    for number in numbers:
      found.add(number)

  skip, lists = (
    held(lambda: [each := Skiplist(), [each.add(n) for n in numbers]])[0],
    held(lambda: SortedList(numbers))[0],
  )
  slower = ratio(lambda: work(Skiplist), lambda: work(SortedList))
  print(f'  20,000 numbers: the skip list takes {slower:.1f} times as long as a list of sorted lists, '
        f'and {skip / lists:.1f} times the bytes')  # fmt: skip


def database():
  for share in (0.001, 0.01, 0.1, 0.5):
    plain, indexed = Database(), Database()
    for each in (plain, indexed):
      each.create_table('t', {'a': 'int', 'b': 'int'})
      for number in range(5_000):
        each.insert('t', {'a': number * 7919 % 5_000, 'b': number})
    indexed.create_index('t', 'a')
    ask = lambda each, share=share: [each.select('t', ['b'], ['a', '<', int(5_000 * share)]) for _ in range(5)]
    slower = ratio(lambda: ask(plain), lambda: ask(indexed))
    how = indexed.explain('t', ['a', '<', int(5_000 * share)])
    print(f'  {share:.1%} of the rows: a scan takes {slower:.2f} times as long as by the plan ({how})')


ALL = (
  lru_cache, lfu_cache, hash_ring, sliding_log, median_finder, lsm_tree, key_value_store, twitter, heap, movie_rental,
  phone_book, autocomplete, bounded_queue, snapshot_array, skiplist, database,
)  # fmt: skip


def run(every, doc):
  """Prints what is measured of the problems that the command line names, of all by default."""
  parser = argparse.ArgumentParser(description=doc)
  parser.add_argument('names', nargs='*', help='of problems (default: all)')
  names = parser.parse_args().names
  known = {each.__name__: each for each in every}
  for name in names or known:
    if name not in known:
      parser.error(f'nothing is measured for {name!r}; there are {", ".join(known)}')
    print(f'{name}', flush=True)
    known[name]()


if __name__ == '__main__':
  run(ALL, __doc__)
