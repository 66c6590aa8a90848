"""How the database finds the rows of a condition: by indexes where they help, else by looking at every row."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mlsd_jax.algorithms.sorted_list import SortedList


@dataclasses.dataclass(frozen=True)
class Plan:
  """Where the candidates come from; all of them are looked at again with the whole condition.

  Attributes:
    name: for `explain`.
    cost: how many candidates there are, known exactly, as an index tells ranks.
    numbers: the candidates' row numbers, perhaps some twice; None for all rows.
  """

  name: str
  cost: int
  numbers: Callable[[], Iterator[int]] | None = None


def plan(where: Any, indexes: Mapping[str, SortedList], rows: int) -> Plan:
  """The cheapest way to a condition's rows.

  An `and` takes the cheapest of its parts, with bounds on one column put together; an `or` takes all of its parts, and
  a scan if one of them needs it or if together they are no cheaper."""
  scan = Plan('scan', rows)
  match where:
    case ['and', *parts]:
      options = [plan(part, indexes, rows) for part in parts] + _ranges(parts, indexes)
      return min([*options, scan], key=lambda each: (each.cost, each.numbers is None))
    case ['or', *parts]:
      options = [plan(part, indexes, rows) for part in parts]
      cost = sum(each.cost for each in options)
      if cost >= rows or any(each.numbers is None for each in options):
        return scan
      names = ' + '.join(dict.fromkeys(name for each in options for name in each.name.split(' + ')))
      return Plan(names, cost, lambda: (number for each in options for number in each.numbers()))  # type: ignore[misc]
    case [str(column), 'in', values] if column in indexes:
      return _slices(column, indexes[column], [(value, value) for value in dict.fromkeys(values)])
    case [str(column), '=' | '<' | '<=' | '>' | '>=', _] if column in indexes:
      return _ranges([where], indexes)[0]
  return scan


def _ranges(parts: list[Any], indexes: Mapping[str, SortedList]) -> list[Plan]:
  """For each indexed column that the parts bound, the stretch of its index that all bounds leave."""
  stretches: dict[str, list[int]] = {}
  for part in parts:
    column, op = part[0], part[1]
    if column in ('and', 'or', 'not') or column not in indexes or op in ('!=', 'in'):
      continue
    index, value = indexes[column], part[2]
    stretch = stretches.setdefault(column, [0, len(index)])
    if op in ('=', '>', '>='):
      stretch[0] = max(stretch[0], _rank(index, value, behind=op == '>'))
    if op in ('=', '<', '<='):
      stretch[1] = min(stretch[1], _rank(index, value, behind=op != '<'))
  return [_stretch(column, indexes[column], [tuple(bounds)]) for column, bounds in stretches.items()]  # type: ignore[list-item]


def _slices(column: str, index: SortedList, bounds: list[tuple[Any, Any]]) -> Plan:
  return _stretch(column, index, [(_rank(index, low), _rank(index, high, behind=True)) for low, high in bounds])


def _stretch(column: str, index: SortedList, ranks: list[tuple[int, int]]) -> Plan:
  cost = sum(max(0, last - first) for first, last in ranks)
  entries = lambda: [index[rank][1] for first, last in ranks for rank in range(first, last)]
  return Plan(f'index {column}', cost, lambda: iter(entries()))


def _rank(index: SortedList, value: Any, *, behind: bool = False) -> int:
  """How many entries (value, row number) come before those of this value, or up to their end."""
  return index.bisect_right((value, float('inf'))) if behind else index.bisect_left((value,))
