"""Rate limiter: sliding log.

`SlidingLog(limit, window)`: `allow(user, time)` answers whether the user has had fewer than `limit` requests allowed
in the last `window` milliseconds, those after time - window, and if so allows this one; with a limit of 0 or less it
allows none, else with a window of 0 or less as many as come. Times never go back."""

import random
from collections import deque

from mlsd_jax.algorithms.problem import Call, Problem


class SlidingLog:
  """For each user the times of what was allowed: only the oldest of the last `limit` needs to be looked at."""

  def __init__(self, limit: int, window: int):
    self.limit, self.window = limit, window
    self.times: dict[int, deque[int]] = {}

  def allow(self, user: int, time: int) -> bool:
    if self.limit <= 0:
      return False
    times = self.times.get(user)
    if times is None:
      times = self.times[user] = deque(maxlen=self.limit)
    if len(times) == self.limit and times[0] > time - self.window:
      return False
    times.append(time)
    return True


class Oracle:
  """Counts through the whole log."""

  def __init__(self, limit, window):
    self.limit, self.window, self.log = limit, window, []

  def allow(self, user, time):
    self.log = [(each, when) for each, when in self.log if when > time - self.window]
    if sum(each == user for each, _ in self.log) >= self.limit:
      return False
    self.log.append((user, time))
    return True


def operations(rng: random.Random, count: int, size: int) -> list[Call]:
  calls: list[Call] = [
    ('SlidingLog', [rng.choice((0, 1)) if size < 4 else 1 + size // 8, 2 * size + 5 if size != 5 else 0])
  ]
  time = 0
  for _ in range(count):
    time += rng.choice((0, 0, 1, 1, 3))
    calls.append(('allow', [rng.randrange(6), time]))
  return calls


PROBLEM = Problem(SlidingLog, Oracle, operations, {'allow': '1'})
