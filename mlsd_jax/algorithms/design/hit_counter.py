"""Hit counter.

`HitCounter(window)`: `hit(time)` counts a hit, `get_hits(time)` answers how many hits there were in the last
`window` seconds, those after time - window; none where the window is 0. Times never go back. However many hits come,
it holds one number a second of the window."""

import random
from collections import deque

from mlsd_jax.algorithms.problem import Call, Problem


class HitCounter:
  """The seconds that had hits, with their number. Amortised."""

  def __init__(self, window: int):
    self.window = window
    self.seconds: deque[list[int]] = deque()
    self.total = 0

  def hit(self, time: int) -> None:
    self._forget(time)
    if self.seconds and self.seconds[-1][0] == time:
      self.seconds[-1][1] += 1
    else:
      self.seconds.append([time, 1])
    self.total += 1

  def get_hits(self, time: int) -> int:
    self._forget(time)
    return self.total

  def _forget(self, time: int) -> None:
    while self.seconds and self.seconds[0][0] <= time - self.window:
      self.total -= self.seconds.popleft()[1]


class Oracle:
  """All hits."""

  def __init__(self, window):
    self.window, self.hits = window, []

  def hit(self, time):
    self.hits.append(time)

  def get_hits(self, time):
    self.hits = [each for each in self.hits if each > time - self.window]
    return len(self.hits)


def operations(rng: random.Random, count: int, size: int) -> list[Call]:
  calls: list[Call] = [('HitCounter', [size])]
  time = 1
  for _ in range(count):
    time += rng.choice((0, 0, 1, 1, rng.randint(0, size) if rng.random() < 0.05 else 2))
    calls.append((rng.choice(('hit', 'hit', 'get_hits')), [time]))
  return calls


PROBLEM = Problem(HitCounter, Oracle, operations, {'hit': '1', 'get_hits': '1'})
