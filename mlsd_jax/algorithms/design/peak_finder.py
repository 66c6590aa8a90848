"""Peak and local minimum.

`PeakFinder(values)`, of numbers of which no two neighbours are equal, at least one: `peak()` answers the place of a
value that is greater than its neighbours, `local_minimum()` of one that is smaller; outside of the list is nothing
that a value must exceed. `set(place, value)` changes a value; the list stays as it must be. Any such place is right."""

import random
from typing import Any

from mlsd_jax.algorithms.problem import Call, Problem


class PeakFinder:
  """Halves the list: on the side of the greater neighbour there is a peak, as the list ends somewhere."""

  def __init__(self, values: list[int]):
    self.values = list(values)

  def peak(self) -> int:
    return self._find(1)

  def local_minimum(self) -> int:
    return self._find(-1)

  def set(self, place: int, value: int) -> None:
    self.values[place] = value

  def _find(self, sign: int) -> int:
    low, high = 0, len(self.values) - 1
    while low < high:
      middle = (low + high) // 2
      if sign * self.values[middle] < sign * self.values[middle + 1]:
        low = middle + 1
      else:
        high = middle
    return low


class Oracle:
  """Looks at every place."""

  def __init__(self, values):
    self.values = list(values)

  def places(self, sign):
    padded = [float('-inf'), *(sign * value for value in self.values), float('-inf')]
    return [i for i in range(len(self.values)) if padded[i] < padded[i + 1] > padded[i + 2]]

  def peak(self):
    return self.places(1)[0]

  def local_minimum(self):
    return self.places(-1)[0]

  def set(self, place, value):
    self.values[place] = value


def accepts(oracle: Any, method: str, arguments: Any, answer: Any, expected: Any) -> bool:
  return method != 'set' and answer in oracle.places(1 if method == 'peak' else -1)


def operations(rng: random.Random, count: int, size: int) -> list[Call]:
  kind = rng.random()
  values = [rng.randrange(-9, 10)]
  while len(values) < size:
    step = rng.choice((-2, -1, 1, 2)) if kind < 0.6 else 1 if kind < 0.8 else -1
    values.append(values[-1] + step)
  calls: list[Call] = [('PeakFinder', [list(values)])]
  for _ in range(count):
    what = rng.choice(('peak', 'local_minimum', 'set'))
    if what != 'set':
      calls.append((what, []))
      continue
    place = rng.randrange(size)
    around = {values[each] for each in (place - 1, place + 1) if 0 <= each < size}
    values[place] = rng.choice([value for value in range(-12, 13) if value not in around])
    calls.append((what, [place, values[place]]))
  return calls


PROBLEM = Problem(
  PeakFinder, Oracle, operations, {'peak': 'log n', 'local_minimum': 'log n', 'set': '1'}, accepts=accepts
)
