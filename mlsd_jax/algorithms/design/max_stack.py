"""Max stack.

A stack of numbers with `push`, `pop`, `top`, and besides `peek_max()`, the greatest number in it, and `pop_max()`,
which takes out the greatest, of several the one nearest to the top, and answers it. All but `push` need a stack that
is not empty."""

import heapq
import random

from mlsd_jax.algorithms.problem import Call, Problem


class MaxStack:
  """A stack and a heap of (value, number of the push); what one has lost is skipped in the other. Amortised."""

  def __init__(self):
    self.stack: list[tuple[int, int]] = []
    self.heap: list[tuple[int, int]] = []
    self.alive: set[int] = set()
    self.pushed = 0

  def push(self, value: int) -> None:
    self.pushed += 1
    self.alive.add(self.pushed)
    self.stack.append((value, self.pushed))
    heapq.heappush(self.heap, (-value, -self.pushed))

  def pop(self) -> int:
    self._clean_stack()
    value, number = self.stack.pop()
    self.alive.remove(number)
    return value

  def top(self) -> int:
    self._clean_stack()
    return self.stack[-1][0]

  def peek_max(self) -> int:
    self._clean_heap()
    return -self.heap[0][0]

  def pop_max(self) -> int:
    self._clean_heap()
    value, number = heapq.heappop(self.heap)
    self.alive.remove(-number)
    return -value

  def _clean_stack(self) -> None:
    while self.stack[-1][1] not in self.alive:
      self.stack.pop()

  def _clean_heap(self) -> None:
    while -self.heap[0][1] not in self.alive:
      heapq.heappop(self.heap)


class Oracle:
  """A list."""

  def __init__(self):
    self.values = []

  def push(self, value):
    self.values.append(value)

  def pop(self):
    return self.values.pop()

  def top(self):
    return self.values[-1]

  def peek_max(self):
    return max(self.values)

  def pop_max(self):
    greatest = max(self.values)
    del self.values[len(self.values) - 1 - self.values[::-1].index(greatest)]
    return greatest


def operations(rng: random.Random, count: int, size: int) -> list[Call]:
  calls: list[Call] = [('MaxStack', [])]
  held = 0
  for _ in range(count):
    if held == 0 or (held < size and rng.random() < 0.6):
      calls.append(('push', [rng.randrange(2 * size)]))
      held += 1
    else:
      name = rng.choice(('pop', 'top', 'peek_max', 'pop_max'))
      held -= name.startswith('pop')
      calls.append((name, []))
  return calls


PROBLEM = Problem(
  MaxStack,
  Oracle,
  operations,
  {'push': 'log n', 'pop': '1', 'top': '1', 'peek_max': 'log n', 'pop_max': 'log n'},
)
