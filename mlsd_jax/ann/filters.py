"""Which rows of a metadata table a search may return."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from mlsd_jax.errors import UserError

# {'language': 'en', 'year': [2023, 2024]}: each column equal to the value, or to one of a list; or a Polars expression.
Where = Mapping[str, Any] | pl.Expr


def expression(where: Where) -> pl.Expr:
  """`where` as one Polars expression."""
  if isinstance(where, pl.Expr):
    return where
  if not isinstance(where, Mapping) or not where:
    raise UserError(f'where={where!r}: give {{column: value or list of values}} or a Polars expression')
  parts = []
  for name, value in where.items():
    column = pl.col(name)
    several = isinstance(value, list | tuple | set | frozenset | np.ndarray | pl.Series)
    parts.append(column.is_in(list(value)) if several else column == value)
  return pl.all_horizontal(parts)


def keep_rows(table: pl.DataFrame | None, where: pl.Expr) -> np.ndarray:
  """bool [N]: where the expression is true; not where it is null.

  Raises:
    UserError: the index has no metadata or not that column, or the expression does not apply to it.
  """
  if table is None:
    raise UserError('where: the index was built without metadata')
  try:
    kept = table.select(keep=where)['keep']
  except pl.exceptions.ColumnNotFoundError as error:
    raise UserError(f'where: no such column; there are {", ".join(table.columns)}') from error
  except (pl.exceptions.PolarsError, TypeError, ValueError) as error:
    raise UserError(f'where: {str(error).splitlines()[0]}') from error
  if kept.dtype != pl.Boolean or len(kept) not in (1, table.height):
    raise UserError(f'where: the expression gives {kept.dtype}, {len(kept):,} values; it is a truth value a row')
  return np.broadcast_to(kept.fill_null(False).to_numpy(), table.height)
