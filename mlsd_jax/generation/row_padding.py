"""How many rows a CPU decodes at once at the least: in bfloat16 more rows than are asked for may take less time."""

import functools
import time
from typing import Any

import jax
import jax.numpy as jnp

from mlsd_jax import tuning

CANDIDATES = (4, 8, 16)  # below four XLA multiplies bfloat16 rows in a scalar loop, ten times as slow
_MEASURED = 8  # matrices, the largest ones
_WORTH = 16 * 2**20  # numbers in them; a smaller model's lie in the cache, and the rows hardly matter


def smallest_rows(params: Any) -> int:
  """Rows below which a decoding pads: 1, but for bfloat16 parameters on a CPU.

  What is best there depends on the processor: on one with AMX eight rows take four fifths of the time of four. It is
  measured once (tuning.py) on the products of the largest matrices; the numbers of a row do not depend on it beyond
  rounding.
  """
  leaves = jax.tree_util.tree_leaves_with_path(params)
  is_bfloat16 = any(getattr(leaf, 'dtype', None) == jnp.bfloat16 for _, leaf in leaves)
  if not is_bfloat16 or jax.default_backend() != 'cpu':
    return 1
  matrices = [(str(path), leaf) for path, leaf in leaves if leaf.ndim == 2 and leaf.dtype == jnp.bfloat16]
  matrices = sorted(matrices, key=lambda each: -each[1].size)[:_MEASURED]
  if sum(leaf.size for _, leaf in matrices) < _WORTH:
    return CANDIDATES[0]
  # A table of embeddings is the head when it is multiplied, which is along its rows.
  sides = [(leaf, 'embedding' in path) for path, leaf in matrices]
  shapes = [[list(leaf.shape), is_table] for leaf, is_table in sides]
  return tuning.choose('bfloat16 rows', CANDIDATES, functools.partial(_seconds, sides), of={'matrices': shapes})


@functools.partial(jax.jit, static_argnums=2)
def _products(inputs, matrices, tables):
  return [x @ (matrix.T if is_table else matrix) for x, matrix, is_table in zip(inputs, matrices, tables, strict=True)]


def _seconds(sides: list[tuple[jax.Array, bool]], rows: int) -> float:
  """Of a product of `rows` rows with each matrix, compiled and run once before."""
  matrices, tables = [leaf for leaf, _ in sides], tuple(is_table for _, is_table in sides)
  widths = [leaf.shape[1 if is_table else 0] for leaf, is_table in sides]
  inputs = [jnp.ones((rows, width), jnp.bfloat16) for width in widths]
  jax.block_until_ready(_products(inputs, matrices, tables))
  began = time.perf_counter()
  jax.block_until_ready(_products(inputs, matrices, tables))
  return time.perf_counter() - began
