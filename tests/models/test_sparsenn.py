"""SparseNN: interactions against their formulas, buckets, ids past the table."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlsd_jax.models import adapter, sparsenn
from mlsd_jax.models.sparsenn import CrossLayer, SparseNN, SparseNNConfig

CONFIG = SparseNNConfig(
  num_dense=3,
  num_items=20,
  code_sizes=(4,),
  user_sizes=(3,),
  embed_dim=8,
  bins=4,
  bag_length=5,
  bottom_dim=16,
  top_dims=(16,),
)
CODES = jnp.asarray(np.arange(21)[:, None] % 4, jnp.int32)
EDGES = jnp.asarray(np.tile(np.linspace(0, 1, 5), (3, 1)), jnp.float32)


def _batch(rows=6, seed=0):
  rng = np.random.default_rng(seed)
  return {
    'dense': jnp.asarray(rng.random((rows, 3)), jnp.float32),
    'item': jnp.asarray(rng.integers(1, 21, rows), jnp.int32),
    'user_codes': jnp.asarray(rng.integers(0, 3, (rows, 1)), jnp.int32),
    'bag': jnp.asarray(rng.integers(0, 21, (rows, 5)), jnp.int32),
  }


@pytest.mark.parametrize('interaction', ['dot', 'cross', 'both', 'none'])
@pytest.mark.parametrize('sparse', [True, False])
def test_every_form_gives_logits_and_gradients(key, interaction, sparse):
  config = SparseNNConfig(**(CONFIG.__dict__ | {'interaction': interaction, 'sparse': sparse}))
  params = sparsenn.init(key, config)
  logits = sparsenn.apply(params, _batch(), CODES, EDGES, config)
  chex.assert_shape(logits, (6, len(sparsenn.HEADS)))
  grads = jax.grad(lambda p: jnp.square(sparsenn.apply(p, _batch(), CODES, EDGES, config)).sum())(params)
  chex.assert_tree_all_finite(grads)


def test_a_row_does_not_depend_on_its_batch(key):
  params, batch = sparsenn.init(key, CONFIG), _batch()
  alone = {name: x[2:3] for name, x in batch.items()}
  whole = sparsenn.apply(params, batch, CODES, EDGES, CONFIG)
  np.testing.assert_allclose(whole[2:3], sparsenn.apply(params, alone, CODES, EDGES, CONFIG), rtol=1e-4, atol=1e-6)


def test_the_order_of_a_bag_does_not_matter(key):
  params, batch = sparsenn.init(key, CONFIG), _batch()
  turned = batch | {'bag': batch['bag'][:, ::-1]}
  first, second = (sparsenn.apply(params, b, CODES, EDGES, CONFIG) for b in (batch, turned))
  np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-6)


def test_ids_past_the_table_take_the_row_of_unknown_ones(key):
  params, batch = sparsenn.init(key, CONFIG), _batch()
  past, unknown = (sparsenn.apply(params, batch | {'item': jnp.full(6, i)}, CODES, EDGES, CONFIG) for i in (21, 0))
  np.testing.assert_array_equal(past, unknown)


def test_fields_are_rows_of_the_tables(key):
  params, batch = sparsenn.init(key, CONFIG), _batch()
  params = jax.tree.map(lambda p: p + 0.1 * jax.random.normal(key, p.shape), params)
  looked_up = adapter.look_up(params, sparsenn.lookups(batch, CODES, CONFIG))
  fields = adapter.bind(SparseNN, CONFIG, looked_up).fields(batch)
  table, of_code, of_user = params['item_table'], params['code_tables']['0'], params['user_tables']['0']
  for row in range(6):
    item, bag = int(batch['item'][row]), [int(i) for i in batch['bag'][row] if i > 0]
    mean = sum(table[i] for i in bag) / max(len(bag), 1)
    wanted = [table[item], of_code[CODES[item, 0]], of_user[batch['user_codes'][row, 0]], mean]
    np.testing.assert_allclose(fields[row], jnp.stack(wanted), rtol=1e-5, atol=1e-6)


def test_buckets_are_piecewise_linear(key):
  module = adapter.bind(SparseNN, CONFIG, sparsenn.init(key, CONFIG))
  values = jnp.concatenate(module.buckets(jnp.array([[0.0, 0.375, 1.0]]), EDGES), -1)[0]
  np.testing.assert_allclose(values[:3], [0.0, 0.375, 1.0], atol=1e-6)
  np.testing.assert_allclose(values[3:].reshape(3, 4), [[0, 0, 0, 0], [1, 0.5, 0, 0], [1, 1, 1, 1]], atol=1e-6)


def test_cross_layer_is_its_formula():
  from flax import nnx

  layer = CrossLayer(4, 2, nnx.Rngs(params=0))
  x0, x = np.random.default_rng(0).random((2, 3, 4)).astype(np.float32)
  inner = x @ np.asarray(layer.down.kernel[...]) @ np.asarray(layer.up.kernel[...]) + np.asarray(layer.up.bias[...])
  np.testing.assert_allclose(layer(jnp.asarray(x0), jnp.asarray(x)), x0 * inner + x, rtol=1e-5)


def test_unknown_interaction_is_refused():
  with pytest.raises(ValueError, match='is not one of dot, cross'):
    SparseNNConfig(num_dense=1, num_items=1, interaction='product')


def test_a_user_may_have_many_rows(key):
  params, batch = sparsenn.init(key, CONFIG), _batch()
  few = {name: x[:2] if name in ('user_codes', 'bag') else x for name, x in batch.items()}
  many = batch | {name: jnp.repeat(few[name], 3, axis=0) for name in ('user_codes', 'bag')}
  first, second = (sparsenn.apply(params, b, CODES, EDGES, CONFIG) for b in (few, many))
  np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-6)


def test_the_gradient_of_the_dots_is_that_of_the_einsum(key):
  x = jax.random.normal(key, (4, 5, 3))
  weights = jax.random.normal(jax.random.key(1), (4, 5, 5))
  ours = jax.grad(lambda x: (sparsenn.multiply_pairs(x) * weights).sum())(x)
  plain = jax.grad(lambda x: (jnp.einsum('BKD,BLD->BKL', x, x) * weights).sum())(x)
  np.testing.assert_allclose(ours, plain, rtol=1e-5, atol=1e-5)
