"""Kernels that the compiler cannot split are split by hand, and heads stay where they lie."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from mlsd_jax.compilation import count, find_collectives
from mlsd_jax.compilation.hlo import Module
from mlsd_jax.models import attention, layers, mesh_axes

ROWS, LENGTH, WIDTH = 8, 16, 8
AXES = ('data', 'fsdp', 'tensor')


def make_mesh(*sizes):
  return jax.make_mesh(sizes, AXES, axis_types=(AxisType.Auto,) * 3)


def draw(heads):
  return [jax.random.normal(key, (ROWS, LENGTH, heads, WIDTH)) for key in jax.random.split(jax.random.key(0), 3)]


@pytest.mark.parametrize(('heads', 'seen'), [(4, (2, 2)), (3, (2, 3))])
@pytest.mark.parametrize('manual', [(), ('data', 'fsdp')])
def test_each_device_calls_a_kernel_for_its_rows_and_heads(heads, seen, manual):
  """Within a shard_map over the batch the same; 3 heads on 2 devices stay together."""
  shapes, mesh, arrays = [], make_mesh(2, 2, 2), draw(heads)

  def kernel(q, k, v):
    shapes.append(q.shape)
    return attention.attend(q, k, v)

  def run(*arrays):
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
      mapped = functools.partial(mesh_axes.map_kernel, kernel)
      if manual:
        spec = PartitionSpec(manual)
        mapped = jax.shard_map(
          mapped, mesh=mesh, in_specs=(spec,) * 3, out_specs=spec, axis_names=set(manual), check_vma=False
        )
      return mapped(*arrays)

  loss = lambda function: jax.jit(jax.value_and_grad(lambda *arrays: jnp.square(function(*arrays)).sum(), (0, 1, 2)))
  placed = jax.device_put(arrays, NamedSharding(mesh, PartitionSpec()))
  found, expected = loss(run)(*placed), loss(attention.attend)(*arrays)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), found, expected)
  assert {(shape[0], shape[2]) for shape in shapes} == {seen}


def test_outside_of_a_mesh_a_kernel_is_called_as_it_is():
  assert mesh_axes.map_kernel(lambda q, k, v: q.shape, *draw(3)) == (ROWS, LENGTH, 3, WIDTH)


def test_heads_on_several_devices_are_not_gathered_to_be_merged():
  """Queries, keys and values as one product [D, 3, H, K]: of kernel and gradient nothing is sent."""
  mesh, heads = make_mesh(1, 1, 8), 8
  place = lambda shape, *axes: jax.ShapeDtypeStruct(
    shape, jnp.float32, sharding=NamedSharding(mesh, PartitionSpec(*axes))
  )

  def loss(kernel, x):
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
      linear = layers.Linear(WIDTH, (3, heads, 4), use_bias=False, rngs=layers.nnx.Rngs(0))
      linear.kernel = layers.nnx.Param(kernel)
      return jnp.square(linear(x)).sum()

  kernel = place((WIDTH, 3, heads, 4), None, None, 'tensor')
  lowered = jax.jit(jax.grad(loss), out_shardings=kernel.sharding).lower(kernel, place((ROWS, LENGTH, WIDTH)))
  assert count(find_collectives(Module(lowered.compile().as_text()), mesh), least=512) == {}
