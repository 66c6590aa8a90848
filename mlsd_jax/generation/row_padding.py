"""How a CPU decodes: kernels turned for products of few rows where that is faster, else rows padded to what is."""

import functools
import time
from typing import Any

import jax
import jax.numpy as jnp

from mlsd_jax import tuning
from mlsd_jax.models import turned_kernels

CANDIDATES = (4, 8, 16)  # below four XLA multiplies bfloat16 rows in a scalar loop, ten times as slow
_MEASURED = 8  # matrices
_WORTH = 16 * 2**20  # numbers in them; a smaller model's lie in the cache, and it hardly matters how
_ROWS = 8  # with which turned kernels are measured


def place_kernels(params: Any) -> Any:
  """The parameters as a decoding on this device reads them fastest.

  On a CPU the kernels of a large decoder are turned (models/turned_kernels.py), copied for that, where a measurement on
  this machine says so (tuning.py). The numbers of a row do not depend on it beyond rounding.
  """
  return turned_kernels.turn_kernels(params) if _are_turned(params) else params


def smallest_rows(params: Any) -> int:
  """Rows below which a decoding pads: 1, but for bfloat16 parameters on a CPU whose kernels are not turned.

  What is best there depends on the processor: on one with AMX eight rows take four fifths of the time of four. It is
  measured once (tuning.py) on the products of the largest matrices; the numbers of a row do not depend on it beyond
  rounding.
  """
  leaves = jax.tree_util.tree_leaves_with_path(params)
  is_bfloat16 = any(getattr(leaf, 'dtype', None) == jnp.bfloat16 for _, leaf in leaves)
  if not is_bfloat16 or jax.default_backend() != 'cpu' or _are_turned(params):
    return 1
  matrices = [(str(path), leaf) for path, leaf in leaves if leaf.ndim == 2 and leaf.dtype == jnp.bfloat16]
  matrices = sorted(matrices, key=lambda each: -each[1].size)[:_MEASURED]
  if sum(leaf.size for _, leaf in matrices) < _WORTH:
    return CANDIDATES[0]
  # A table of embeddings is the head when it is multiplied, which is along its rows.
  sides = [(leaf, 'embedding' in path) for path, leaf in matrices]
  shapes = [[list(leaf.shape), is_table] for leaf, is_table in sides]
  return tuning.choose('bfloat16 rows', CANDIDATES, functools.partial(_seconds, sides), of={'matrices': shapes})


def _are_turned(params: Any) -> bool:
  blocks = params.get('blocks') if isinstance(params, dict) else None
  # Blocks that are stacked in arrays of all layers (scan_layers) stay as they are.
  if jax.default_backend() != 'cpu' or not blocks or not all(name.isdigit() for name in blocks):
    return False
  leaves = jax.tree_util.tree_leaves_with_path(blocks)
  sides = [(leaf, count) for path, leaf in leaves if (count := turned_kernels.count_inputs(path, leaf)) is not None]
  if sum(leaf.size for leaf, _ in sides) < _WORTH:
    return False
  kernels = [leaf.reshape(inputs, -1) for leaf, inputs in sides[:_MEASURED]]
  of = {'kernels': [[*leaf.shape] for leaf in kernels], 'dtype': str(kernels[0].dtype)}
  inputs = [jnp.ones((_ROWS, leaf.shape[0]), leaf.dtype) for leaf in kernels]
  turn = functools.cache(lambda: [jnp.asarray(leaf).T for leaf in kernels])

  def measure(turned: int) -> float:
    if turned:
      return _seconds_of(functools.partial(_turned_products, inputs, turn()))
    return _seconds_of(functools.partial(_products, inputs, kernels, (False,) * len(kernels)))

  return bool(tuning.choose('turned kernels', (1, 0), measure, of=of))


@functools.partial(jax.jit, static_argnums=2)
def _products(inputs, matrices, tables):
  return [x @ (matrix.T if is_table else matrix) for x, matrix, is_table in zip(inputs, matrices, tables, strict=True)]


@jax.jit
def _turned_products(inputs, matrices):
  return [turned_kernels.multiply(x, matrix) for x, matrix in zip(inputs, matrices, strict=True)]


def _seconds(sides: list[tuple[jax.Array, bool]], rows: int) -> float:
  """Of a product of `rows` rows with each matrix."""
  matrices, tables = [leaf for leaf, _ in sides], tuple(is_table for _, is_table in sides)
  widths = [leaf.shape[1 if is_table else 0] for leaf, is_table in sides]
  inputs = [jnp.ones((rows, width), jnp.bfloat16) for width in widths]
  return _seconds_of(functools.partial(_products, inputs, matrices, tables))


def _seconds_of(run) -> float:
  """Of a program that has been compiled and run once before."""
  jax.block_until_ready(run())
  began = time.perf_counter()
  jax.block_until_ready(run())
  return time.perf_counter() - began
