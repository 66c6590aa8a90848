"""More follow-ups of the design problems, mostly told by counts: shards, leases, labels, samples, what noise costs.

    uv run python benchmarks/algorithms_follow_ups_counted.py
    uv run python benchmarks/algorithms_follow_ups_counted.py all_one token_bucket

Counts, shares and bytes are the same in every run; the two ratios of times are in processor time, as in
algorithms_follow_ups.py. docs/explanation/follow_ups.md cites what is printed.
"""

import bisect
import collections
import heapq
import itertools
import math
import random
import statistics

from algorithms_follow_ups import held, ratio, run

from mlsd_jax.algorithms.design.binary_tree_codec import Codec, tree
from mlsd_jax.algorithms.design.calendar_three import _END, MyCalendarThree
from mlsd_jax.algorithms.design.common_ancestor import CommonAncestor
from mlsd_jax.algorithms.design.number_containers import NumberContainers
from mlsd_jax.algorithms.design.range_module import RangeModule
from mlsd_jax.algorithms.design.skip_grams import SkipGrams
from mlsd_jax.algorithms.design.sliding_window_median import SlidingWindowMedian
from mlsd_jax.algorithms.design.token_bucket import TokenBucket
from mlsd_jax.algorithms.design.word_dictionary import WordDictionary


def token_bucket():
  for number in (48_000, 90_000):
    rng = random.Random(0)
    requests = sorted((rng.randrange(60_000), rng.randrange(20)) for _ in range(number))  # (millisecond, server)
    one = TokenBucket(1000, 1)
    allowed = sum(one.allow(0, 1, time) for time, _ in requests)
    store, left, calls, passed = TokenBucket(1000, 1), [0] * 20, 0, 0
    for time, server in requests:
      if not left[server]:
        calls += 1
        left[server] = 100 if store.allow(0, 100, time) else 0
      if left[server]:
        left[server] -= 1
        passed += 1
    print(f'  {number:,} requests in 60 s at 20 servers, 1,000 tokens a second: one bucket allows {allowed:,} in '
          f'{number:,} calls, leases of 100 allow {passed:,} in {calls:,}')  # fmt: skip


def sliding_window_median():
  rng = random.Random(0)
  numbers = [int(rng.lognormvariate(9, 1)) + 1 for _ in range(40_000)]
  size, exact = held(lambda: [each := SlidingWindowMedian(20_000), [each.add(n) for n in numbers]])
  edge = lambda number: int(math.log(number) / math.log(1.02))
  counts, far = [collections.Counter() for _ in range(20)], 0.0
  for place, number in enumerate(numbers):
    if place % 1000 == 0:
      counts[place // 1000 % 20] = collections.Counter()  # the oldest second goes
    counts[place // 1000 % 20][edge(number)] += 1
    if place % 1000 == 999 and place >= 20_000:
      seen, whole = 0, sum(counts, collections.Counter())
      for bucket in sorted(whole):
        seen += whole[bucket]
        if 2 * seen >= 20_000:
          break
      far = max(far, abs(1.02 ** (bucket + 0.5) / exact[1][place] - 1))
  buckets = held(lambda: [collections.Counter(each) for each in counts])[0]
  print(f'  20,000 numbers a window in 20 parts, buckets of 2%: the median is off by {far:.2%} at most; '
        f'{size:,} bytes exact with its answers, {buckets:,} of counts')  # fmt: skip


def number_containers():
  rng, plain, greatest, rebuilt = random.Random(0), NumberContainers(), 0, 0
  trimmed = NumberContainers()
  for _ in range(100_000):
    index, number = rng.randrange(1000), rng.randrange(10)
    plain.change(index, number)
    trimmed.change(index, number)
    heap = trimmed.indices[number]
    if len(heap) > 2 * len(trimmed.held):
      living = [each for each in set(heap) if trimmed.held[each] == number]
      heapq.heapify(living)
      trimmed.indices[number] = living
      rebuilt += len(heap)
    greatest = max(greatest, len(heap))
  entries = sum(map(len, plain.indices.values()))
  print(f'  100,000 changes of 1,000 indices: {entries:,} entries for 1,000 that live; built anew at 2,000 a number '
        f'at most {greatest:,}, {rebuilt / 100_000:.2f} entries looked at a change')  # fmt: skip


def all_one():
  rng = random.Random(0)
  stream = [min(int(rng.paretovariate(0.4)), 10**7) for _ in range(300_000)]
  exact = collections.Counter(stream)
  top = {key for key, _ in exact.most_common(10)}
  shards = [collections.Counter() for _ in range(16)]
  for key, count in exact.items():
    shards[hash((key, 1)) % 16][key] += count
  merged = itertools.chain.from_iterable(shard.most_common(10) for shard in shards)
  same = {key for key, _ in heapq.nlargest(10, merged, key=lambda pair: pair[1])} == top
  for size in (100, 1000):
    counts: dict[int, int] = {}
    heap: list[tuple[int, int]] = []
    for key in stream:  # space-saving (Metwally et al. 2005): a new key takes the least counted one's place and count
      if key in counts:
        counts[key] += 1
      elif len(counts) < size:
        counts[key] = 1
        heapq.heappush(heap, (1, key))
      else:
        while counts.get(heap[0][1]) != heap[0][0]:
          least, other = heap[0]
          heapq.heappop(heap) if other not in counts else heapq.heapreplace(heap, (counts[other], other))
        least, other = heapq.heapreplace(heap, (heap[0][0] + 1, key))
        del counts[other]
        counts[key] = least + 1
    found = set(heapq.nlargest(10, counts, key=lambda key: counts[key]))
    over = max(counts[key] - exact[key] for key in found)
    print(f'  {len(exact):,} keys: {size} counters find {len(found & top)} of the ten most counted, too high by '
          f'{over:,} of {len(stream) // size:,} at most')  # fmt: skip
  print(f'  16 shards, the ten of each merged: the same ten: {same}')


def binary_tree_codec():
  rng = random.Random(0)
  given = tree(rng, 20_000)
  text = len(Codec().serialize(given))
  bits, values, stack = [], bytearray(), [given]
  while stack:
    node = stack.pop()
    bits.append(node is not None)
    if node is not None:
      number = 2 * node[0] if node[0] >= 0 else -2 * node[0] - 1
      while number >= 128:
        values.append(128 | number & 127)
        number >>= 7
      values.append(number)
      stack += (node[2], node[1])
  size = math.ceil(len(bits) / 8) + len(values)
  print(f'  20,000 nodes: {text / 20_000:.2f} bytes a node as text, {size / 20_000:.2f} as bits and varints '
        f'({len(bits) / 8 / 20_000:.2f} of them the shape)')  # fmt: skip


def nary_tree_codec():
  for gap in (1, 64, 2**20, 2**32):
    rng, labels, written = random.Random(0), [gap * (each + 1) for each in range(1000)], 0
    for _ in range(10_000):  # a node comes between two others: a label between theirs, or all labels anew
      place = rng.randrange(len(labels) + 1)
      low = labels[place - 1] if place else 0
      high = labels[place] if place < len(labels) else labels[-1] + 2 * gap
      if high - low < 2:
        labels = [gap * (each + 1) for each in range(len(labels) + 1)]
        written += len(labels)
      else:
        labels.insert(place, (low + high) // 2)
        written += 1
    print(f'  10,000 nodes put in at random, labels {gap:,} apart: {written / 10_000:,.1f} labels written for each')


def range_module():
  rng = random.Random(0)
  narrow = [(first, first + rng.randrange(1, 200)) for first in (rng.randrange(2**20) for _ in range(5_000))]
  scale = 2**108  # to the width of an address of IPv6
  wide = [(first * scale, last * scale) for first, last in narrow]

  def work(ranges):
    module = RangeModule()
    for place, (first, last) in enumerate(ranges):
      (module.remove_range if place % 4 == 3 else module.add_range)(first, last)
      module.query_range(first, last)
    return module

  equal = [place * scale for place in work(narrow).places] == list(work(wide).places)
  print(f'  5,000 ranges of 128 bits take {ratio(lambda: work(wide), lambda: work(narrow)):.2f} times as long as the '
        f'same of 20 bits; the same places: {equal}')  # fmt: skip


def calendar_three():
  rng, calendar, kept = random.Random(0), MyCalendarThree(), []
  for _ in range(2_000):
    start = rng.randrange(10**6)
    kept.append((start, start + rng.randrange(1, 10**4)))
    calendar.book(*kept[-1])
  most, nodes = calendar.greatest[1], len(calendar.greatest)
  for start, end in kept[1000:]:
    _take(calendar, 1, 0, _END, start, end)
  again = MyCalendarThree()
  for start, end in kept[:1000]:
    again.book(start, end)
  print(f'  2,000 bookings: at most {most} at once, {nodes / 2_000:.1f} nodes each; the later 1,000 withdrawn: '
        f'{calendar.greatest[1]}, and {again.greatest[1]} where they never were')  # fmt: skip


def _take(calendar, node, low, high, start, end):
  """`_add` of MyCalendarThree with -1."""
  if start >= high or end <= low:
    return
  if start <= low and high <= end:
    calendar.added[node] = calendar.added.get(node, 0) - 1
    calendar.greatest[node] -= 1
    return
  middle = (low + high) // 2
  _take(calendar, 2 * node, low, middle, start, end)
  _take(calendar, 2 * node + 1, middle, high, start, end)
  below = max(calendar.greatest.get(2 * node, 0), calendar.greatest.get(2 * node + 1, 0))
  calendar.greatest[node] = calendar.added.get(node, 0) + below


def randomized_collection():
  for growth in (0.01, 0.1, 1.0):
    old = [1000] * 8
    new = [int(1000 * (1 + growth)), *old[1:]]  # one shard has grown since the shares were told
    true, drawn = 1 / sum(new), [(share / sum(old)) / size for share, size in zip(old, new, strict=True)]
    off = sum(size * abs(each - true) for size, each in zip(new, drawn, strict=True)) / 2
    print(f'  8 shards, one grown by {growth:.0%} since its share was told: {off:.2%} of the draws go elsewhere')


def peak_finder():
  size = 1000
  matrix = [[-((row - 900) ** 2) - (column - 90) ** 2 for column in range(size)] for row in range(size)]
  looks, low, high = 0, 0, size
  while True:
    column = (low + high) // 2
    looks += size
    row = max(range(size), key=lambda row: matrix[row][column])
    beside = [each for each in (column - 1, column + 1) if 0 <= each < size]
    looks += len(beside)
    better = [each for each in beside if matrix[row][each] > matrix[row][column]]
    if not better:
      break
    low, high = (low, column) if better[0] < column else (column + 1, high)
  print(f'  1,000 x 1,000: a peak after {looks:,} looks of {size * size:,}')
  for repeat in (1, 4, 16, 64):
    right = 0
    for trial in range(1000):
      noise = random.Random(trial)
      top = noise.randrange(1024)
      low, high = 0, 1023
      while low < high:  # a slope of 1 up to the top and down again, read with errors of 2
        middle = (low + high) // 2
        rises = 1 if middle < top else -1
        seen = statistics.fmean(rises + noise.gauss(0, 2 * math.sqrt(2)) for _ in range(repeat))
        low, high = (middle + 1, high) if seen > 0 else (low, middle)
      right += low == top
    print(f'  1,024 places, errors of twice the slope: each look {repeat} times finds {right / 10:.1f}% of the peaks')


def word_dictionary():
  rng = random.Random(0)
  words = [''.join(rng.choices('abcdefghijklmnopqrstuvwxyz', k=8)) for _ in range(20_000)]
  size, built = held(lambda: [each := WordDictionary(), [each.add_word(word) for word in words]])
  trie = built[0]

  def index():
    bits: dict[tuple[int, str], int] = collections.defaultdict(int)
    for number, word in enumerate(words):
      for pair in enumerate(word):
        bits[pair] |= 1 << number
    return dict(bits)

  small, bits = held(index)

  def search(pattern):
    left = (1 << len(words)) - 1
    for place, letter in enumerate(pattern):
      if letter != '.':
        left &= bits.get((place, letter), 0)
    return left > 0

  print(f'  20,000 words of 8 letters: {size / 20_000:,.0f} bytes a word as a trie, {small / 20_000:,.0f} as bit sets')
  for dots in (0, 2, 5):
    asked = ['.' * dots + word[dots:] for word in words[:40]]
    assert all(trie.search(pattern) and search(pattern) for pattern in asked)
    slower = ratio(lambda asked=asked: [trie.search(p) for p in asked], lambda asked=asked: [search(p) for p in asked])
    print(f'  {dots} dots in front: the trie takes {slower:,.2f} times as long as the bit sets')


def skip_grams():
  rng, n, skips = random.Random(0), 3, 2
  text = [f'w{min(int(rng.paretovariate(0.8)), 5000)}' for _ in range(8_000)]

  def counted(words, first):
    """Grams that end at a word of this part, with the words before it that they may reach back to."""
    grams, whole = collections.Counter(), SkipGrams()
    for place, word in enumerate(words):
      whole.add(word)
      if place >= first:
        grams.update(map(tuple, whole.last(n, skips)))
    return grams

  one, overlap = counted(text, 0), n + skips - 1
  parts = [counted(text[max(0, at - overlap) : at + 1000], min(at, overlap)) for at in range(0, len(text), 1000)]
  same = sum(parts, collections.Counter()) == one
  print(f'  8,000 words in 8 parts that overlap by {overlap}: the same counts: {same}; '
        f'{sum(one.values()) / len(text):.2f} grams a word')  # fmt: skip


def auction_system():
  rng = random.Random(0)
  bids = [min(int(rng.paretovariate(0.4)), 10**6) for _ in range(200_000)]
  load = collections.Counter(hash((item, 1)) % 16 for item in bids)
  quiet = collections.Counter(bids)
  busiest = quiet.most_common(1)[0][1]
  hot = quiet.most_common(1)[0][0]
  others = collections.Counter(hash((item, 1)) % 16 for item in bids if item != hot)
  few = sum(count < 100 for count in quiet.values()) / len(quiet)
  print(f'  200,000 bids on {len(quiet):,} items: {few:.2%} have fewer than 100; of 16 writers the busiest has '
        f'{max(load.values()) * 16 / len(bids):.2f} times its share, {busiest / len(bids):.0%} of all bids are of one '
        f'item, and without it {max(others.values()) * 16 / sum(others.values()):.2f}')  # fmt: skip


def common_ancestor():
  rng, size = random.Random(0), 20_000
  parents = [-1]
  free = [0, 0]
  for node in range(1, size):
    place = rng.randrange(len(free))
    parents.append(free[place])
    free[place] = node
    free.append(node)
  queries = [(rng.randrange(size), rng.randrange(size)) for _ in range(20_000)]

  def lifting():
    ancestors = CommonAncestor(parents)
    return [ancestors.by_lifting(a, b) for a, b in queries]

  def offline():
    """Tarjan's: a node's set is named by the lowest ancestor whose subtree is not yet left."""
    children, asked = [[] for _ in parents], [[] for _ in parents]
    for node, parent in enumerate(parents):
      if parent >= 0:
        children[parent].append(node)
    for number, (a, b) in enumerate(queries):
      asked[a].append((b, number))
      asked[b].append((a, number))
    leader, done, answers = list(range(size)), [False] * size, [0] * len(queries)
    stack = [(0, iter(children[0]))]
    while stack:
      node, rest = stack[-1]
      child = next(rest, None)
      if child is not None:
        stack.append((child, iter(children[child])))
        continue
      stack.pop()
      done[node] = True
      for other, number in asked[node]:
        if done[other]:
          while leader[other] != leader[leader[other]]:
            leader[other] = leader[leader[other]]
          answers[number] = leader[other] if leader[other] != other or other == node else node
      if stack:
        leader[node] = stack[-1][0]
    return answers

  same = offline() == lifting()
  slower = ratio(lifting, offline)
  bytes_lifting = held(lambda: CommonAncestor(parents).above)[0]
  print(f'  20,000 nodes and queries: lifting takes {slower:.2f} times as long as offline, its table '
        f'{bytes_lifting / size:.0f} bytes a node; the same answers: {same}')  # fmt: skip


def database_one():
  rng = random.Random(0)
  rows = [(place + rng.randrange(200), rng.randrange(200_000)) for place in range(200_000)]  # nearly sorted, drawn
  for column, name in enumerate(('times as they come', 'numbers at random')):
    blocks = [[row[column] for row in rows[at : at + 1000]] for at in range(0, len(rows), 1000)]
    read = sum(max(block) >= 100_000 and min(block) < 101_000 for block in blocks)
    print(f'  200 blocks of 1,000 rows, a range of 0.5%: {name}: {read} blocks are read')


def food_ratings():
  rng, foods = random.Random(0), []
  for _ in range(5_000):
    good = rng.betavariate(8, 3)
    votes = int(rng.paretovariate(0.7))
    foods.append((good, min(votes, 2000)))
  seen = [(good, votes, sum(rng.random() < good for _ in range(votes))) for good, votes in foods]

  def wilson(up, votes, z=1.96):
    share = up / votes
    middle = share + z * z / (2 * votes)
    return (middle - z * math.sqrt(share * (1 - share) / votes + z * z / (4 * votes * votes))) / (1 + z * z / votes)

  for name, key in (('mean', lambda each: each[2] / each[1]), ('lower end', lambda each: wilson(each[2], each[1]))):
    best = sorted(seen, key=key, reverse=True)[:20]
    print(f'  5,000 foods, the first 20 by {name}: {statistics.fmean(each[0] for each in best):.3f} truly liked by, '
          f'{sum(each[1] < 5 for each in best)} of them with fewer than 5 votes')  # fmt: skip
  print(f'  of all foods {statistics.fmean(each[0] for each in seen):.3f}')


def task_manager():
  for ask in (1, 2, 16):
    rng = random.Random(0)
    shards = [[] for _ in range(16)]
    every: list[int] = []
    ranks = []
    for _ in range(20_000):
      priority = -rng.randrange(10**9)
      heapq.heappush(shards[rng.randrange(16)], priority)
      bisect.insort(every, priority)
      if len(every) > 1000:
        chosen = min((shards[each] for each in rng.sample(range(16), ask) if shards[each]), default=None)
        if chosen:
          taken = heapq.heappop(chosen)
          place = bisect.bisect_left(every, taken)
          ranks.append(place)
          every.pop(place)
    print(f'  16 shards of 1,000 tasks, the best of {ask} asked: a task of rank {statistics.fmean(ranks) + 1:.1f} is '
          f'taken, at most {max(ranks) + 1}')  # fmt: skip


ALL = (
  token_bucket, sliding_window_median, number_containers, all_one, binary_tree_codec, nary_tree_codec, range_module,
  calendar_three, randomized_collection, peak_finder, word_dictionary, skip_grams, auction_system, common_ancestor,
  database_one, food_ratings, task_manager,
)  # fmt: skip


if __name__ == '__main__':
  run(ALL, __doc__)
