import dataclasses
import math

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from mlsd_jax.errors import UserError
from mlsd_jax.language_model.task import GPT_RULES
from mlsd_jax.models import gpt
from mlsd_jax.training import sharding


@pytest.mark.parametrize(
  ('shape', 'sizes'), [({'data': -1}, (8, 1, 1)), ({'data': 2, 'fsdp': -1, 'tensor': 2}, (2, 2, 2)), ({}, None)]
)
def test_mesh_takes_what_is_left(shape, sizes):
  if sizes is None:
    with pytest.raises(UserError, match='does not fit 8 devices'):
      sharding.make_mesh(shape)
  else:
    assert tuple(sharding.make_mesh(shape).shape.values()) == sizes


@pytest.mark.parametrize('shape', [{'data': 3}, {'data': -1, 'fsdp': -1}, {'data': 16}, {'data': 0}])
def test_impossible_mesh_is_refused(shape):
  with pytest.raises(UserError, match='does not fit 8 devices'):
    sharding.make_mesh(shape)


@dataclasses.dataclass(frozen=True)
class Chip:
  """A chip of a TPU slice, as far as its place goes."""

  coords: tuple[int, int, int]
  device_kind: str
  id: int = 0
  process_index: int = 0
  platform: str = 'tpu'
  core_on_chip: int = 0


@pytest.mark.parametrize('kind', ['TPU v5 lite', 'TPU v6 lite', 'TPU v5'])
@pytest.mark.parametrize(
  'shape', [{'fsdp': -1}, {'fsdp': -1, 'tensor': 2}, {'data': 2, 'fsdp': 2, 'tensor': 4}, {'data': 8, 'fsdp': -1}]
)
def test_axes_of_a_mesh_may_be_parts_of_a_dimension_of_a_tpu_slice(kind, shape):
  chips = [Chip((i % 4, i // 4, 0), kind, i) for i in range(16)]
  assert {*sharding.make_mesh(shape, chips).devices.flat} == {*chips}


@pytest.mark.parametrize(('batch', 'accumulation'), [(12, 1), (16, 4), (0, 1), (16, 0)])
def test_batch_that_does_not_split_is_refused(batch, accumulation):
  mesh = sharding.make_mesh({'data': 4, 'fsdp': 2})
  sharding.check_batch_size(16, 2, mesh)
  with pytest.raises(UserError, match='not divisible'):
    sharding.check_batch_size(batch, accumulation, mesh)


@pytest.mark.parametrize('scan_layers', [False, True])
@pytest.mark.parametrize('size', gpt.SIZES)
def test_every_parameter_of_every_size_is_split_over_fsdp(size, scan_layers):
  mesh = sharding.make_mesh({'fsdp': 8})
  config = gpt.GPTConfig(**gpt.SIZES[size], scan_layers=scan_layers, vocab_multiple=128)
  shapes = jax.eval_shape(lambda key: gpt.init(key, config), jax.random.key(0))
  shardings = jax.tree.leaves(sharding.tree_shardings(shapes, GPT_RULES, mesh))
  whole = sum(leaf.size for leaf in jax.tree.leaves(shapes))
  held = sum(
    math.prod(where.shard_shape(leaf.shape)) for leaf, where in zip(jax.tree.leaves(shapes), shardings, strict=True)
  )
  assert held < 1.01 * whole / 8


def test_rules_match_from_the_last_dimension():
  mesh = sharding.make_mesh({'fsdp': 4, 'tensor': 2})
  rules = (('kernel$', ('embed', 'mlp')),)
  assert sharding.partition_spec('x/kernel', (8, 8), rules, mesh) == PartitionSpec('fsdp', 'tensor')
  assert sharding.partition_spec('x/kernel', (3, 8, 8), rules, mesh) == PartitionSpec(None, 'fsdp', 'tensor')
  assert sharding.partition_spec('x/kernel', (6, 8), rules, mesh) == PartitionSpec(None, 'tensor')
  assert sharding.partition_spec('x/bias', (8,), rules, mesh) == PartitionSpec()


def test_placed_batch_holds_its_rows_in_order():
  mesh = sharding.make_mesh({'data': 2, 'fsdp': 2, 'tensor': 2})
  rows = np.arange(24).reshape(8, 3)
  placed = sharding.place_batch({'tokens': rows}, mesh)['tokens']
  np.testing.assert_array_equal(placed, rows)
  assert all(shard.data.shape == (2, 3) for shard in placed.addressable_shards)
  assert sharding.process_rows(8, mesh) == slice(0, 8)


@pytest.mark.parametrize(
  ('parts', 'rows'),
  [
    ({(4, 6), (0, 2), (2, 4)}, [0, 1, 2, 3, 4, 5]),
    ({(6, 8), (0, 2)}, [0, 1, 6, 7]),  # as of a host of a TPU slice, whose chips the mesh does not visit in a row
    ({(2, 4)}, [2, 3]),
  ],
)
def test_a_process_loads_the_rows_of_its_devices_and_no_others(parts, rows):
  assert np.arange(8)[sharding._in_order(parts)].tolist() == rows


def test_what_the_mesh_does_not_divide_is_named():
  mesh = sharding.make_mesh({'fsdp': 4, 'tensor': 2})
  rules = (('table$', ('rows', None)), ('kernel$', ('embed', 'heads')))
  leaf = lambda *shape: jax.ShapeDtypeStruct(shape, np.float32)
  tree = {'item_table': leaf(99, 4), 'blocks': {str(i): {'kernel': leaf(8, 5)} for i in range(3)}}
  assert sharding.find_undivided(tree, rules, mesh, least=0) == [
    'blocks/*/kernel: 5 heads do not divide by tensor=2, and stay whole on each device',
    'item_table: 99 rows do not divide by data=1 x fsdp=4 x tensor=2, and stay whole on each device',
  ]
  assert sharding.find_undivided(tree, rules, mesh) == []
  divided = {'item_table': leaf(96, 4), 'blocks': {'0': {'kernel': leaf(8, 4)}}}
  assert sharding.find_undivided(divided, rules, mesh, least=0) == []
  assert sharding.partition_spec('item_table', (96, 4), rules, mesh) == PartitionSpec(sharding.MESH_AXES, None)
