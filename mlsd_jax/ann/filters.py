"""Which rows of a metadata table a search may return."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import polars as pl

from mlsd_jax.ann.checks import shown
from mlsd_jax.ann.columns import family, family_of
from mlsd_jax.errors import UserError

# {'language': 'en', 'year': [2023, 2024], 'price': {'ge': 10, 'lt': 20}}: each column equal to the value, to one of a
# list (or any iterable), or as the operators say; None is a row without a value. Or a Polars expression.
Where = Mapping[str, Any] | pl.Expr
# A table of metadata -> which of its rows pass, bool [N].
Condition = Callable[[pl.DataFrame], np.ndarray]

OPERATORS = ('gt', 'ge', 'lt', 'le', 'ne', 'in')
_ORDERS: dict[str, Callable[[pl.Series, pl.Series], pl.Series]] = {
  'gt': lambda column, value: column > value,
  'ge': lambda column, value: column >= value,
  'lt': lambda column, value: column < value,
  'le': lambda column, value: column <= value,
}
_PLAIN = ('numbers', 'decimals', 'strings', 'bytes', 'truth values', 'dates', 'times of day', 'durations', 'nothing')


def condition(where: Where, schema: pl.Schema | None) -> Condition:
  """`where` as a function of a table with the columns of `schema`.

  Raises:
    UserError: the index has no metadata or not that column, an unknown operator, or a value of another kind than the
      column's.
  """
  if schema is None:
    raise UserError('where: the index was built without metadata')
  if isinstance(where, pl.Expr):
    _evaluate(pl.DataFrame(schema=schema), where)
    return lambda table: _evaluate(table, where)
  if not isinstance(where, Mapping) or not where:
    raise UserError(f'where={shown(where)}: give {{column: value or list of values}} or a Polars expression')
  parts = []
  for name, wanted in where.items():
    if name not in schema:
      raise UserError(f'where: no such column; there are {", ".join(schema)}, and no {shown(name)}')
    parts += _parts(name, schema[name], wanted)
  return lambda table: np.logical_and.reduce([part(table) for part in parts])


def _parts(name: str, dtype: pl.DataType, wanted: Any) -> list[Condition]:
  """What one column has to meet, each part a function of the table."""
  if family_of(dtype) not in _PLAIN and not family_of(dtype).startswith('moments'):
    raise UserError(f'where: column {name!r} holds {dtype}; only a Polars expression can look into it')
  if not isinstance(wanted, Mapping):
    wanted = {'in': wanted if _is_list(wanted) else [wanted]}
  elif not wanted:
    raise UserError(f'where: column {name!r} has {{}}; its operators are {", ".join(OPERATORS)}')
  parts = []
  for operator, value in wanted.items():
    if operator not in OPERATORS:
      raise UserError(f'where: column {name!r} has the operator {shown(operator)}; there are {", ".join(OPERATORS)}')
    if (operator == 'in') != _is_list(value):
      kind = 'a list of values' if operator == 'in' else 'one value'
      raise UserError(f'where: operator {operator!r} of column {name!r} takes {kind}, not {shown(value)}')
    parts.append(_part(name, dtype, operator, value))
  return parts


def _part(name: str, dtype: pl.DataType, operator: str, value: Any) -> Condition:
  if operator in _ORDERS:
    return _ordered(name, dtype, operator, value)
  values = list(value) if operator == 'in' else [value]
  missing = any(each is None for each in values)
  operands = [_operand(name, dtype, each) for each in values if each is not None]
  operands = [int(each) if dtype.is_integer() else each for each in operands if _can_equal(each, dtype)]
  allowed = pl.Series(operands, dtype=_compared(dtype)).implode()

  def passes(table: pl.DataFrame) -> np.ndarray:
    column = table[name].cast(_compared(dtype))
    equal = column.is_in(allowed).fill_null(False)
    if missing:
      equal = equal | column.is_null()
    if operator == 'ne':
      equal = ~equal if missing else ~equal & column.is_not_null()
    return equal.to_numpy()

  return passes


def _ordered(name: str, dtype: pl.DataType, operator: str, value: Any) -> Condition:
  """A comparison by size; a row without a value, or with a NaN, is on neither side."""
  if family_of(dtype) == 'truth values':
    raise UserError(f'where: column {name!r} holds truth values, which have no order for {operator!r}')
  operand = _operand(name, dtype, value)
  if operand is None or operand != operand:
    raise UserError(f'where: column {name!r} has {{{operator!r}: {shown(value)}}}, and nothing is ordered beside that')
  if dtype == pl.Null:
    return lambda table: np.zeros(table.height, bool)
  if dtype.is_integer():
    return _ordered_whole(name, dtype, operator, operand)
  other = pl.Series([operand], dtype=_compared(dtype))

  def passes(table: pl.DataFrame) -> np.ndarray:
    column = table[name].cast(_compared(dtype))
    kept = _ORDERS[operator](column, other)
    if dtype.is_float():
      kept = kept & column.is_not_nan()  # Polars has it greater than every number
    return kept.fill_null(False).to_numpy()

  return passes


def _ordered_whole(name: str, dtype: pl.DataType, operator: str, operand: Any) -> Condition:
  """Whole numbers beside any number: the next one that the column's type has, on the side that decides."""
  low, high = _bounds(dtype)
  if operand < low or operand > high:
    everything = (operand < low) == (operator in ('gt', 'ge'))
    return lambda table: np.broadcast_to(everything, table.height) & table[name].is_not_null().to_numpy()
  bound = math.floor(operand) if operator in ('gt', 'le') else math.ceil(operand)
  other = pl.Series([bound], dtype=dtype)
  return lambda table: _ORDERS[operator](table[name], other).fill_null(False).to_numpy()


def _operand(name: str, dtype: pl.DataType, value: Any) -> Any:
  """`value`, if it is of the kind that the column holds."""
  if isinstance(value, np.datetime64 | np.timedelta64) and np.datetime_data(value.dtype)[0] == 'ns':
    value = value.astype(f'{value.dtype.kind}8[us]')  # Python's own have no nanoseconds
  if isinstance(value, np.generic | np.ndarray):
    value = value.item()
  kind, held = family(value), family_of(dtype)
  if value is not None and dtype.is_numeric() and kind in ('numbers', 'decimals'):
    return value if dtype.is_integer() else _as_float(value)
  if value is None or held in ('nothing', kind):
    return value
  raise UserError(f'where: column {name!r} holds {held} ({dtype}), not {shown(value)}')


def _can_equal(value: Any, dtype: pl.DataType) -> bool:
  """Whether a column can hold this value at all."""
  if not dtype.is_integer():
    return dtype != pl.Null
  low, high = _bounds(dtype)
  return low <= value <= high and value == int(value)


def _bounds(dtype: Any) -> tuple[int, int]:
  """The least and the largest number of a type of whole numbers."""
  return pl.select(dtype.min()).item(), pl.select(dtype.max()).item()


def _as_float(value: Any) -> float:
  try:
    return float(value)
  except OverflowError:
    return math.copysign(math.inf, value)


def _compared(dtype: pl.DataType) -> pl.DataType:
  """The type in which values are compared: categories by their names, decimals beside any number, moments finely."""
  if family_of(dtype) == 'strings':
    return pl.String()
  if dtype.is_decimal():
    return pl.Float64()
  if isinstance(dtype, pl.Datetime) and dtype.time_unit == 'ms':
    return pl.Datetime('us', dtype.time_zone)
  return pl.Duration('us') if isinstance(dtype, pl.Duration) and dtype.time_unit == 'ms' else dtype


def _is_list(value: Any) -> bool:
  several = isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping)
  return several and not (isinstance(value, np.ndarray) and value.ndim == 0)


def _evaluate(table: pl.DataFrame, where: pl.Expr) -> np.ndarray:
  """bool [N]: where the expression is true; not where it is null."""
  try:
    kept = table.select(keep=where)['keep']
  except pl.exceptions.ColumnNotFoundError as error:
    raise UserError(f'where: no such column; there are {", ".join(table.columns)}') from error
  except (pl.exceptions.PolarsError, TypeError, ValueError) as error:
    raise UserError(f'where: {str(error).splitlines()[0]}') from error
  if kept.dtype != pl.Boolean or len(kept) not in (1, table.height):
    raise UserError(f'where: the expression gives {kept.dtype}, {len(kept):,} values; it is a truth value a row')
  return np.broadcast_to(kept.fill_null(False).to_numpy(), table.height)
