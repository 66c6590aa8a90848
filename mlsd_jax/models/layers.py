"""Layers that the models share. A layer computes in the dtype of its parameters: for bfloat16, cast those."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from mlsd_jax.models import mesh_axes
from mlsd_jax.models.turned_kernels import TurnedKernel


class Linear(nnx.Module):
  """y = x W + b from a last axis of `in_features` to any output shape.

  The kernel keeps the output axes apart, [in, *out], so that a rule can shard attention heads by name, and is
  flattened to one matrix product in use. With `in_axes` = 2 it contracts the last two axes instead ([heads, head_dim]
  back to the model width).
  """

  def __init__(
    self,
    in_shape: int | Sequence[int],
    out_shape: int | Sequence[int],
    *,
    use_bias: bool = True,
    stddev: float = 0.02,
    rngs: nnx.Rngs,
  ):
    in_shape = (in_shape,) if isinstance(in_shape, int) else tuple(in_shape)
    out_shape = (out_shape,) if isinstance(out_shape, int) else tuple(out_shape)
    self.in_ndim = len(in_shape)
    self.kernel = nnx.Param(stddev * jax.random.normal(rngs.params(), in_shape + out_shape))
    self.bias = nnx.Param(jnp.zeros(out_shape)) if use_bias else None

  def __call__(self, x: jax.Array) -> jax.Array:
    kernel: jax.Array | TurnedKernel = self.kernel.get_value()
    out_shape = kernel.shape[self.in_ndim :]
    batch_shape = x.shape[: x.ndim - self.in_ndim]
    fan_in = math.prod(kernel.shape[: self.in_ndim])
    if self.in_ndim == 1 and len(out_shape) > 1 and isinstance(kernel, jax.Array) and mesh_axes.splits_heads():
      # Heads that lie on several devices stay an axis of their own: merged with another, they would all be gathered.
      y = jnp.tensordot(x.astype(kernel.dtype), kernel, 1)
      return y if self.bias is None else y + self.bias[...]
    # One flat matrix product: kept three-dimensional, its backward pass costs a CPU a fifth more of the step.
    rows = x.reshape(-1, fan_in).astype(kernel.dtype)
    if isinstance(kernel, TurnedKernel):
      y = kernel.multiply(rows)
    else:
      y = rows @ kernel.reshape(fan_in, math.prod(out_shape))
    y = y.reshape(*batch_shape, *out_shape)
    return y if self.bias is None else y + self.bias[...]


class LayerNorm(nnx.Module):
  """Layer normalisation over the last axis (Ba et al. 2016, arXiv:1607.06450); statistics in float32."""

  def __init__(self, features: int, *, use_bias: bool = True, epsilon: float = 1e-5):
    self.scale = nnx.Param(jnp.ones(features))
    self.bias = nnx.Param(jnp.zeros(features)) if use_bias else None
    self.epsilon = epsilon

  def __call__(self, x: jax.Array) -> jax.Array:
    # The mean of squares of bfloat16 numbers would keep 8 bits; in float32 it costs nothing beside the products.
    wide = x.astype(jnp.float32)
    centred = wide - wide.mean(-1, keepdims=True)
    variance = jnp.square(centred).mean(-1, keepdims=True)
    y = (centred * jax.lax.rsqrt(variance + self.epsilon)).astype(x.dtype) * self.scale[...]
    return y if self.bias is None else y + self.bias[...]


def dropout(x: jax.Array, rate: float, key: jax.Array | None) -> jax.Array:
  """Zeroes a share `rate` of x and scales the rest by 1 / (1 - rate). The identity without a key.

  Keeps are drawn from 16 random bits each, so `rate` is met to within 1 / 65536.
  """
  if key is None or rate == 0.0:
    return x
  # What is kept is scaled up, so that the expectation is that of no dropout and nothing changes at evaluation.
  # 16 bits a number, as drawing them is a large part of a step on a CPU.
  keep = jax.random.bits(key, x.shape, jnp.uint16) >= jnp.uint16(round(rate * 65536))
  return jnp.where(keep, x / (1.0 - rate), jnp.zeros((), x.dtype))
