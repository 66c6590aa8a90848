"""Phone book, as a dictionary and as a list.

`add(name, number)` enters a number in place of the name's earlier one, `find(name)` answers it, -1 for a name that is
not there, `remove(name)` strikes it out and answers whether it was there, `names()` answers all names in the order in
which they came (one that was struck out and came back is new). Once by a dictionary and once by a list: `--mode=growth`
draws the profile of both, in steps, seconds and bytes."""

import random

from mlsd_jax.algorithms.problem import Call, Problem


class PhoneBook:
  """A dictionary, which keeps its keys in the order of their coming."""

  def __init__(self):
    self.numbers: dict[str, int] = {}

  def add(self, name: str, number: int) -> None:
    self.numbers[name] = number

  def find(self, name: str) -> int:
    return self.numbers.get(name, -1)

  def remove(self, name: str) -> bool:
    return self.numbers.pop(name, None) is not None

  def names(self) -> list[str]:
    return list(self.numbers)


class ListBook:
  """A list of pairs, which is looked through from its beginning."""

  def __init__(self):
    self.pairs: list[tuple[str, int]] = []

  def add(self, name: str, number: int) -> None:
    place = self._place(name)
    self.pairs[place : place + 1] = [(name, number)]

  def find(self, name: str) -> int:
    place = self._place(name)
    return self.pairs[place][1] if place < len(self.pairs) else -1

  def remove(self, name: str) -> bool:
    place = self._place(name)
    if place == len(self.pairs):
      return False
    del self.pairs[place]
    return True

  def names(self) -> list[str]:
    return [name for name, _ in self.pairs]

  def _place(self, name: str) -> int:
    place = 0
    while place < len(self.pairs) and self.pairs[place][0] != name:
      place += 1
    return place


class Oracle:
  """A log of all that came, read again for each answer."""

  def __init__(self):
    self.log = []

  def add(self, name, number):
    self.log.append((name, number))

  def find(self, name):
    return next((number for each, number in reversed(self.log) if each == name), None) or self._zero(name)

  def _zero(self, name):
    last = [number for each, number in self.log if each == name][-1:]
    return 0 if last == [0] else -1

  def remove(self, name):
    there = self.names().count(name) == 1
    self.log.append((name, None))
    return there

  def names(self):
    order: list[str] = []
    for name, number in self.log:
      if number is None:
        order = [each for each in order if each != name]
      elif name not in order:
        order.append(name)
    return order


def operations(rng: random.Random, count: int, size: int) -> list[Call]:
  calls: list[Call] = [('PhoneBook', [])]
  for number in range(count):
    name, kind = f'n{rng.randrange(size)}', rng.random()
    if kind < 0.4 or number < size // 2:
      calls.append(('add', [name, rng.randrange(1000)]))
    elif kind < 0.8:
      calls.append(('find', [name]))
    elif kind < 0.9 or size > 30:
      calls.append(('remove', [name]))
    else:
      calls.append(('names', []))
  return [*calls, ('names', [])] if size > 30 else calls


PROBLEM = Problem(
  PhoneBook,
  Oracle,
  operations,
  {'add': '1', 'find': '1', 'remove': '1', 'names': 'n'},
  sizes=(256, 1024, 2048),
  others={ListBook: {'add': 'n', 'find': 'n', 'remove': 'n', 'names': 'n'}},
)
