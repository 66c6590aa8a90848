"""Values by key and time, which may expire.

`set(key, value, time, ttl)` records that from `time` on the key has the value, until `time` + `ttl` (not included;
0: for good, never negative). Times of one key grow. `get(key, time)` answers the latest value recorded at that time
or before, '' when there is none or it has expired: an older value does not come back."""

import bisect
import random

from mlsd_jax.algorithms.problem import Call, Problem


class TimeMap:
  """For each key its times, sorted as they came, and what was recorded."""

  def __init__(self):
    self.times: dict[str, list[int]] = {}
    self.records: dict[str, list[tuple[str, int]]] = {}

  def set(self, key: str, value: str, time: int, ttl: int) -> None:
    self.times.setdefault(key, []).append(time)
    self.records.setdefault(key, []).append((value, ttl))

  def get(self, key: str, time: int) -> str:
    times = self.times.get(key, [])
    index = bisect.bisect_right(times, time) - 1
    if index < 0:
      return ''
    value, ttl = self.records[key][index]
    return value if not ttl or time < times[index] + ttl else ''


class Oracle:
  """Looks through all records."""

  def __init__(self):
    self.records = {}

  def set(self, key, value, time, ttl):
    self.records.setdefault(key, []).append((time, value, ttl))

  def get(self, key, time):
    found = ''
    for since, value, ttl in self.records.get(key, []):
      if since <= time:
        found = value if ttl == 0 or time - since < ttl else ''
    return found


def operations(rng: random.Random, count: int, size: int) -> list[Call]:
  calls: list[Call] = [('TimeMap', [])]
  keys, now = max(1, size // 64), 0
  for number in range(count):
    key = f'k{rng.randrange(keys)}'
    if number < size or rng.random() < 0.3:
      now += rng.randint(1, 3)
      calls.append(('set', [key, f'v{rng.randrange(100)}', now, rng.choice((0, 0, rng.randint(1, 4 * keys)))]))
    else:
      calls.append(('get', [key, rng.randint(0, now + 4)]))
  return [*calls, ('get', ['k0', now])]


PROBLEM = Problem(TimeMap, Oracle, operations, {'set': '1', 'get': 'log n'})
