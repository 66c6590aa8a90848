"""What inspection reports against the model itself, and against models whose heads are known."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlsd_jax.language_model import inspection
from mlsd_jax.language_model.gpt2_folder import convert
from mlsd_jax.models import gpt, partial_gpt

CONFIG = gpt.GPTConfig(vocab_size=13, context_length=16, num_layers=2, num_heads=2, embed_dim=16)


@pytest.fixture(scope='module')
def params():
  rng = np.random.default_rng(2)
  shapes = jax.eval_shape(lambda: gpt.init(jax.random.key(0), CONFIG))
  return jax.tree.map(lambda leaf: jnp.asarray(0.3 * rng.standard_normal(leaf.shape, np.float32)), shapes)


@pytest.fixture(scope='module')
def tokens():
  return jnp.asarray(np.random.default_rng(3).integers(0, 13, (3, 10)), jnp.int32)


def test_the_last_lens_is_the_model(params, tokens):
  log_probs = inspection.logit_lens(params, tokens, CONFIG)
  assert log_probs.shape == (3, 3, 10, 13)
  np.testing.assert_allclose(log_probs[-1], jax.nn.log_softmax(gpt.apply(params, tokens, CONFIG)), atol=1e-5)
  np.testing.assert_allclose(np.exp(log_probs).sum(-1), 1.0, rtol=1e-5)


def test_stacked_layers_are_looked_into_one_by_one(params, tokens):
  stacked, config = convert(params, CONFIG, dataclasses.replace(CONFIG, scan_layers=True))
  for look in (inspection.attention_maps, inspection.logit_lens):
    np.testing.assert_allclose(look(stacked, tokens, config), look(params, tokens, CONFIG), atol=1e-5)


def test_maps_are_causal_distributions(params, tokens):
  maps = inspection.attention_maps(params, tokens, CONFIG)
  assert maps.shape == (2, 3, 2, 10, 10)
  np.testing.assert_allclose(maps.sum(-1), 1.0, rtol=1e-5)
  assert np.triu(maps, 1).max() == 0.0


def test_maps_give_back_what_the_attention_computed(params, tokens):
  """Weights times values through the output projection is what block 0 adds to the stream, MLPs taken away."""
  config = partial_gpt.PartialGPTConfig(
    vocab_size=13, context_length=16, num_layers=1, num_heads=2, embed_dim=16, sublayers='attention'
  )
  shapes = jax.eval_shape(lambda: partial_gpt.init(jax.random.key(0), config))
  pick = lambda path, _: _at(params, [part.key for part in path])
  small = jax.tree_util.tree_map_with_path(pick, shapes)
  stream, maps = inspection.residual_stream(small, tokens, config)
  block = small['blocks']['0']
  x = np.asarray(stream[0], np.float64)
  x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
  x = x * block['norm_1']['scale'] + block['norm_1']['bias']
  qkv = block['attention']['qkv']
  values = np.einsum('btd,dhk->bthk', x, qkv['kernel'][:, 2]) + qkv['bias'][2]
  mixed = np.einsum('bhts,bshk->bthk', maps[0], values)
  added = np.einsum('bthk,hkd->btd', mixed, block['attention']['out']['kernel']) + block['attention']['out']['bias']
  np.testing.assert_allclose(stream[1] - stream[0], added, atol=1e-4)


def test_heads_without_preference_score_as_chance(params):
  even = jax.tree_util.tree_map_with_path(
    lambda path, leaf: leaf.at[:, :2].set(0) if 'qkv' in str(path) and leaf.ndim == 4 else _no_bias(path, leaf), params
  )
  scores = inspection.head_scores(even, CONFIG, rows=4)
  np.testing.assert_allclose(scores.induction, scores.chance_induction, rtol=1e-4)
  np.testing.assert_allclose(scores.previous, scores.chance_previous, rtol=1e-4)


def test_a_head_that_looks_half_a_context_back_is_an_induction_head(params):
  """Positions as one-hot keys, queries that ask for position t - (half - 1): the score of that head is nearly 1."""
  half = CONFIG.context_length // 2
  config = gpt.GPTConfig(vocab_size=13, context_length=16, num_layers=1, num_heads=1, embed_dim=32)
  params = jax.tree.map(jnp.zeros_like, gpt.init(jax.random.key(0), config))
  params['token_embedding'] = jnp.zeros((13, 32))
  params['position_embedding'] = jnp.eye(16, 32)
  block = params['blocks']['0']
  block['norm_1']['scale'] = jnp.ones(32)
  shift = jnp.roll(jnp.eye(16), -(half - 1), axis=1)  # position t asks for t - (half - 1)
  kernel = jnp.zeros((32, 3, 1, 32))
  kernel = kernel.at[:16, 0, 0, :16].set(10 * shift).at[:16, 1, 0, :16].set(10 * jnp.eye(16))
  block['attention']['qkv']['kernel'] = kernel
  scores = inspection.head_scores(params, config, rows=2)
  assert scores.induction[0, 0] > 0.9
  assert scores.previous[0, 0] < 0.2


def _at(tree, path):
  for part in path:
    tree = tree[part]
  return tree


def _no_bias(path, leaf):
  return leaf.at[:2].set(0) if 'qkv' in str(path) else leaf
