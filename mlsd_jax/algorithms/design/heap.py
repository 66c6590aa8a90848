"""Binary and d-ary heap whose keys can be decreased.

`DaryHeap(d)`, d of 1 or more, keeps keys with priorities: `push(key, priority)` adds a key that is not in yet,
`pop()` takes out the key of the lowest priority (of equal ones the lowest key) and answers [key, priority], `peek()`
answers it and leaves it in; both raise IndexError when there is none. `decrease_key(key, priority)` gives a key that
is in a lower priority or the same, `remove(key)` takes a key out and answers its priority."""

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


class _Node:
  __slots__ = ('key', 'left', 'parent', 'priority', 'right')

  def __init__(self, key: int, priority: int, parent: '_Node | None'):
    self.key, self.priority, self.parent = key, priority, parent
    self.left: _Node | None = None
    self.right: _Node | None = None


class HeapTree:
  """The same as nodes and references: a complete binary tree, in which the bits of a number are the way to a node.

  d counts for nothing. Beside the array: benchmarks/algorithms_follow_ups.py.
  """

  def __init__(self, d: int = 2):
    self.root: _Node | None = None
    self.nodes: dict[int, _Node] = {}

  def push(self, key: int, priority: int) -> None:
    parent = self._at((len(self.nodes) + 1) // 2)
    node = self.nodes[key] = _Node(key, priority, parent)
    if parent is None:
      self.root = node
    elif parent.left is None:
      parent.left = node
    else:
      parent.right = node
    self._up(node)

  def peek(self) -> list[int]:
    if self.root is None:
      raise IndexError('the heap is empty')
    return [self.root.key, self.root.priority]

  def pop(self) -> list[int]:
    key, priority = self.peek()
    self.remove(key)
    return [key, priority]

  def decrease_key(self, key: int, priority: int) -> None:
    self.nodes[key].priority = priority
    self._up(self.nodes[key])

  def remove(self, key: int) -> int:
    node, last = self.nodes[key], self._at(len(self.nodes))
    assert last is not None
    priority = node.priority
    self._swap(node, last)
    del self.nodes[key]
    if last.parent is None:
      self.root = None
    elif last.parent.right is last:
      last.parent.right = None
    else:
      last.parent.left = None
    if node is not last:
      self._down(node)
      self._up(node)
    return priority

  def _at(self, number: int) -> _Node | None:
    """The node of that number, level by level from 1: below a 1, each bit says left or right."""
    node = self.root if number else None
    for bit in bin(number)[3:]:
      assert node is not None
      node = node.right if bit == '1' else node.left
    return node

  def _swap(self, a: _Node, b: _Node) -> None:
    """Nodes stay where they are, their content goes."""
    a.key, b.key, a.priority, b.priority = b.key, a.key, b.priority, a.priority
    self.nodes[a.key], self.nodes[b.key] = a, b

  def _up(self, node: _Node) -> None:
    while (above := node.parent) and (above.priority, above.key) > (node.priority, node.key):
      self._swap(node, above)
      node = above

  def _down(self, node: _Node) -> None:
    while node.left is not None:
      below = node.left
      if node.right is not None and (node.right.priority, node.right.key) < (below.priority, below.key):
        below = node.right
      if (below.priority, below.key) >= (node.priority, node.key):
        return
      self._swap(node, below)
      node = below


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


COMPLEXITY = {'push': 'log n', 'pop': 'log n', 'peek': '1', 'decrease_key': 'log n', 'remove': 'log n'}
PROBLEM = Problem(DaryHeap, Oracle, operations, COMPLEXITY, others={HeapTree: COMPLEXITY})
