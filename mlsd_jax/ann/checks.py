"""What may enter an index. ScaNN dies of a NaN, and answers a zero query with arbitrary ids; so neither reaches it."""

import numbers
import reprlib
from collections.abc import Iterable, Mapping, Set
from typing import Any, Literal

import numpy as np
import polars as pl

from mlsd_jax.errors import UserError

Metric = Literal['dot', 'cosine']
# Norms outside of these have products that float32 cannot hold or compare.
SMALLEST_NORM, LARGEST_NORM = 1e-18, 1e18
_BLOCK = 65_536
_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 60


def shown(value: Any) -> str:
  """A value as an error names it: in one line, and short."""
  return ' '.join(_REPR.repr(value).split())


def metric(value: str) -> Metric:
  """Returns `value`; UserError if it names no metric."""
  if not isinstance(value, str) or value not in ('dot', 'cosine'):
    raise UserError(f'metric={shown(value)}: it is dot or cosine')
  return value  # type: ignore[return-value]


def vectors(values: Any, metric: Metric, *, dim: int | None = None, name: str = 'vectors') -> np.ndarray:
  """`values` as finite float32 [N, D] of comparable norms; under cosine of norm 1.

  A float32 array under 'dot' comes back as it is, not copied.

  Raises:
    UserError: not a floating-point matrix, of another width than `dim`, with a NaN or an infinity, too large or too
      small to compare, or, under cosine, without a direction.
  """
  values = _matrix(values, dim, name)
  out = np.empty(values.shape, np.float32) if metric == 'cosine' or values.dtype != np.float32 else values
  for start in range(0, len(values), _BLOCK):
    block = np.asarray(values[start : start + _BLOCK])
    norms = _norms(block, name, start)
    if metric == 'cosine':
      if not norms.all():
        raise UserError(
          f'{name}: row {start + int(np.argmin(norms))} is all zeros, which has no direction under cosine'
        )
      out[start : start + _BLOCK] = _unit(block, norms)
      continue
    wrong = (norms > LARGEST_NORM) | ((norms < SMALLEST_NORM) & (norms > 0))
    if wrong.any():
      row = int(np.argmax(wrong))
      raise UserError(
        f'{name}: row {start + row} has norm {norms[row]:.3g}; float32 scores need norms of {SMALLEST_NORM:g} to '
        f'{LARGEST_NORM:g}: scale all vectors alike'
      )
    if out is not values:
      out[start : start + _BLOCK] = block
  return out


def queries(values: Any, metric: Metric, dim: int) -> tuple[np.ndarray, np.ndarray]:
  """`values` [Q, D] as unit vectors, float32 [Q, D], and the factor [Q] that gives their scores the right size.

  Raises:
    UserError: as for `vectors`; a query of zeros has no nearest vectors under either metric.
  """
  values = _matrix(values, dim, 'queries')
  norms = _norms(values, 'queries', 0)
  if not norms.all():
    raise UserError(f'queries: row {int(np.argmin(norms))} is all zeros, which is equally near to everything')
  unit = _unit(values, norms)
  if metric == 'cosine':
    return unit, np.ones(len(unit), np.float32)
  if (norms > LARGEST_NORM).any() or (norms < SMALLEST_NORM).any():
    row = int(np.argmax((norms > LARGEST_NORM) | (norms < SMALLEST_NORM)))
    raise UserError(
      f'queries: row {row} has norm {norms[row]:.3g}; float32 scores need norms of {SMALLEST_NORM:g} to '
      f'{LARGEST_NORM:g}'
    )
  return unit, norms.astype(np.float32)


def count(name: str, value: Any) -> int:
  """`value` as a positive int."""
  if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
    raise UserError(f'{name}={shown(value)}: it is a whole number of at least 1')
  return int(value)


def flag(name: str, value: Any) -> bool:
  """`value` as a truth value, which a string or a number is not."""
  if not isinstance(value, bool | np.bool_):
    raise UserError(f'{name}={shown(value)}: it is True or False')
  return bool(value)


def maker(value: Any) -> str | None:
  """Returns `value`; UserError unless it is a string or None."""
  if value is not None and not isinstance(value, str):
    raise UserError(f'made_by={shown(value)}: it is a string, such as the name and checksum of the encoder')
  return value


def ids(values: Any, number: int | None = None, *, ordered: bool = True) -> pl.Series:
  """`values` as a Series of Int64 or of String without nulls or duplicates.

  Args:
    number: how many there must be.
    ordered: refuse a set, as its order is nobody's choice.

  Raises:
    UserError: ids of other types or of both, another number of them than `number`, or one that occurs twice.
  """
  if isinstance(values, str | bytes | numbers.Number) or not isinstance(values, Iterable):
    raise UserError(f'ids={shown(values)}: give a list of ids')
  if isinstance(values, Mapping) or (ordered and isinstance(values, Set)):
    raise UserError(f'ids are a {type(values).__name__}, which has no order to go by: give a list')
  if isinstance(values, np.ndarray) and values.ndim != 1:
    raise UserError(f'ids have shape {values.shape}: give a list of ids')
  series = _series(values)
  if number is not None and len(series) != number:
    raise UserError(f'{len(series):,} ids for {number:,} vectors')
  if series.null_count():
    raise UserError(f'ids: number {int(series.is_null().arg_max() or 0)} is None')
  if series.n_unique() != len(series):
    twice = series.filter(series.is_duplicated())[0]
    raise UserError(f'ids: {twice!r} occurs more than once')
  return series


def _series(values: Any) -> pl.Series:
  if isinstance(values, pl.Series):
    series = values
  elif isinstance(values, np.ndarray) and values.dtype.kind in 'iu':
    series = pl.Series(values)
  else:
    values = list(values)
    if all(isinstance(value, str) for value in values) and values:
      try:
        series = pl.Series(values, dtype=pl.String)
      except UnicodeEncodeError as error:
        wrong = next(value for value in values if not _is_text(value))
        raise UserError(f'ids: {wrong!r} has half a surrogate pair, which is no text') from error
    elif all(isinstance(value, numbers.Integral) and not isinstance(value, bool | np.bool_) for value in values):
      try:
        series = pl.Series([int(value) for value in values], dtype=pl.Int64)
      except (OverflowError, TypeError) as error:
        raise UserError('ids: a whole number is outside of the 64-bit range') from error
    else:
      kinds = sorted({type(value).__name__ for value in values})
      raise UserError(f'ids are of type {", ".join(kinds)}: they are all strings or all whole numbers')
  if series.dtype == pl.String:
    return series.rename('id')
  if not series.dtype.is_integer():
    raise UserError(f'ids are of type {series.dtype}: they are all strings or all whole numbers')
  try:
    return series.cast(pl.Int64).rename('id')
  except pl.exceptions.PolarsError as error:
    raise UserError('ids: a whole number is outside of the 64-bit range') from error


def _is_text(value: str) -> bool:
  try:
    value.encode()
  except UnicodeEncodeError:
    return False
  return True


def _matrix(values: Any, dim: int | None, name: str) -> np.ndarray:
  try:
    values = np.asarray(values)
  except ValueError as error:
    raise UserError(f'{name}: rows are of different lengths') from error
  if values.dtype.kind != 'f' and values.dtype.name != 'bfloat16':
    raise UserError(f'{name} are of type {values.dtype}; they are floating point')
  if values.ndim != 2:
    raise UserError(f'{name} have shape {values.shape}; it is [number, dimensions]')
  if dim is not None and values.shape[1] != dim:
    raise UserError(f'{name} have {values.shape[1]:,} dimensions; the index has {dim:,}')
  if values.shape[1] == 0:
    raise UserError(f'{name} have no dimensions')
  return values


def _norms(block: np.ndarray, name: str, start: int) -> np.ndarray:
  """Euclidean norms [N] of finite rows, float64."""
  with np.errstate(over='ignore', invalid='ignore', under='ignore'):
    plain = block.astype(np.float32, copy=False)
    norms = np.sqrt(np.einsum('nd,nd->n', plain, plain), dtype=np.float64)
    if len(norms) and not (norms.min() > SMALLEST_NORM and norms.max() < LARGEST_NORM):  # NaN fails both
      wide = block.astype(np.float64)
      bad = ~np.isfinite(wide)
      if bad.any():
        row, column = (int(x) for x in np.argwhere(bad)[0])
        raise UserError(f'{name}: row {start + row} has {wide[row, column]} in dimension {column}')
      largest = np.abs(wide).max(1)  # squares of what is very large or small leave float64 as well
      norms = largest * np.linalg.norm(wide / np.where(largest == 0, 1, largest)[:, None], axis=1)
  return norms


def _unit(block: np.ndarray, norms: np.ndarray) -> np.ndarray:
  """Rows of norm 1, float32."""
  if (norms < SMALLEST_NORM).any() or (norms > LARGEST_NORM).any():
    block = block.astype(np.float64)
    block /= np.abs(block).max(1, keepdims=True)
    norms = np.linalg.norm(block, axis=1)
  return (block / norms[:, None]).astype(np.float32)
