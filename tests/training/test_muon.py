"""Muon against optax's, one matrix at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from optax.contrib import _muon as theirs

from mlsd_jax.errors import UserError
from mlsd_jax.models import gpt, modern_gpt
from mlsd_jax.training import muon
from mlsd_jax.training.optimizers import OptimizerConfig, learning_rate_schedule, make_optimizer

SHAPE = dict(vocab_size=11, context_length=8, num_layers=2, num_heads=2, embed_dim=8)


def orthogonal(matrix):
  """optax's U V' of one matrix [I, O], at the size that Muon steps by."""
  found = theirs.orthogonalize_via_newton_schulz(jnp.asarray(matrix), jnp.array(muon.COEFFICIENTS), eps=1e-7)
  return np.asarray(found) * max(1, matrix.shape[1] / matrix.shape[0]) ** 0.5


@pytest.mark.parametrize('shape', [(3, 8, 8), (2, 6, 20), (2, 20, 6)], ids=str)
def test_a_stack_is_made_orthogonal_as_optax_makes_each_matrix(key, shape):
  x = jax.random.normal(key, shape)
  found = jax.jit(muon.orthogonalize)(x)
  for one, expected in zip(found, x, strict=True):
    scale = max(1, shape[2] / shape[1]) ** 0.5
    np.testing.assert_allclose(one * scale, orthogonal(expected), atol=2e-5)
    assert np.linalg.svd(one, compute_uv=False).max() < 1.3
    assert np.linalg.svd(one, compute_uv=False)[: min(shape[1:]) // 2].min() > 0.6


def matrices(name, kernel):
  """Its matrices [I, O], written out for every layout that models have."""
  if name == 'qkv':  # [D, 3, H, K]
    return [kernel[:, part].reshape(len(kernel), -1) for part in range(3)]
  if name == 'out':  # [H, K, D]
    return [kernel.reshape(-1, kernel.shape[-1])]
  return [kernel.reshape(len(kernel), -1)]


@pytest.mark.parametrize(
  ('module', 'config'),
  [
    (gpt, gpt.GPTConfig(**SHAPE)),
    (gpt, gpt.GPTConfig(**SHAPE, scan_layers=True)),
    (modern_gpt, modern_gpt.ModernGPTConfig(**SHAPE, num_kv_heads=1, activation='squared_relu')),
  ],
  ids=['gpt', 'gpt, stacked', 'modern'],
)
def test_each_matrix_of_a_model_is_stepped_along_on_its_own(module, config):
  """Queries, keys, values and every layer apart; a second step has the momentum of the first."""
  rng = np.random.default_rng(0)
  shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), config))['blocks']
  draw = lambda: jax.tree_util.tree_map_with_path(
    lambda path, x: rng.standard_normal(x.shape, np.float32) if path[-1].key == 'kernel' else None, shapes
  )
  first, second = ({'blocks': draw()} for _ in range(2))
  optimizer = muon.scale_by_muon(0.9)
  state = optimizer.init(jax.tree.map(jnp.zeros_like, first))
  _, state = jax.jit(optimizer.update)(first, state)
  found, _ = jax.jit(optimizer.update)(second, state)
  held = jax.tree.map(lambda a, b: 0.9 * 0.1 * a + 0.1 * b, first, second)
  ahead = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, held, second)
  leaves = dict(jax.tree.leaves_with_path(found))
  for path, momentum in jax.tree.leaves_with_path(ahead):
    step, name = leaves[path], path[-2].key
    for one, whole in zip(step, momentum, strict=True) if config.scan_layers else [(step, momentum)]:
      for ours, matrix in zip(matrices(name, one), matrices(name, whole), strict=True):
        np.testing.assert_allclose(ours, orthogonal(matrix), atol=3e-5, err_msg=str(path))


def test_every_parameter_has_its_own_rate():
  """A first step of Adam is its rate; one of Muon is orthogonal."""
  config = OptimizerConfig(
    name='muon', learning_rate=0.5, schedule='constant', weight_decay=0.0, embedding_learning_rate=0.1,
    head_learning_rate=0.2, scalar_learning_rate=0.3, clip_norm=0.0,
  )  # fmt: skip
  model = modern_gpt.ModernGPTConfig(**SHAPE, value_embeddings=(1,), qkv_bias=True)
  params = modern_gpt.init(jax.random.key(0), model)
  optimizer = make_optimizer(config, 10)
  grads = jax.tree.map(jnp.ones_like, params)
  updates, _ = optimizer.update(grads, optimizer.init(params), params)
  for name, rate in (('token_embedding', 0.1), ('head', 0.2)):
    np.testing.assert_allclose(updates[name], -rate, rtol=1e-5)
  np.testing.assert_allclose(updates['value_embeddings']['0'], -0.1, rtol=1e-5)
  attention = updates['blocks']['1']['attention']
  for scalar in (attention['mix']['scale'], attention['query']['bias'], updates['final_norm']['scale']):
    np.testing.assert_allclose(scalar, -0.3, rtol=1e-5)
  assert np.linalg.norm(updates['blocks']['0']['mlp']['up']['kernel']) == pytest.approx(0.5 * 2, rel=0.4)


def test_wsd_rises_stays_and_falls_over_the_last_share():
  config = OptimizerConfig(learning_rate=1.0, schedule='wsd', warmup_steps=10, cooldown_share=0.25)
  rate = [float(learning_rate_schedule(config, 110)(step)) for step in range(111)]
  assert rate[0] == pytest.approx(1 / 11)
  assert rate[10:86] == [1.0] * 76
  np.testing.assert_allclose(rate[85:111], np.linspace(1, 0, 26), atol=1e-6)


def test_a_rate_of_nothing_is_refused():
  with pytest.raises(UserError, match=r'learning_rate=0 would move nothing'):
    OptimizerConfig(name='muon', learning_rate=0.0)
