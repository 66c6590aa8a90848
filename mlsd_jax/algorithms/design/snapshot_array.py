"""Array with snapshots.

`SnapshotArray(length)` is full of zeros. `set(index, value)` changes an element, `snap()` keeps the array as it is
under the next number from 0 on and answers that number, `get(index, snap)` answers the element as it was in a snapshot.
A snapshot costs nothing; reading is a binary search among the changes of that element."""

import bisect
import random

from mlsd_jax.algorithms.problem import Call, Problem


class SnapshotArray:
  """For each element the snapshots before which it changed, and to what."""

  def __init__(self, length: int):
    self.times: list[list[int]] = [[0] for _ in range(length)]
    self.values: list[list[int]] = [[0] for _ in range(length)]
    self.snaps = 0

  def set(self, index: int, value: int) -> None:
    if self.times[index][-1] == self.snaps:
      self.values[index][-1] = value
    else:
      self.times[index].append(self.snaps)
      self.values[index].append(value)

  def snap(self) -> int:
    self.snaps += 1
    return self.snaps - 1

  def get(self, index: int, snap: int) -> int:
    return self.values[index][bisect.bisect_right(self.times[index], snap) - 1]


class Oracle:
  """Every snapshot a copy, of what is not zero."""

  def __init__(self, length):
    self.now, self.kept = {}, []

  def set(self, index, value):
    self.now[index] = value

  def snap(self):
    self.kept.append(dict(self.now))
    return len(self.kept) - 1

  def get(self, index, snap):
    return self.kept[snap].get(index, 0)


def operations(rng: random.Random, count: int, size: int) -> list[Call]:
  calls: list[Call] = [('SnapshotArray', [size])]
  snaps = 0
  often = min(0.2, 400 / count)  # the oracle copies
  for _ in range(count):
    kind = rng.random()
    if kind < often:
      snaps += 1
      calls.append(('snap', []))
    elif kind < 0.5 or not snaps:
      calls.append(('set', [rng.randrange(size), rng.randrange(100)]))
    else:
      calls.append(('get', [rng.randrange(size), rng.randrange(snaps)]))
  return calls


PROBLEM = Problem(SnapshotArray, Oracle, operations, {'set': '1', 'snap': '1', 'get': 'log n'})
