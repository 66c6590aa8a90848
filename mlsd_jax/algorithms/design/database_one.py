"""In-memory database, part one: tables and queries.

`create_table(table, {column: type})` makes a table of columns of type int, float, text or bool. `insert(table, row)`
adds a row, given as {column: value} with every column, and answers its number (1, 2, ... in each table).
`select(table, columns, where, order, limit)` answers the wanted columns of the rows that fit, sorted by `order`, a list
such as ["age", "-name"] ('-' for descending) and then by their numbers, at most `limit` (0 or more) of them unless it
is None. `where` is None, [column, op, value] with op one of = != < <= > >= in, or ["and", a, b, ...], ["or", a, b,
...], ["not", a]. What does not exist or is of the wrong type, or a column named and, or or not, raises ValueError and
changes nothing.

Every row is looked at. Part two, `database`, adds indexes with a planner, changes and transactions, and answers all of
this as before."""

import operator
import random
from typing import Any

from mlsd_jax.algorithms.design import database as part_two
from mlsd_jax.algorithms.design.database import Row, compile_where
from mlsd_jax.algorithms.problem import Call, Problem

_KINDS: dict[str, tuple[type, ...]] = {'int': (int,), 'float': (int, float), 'text': (str,), 'bool': (bool,)}
_WORDS = ('and', 'or', 'not')


class Database:
  """A list of rows a table, and one pass over it for a question."""

  def __init__(self):
    self.types: dict[str, dict[str, str]] = {}
    self.rows: dict[str, list[Row]] = {}

  def create_table(self, table: str, columns: dict[str, str]) -> None:
    if table in self.types or not columns or set(columns.values()) - set(_KINDS) or set(columns) & set(_WORDS):
      raise ValueError(f'no table {table!r} can be made of {columns}')
    self.types[table], self.rows[table] = dict(columns), []

  def insert(self, table: str, row: Row) -> int:
    types = self._types(table)
    if set(row) != set(types) or not all(self._fits(types, column, value) for column, value in row.items()):
      raise ValueError(f'{row} is no row of {table}')
    self.rows[table].append(dict(row))
    return len(self.rows[table])

  def select(
    self, table: str, columns: list[str], where: Any = None, order: list[str] | None = None, limit: int | None = None
  ) -> list[list[Any]]:
    types, order = self._types(table), order or []
    if not set(columns) | {key.removeprefix('-') for key in order} <= set(types):
      raise ValueError(f'{table} has the columns {", ".join(types)}')
    self._check(types, where)
    fits = compile_where(where)
    found = [row for row in self.rows[table] if fits(row)]
    for key in reversed(order):  # sorting is stable, in reverse too: by the least important first
      column = key.removeprefix('-')
      found.sort(key=operator.itemgetter(column), reverse=key != column)
    return [[row[column] for column in columns] for row in found[:limit]]

  def _types(self, table: str) -> dict[str, str]:
    if table not in self.types:
      raise ValueError(f'no table {table!r}')
    return self.types[table]

  def _fits(self, types: dict[str, str], column: str, value: Any) -> bool:
    kind = types.get(column)
    return kind is not None and isinstance(value, _KINDS[kind]) and isinstance(value, bool) == (kind == 'bool')

  def _check(self, types: dict[str, str], where: Any) -> None:
    if where is None:
      return
    head, *rest = where
    if head in _WORDS:
      for part in rest:
        self._check(types, part)
    elif not all(self._fits(types, head, each) for each in (rest[1] if rest[0] == 'in' else rest[1:])):
      raise ValueError(f'{where} is no condition on the columns {", ".join(types)}')


class PartTwo(part_two.Database):
  """What part two makes of it."""


def operations(rng: random.Random, count: int, size: int) -> list[Call]:
  """Those of part two that are known here."""
  known = {'Database', 'create_table', 'insert', 'select'}
  drawn: list[Call] = []
  while len(drawn) <= count:
    more = [call for call in part_two.operations(rng, 2 * count, size) if call[0] in known]
    drawn += more[2:] if drawn else more
  drawn = drawn[: count + 1]
  if size > 100:  # where growth is measured, first what is to be looked through
    drawn.sort(key=lambda call: call[0] == 'select')
    questions = sum(name == 'select' for name, _ in drawn)
    drawn = drawn[: len(drawn) - max(0, questions - 100)]
  return drawn


PROBLEM = Problem(
  Database,
  part_two.Oracle,
  operations,
  {'create_table': '1', 'insert': '1', 'select': 'n'},
  sizes=(512, 2048, 8192),
  others={PartTwo: {'create_table': '1', 'insert': '1', 'select': 'n'}},
)
