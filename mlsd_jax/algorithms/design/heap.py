"""Binary and d-ary heap whose keys can be decreased.

`DaryHeap(d)` keeps keys with priorities: `push(key, priority)` adds a key that is not in yet, `pop()` takes out the key
of the lowest priority (of equal ones the lowest key) and answers [key, priority], `peek()` answers it and leaves it in;
both raise IndexError when there is none. `decrease_key(key, priority)` gives a key that is in a lower priority or the
same, `remove(key)` takes a key out and answers its priority."""

import random

from mlsd_jax.algorithms.problem import Call, Problem


class DaryHeap:
  """An array in which the children of place i are at d i + 1 to d i + d, and the place of each key."""

  def __init__(self, d: int = 2):
    self.d = d
    self.entries: list[tuple[int, int]] = []  # priority, key
    self.place: dict[int, int] = {}

  def push(self, key: int, priority: int) -> None:
    self.entries.append((priority, key))
    self._up(len(self.entries) - 1)

  def peek(self) -> list[int]:
    priority, key = self.entries[0]
    return [key, priority]

  def pop(self) -> list[int]:
    answer = self.peek()
    self._take(0)
    return answer

  def decrease_key(self, key: int, priority: int) -> None:
    place = self.place[key]
    self.entries[place] = (priority, key)
    self._up(place)

  def remove(self, key: int) -> int:
    return self._take(self.place[key])[0]

  def _take(self, place: int) -> tuple[int, int]:
    entry = self.entries[place]
    last = self.entries.pop()
    if place < len(self.entries):
      self.entries[place] = last
      self._down(place)
      self._up(self.place[last[1]])
    del self.place[entry[1]]
    return entry

  def _up(self, place: int) -> None:
    entries, entry = self.entries, self.entries[place]
    while place and entries[parent := (place - 1) // self.d] > entry:
      entries[place] = entries[parent]
      self.place[entries[place][1]] = place
      place = parent
    entries[place] = entry
    self.place[entry[1]] = place

  def _down(self, place: int) -> None:
    entries, entry = self.entries, self.entries[place]
    while (first := self.d * place + 1) < len(entries):
      child = min(range(first, min(first + self.d, len(entries))), key=entries.__getitem__)
      if entries[child] >= entry:
        break
      entries[place] = entries[child]
      self.place[entries[place][1]] = place
      place = child
    entries[place] = entry
    self.place[entry[1]] = place


class Oracle:
  """A dictionary that is searched through."""

  def __init__(self, d):
    self.priorities = {}

  def push(self, key, priority):
    self.priorities[key] = priority

  def peek(self):
    if not self.priorities:
      raise IndexError
    priority, key = min((priority, key) for key, priority in self.priorities.items())
    return [key, priority]

  def pop(self):
    key, priority = self.peek()
    del self.priorities[key]
    return [key, priority]

  def decrease_key(self, key, priority):
    self.priorities[key] = priority

  def remove(self, key):
    return self.priorities.pop(key)


def operations(rng: random.Random, count: int, size: int) -> list[Call]:
  calls: list[Call] = [('DaryHeap', [rng.choice((2, 2, 3, 4))])]
  heap = DaryHeap()  # knows which keys are in
  for key in range(count):
    kind = rng.random()
    any_key = lambda: heap.entries[rng.randrange(len(heap.entries))][1]
    if (kind < 0.5 and len(heap.entries) < size) or not heap.entries:
      calls.append(('push', [key, rng.randrange(4 * size)]) if kind < 0.99 else ('pop', []))
    elif kind < 0.7:
      chosen = any_key()
      low = heap.entries[heap.place[chosen]][0]
      calls.append(('decrease_key', [chosen, rng.randint(0, low)]))
    elif kind < 0.8:
      calls.append(('remove', [any_key()]))
    else:
      calls.append((rng.choice(('pop', 'peek')), []))
    name, arguments = calls[-1]
    if name != 'pop' or heap.entries:
      getattr(heap, name)(*arguments)
  return calls


PROBLEM = Problem(
  DaryHeap,
  Oracle,
  operations,
  {'push': 'log n', 'pop': 'log n', 'peek': '1', 'decrease_key': 'log n', 'remove': 'log n'},
)
