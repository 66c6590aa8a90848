"""The mesh that a model is traced for, where its trainer says so (jax.sharding.use_abstract_mesh); models have none.

Almost everywhere the compiler splits a model's operations by where its arrays lie, and no code here is needed. Two
things it cannot know: how to split a kernel that somebody else wrote, and that a reshape should not merge an axis that
is split. By convention the axis called 'tensor' splits heads and inner widths, all others the batch.
"""

import math
from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, PartitionSpec

HEADS_AXIS = 'tensor'


def find_split_axes() -> dict[str, int]:
  """Axes over which the compiler splits the arrays at hand, by name, with their sizes; {} outside of a mesh.

  Axes that a shard_map around has split already are not among them.
  """
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty:
    return {}
  kinds = zip(mesh.axis_names, mesh.axis_sizes, mesh.axis_types, strict=True)
  return {name: size for name, size, kind in kinds if kind == AxisType.Auto}


def splits_heads() -> bool:
  """Whether heads and inner widths are split over devices."""
  return find_split_axes().get(HEADS_AXIS, 1) > 1


def map_kernel(kernel: Callable[..., jax.Array], *arrays_BTHK: jax.Array) -> jax.Array:
  """`kernel(q, k, v)` of arrays [B, T, heads, K], each device on its rows and heads.

  A fused kernel is a black box to the compiler, which refuses to split it. Rows and heads do not need each other, so
  each device calls it for its own. What the mesh does not divide (25 heads on 8 devices) stays whole on each.
  """
  axes = find_split_axes()
  if not axes:
    return kernel(*arrays_BTHK)
  over_rows = tuple(name for name in axes if name != HEADS_AXIS)
  rows, heads = arrays_BTHK[0].shape[0], [array.shape[2] for array in arrays_BTHK]
  if rows % math.prod(axes[name] for name in over_rows):
    over_rows = ()
  over_heads = HEADS_AXIS if HEADS_AXIS in axes and not any(count % axes[HEADS_AXIS] for count in heads) else None
  spec = PartitionSpec(over_rows or None, None, over_heads, None)
  mapped = jax.shard_map(
    kernel, in_specs=(spec,) * len(arrays_BTHK), out_specs=spec, axis_names=set(axes), check_vma=False
  )
  return mapped(*arrays_BTHK)


def copy_to_devices(table_VD: jax.Array, rows: int) -> jax.Array:
  """A table that a batch of `rows` uses in several places: [N, V, D], one of N copies on each device that has a part of
  the batch (which holds the table anyway). As it is where the batch is not split; for `map_rows`.

  Of one array the compiler sums each use's gradient over devices; of copies each device sums its uses first.
  """
  axes = _batch_axes()
  count = math.prod(axes.values())
  if count == 1 or rows % count:
    return table_VD
  return _lay_over(axes, jnp.broadcast_to(table_VD, (count, *table_VD.shape)))


def map_rows(function: Callable[..., jax.Array], table: jax.Array, *arrays_B: jax.Array) -> jax.Array:
  """`function(table, *arrays)` of arrays [B, ...], with a table or the copies that copy_to_devices made of it."""
  if table.ndim == 2:
    return function(table, *arrays_B)
  axes = _batch_axes()
  parts = (_lay_over(axes, array.reshape(len(table), -1, *array.shape[1:])) for array in arrays_B)
  out_NB = jax.vmap(function)(table, *parts)
  return out_NB.reshape(-1, *out_NB.shape[2:])


def _batch_axes() -> dict[str, int]:
  return {name: size for name, size in find_split_axes().items() if name != HEADS_AXIS and size > 1}


def _lay_over(axes: Iterable[str], array: jax.Array) -> jax.Array:
  others = [PartitionSpec.UNCONSTRAINED] * (array.ndim - 1)
  return jax.lax.with_sharding_constraint(array, PartitionSpec(tuple(axes), *others))


@jax.custom_vjp
def sum_before_split(table_VD: jax.Array) -> jax.Array:
  """`table_VD`, for use in a loop: its gradient is summed over the rounds whole, and exchanged once behind them.

  Split over devices from the first round on, as the parameter is, it would be exchanged in each. (Rows may be split
  over the heads' axis, in whose parts nothing is summed.)
  """
  return table_VD


def _constrain_gradient(_, g_VD):
  axes = find_split_axes()
  if not axes:
    return (g_VD,)
  over_rows = HEADS_AXIS if HEADS_AXIS in axes and g_VD.shape[0] % axes[HEADS_AXIS] == 0 else None
  # The barrier keeps what else is added to it (the gradient of the embedding, if tied) from becoming part of the sum.
  return (jax.lax.optimization_barrier(jax.lax.with_sharding_constraint(g_VD, PartitionSpec(over_rows, None))),)


sum_before_split.defvjp(lambda table_VD: (table_VD, None), _constrain_gradient)
