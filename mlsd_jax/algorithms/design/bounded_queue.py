"""Bounded blocking queue.

`BoundedBlockingQueue(capacity)`, of 0 or more, for several threads: `enqueue(item)` waits while the queue is full,
`dequeue()` waits while it is empty and answers the oldest item, `size()` answers how many there are.
`try_enqueue(item)` and `try_dequeue()` do not wait: they answer whether it went, and the item or None."""

import random
import threading
from collections import deque
from typing import Any

from mlsd_jax.algorithms.problem import Call, Problem


class BoundedBlockingQueue:
  """One lock, one condition for each side, so that an item wakes one consumer and a place one producer."""

  def __init__(self, capacity: int):
    self.capacity = capacity
    self.items: deque[Any] = deque()
    lock = threading.Lock()
    self.has_place, self.has_item = threading.Condition(lock), threading.Condition(lock)

  def enqueue(self, item: Any) -> None:
    with self.has_place:
      while len(self.items) == self.capacity:
        self.has_place.wait()
      self._put(item)

  def dequeue(self) -> Any:
    with self.has_item:
      while not self.items:
        self.has_item.wait()
      return self._take()

  def try_enqueue(self, item: Any) -> bool:
    with self.has_place:
      free = len(self.items) < self.capacity
      if free:
        self._put(item)
      return free

  def try_dequeue(self) -> Any:
    with self.has_item:
      return self._take() if self.items else None

  def size(self) -> int:
    with self.has_item:
      return len(self.items)

  def _put(self, item: Any) -> None:
    self.items.append(item)
    self.has_item.notify()

  def _take(self) -> Any:
    item = self.items.popleft()
    self.has_place.notify()
    return item


class Oracle:
  """A list; from one thread nothing ever waits."""

  def __init__(self, capacity):
    self.capacity, self.items = capacity, []

  def enqueue(self, item):
    self.items.append(item)

  def dequeue(self):
    return self.items.pop(0)

  def try_enqueue(self, item):
    if len(self.items) == self.capacity:
      return False
    self.items.append(item)
    return True

  def try_dequeue(self):
    return self.items.pop(0) if self.items else None

  def size(self):
    return len(self.items)


def operations(rng: random.Random, count: int, size: int) -> list[Call]:
  calls: list[Call] = [('BoundedBlockingQueue', [size])]
  held = 0
  for number in range(count):
    kind = rng.random()
    if kind < 0.35 and held < size:
      held += 1
      calls.append(('enqueue', [number]))
    elif kind < 0.5 and held:
      held -= 1
      calls.append(('dequeue', []))
    elif kind < 0.7:
      held = min(size, held + 1)
      calls.append(('try_enqueue', [number]))
    elif kind < 0.85:
      held = max(0, held - 1)
      calls.append(('try_dequeue', []))
    else:
      calls.append(('size', []))
  return calls


PROBLEM = Problem(
  BoundedBlockingQueue,
  Oracle,
  operations,
  {'enqueue': '1', 'dequeue': '1', 'try_enqueue': '1', 'try_dequeue': '1', 'size': '1'},
)
