"""Kernels of linear layers as a CPU multiplies a few rows by them: outputs before inputs in memory.

A product of few rows takes as long as the kernel takes to be read, and oneDNN first copies one that lies as [in, out]
into the order that its instructions ask for. Laid as [out, in] and given as the left side it is read once, as it lies,
and the few rows are what is brought into order.

Names: B rows, I inputs, O outputs, P parts.
"""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp

# XLA hands a batch of products to oneDNN from 2^19 operations on, a single product only from 2^24: below that it widens
# bfloat16 kernels to float32 in memory, at several times the cost of the product.
_PARTS = 2
_MANY = 64  # rows above which the product itself takes longer than what is read for it


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TurnedKernel:
  """Stands among the parameters in the place of a kernel of layers.Linear.

  Attributes:
    matrix_OI: the kernel with all outputs as one axis and all inputs as the other.
    shape: of the kernel itself.
  """

  matrix_OI: Any
  shape: tuple[int, ...] = dataclasses.field(metadata={'static': True})

  @property
  def dtype(self) -> Any:
    return self.matrix_OI.dtype

  def multiply(self, x_BI: jax.Array) -> jax.Array:
    """x @ kernel, [B, O]."""
    return multiply(x_BI, self.matrix_OI)


def multiply(x_BI: jax.Array, matrix_OI: jax.Array) -> jax.Array:
  """x @ matrix.T, [B, O], for few rows as one pass over the matrix."""
  outputs, inputs = matrix_OI.shape
  if x_BI.shape[0] > _MANY or outputs % _PARTS:
    return x_BI @ matrix_OI.T
  # Each part has its own copy of the rows: a batch of products with none would be taken for a single one again.
  x_PBI = jnp.broadcast_to(x_BI, (_PARTS, *x_BI.shape))
  matrix_POI = matrix_OI.reshape(_PARTS, outputs // _PARTS, inputs)
  y_POB = jax.lax.dot_general(matrix_POI, x_PBI, (((2,), (2,)), ((0,), (0,))))
  return y_POB.reshape(outputs, x_BI.shape[0]).T


def table_logits(hidden_BTD: jax.Array, table_VD: jax.Array) -> jax.Array:
  """Products [B, T, V] with each row of a table of embeddings."""
  plain = lambda hidden_BTD, table_VD: jnp.einsum('BTD,VD->BTV', hidden_BTD, table_VD)
  *batch, width = hidden_BTD.shape
  if math.prod(batch) > _MANY // 2:
    return plain(hidden_BTD, table_VD)
  few = lambda hidden_BTD, table_VD: multiply(hidden_BTD.reshape(-1, width), table_VD).reshape(*batch, -1)
  return jax.lax.platform_dependent(hidden_BTD, table_VD, cpu=few, default=plain)


def turn_kernels(params: Any) -> Any:
  """Parameters of a decoder, whose blocks lie one by one, with the kernels of their linear layers turned."""

  def turn(path, leaf):
    inputs = count_inputs(path, leaf)
    return leaf if inputs is None else TurnedKernel(_turn(leaf, inputs), leaf.shape)

  return jax.tree_util.tree_map_with_path(turn, params)


def count_inputs(path: tuple[Any, ...], leaf: Any) -> int | None:
  """Inputs of a linear layer's kernel among a decoder's parameters; None for what is none."""
  *_, name, last = ('', *(str(getattr(part, 'key', '')) for part in path))
  if last != 'kernel':
    return None
  # Heads and head_dim back to the model's width; all others have one axis of inputs.
  return math.prod(leaf.shape[: leaf.ndim - 1 if name == 'out' else 1])


@functools.partial(jax.jit, static_argnums=1)
def _turn(kernel, inputs: int):
  return kernel.reshape(inputs, -1).T
