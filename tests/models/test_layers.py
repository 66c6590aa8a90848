"""Layers against their plain formulas, values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mlsd_jax.models import layers


@pytest.mark.parametrize(
  ('in_shape', 'out_shape', 'formula'),
  [(6, (3, 2, 4), 'btd,dihk->btihk'), ((2, 4), 6, 'bthk,hkd->btd')],
)
def test_linear_is_a_tensor_product_with_its_kernel(key, in_shape, out_shape, formula):
  layer = layers.Linear(in_shape, out_shape, rngs=nnx.Rngs(params=key))
  graph, params = nnx.split(layer, nnx.Param)
  params = jax.tree.map(lambda p: jax.random.normal(key, p.shape), params)
  fan_in = (in_shape,) if isinstance(in_shape, int) else in_shape
  x = jax.random.normal(key, (2, 5, *fan_in))

  def plain(params, x):
    return jnp.einsum(formula, x, params['kernel'][...], precision='highest') + params['bias'][...]

  def both(f):
    y = f(params, x)
    weights = jnp.cos(jnp.arange(y.size, dtype=jnp.float32)).reshape(y.shape)
    return y, jax.grad(lambda params, x: jnp.sum(f(params, x) * weights), argnums=(0, 1))(params, x)

  ours, expected = both(lambda params, x: nnx.merge(graph, params)(x)), both(plain)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), ours, expected)


def test_layer_norm_centres_and_scales_every_row(key):
  layer = layers.LayerNorm(64)
  y = layer(100.0 + 7.0 * jax.random.normal(key, (3, 5, 64)))
  np.testing.assert_allclose(y.mean(-1), 0.0, atol=1e-4)
  np.testing.assert_allclose(y.var(-1), 1.0, rtol=1e-3)


def test_layer_norm_gradient_is_that_of_the_formula_in_double_precision(key):
  x, scale, bias, weights = (
    jax.random.normal(k, s) for k, s in zip(jax.random.split(key, 4), [(5, 16), 16, 16, (5, 16)], strict=True)
  )
  graph, _ = nnx.split(layers.LayerNorm(16), nnx.Param)

  def ours(x, scale, bias):
    return jnp.sum(weights * nnx.merge(graph, nnx.State({'scale': nnx.Param(scale), 'bias': nnx.Param(bias)}))(x))

  gradients = jax.grad(ours, argnums=(0, 1, 2))(x, scale, bias)
  x, scale, weights = (np.asarray(a, np.float64) for a in (x, scale, weights))
  deviation = np.sqrt(x.var(-1, keepdims=True) + 1e-5)
  normal, inner = (x - x.mean(-1, keepdims=True)) / deviation, weights * scale
  dx = (inner - inner.mean(-1, keepdims=True) - normal * (inner * normal).mean(-1, keepdims=True)) / deviation
  for ours_, expected in zip(gradients, (dx, (weights * normal).sum(0), weights.sum(0)), strict=True):
    np.testing.assert_allclose(ours_, expected, rtol=1e-4, atol=1e-5)


def test_layers_compute_in_the_dtype_of_their_parameters(key):
  x = jax.random.normal(key, (4, 8), jnp.bfloat16)
  for layer in (layers.Linear(8, 3, rngs=nnx.Rngs(params=key)), layers.LayerNorm(8)):
    graph, params = nnx.split(layer, nnx.Param)
    params = jax.tree.map(lambda p: p.astype(jnp.bfloat16), params)
    assert nnx.merge(graph, params)(x).dtype == jnp.bfloat16


@pytest.mark.parametrize('rate', [0.1, 0.2, 0.5])
def test_dropout_drops_its_share_and_keeps_the_mean(key, rate):
  y = np.asarray(layers.dropout(jnp.ones((512, 512)), rate, key))
  dropped = (y == 0).mean()
  # Five standard deviations of a binomial share.
  assert abs(dropped - rate) < 5 * np.sqrt(rate * (1 - rate) / y.size)
  np.testing.assert_allclose(y[y != 0], 1 / (1 - rate), rtol=1e-6)


def test_dropout_gradient_passes_where_values_passed(key):
  x = jax.random.normal(key, (64, 64))
  y, backward = jax.vjp(lambda x: layers.dropout(x, 0.3, key), x)
  np.testing.assert_array_equal(np.asarray(backward(jnp.ones_like(x))[0]) != 0, np.asarray(y) != 0)


def test_dropout_differs_by_key_and_is_the_identity_without_one(key):
  x = jnp.ones((32, 32))
  one, other = (layers.dropout(x, 0.5, k) for k in jax.random.split(key))
  assert (one != other).any()
  assert layers.dropout(x, 0.5, None) is x
  assert layers.dropout(x, 0.0, key) is x
