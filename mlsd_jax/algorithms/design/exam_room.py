"""Exam room.

`ExamRoom(n)`, n of 1 or more, has seats 0 to n - 1 in a row. `seat()` seats the next one as far from the nearest
other as can be, at the lowest such seat (in an empty room at 0), and answers the seat; it needs a free one.
`leave(seat)` frees a seat that is taken."""

import heapq
import random

from mlsd_jax.algorithms.problem import Call, Problem


class ExamRoom:
  """The gaps between neighbours in a heap, best first; gaps that no longer are gaps are skipped. Amortised."""

  def __init__(self, n: int):
    self.n = n
    self.heap: list[tuple[int, int, int, int]] = []
    self.before: dict[int, int] = {n: -1}  # the wall -1 and the wall n stand for neighbours
    self.after: dict[int, int] = {-1: n}
    self._push(-1, n)

  def seat(self) -> int:
    while True:
      _, seat, left, right = heapq.heappop(self.heap)
      if self.after.get(left) == right:
        break
    self.after[left] = self.before[right] = seat
    self.before[seat], self.after[seat] = left, right
    self._push(left, seat)
    self._push(seat, right)
    return seat

  def leave(self, seat: int) -> None:
    left, right = self.before.pop(seat), self.after.pop(seat)
    self.after[left], self.before[right] = right, left
    self._push(left, right)

  def _push(self, left: int, right: int) -> None:
    """The best seat between two neighbours, and how far it is from the nearer."""
    if right - left < 2:
      return
    if left == -1:
      seat, distance = 0, right if right < self.n else self.n
    elif right == self.n:
      seat, distance = self.n - 1, self.n - 1 - left
    else:
      seat = (left + right) // 2
      distance = seat - left
    heapq.heappush(self.heap, (-distance, seat, left, right))


class Oracle:
  """Measures how far every seat is from the others."""

  def __init__(self, n):
    self.n, self.taken = n, set()

  def seat(self):
    best = 0
    if self.taken:
      distance = [self.n] * self.n  # to the nearest other on the left, then on either side
      for order, step in ((range(self.n), -1), (range(self.n - 1, -1, -1), 1)):
        for seat in order:
          before = distance[seat + step] if 0 <= seat + step < self.n else self.n
          distance[seat] = 0 if seat in self.taken else min(distance[seat], before + 1)
      best = distance.index(max(distance))
    self.taken.add(best)
    return best

  def leave(self, seat):
    self.taken.remove(seat)


def operations(rng: random.Random, count: int, size: int) -> list[Call]:
  # Played on the reference to know who sits where; what it answers is checked, not trusted.
  room, n = ExamRoom(2 * size), 2 * size
  calls: list[Call] = [('ExamRoom', [n])]
  taken: list[int] = []
  for _ in range(count):
    if not taken or (len(taken) < n and rng.random() < 0.4 + 0.4 * (len(taken) < size)):
      taken.append(room.seat())
      calls.append(('seat', []))
    else:
      place = rng.randrange(len(taken))
      taken[place], taken[-1] = taken[-1], taken[place]
      room.leave(taken[-1])
      calls.append(('leave', [taken.pop()]))
  return calls


PROBLEM = Problem(ExamRoom, Oracle, operations, {'seat': 'log n', 'leave': 'log n'})
