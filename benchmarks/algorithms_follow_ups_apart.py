"""Follow-ups of the design problems whose answer puts things elsewhere: on other machines, into tables, on disk.

    uv run python benchmarks/algorithms_follow_ups_apart.py
    uv run python benchmarks/algorithms_follow_ups_apart.py time_map text_editor

Counts and bytes are the same in every run; the ratios of times are in processor time, as in algorithms_follow_ups.py.
Each answer is held against the class of the problem. docs/explanation/follow_ups.md cites what is printed.
"""

import array
import bisect
import collections
import contextlib
import heapq
import itertools
import random
import statistics
import tempfile

from algorithms_follow_ups import held, ratio, run

from mlsd_jax.algorithms.design.exam_room import ExamRoom
from mlsd_jax.algorithms.design.excel_sum import Excel
from mlsd_jax.algorithms.design.hit_counter import HitCounter
from mlsd_jax.algorithms.design.min_stack import MinStack
from mlsd_jax.algorithms.design.stock_price import StockPrice
from mlsd_jax.algorithms.design.stream_checker import StreamChecker
from mlsd_jax.algorithms.design.time_map import TimeMap
from mlsd_jax.algorithms.design.vertical_order import VerticalOrder


def hit_counter():
  rng, one, own = random.Random(0), HitCounter(300), [collections.Counter() for _ in range(10)]
  wrong = late = 0
  for second in range(1000):
    for _ in range(rng.randrange(200)):
      one.hit(second)
      own[rng.randrange(10)][second] += 1
    if second % 10 == 9:
      within = range(second - 299, second + 1)
      asked = sum(each[at] for each in own for at in within)
      wrong += asked != one.get_hits(second)
      # Who does not wait for the open second of the others has theirs up to the one before.
      late += sum(own[0][at] for at in within) + sum(each[at] for each in own[1:] for at in within[:-1]) < asked
  hits = sum(sum(each.values()) for each in own)
  print(f'  {hits:,} hits at 10 machines, 100 questions: {100 * 9:,} calls instead of {hits:,}, {wrong} wrong answers; '
        f'without the open second of the others {late} are short')  # fmt: skip


def exam_room():
  def nearest(seats):
    found = []
    for place, seat in enumerate(seats):
      before = seats[:place]
      found.append(min((abs(seat - each) for each in before), default=0))
    return found[1:]

  whole, halves = ExamRoom(1024), [ExamRoom(512), ExamRoom(512)]
  one = [whole.seat() for _ in range(200)]
  two = [512 * (number % 2) + halves[number % 2].seat() for number in range(200)]
  for name, seats in (('one hall of 1,024', one), ('two of 512 in turns', two)):
    gaps = nearest(seats)
    print(f'  {name}, 200 seated: {statistics.fmean(gaps):.2f} seats from the next on average, {min(gaps)} at least')


def time_map():
  rng, own, table = random.Random(0), TimeMap(), []
  rows = [(f'k{rng.randrange(2000)}', time, rng.randrange(10**6), rng.randrange(1, 50_000)) for time in range(100_000)]
  for key, time, value, life in rows:
    own.set(key, str(value), time, life)
    table.append((key, time, str(value), time + life))
  table.sort()
  asked = [(f'k{rng.randrange(2000)}', rng.randrange(100_000)) for _ in range(20_000)]

  def get(key, time):
    at = bisect.bisect_right(table, (key, time, '\uffff', 0)) - 1
    row = table[at]
    return row[2] if at >= 0 and row[0] == key and time < row[3] else ''

  right = sum(get(*each) == own.get(*each) for each in asked)
  times = ratio(lambda: [get(*each) for each in asked], lambda: [own.get(*each) for each in asked])
  kept = sum(row[3] > 100_000 for row in table)
  print(f'  {right:,} of {len(asked):,} answers the same; one sorted table takes {times:.2f} times as long as a list a '
        f'key; a merge at the end keeps {kept:,} of {len(table):,} rows')  # fmt: skip


def file_system():
  rng, parent, names = random.Random(0), {0: (0, '')}, {(0, ''): 0}
  folders = [0]
  for number in range(1, 20_001):
    above = rng.choice(folders[-200:]) if number > 1 else 0
    parent[number] = (above, f'f{number}')
    names[parent[number]] = number
    if number % 4 == 1:
      folders.append(number)

  def path(number):
    return path(parent[number][0]) + '/' + parent[number][1] if number else ''

  paths = sorted(path(number) for number in parent)
  below = lambda number: sum(each == path(number) or each.startswith(path(number) + '/') for each in paths)
  moved, deepest = max(folders[1:40], key=below), max(each.count('/') for each in paths)
  print(f'  20,000 files and folders: a move of a folder with {below(moved) - 1:,} below changes 1 row of (parent, '
        f'name), {below(moved):,} of whole paths; the deepest look-up reads {deepest} rows '
        'instead of 1')  # fmt: skip


def stream_checker():
  rng = random.Random(0)
  words = [''.join(rng.choices('abcdefgh', k=rng.randrange(3, 9))) for _ in range(5000)]
  text = ''.join(rng.choices('abcdefgh', k=20_000))
  size, own = held(lambda: StreamChecker(words))
  letters, nodes = 'abcdefgh', {'': 0}
  for word in words:
    for end in range(1, len(word) + 1):
      nodes.setdefault(word[:end], len(nodes))
  longest = {}
  ends = bytearray(len(nodes))
  known = set(words)
  step = array.array('i', bytes(4 * 8 * len(nodes)))
  for prefix in sorted(nodes, key=len):  # of each prefix the longest end of it that is a prefix too
    longest[prefix] = next(prefix[at:] for at in range(1, len(prefix) + 1) if prefix[at:] in nodes) if prefix else ''
    ends[nodes[prefix]] = prefix in known or ends[nodes[longest[prefix]]] if prefix else 0
    for letter in letters:
      goes = prefix + letter
      to = nodes[goes] if goes in nodes else step[8 * nodes[longest[prefix]] + letters.index(letter)] if prefix else 0
      step[8 * nodes[prefix] + letters.index(letter)] = to
  codes = [letters.index(letter) for letter in text]

  def stream():
    state = 0
    return [bool(ends[state := step[8 * state + code]]) for code in codes]

  same = stream() == [own.query(letter) for letter in text]
  times = ratio(stream, lambda: [own.query(letter) for letter in text])
  table = len(step) * step.itemsize + len(ends)
  print(f'  5,000 words, {len(nodes):,} states: {"the same answers" if same else "OTHER ANSWERS"}, the table takes '
        f'{times:.2f} times as long a letter; {table / len(words):.0f} bytes a word, which processes share, for '
        f'{size / len(words):.0f}; a stream is one number')  # fmt: skip


def resumable_iterator():
  positions = 1_000_000
  for before, after in ((1000, 1000), (1000, 600)):
    taken = 437_000  # together, when all stop
    read = collections.Counter(range(taken))
    read.update(range(taken, positions))  # by the one position, whoever reads on
    own = collections.Counter()
    for worker in range(before):  # each with a share of its own, and a state that is restored by its number
      own.update(range(worker, taken, before))
    state = taken // before
    for worker in range(after):
      own.update(range(worker + state * after, positions, after))
    lost, doubled = positions - len(own), sum(each > 1 for each in own.values())
    print(f'  {before:,} workers go on as {after:,}: by one position 0 of {positions:,} lost and '
          f'{sum(each > 1 for each in read.values())} twice, by each one\'s own {lost:,} and {doubled:,}')  # fmt: skip


class _Shared:
  """Letters with names that never change, each put behind another one (RGA, Roh et al. 2011)."""

  def __init__(self, replica):
    self.replica, self.clock = replica, 0
    self.order = [(0, 0)]  # names, those of letters that are gone among them
    self.letters = {(0, 0): ''}
    self.waiting = []

  def insert(self, place, letter):
    there = [name for name in self.order if self.letters[name] or name == (0, 0)]
    self.clock += 1
    change = (there[place], (self.clock, self.replica), letter)
    self.apply(change)
    return change

  def delete(self, place):
    name = [name for name in self.order if self.letters[name]][place]
    self.apply(change := (name, name, ''))
    return change

  def apply(self, change):
    self.waiting.append(change)
    while ready := [each for each in self.waiting if each[0] in self.letters]:
      for behind, name, letter in ready:
        self.waiting.remove((behind, name, letter))
        if not letter:
          self.letters[name] = ''
          continue
        at = self.order.index(behind) + 1
        while at < len(self.order) and self.order[at] > name:
          at += 1
        self.order.insert(at, name)
        self.letters[name] = letter
        self.clock = max(self.clock, name[0])

  def text(self):
    return ''.join(self.letters[name] for name in self.order)


def text_editor():
  same = 0
  for seed in range(50):
    rng, sides = random.Random(seed), (_Shared(1), _Shared(2))
    for _ in range(5):  # both type while they do not hear each other, then all is exchanged in any order
      changes = ([], [])
      for side, made in zip(sides, changes, strict=True):
        for _ in range(20):
          length = len(side.text())
          if length and rng.random() < 0.3:
            made.append(side.delete(rng.randrange(length)))
          else:
            made.append(side.insert(rng.randrange(length + 1), rng.choice('abc')))
      for side, heard in zip(sides, reversed(changes), strict=True):
        for change in rng.sample(heard, len(heard)):
          side.apply(change)
    same += sides[0].text() == sides[1].text()
  names = len(sides[0].order) - 1
  print(f'  two editors, 50 times 200 changes exchanged in any order: {same} of 50 texts the same; the last holds '
        f'{names} names for {len(sides[0].text())} letters')  # fmt: skip


def excel_sum():
  sheet = Excel(100, 26)
  places = [f'{chr(65 + column)}{row}' for row in range(2, 101) for column in range(26)]
  for cell in places:
    sheet.sum(cell, ['A1'])
  stale: set[str] = set()
  values: dict[str, int] = {}

  def lazily():
    for number in range(20):
      stale.update(places)
      for cell in places[:60]:  # what is on the screen
        stale.discard(cell)
        values[cell] = number

  def eagerly():
    for number in range(20):
      sheet.set('A1', number)

  eagerly(), lazily()
  assert all(values[cell] == sheet.get(cell) for cell in places[:60])
  print(f'  {len(places):,} cells depend on one that changes 20 times: {60 * 20:,} worked out for 60 on the screen '
        f'instead of {len(places) * 20:,}, in {ratio(lazily, eagerly, rounds=3):.3f} of the time')  # fmt: skip


def vertical_order():
  rng = random.Random(0)
  values: list[int | None] = [0]
  alive = collections.deque([0])
  while len(values) < 60_000 and alive:
    alive.popleft()
    for _ in range(2):
      child = rng.randrange(1000) if rng.random() < 0.7 or len(alive) < 2 else None
      values.append(child)
      if child is not None:
        alive.append(child)

  def walk():
    """(column, row, value) of each node, by the level order that VerticalOrder takes."""
    yield 0, 0, values[0]
    level, children = collections.deque([(0, 0)]), iter(values[1:])
    while level:
      column, row = level.popleft()
      for side in (-1, 1):
        value = next(children, None)
        if value is not None:
          yield column + side, row + 1, value
          level.append((column + side, row + 1))

  def on_disk(block):
    runs, walked = [], walk()
    with contextlib.ExitStack() as stack:
      while part := list(itertools.islice(walked, block)):
        file = stack.enter_context(tempfile.TemporaryFile('w+'))
        file.writelines(f'{column} {row} {value}\n' for column, row, value in sorted(part))
        file.seek(0)
        runs.append(tuple(map(int, line.split())) for line in file)
      return [[each[2] for each in own] for _, own in itertools.groupby(heapq.merge(*runs), key=lambda each: each[0])]

  columns = VerticalOrder(values).columns()
  same = on_disk(5000) == columns
  nodes = sum(map(len, columns))
  print(f'  {nodes:,} nodes, {len(columns)} columns: {-(-nodes // 5000)} runs of 5,000 merged give '
        f'{"the same" if same else "ANOTHER"} order, with {5000:,} triples in memory at a time')  # fmt: skip


def min_stack():
  rng = random.Random(0)
  calls = [rng.randrange(100) if rng.random() < 0.6 else None for _ in range(100_000)]

  def usual():
    stack, found, size = MinStack(), [], 0
    for call in calls:
      if call is not None:
        stack.push(call)
        size += 1
      elif size:
        stack.pop()
        size -= 1
      found.append(stack.get_min() if size else None)
    return found

  def shared():
    head, found = None, []
    for call in calls:
      if call is not None:
        head = (call, min(call, head[1]) if head else call, head)  # one reference changes: the compare-and-set
      elif head:
        head = head[2]
      found.append(head[1] if head else None)
    return found

  same = usual() == shared()
  size = lambda push: held(lambda: push(10_000))[0] / 10_000

  def linked(count):
    head = None
    for number in range(count):
      head = (number, 0, head)
    return head

  def listed(count):
    stack = MinStack()
    for number in range(count):
      stack.push(number)
    return stack

  print(f'  100,000 calls: {"the same answers" if same else "OTHER ANSWERS"}, a linked list that nothing changes takes '
        f'{ratio(shared, usual):.2f} times as long as the class, {size(linked):.0f} bytes an element for '
        f'{size(listed):.0f}')  # fmt: skip


def stock_price():
  rng = random.Random(0)
  symbols = [min(int(rng.paretovariate(1)), 1000) for _ in range(100_000)]
  load = collections.Counter(symbol % 16 for symbol in symbols)
  log = [(symbol, rng.randrange(5000), rng.randrange(1, 1000)) for symbol in symbols]
  places = (40_000, 40_000)
  seen = []
  for place in places:  # two readers who have the same place of the log
    books: dict[int, StockPrice] = collections.defaultdict(StockPrice)
    for symbol, time, price in log[:place]:
      books[symbol].update(time, price)
    seen.append({symbol: (each.current(), each.maximum(), each.minimum()) for symbol, each in books.items()})
  corrected = len(log) - len({(symbol, time) for symbol, time, _ in log})
  print(f'  100,000 prices of which {corrected:,} correct another one: two readers at one place of the log see '
        f'{"the same" if seen[0] == seen[1] else "OTHER"} prices of {len(seen[0])} symbols; the busiest of 16 machines '
        f'has {16 * max(load.values()) / len(symbols):.2f} times its share')  # fmt: skip


ALL = (
  hit_counter, exam_room, time_map, file_system, stream_checker, resumable_iterator, text_editor, excel_sum,
  vertical_order, min_stack, stock_price,
)  # fmt: skip


if __name__ == '__main__':
  run(ALL, __doc__)
