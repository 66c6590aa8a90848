"""Rows some at a time: what lies between the columns that are looked up and the table made of them stays in the cache,
where for millions of rows at once each step would ask the system for new memory."""

from collections.abc import Callable

import numpy as np

_ROWS = 4096


def over_rows(function: Callable[..., np.ndarray], *columns: np.ndarray) -> np.ndarray:
  """`function` of `columns`, each [N, ...], whose rows do not depend on one another: [N, F]."""
  number = len(columns[0])
  first = function(*(column[:_ROWS] for column in columns))
  if number <= _ROWS:
    return first
  out = np.empty((number, *first.shape[1:]), first.dtype)
  out[:_ROWS] = first
  for start in range(_ROWS, number, _ROWS):
    rows = slice(start, start + _ROWS)
    out[rows] = function(*(column[rows] for column in columns))
  return out
