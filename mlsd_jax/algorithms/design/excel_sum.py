"""Spreadsheet of sums that knows a cycle.

`Excel(rows, columns)` has cells 'A1' (column, row) that hold 0. `set(cell, number)` puts a number in; `sum(cell,
ranges)` makes the cell the sum of cells and ranges such as ['A1', 'B2:C3', 'A1'], each counted as often as it is named,
and answers it; the cell then follows them until it is set. `get(cell)` answers a cell. A sum that would depend on
itself raises ValueError and changes nothing. A change is passed on to every cell that depends on it, in an order in
which each is worked out once."""

import random
import re
from collections import Counter

from mlsd_jax.algorithms.problem import Call, Problem


class Excel:
  """For each cell what it is the sum of and who sums it."""

  def __init__(self, rows: int, columns: int):
    self.values: Counter[str] = Counter()
    self.parts: dict[str, Counter[str]] = {}
    self.users: dict[str, set[str]] = {}

  def set(self, cell: str, number: int) -> None:
    self._unlink(cell)
    self._pass_on(cell, number)

  def get(self, cell: str) -> int:
    return self.values[cell]

  def sum(self, cell: str, ranges: list[str]) -> int:
    parts = Counter(each for text in ranges for each in cells(text))
    if not parts.keys().isdisjoint(self._dependants(cell)):
      raise ValueError(f'{cell} would depend on itself')
    self._unlink(cell)
    self.parts[cell] = parts
    for part in parts:
      self.users.setdefault(part, set()).add(cell)
    self._pass_on(cell, sum(self.values[part] * times for part, times in parts.items()))
    return self.values[cell]

  def _unlink(self, cell: str) -> None:
    for part in self.parts.pop(cell, ()):
      self.users[part].discard(cell)

  def _dependants(self, cell: str) -> list[str]:
    """The cell and all that depend on it, each after all of its parts among them."""
    order: list[str] = []
    seen: set[str] = set()
    stack = [(cell, False)]
    while stack:
      each, finished = stack.pop()
      if finished:
        order.append(each)
      elif each not in seen:
        seen.add(each)
        stack.append((each, True))
        stack += [(user, False) for user in self.users.get(each, ())]
    return order[::-1]

  def _pass_on(self, cell: str, number: int) -> None:
    change = Counter({cell: number - self.values[cell]})
    for each in self._dependants(cell):
      self.values[each] += change[each]
      for user in self.users.get(each, ()):
        change[user] += change[each] * self.parts[user][each]


def cells(text: str) -> list[str]:
  """The cells of 'A1' or 'A1:B2'."""
  places = re.findall(r'([A-Z])(\d+)', text)
  (left, top), (right, bottom) = places[0], places[-1]
  return [
    f'{chr(column)}{row}' for column in range(ord(left), ord(right) + 1) for row in range(int(top), int(bottom) + 1)
  ]


class Oracle:
  """Works a cell out anew each time it is asked for."""

  def __init__(self, rows, columns):
    self.content = {}

  def set(self, cell, number):
    self.content[cell] = number

  def get(self, cell):
    content = self.content.get(cell, 0)
    return content if isinstance(content, int) else sum(self.get(part) for text in content for part in cells(text))

  def sum(self, cell, ranges):
    if self._reaches([part for text in ranges for part in cells(text)], cell):
      raise ValueError
    self.content[cell] = ranges
    return self.get(cell)

  def _reaches(self, starts, goal):
    return any(
      start == goal or self._reaches([part for text in self.content.get(start, ()) for part in cells(text)], goal)
      for start in starts
      if start == goal or not isinstance(self.content.get(start, 0), int)
    )


def operations(rng: random.Random, count: int, size: int) -> list[Call]:
  rows, columns = max(2, size // 10), 10
  cell = lambda: f'{chr(65 + rng.randrange(columns))}{rng.randint(1, rows)}'
  calls: list[Call] = [('Excel', [rows, columns])]
  for _ in range(count):
    kind = rng.random()
    if kind < 0.4:
      calls.append(('set', [cell(), rng.randint(-9, 9)]))
    elif kind < 0.8:
      calls.append(('get', [cell()]))
    else:
      ranges = []
      for _ in range(rng.randint(1, 2)):
        column, row = rng.randrange(columns), rng.randint(1, rows)
        right, bottom = min(columns - 1, column + rng.randint(0, 1)), min(rows, row + rng.randint(0, 1))
        one = f'{chr(65 + column)}{row}'
        ranges.append(one if rng.random() < 0.5 else f'{one}:{chr(65 + right)}{bottom}')
      calls.append(('sum', [cell(), ranges]))
  return calls


PROBLEM = Problem(Excel, Oracle, operations, {'set': '1', 'get': '1', 'sum': '1'})
