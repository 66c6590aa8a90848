"""Most bookings at one time.

`book(start, end)` books the time from start up to, not including, end and answers the greatest number of bookings
that hold at one time. Times are from 0 to 10**9; a booking that does not end after its start holds at no time."""

import random

from mlsd_jax.algorithms.problem import Call, Problem

_END = 1 << 30


class MyCalendarThree:
  """A segment tree over all times whose nodes come into being when first needed: O(log 10**9) a booking."""

  def __init__(self):
    self.added: dict[int, int] = {}  # bookings that cover the node's whole span
    self.greatest: dict[int, int] = {}  # within the span

  def book(self, start: int, end: int) -> int:
    if start < end:
      self._add(1, 0, _END, start, end)
    return self.greatest.get(1, 0)

  def _add(self, node: int, low: int, high: int, start: int, end: int) -> None:
    if start >= high or end <= low:
      return
    if start <= low and high <= end:
      self.added[node] = self.added.get(node, 0) + 1
      self.greatest[node] = self.greatest.get(node, 0) + 1
      return
    middle = (low + high) // 2
    self._add(2 * node, low, middle, start, end)
    self._add(2 * node + 1, middle, high, start, end)
    below = max(self.greatest.get(2 * node, 0), self.greatest.get(2 * node + 1, 0))
    self.greatest[node] = self.added.get(node, 0) + below


class Oracle:
  """Counts at every start."""

  def __init__(self):
    self.changes = {}

  def book(self, start, end):
    if start < end:
      self.changes[start] = self.changes.get(start, 0) + 1
      self.changes[end] = self.changes.get(end, 0) - 1
    held = most = 0
    for time in sorted(self.changes):
      held += self.changes[time]
      most = max(most, held)
    return most


def operations(rng: random.Random, count: int, size: int) -> list[Call]:
  calls: list[Call] = [('MyCalendarThree', [])]
  for _ in range(count):
    if size < 50:
      start = rng.randrange(3 * size)
      calls.append(('book', [start, start + rng.randint(-1, size)]))
    else:
      start = rng.randrange(10**9 - 10**6)
      calls.append(('book', [start - start % 1000, start - start % 1000 + rng.randint(1, 1000) * 1000]))
  return calls


PROBLEM = Problem(MyCalendarThree, Oracle, operations, {'book': '1'}, sizes=(128, 512, 2048))
