"""The metadata table of an index: what a column may hold, and what may be added to one. No value is changed."""

import datetime
import decimal
import numbers
from collections.abc import Iterable, Mapping, Set
from typing import Any

import numpy as np
import polars as pl

from mlsd_jax.ann.checks import shown
from mlsd_jax.errors import UserError

# Python's types by the family that a column holds one of; a truth value is an int to Python, a moment is a date.
_FAMILIES: tuple[tuple[Any, str], ...] = (
  ((bool, np.bool_), 'truth values'),
  ((numbers.Integral, numbers.Real), 'numbers'),
  (decimal.Decimal, 'decimals'),
  (str, 'strings'),
  (bytes, 'bytes'),
  (datetime.datetime, 'moments'),
  (datetime.date, 'dates'),
  (datetime.time, 'times of day'),
  (datetime.timedelta, 'durations'),
  ((list, tuple, np.ndarray, pl.Series), 'lists'),
  (Mapping, 'records'),
)


def metadata(values: Any, number: int) -> pl.DataFrame | None:
  """Columns by name as a DataFrame of `number` rows; None stays None.

  Raises:
    UserError: a column of another length, of several kinds of values, or of values that no column can hold.
  """
  if values is None:
    return None
  if isinstance(values, pl.DataFrame):
    frame = values
  elif not hasattr(values, 'keys') or not hasattr(values, '__getitem__'):
    raise UserError(f'metadata is no table, but {shown(values)}: give {{column: list of values}} or a Polars DataFrame')
  else:
    try:
      frame = pl.DataFrame([_column(key, values[key]) for key in values])
    except (pl.exceptions.PolarsError, TypeError, ValueError, OverflowError) as error:
      raise UserError(f'metadata is no table: {str(error).splitlines()[0]}') from error
  for name, dtype in frame.schema.items():
    if dtype == pl.Object:
      raise UserError(
        f'metadata: column {name!r} holds Python objects; it may hold numbers, strings, dates, truth values'
      )
  if frame.width and frame.height != number:
    raise UserError(f'metadata has {frame.height:,} rows for {number:,} vectors')
  return frame if frame.width else None


def same_columns(table: pl.DataFrame | None, schema: pl.Schema | None) -> pl.DataFrame | None:
  """`table` with the columns of `schema`, in their order and types, every value as it was.

  Raises:
    UserError: it has other columns, or a value that the index's column cannot hold as it is.
  """
  have, want = set(table.columns if table is not None else ()), set(schema or ())
  if have != want:
    raise UserError(f'metadata has the columns {sorted(have) or "none"}; the index has {sorted(want) or "none"}')
  if table is None or schema is None:
    return None
  return pl.DataFrame([_as_type(table[name], dtype) for name, dtype in schema.items()])


def family(value: Any) -> str:
  """What kind of value this is, in words; moments with and without a time zone differ."""
  found = next((name for types, name in _FAMILIES if isinstance(value, types)), type(value).__name__)
  if found == 'moments' and value.tzinfo is not None:
    return 'moments of a time zone'
  return found


def family_of(dtype: pl.DataType) -> str:
  """What kind of values a column of this type holds, in the words of `family`; 'nothing' for one of Nones alone."""
  if dtype == pl.Boolean:
    return 'truth values'
  if dtype.is_decimal():
    return 'decimals'
  if dtype.is_numeric():
    return 'numbers'
  if dtype in (pl.String, pl.Categorical, pl.Enum):
    return 'strings'
  if isinstance(dtype, pl.Datetime):
    return 'moments' if dtype.time_zone is None else 'moments of a time zone'
  if dtype.is_nested():
    return 'records' if dtype == pl.Struct else 'lists'
  others = {
    pl.Binary: 'bytes',
    pl.Date: 'dates',
    pl.Time: 'times of day',
    pl.Duration: 'durations',
    pl.Null: 'nothing',
  }
  return next((name for kind, name in others.items() if dtype == kind), str(dtype))


def _column(name: Any, values: Any) -> pl.Series:
  if not isinstance(name, str):
    raise UserError(f'metadata: the column name {name!r} is no string')
  several = isinstance(values, Iterable) and getattr(values, 'shape', None) != ()
  if not several or isinstance(values, str | bytes | numbers.Number):
    raise UserError(f'metadata: column {name!r} is the one value {shown(values)}; give a list of one value a vector')
  if isinstance(values, Set | Mapping):
    raise UserError(f'metadata: column {name!r} is a {type(values).__name__}, which has no order; give a list')
  if isinstance(values, pl.Series):
    return values.rename(name)
  if isinstance(values, np.ndarray) and values.dtype.kind == 'M':
    return pl.Series(name, _moments(name, values))
  if isinstance(values, np.ndarray) and values.dtype != object:
    return pl.Series(name, values)
  values = list(values)
  leaves, kind = _leaves(name, values)
  try:
    if kind == 'numbers':
      whole = all(isinstance(leaf, numbers.Integral) for leaf in leaves)
      values = [_number(name, value, whole=whole) for value in values]
    return pl.Series(name, values)
  except UnicodeEncodeError as error:
    raise UserError(f'metadata: column {name!r} has a string with half a surrogate pair, which is no text') from error


def _leaves(name: str, values: list[Any]) -> tuple[list[Any], str | None]:
  """All values that are no list, those of lists among them, and the one kind they are of.

  Polars would turn True into 1 beside a number, cut 2.5 to 2 within lists, and drop a field of a later record.
  """
  kinds = {family(value): value for value in reversed(values) if value is not None}
  if len(kinds) > 1:
    (one, first), (other, second) = sorted(kinds.items())[:2]
    raise UserError(
      f'metadata: column {name!r} holds {one} and {other} ({shown(first)}, {shown(second)}); a column is of one kind'
    )
  if 'records' in kinds:
    raise UserError(f'metadata: column {name!r} holds records ({shown(kinds["records"])}); make each field a column')
  present = [value for value in values if value is not None]
  if 'lists' in kinds:
    return _leaves(name, [inner for value in present for inner in value])
  return present, next(iter(kinds), None)


def _number(name: str, value: Any, *, whole: bool) -> Any:
  if value is None:
    return None
  if isinstance(value, list | tuple | np.ndarray | pl.Series):
    return [_number(name, inner, whole=whole) for inner in value]
  if whole:
    return int(value)
  as_float = float(value)
  if as_float != value and value == value:
    raise UserError(f'metadata: column {name!r} would hold {value!r} as {as_float!r}, the nearest 64-bit float')
  return as_float


def _moments(name: str, values: np.ndarray) -> np.ndarray:
  """datetime64 in a unit that Polars has: it knows days, in 32 bits, and fractions of a second."""
  unit = np.datetime_data(values.dtype)[0]
  wanted = values
  if unit not in ('ms', 'us', 'ns'):
    wanted = values.astype('datetime64[D]' if unit in ('Y', 'M', 'W', 'D') else 'datetime64[ms]')
  same = np.array_equal(wanted.astype(values.dtype), values, equal_nan=True)
  days = wanted[~np.isnat(wanted)].astype(np.int64) if np.datetime_data(wanted.dtype)[0] == 'D' else np.zeros(0)
  if not same or np.any(np.abs(days) >= 2**31):
    raise UserError(f'metadata: column {name!r} has moments of type {values.dtype} that no column can hold')
  return wanted


def _as_type(series: pl.Series, dtype: pl.DataType) -> pl.Series:
  """`series` as `dtype`, each value equal to what it was."""
  if series.dtype == dtype:
    return series
  if series.null_count() == len(series):
    return pl.Series(series.name, [None] * len(series), dtype=dtype)
  have, want = family_of(series.dtype), family_of(dtype)
  whole = {have, want} == {'numbers', 'decimals'} and not series.dtype.is_float() and not dtype.is_float()
  if (have != want and not whole) or have == 'records':
    wrong = series.drop_nulls()[0]
  else:
    try:
      cast = series.cast(dtype, strict=False)
      same = cast.cast(series.dtype, strict=False).eq_missing(series)
    except pl.exceptions.PolarsError:  # lists of another length
      same = pl.Series([False] * len(series))
    if same.all() and (have != 'lists' or _same_inside(series.dtype, dtype)):
      return cast
    wrong = series.filter(~same)[0] if not same.all() else series.drop_nulls()[0]
  wrong = wrong.to_list() if isinstance(wrong, pl.Series) else wrong
  held = f'{want} ({dtype})' if want != 'nothing' else 'None alone (build it from a pl.Series that has a dtype)'
  raise UserError(
    f'metadata: column {series.name!r} of the index holds {held}, and {shown(wrong)} is none that it can hold'
  )


def _same_inside(one: Any, other: Any) -> bool:
  """Whether lists of these types hold one kind of values; an empty list's holds nothing."""
  while one.is_nested() and other.is_nested() and one != pl.Struct and other != pl.Struct:
    one, other = one.inner, other.inner
  return one in (other, pl.Null) or (family_of(one) == family_of(other) and not one.is_nested())
