"""Rate limiter: token bucket.

`TokenBucket(capacity, refill)`: each user has a bucket of `capacity` tokens, full at first, into which one token
comes every `refill` (1 or more) milliseconds until it is full. `allow(user, tokens, time)` takes that many tokens
out and answers true, or, when there are too few, takes none and answers false. Times never go back. Nothing is
rounded: a part of a token that has come is not lost."""

import random

from mlsd_jax.algorithms.problem import Call, Problem


class TokenBucket:
  """For each user the time at which his bucket was, or will be, full: one integer says it all."""

  def __init__(self, capacity: int, refill: int):
    self.capacity, self.refill = capacity, refill
    self.full_at: dict[int, int] = {}

  def allow(self, user: int, tokens: int, time: int) -> bool:
    full_at = max(self.full_at.get(user, time), time) + tokens * self.refill
    if full_at - time > self.capacity * self.refill:
      return False
    self.full_at[user] = full_at
    return True


class Oracle:
  """Fills every bucket millisecond by millisecond."""

  def __init__(self, capacity, refill):
    self.capacity, self.refill, self.time, self.parts = capacity, refill, 0, {}

  def allow(self, user, tokens, time):
    full = self.capacity * self.refill
    for _ in range(time - self.time):
      self.parts = {each: min(full, parts + 1) for each, parts in self.parts.items()}
    self.time = time
    parts = self.parts.get(user, full)
    if parts < tokens * self.refill:
      return False
    self.parts[user] = parts - tokens * self.refill
    return True


def operations(rng: random.Random, count: int, size: int) -> list[Call]:
  calls: list[Call] = [('TokenBucket', [5, 7])]
  time = 0
  for _ in range(count):
    time += rng.choice((0, 0, 1, 2))
    calls.append(('allow', [rng.randrange(max(1, min(size, 16))), rng.randint(1, 4), time]))
  return calls


PROBLEM = Problem(TokenBucket, Oracle, operations, {'allow': '1'})
