"""In-memory database, part two: indexes, changes, transactions.

Part one, `database_one`, goes on. `create_table(table, {column: type})` makes a table of columns of type int, float,
text or bool; `create_index(table, column)` makes an index. `insert(table, row)` adds a row, given as {column: value}
with every column, and answers its number (1, 2, ... in each table); `select(table, columns, where, order, limit)`
answers the wanted columns of the rows that fit, sorted by `order`, a list such as ["age", "-name"] ('-' for descending)
and then by their numbers, at most `limit` of them unless it is None. `update(table, changes, where)` and `delete(table,
where)` answer how many rows they changed. `where` is None, [column, op, value] with op one of = != < <= > >= in, or
["and", a, b, ...], ["or", a, b, ...], ["not", a]. `begin()`, `commit()` and `rollback()` make changes of rows a
transaction. What does not exist or is of the wrong type, or a column named and, or or not, raises ValueError and
changes nothing. A limit is 0 or more.

Complexity: in n rows of the table, for a `where` that an index answers, as `explain` says; without one a select
looks at every row."""

import operator
import random
from collections.abc import Callable, Iterable
from typing import Any

from mlsd_jax.algorithms.design._planner import Plan, plan
from mlsd_jax.algorithms.problem import Call, Problem
from mlsd_jax.algorithms.sorted_list import SortedList

Row = dict[str, Any]
_TYPES: dict[str, tuple[type, ...]] = {'int': (int,), 'float': (int, float), 'text': (str,), 'bool': (bool,)}
_WORDS = {'and', 'or', 'not'}
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
  '=': operator.eq,
  '!=': operator.ne,
  '<': operator.lt,
  '<=': operator.le,
  '>': operator.gt,
  '>=': operator.ge,
  'in': lambda value, among: operator.contains(among, value),
}


class _Table:
  def __init__(self, types: dict[str, str]):
    self.types = types
    self.rows: dict[int, Row] = {}
    self.indexes: dict[str, SortedList] = {}
    self.last = 0

  def put(self, number: int, row: Row | None) -> Row | None:
    """Puts a row in the place of the one of that number, in the indexes too; the one that was there."""
    before = self.rows.pop(number, None)
    for column, index in self.indexes.items():
      old, new = before and before[column], row and row[column]
      if before is None or row is None or old != new:
        if before is not None:
          index.remove((old, number))
        if row is not None:
          index.add((new, number))
    if row is not None:
      self.rows[number] = row
    return before


class Database:
  """Tables of rows by number; an index is a sorted list of (value, number)."""

  def __init__(self):
    self.tables: dict[str, _Table] = {}
    self.undo: list[tuple[_Table, int, Row | None]] | None = None

  def create_table(self, table: str, columns: dict[str, str]) -> None:
    if table in self.tables or not columns or not set(columns.values()) <= set(_TYPES) or _WORDS & columns.keys():
      raise ValueError(
        f'table {table!r} is there already, or has no columns, one named and, or, not, or a type that is none of '
        f'{", ".join(_TYPES)}'
      )
    self.tables[table] = _Table(dict(columns))

  def create_index(self, table: str, column: str) -> None:
    found = self._table(table)
    if column not in found.types or column in found.indexes:
      raise ValueError(f'{table} has no column {column!r}, or an index on it')
    found.indexes[column] = SortedList((row[column], number) for number, row in found.rows.items())

  def insert(self, table: str, row: Row) -> int:
    found = self._table(table)
    if row.keys() != found.types.keys():
      raise ValueError(f'a row of {table} has the columns {", ".join(found.types)}')
    self._check_values(found, row)
    found.last += 1
    self._put(found, found.last, dict(row))
    return found.last

  def select(
    self, table: str, columns: list[str], where: Any = None, order: list[str] | None = None, limit: int | None = None
  ) -> list[list[Any]]:
    found = self._table(table)
    self._check_columns(found, columns)
    keys = [(column.removeprefix('-'), column.startswith('-')) for column in order or []]
    self._check_columns(found, [column for column, _ in keys])
    chosen = self._matching(found, where)
    chosen.sort()
    for column, descending in reversed(keys):  # sorting is stable: by the least important first
      chosen.sort(key=lambda number: found.rows[number][column], reverse=descending)
    return [[found.rows[number][column] for column in columns] for number in chosen[:limit]]

  def update(self, table: str, changes: Row, where: Any = None) -> int:
    found = self._table(table)
    self._check_columns(found, changes)
    self._check_values(found, changes)
    numbers = self._matching(found, where)
    for number in numbers:
      self._put(found, number, found.rows[number] | changes)
    return len(numbers)

  def delete(self, table: str, where: Any = None) -> int:
    found = self._table(table)
    numbers = self._matching(found, where)
    for number in numbers:
      self._put(found, number, None)
    return len(numbers)

  def begin(self) -> None:
    if self.undo is not None:
      raise ValueError('a transaction is open')
    self.undo = []

  def commit(self) -> None:
    self._close()

  def rollback(self) -> None:
    for table, number, row in reversed(self._close()):
      table.put(number, row)

  def explain(self, table: str, where: Any = None) -> str:
    """How rows would be found: 'index age' or 'index age + index name' for an or, else 'scan'."""
    found = self._table(table)
    self._check_where(found, where)
    return plan(where, found.indexes, len(found.rows)).name

  def _close(self) -> list[tuple[_Table, int, Row | None]]:
    if self.undo is None:
      raise ValueError('no transaction is open')
    undo, self.undo = self.undo, None
    return undo

  def _put(self, table: _Table, number: int, row: Row | None) -> None:
    before = table.put(number, row)
    if self.undo is not None:
      self.undo.append((table, number, before))

  def _matching(self, table: _Table, where: Any) -> list[int]:
    self._check_where(table, where)
    chosen: Plan = plan(where, table.indexes, len(table.rows))
    numbers = table.rows if chosen.numbers is None else dict.fromkeys(chosen.numbers())
    fits = compile_where(where)
    return [number for number in numbers if fits(table.rows[number])]

  def _table(self, name: str) -> _Table:
    if name not in self.tables:
      raise ValueError(f'no table {name!r}')
    return self.tables[name]

  def _check_columns(self, table: _Table, columns: Iterable[str]) -> None:
    unknown = set(columns) - table.types.keys()
    if unknown:
      raise ValueError(f'no column {unknown.pop()!r}')

  def _check_values(self, table: _Table, row: Row) -> None:
    for column, value in row.items():
      if not _is_of(value, table.types[column]):
        raise ValueError(f'{column} is {table.types[column]}, {value!r} is not')

  def _check_where(self, table: _Table, where: Any) -> None:
    match where:
      case None:
        pass
      case ['and' | 'or', _, *_]:
        for part in where[1:]:
          self._check_where(table, part)
      case ['not', part]:
        self._check_where(table, part)
      case [str(column), str(op), value] if column in table.types and op in _COMPARE:
        for each in value if op == 'in' and isinstance(value, list) else [value]:
          if not _is_of(each, table.types[column]):
            raise ValueError(f'{column} is {table.types[column]}, {each!r} is not')
      case _:
        raise ValueError(f'{where!r} is no condition on the columns {", ".join(table.types)}')


def _is_of(value: Any, kind: str) -> bool:
  return isinstance(value, _TYPES[kind]) and (kind == 'bool') == isinstance(value, bool) and value == value


def compile_where(where: Any) -> Callable[[Row], bool]:
  """A condition as a function of a row."""
  match where:
    case None:
      return lambda row: True
    case ['and', *parts]:
      inner = [compile_where(part) for part in parts]
      return lambda row: all(each(row) for each in inner)
    case ['or', *parts]:
      inner = [compile_where(part) for part in parts]
      return lambda row: any(each(row) for each in inner)
    case ['not', part]:
      negated = compile_where(part)
      return lambda row: not negated(row)
    case _:
      column, op, value = where
      compare = _COMPARE[op]
      return lambda row: compare(row[column], value)


class Oracle:
  """A list of rows, looked through from end to end; a copy of all for a transaction."""

  def __init__(self):
    self.tables: dict[str, Any] = {}
    self.kept: Any = None

  def create_table(self, table, columns):
    if table in self.tables or not columns or not set(columns.values()) <= {'int', 'float', 'text', 'bool'}:
      raise ValueError
    if {'and', 'or', 'not'} & set(columns):
      raise ValueError
    self.tables[table] = [columns, [], 0, set()]

  def create_index(self, table, column):
    columns, _, _, indexed = self._of(table)
    if column not in columns or column in indexed:
      raise ValueError
    indexed.add(column)

  def _of(self, table):
    if table not in self.tables:
      raise ValueError
    return self.tables[table]

  def insert(self, table, row):
    found = self._of(table)
    if set(row) != set(found[0]) or not all(self._typed(found[0], *pair) for pair in row.items()):
      raise ValueError
    found[2] += 1
    found[1].append((found[2], dict(row)))
    return found[2]

  def _typed(self, columns, column, value):
    kinds: dict[str, list[type]] = {'int': [int], 'float': [int, float], 'text': [str], 'bool': [bool]}
    return column in columns and type(value) in kinds[columns[column]]

  def _fits(self, row, where):
    if where is None:
      return True
    if where[0] == 'not':
      return not self._fits(row, where[1])
    if where[0] in ('and', 'or'):
      return (all if where[0] == 'and' else any)([self._fits(row, part) for part in where[1:]])
    value, op, other = row[where[0]], where[1], where[2]
    if op == 'in':
      return value in other
    return (
      {'=': value == other, '!=': value != other}.get(op)
      if '=' in op and op[0] in '=!'
      else self._less(value, op, other)
    )

  def _less(self, value, op, other):
    return {'<': value < other, '<=': value <= other, '>': value > other, '>=': value >= other}[op]

  def _checked(self, columns, where):
    if where is None:
      return
    if where[0] in ('and', 'or', 'not'):
      for part in where[1:]:
        self._checked(columns, part)
    elif not all(self._typed(columns, where[0], each) for each in (where[2] if where[1] == 'in' else [where[2]])):
      raise ValueError

  def select(self, table, columns, where=None, order=None, limit=None):
    types, rows, _, _ = self._of(table)
    order = order or []
    if not {*columns, *(each.lstrip('-') for each in order)} <= set(types):
      raise ValueError
    self._checked(types, where)
    found = sorted((pair for pair in rows if self._fits(pair[1], where)), key=lambda pair: pair[0])
    for key in order[::-1]:
      found.sort(key=lambda pair: pair[1][key.lstrip('-')], reverse=key[0] == '-')
    return [[row[column] for column in columns] for _, row in found][: len(found) if limit is None else limit]

  def update(self, table, changes, where=None):
    types, rows, _, _ = self._of(table)
    self._checked(types, where)
    if not all(self._typed(types, *pair) for pair in changes.items()):
      raise ValueError
    hit = [self._fits(row, where) for _, row in rows]
    self.tables[table][1] = [(n, row | changes) if h else (n, row) for (n, row), h in zip(rows, hit, strict=True)]
    return sum(hit)

  def delete(self, table, where=None):
    types, rows, _, _ = self._of(table)
    self._checked(types, where)
    self.tables[table][1] = [(number, row) for number, row in rows if not self._fits(row, where)]
    return len(rows) - len(self.tables[table][1])

  def begin(self):
    if self.kept is not None:
      raise ValueError
    self.kept = {table: list(found[1]) for table, found in self.tables.items()}

  def commit(self):
    if self.kept is None:
      raise ValueError
    self.kept = None

  def rollback(self):
    if self.kept is None:
      raise ValueError
    for table, found in self.tables.items():
      found[1] = self.kept.get(table, [])
    self.kept = None


def operations(rng: random.Random, count: int, size: int) -> list[Call]:
  calls: list[Call] = [('Database', [])]
  calls.append(('create_table', ['t', {'id': 'int', 'age': 'int', 'name': 'text', 'rate': 'float', 'on': 'bool'}]))
  calls += [('create_index', ['t', 'id']), ('create_index', ['t', 'age'])]
  scans = size <= 200  # conditions that no index answers; left out where growth is measured
  ids, ages = 2 * size, max(4, size)
  number = lambda limit: rng.randrange(limit)

  def leaf() -> list[Any]:
    kind = rng.random()
    if not scans or kind < 0.5:
      low = number(ages)
      return rng.choice(
        (['id', '=', number(ids)], ['age', 'in', [low, low + 1]], ['and', ['age', '>=', low], ['age', '<', low + 3]])
      )
    return rng.choice(
      (
        ['name', rng.choice(('=', '!=', '<')), f'n{number(9)}'],
        ['rate', rng.choice(('<=', '>')), number(8) / 2],
        ['on', '=', rng.random() < 0.5],
        ['age', rng.choice(('!=', '<', '>=')), number(ages)],
      )
    )

  def where() -> Any:
    kind = rng.random()
    if kind < 0.4:
      return leaf()
    if not scans:
      return ['or', leaf(), leaf()] if kind < 0.7 else ['and', leaf(), ['on', '=', True]]
    return rng.choice((['and', leaf(), leaf()], ['or', leaf(), leaf(), leaf()], ['not', leaf()], None))

  fresh = lambda: {
    'id': number(ids), 'age': number(ages), 'name': f'n{number(9)}', 'rate': number(8) / 2, 'on': rng.random() < 0.5
  }  # fmt: skip
  rows = 0
  while len(calls) <= count:
    kind = rng.random()
    if kind < 0.4 and rows < size:
      rows += 1
      row = fresh() if rng.random() < 0.98 else fresh() | {'age': 'old'}
      calls.append(('insert', ['t', row]))
    elif kind < 0.75:
      order = rng.sample(['age', '-age', 'name', '-rate', 'id'], rng.randint(0, 3))
      calls.append(('select', ['t', ['id', 'name'], where(), order, rng.choice((None, 1, 5))]))
    elif kind < 0.85:
      changes = rng.choice(({'age': number(ages)}, {'name': 'x', 'on': True}, {'id': number(ids)}, {'rate': 'high'}))
      calls.append(('update', ['t', changes, where() if scans else ['id', '=', number(ids)]]))
    elif kind < 0.92:
      rows = max(0, rows - 1)
      calls.append(('delete', ['t', ['id', '=', number(ids)]]))
    else:
      calls.append((rng.choice(('begin', 'begin', 'commit', 'rollback')), []))
  return calls


PROBLEM = Problem(
  Database,
  Oracle,
  operations,
  {
    'create_table': '1',
    'create_index': '1',  # n log n on a table that has rows
    'insert': 'log n',
    'select': 'log n',
    'update': 'log n',
    'delete': 'log n',
    'begin': '1',
    'commit': '1',
    'rollback': 'log n',  # a change that it undoes
  },
  sizes=(512, 4096),
)
