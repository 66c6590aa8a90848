"""The modern decoder against a plain numpy forward pass, and its options against what must hold of each."""

import dataclasses
import functools
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlsd_jax.errors import UserError
from mlsd_jax.models import modern_gpt, rotary
from mlsd_jax.models.rotary import RotaryConfig

LLAMA = modern_gpt.ModernGPTConfig(
  vocab_size=61, context_length=16, num_layers=2, num_heads=4, num_kv_heads=2, embed_dim=16, mlp_dim=24
)
SPEEDRUN = dataclasses.replace(
  LLAMA,
  activation='squared_relu',
  norm_scale=False,
  qk_norm=True,
  attention_scale=0.12,
  embedding_norm=True,
  logit_softcap=5.0,
  value_residual=True,
  value_embeddings=(0, 1),
  window=5,
  window_pattern='SL',
  rotary=RotaryConfig(scaling='yarn', factor=4.0, original_length=64, fast=32.0),
)
QWEN = dataclasses.replace(LLAMA, qkv_bias=True, qk_norm=True, head_dim=6, tied_head=True, vocab_multiple=64)
CONFIGS = {'llama': LLAMA, 'speedrun': SPEEDRUN, 'qwen': QWEN}


@functools.cache
def params_of(config):
  """Random parameters, biases and scales too, so that none can be left out unseen."""
  rng = np.random.default_rng(2)
  shapes = jax.eval_shape(lambda: modern_gpt.init(jax.random.key(0), config))
  return jax.tree.map(lambda leaf: jnp.asarray(0.3 * rng.standard_normal(leaf.shape, np.float32)), shapes)


TOKENS = np.random.default_rng(3).integers(0, 61, (2, 13)).astype(np.int32)


@functools.partial(jax.jit, static_argnums=2)
def logits_of(params, tokens, config):
  return modern_gpt.apply(params, tokens, config)


@functools.partial(jax.jit, static_argnums=1)
def loss_and_grads(params, config):
  loss = lambda params: modern_gpt.token_losses(params, TOKENS[:, :-1], TOKENS[:, 1:], config).mean()
  return jax.value_and_grad(loss)(params)


def reference_logits(params, tokens_T, config):
  """In float64 numpy, one sequence, one head and one query at a time; rotation as a product of complex numbers."""
  params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
  group = config.num_heads // config.kv_heads
  scaling = 0.1 * math.log(config.rotary.factor) + 1 if config.rotary.scaling == 'yarn' else 1.0

  def norm(x, p):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * p.get('scale', 1.0)

  def rotated(x_TK):
    half = x_TK.shape[-1] // 2
    angles = np.arange(len(x_TK))[:, None] * rotary.compute_frequencies(config.rotary, 2 * half).astype(np.float64)
    turned = (x_TK[:, :half] + 1j * x_TK[:, half:]) * np.exp(1j * angles) * scaling
    return np.concatenate([turned.real, turned.imag], axis=-1)

  x = params['token_embedding'][tokens_T]
  x = norm(x, {}) if config.embedding_norm else x
  first = None
  for layer, window in enumerate(config.windows):
    block = params['blocks'][str(layer)]
    p, h = block['attention'], norm(x, block.get('norm_1', {}))
    project = lambda name, head: h @ p[name]['kernel'][:, head] + p[name].get('bias', np.zeros((99, 1)))[head]
    values = np.stack([project('value', g) for g in range(config.kv_heads)], axis=1)
    if 'mix' in p:
      first = values if first is None else first
      table = params['value_embeddings'][str(layer)][tokens_T].reshape(values.shape)
      values = sum(
        np.multiply.outer(p['mix']['scale'], np.ones(1))[i] * v for i, v in enumerate((values, first, table))
      )
    mixed = np.zeros((len(x), config.num_heads, config.width_of_head))
    for head in range(config.num_heads):
      q, k, v = project('query', head), project('key', head // group), values[:, head // group]
      if config.qk_norm:
        q, k = norm(q, p.get('query_norm', {})), norm(k, p.get('key_norm', {}))
      q, k = rotated(q), rotated(k)
      for t in range(len(x)):
        seen = slice(max(0, t + 1 - window) if window else 0, t + 1)
        weights = np.exp(k[seen] @ q[t] * (config.attention_scale or 1 / math.sqrt(config.width_of_head)))
        mixed[t, head] = weights / weights.sum() @ v[seen]
    x = x + np.einsum('thk,hkd->td', mixed, p['out']['kernel'])
    p, h = block['mlp'], norm(x, block.get('norm_2', {}))
    up = h @ p['up']['kernel']
    if config.activation == 'swiglu':
      gate = h @ p['gate']['kernel']
      up = gate / (1 + np.exp(-gate)) * up
    else:
      up = np.maximum(up, 0) ** 2
    x = x + up @ p['down']['kernel']
  logits = norm(x, params.get('final_norm', {})) @ params.get('head', params['token_embedding'])[: config.vocab_size].T
  return config.logit_softcap * np.tanh(logits / config.logit_softcap) if config.logit_softcap else logits


@pytest.mark.parametrize('config', CONFIGS.values(), ids=CONFIGS)
def test_logits_are_those_of_a_plain_forward_pass(config):
  params = params_of(config)
  expected = np.stack([reference_logits(params, row, config) for row in TOKENS])
  np.testing.assert_allclose(logits_of(params, TOKENS, config), expected, atol=3e-5)


@pytest.mark.parametrize('config', CONFIGS.values(), ids=CONFIGS)
def test_token_losses_are_the_cross_entropy_of_the_logits_with_its_gradient(config):
  params = params_of(config)

  def loss(params):
    log_probs = jax.nn.log_softmax(modern_gpt.apply(params, TOKENS[:, :-1], config))
    return -jnp.take_along_axis(log_probs, TOKENS[:, 1:, None], axis=-1)[..., 0].mean()

  chex.assert_trees_all_close(loss_and_grads(params, config), jax.jit(jax.value_and_grad(loss))(params), atol=2e-6)
  saving = dataclasses.replace(config, loss_chunks=4, remat='full')
  chex.assert_trees_all_close(loss_and_grads(params, saving), loss_and_grads(params, config), atol=2e-6)


@pytest.mark.parametrize('config', CONFIGS.values(), ids=CONFIGS)
def test_cached_decoding_equals_the_whole_sequence(config):
  """A prompt, a few tokens at once, then one by one; rows stand at their own place in a cache of other numbers."""
  params, expected = params_of(config), logits_of(params_of(config), TOKENS, config)
  cache = jax.tree.map(lambda leaf: leaf + 7.0, modern_gpt.init_cache(config, 2, 16))
  assert cache.keys[0].shape == (2, 2, config.width_of_head, 16)
  index = np.array([6, 3])
  for row in range(2):
    prompt = np.full((1, 8), 60, np.int32)
    prompt[0, : index[row]] = TOKENS[row, : index[row]]
    hidden, cache = modern_gpt.apply_cached(
      params, prompt, config, cache, jnp.zeros(1, jnp.int32), rows_B=jnp.array([row])
    )
    told = modern_gpt.head(params, hidden, config)[0, : index[row]]
    np.testing.assert_allclose(told, expected[row, : index[row]], atol=2e-5)
  for length in (3, 1, 1, 1):
    tokens = np.stack([TOKENS[row, index[row] : index[row] + length] for row in range(2)])
    hidden, cache = modern_gpt.apply_cached(params, tokens, config, cache, jnp.asarray(index, jnp.int32))
    told = modern_gpt.head(params, hidden, config)
    for row in range(2):
      np.testing.assert_allclose(told[row], expected[row, index[row] : index[row] + length], atol=2e-5)
    index = index + length


def test_stacked_layers_compute_what_unrolled_ones_do():
  config = dataclasses.replace(SPEEDRUN, value_embeddings=(), window=0, window_pattern='L')
  params = params_of(config)
  stack = lambda tree: {
    **tree, 'blocks': jax.tree.map(lambda *leaves: jnp.stack(leaves), *(tree['blocks'][str(i)] for i in range(2)))
  }  # fmt: skip
  stacked = dataclasses.replace(config, scan_layers=True, remat='full')
  loss, grads = loss_and_grads(params, config)
  chex.assert_trees_all_close(loss_and_grads(stack(params), stacked), (loss, stack(grads)), atol=2e-6)


def test_a_fresh_model_of_zero_outputs_gives_every_token_the_same_probability():
  config = dataclasses.replace(SPEEDRUN, zero_outputs=True)
  params = modern_gpt.init(jax.random.key(0), config)
  np.testing.assert_array_equal(logits_of(params, TOKENS, config), 0.0)


def test_scores_depend_on_how_far_tokens_are_apart_alone(key):
  q, k = jax.random.normal(key, (2, 1, 1, 3, 8))
  score = lambda at: jnp.einsum(
    'BTHK,BTHK->H', *(rotary.rotate(x, jnp.array([place]), RotaryConfig()) for x, place in ((q, at + 5), (k, at)))
  )
  np.testing.assert_allclose(score(0), score(40), rtol=1e-4, atol=1e-5)
  assert not np.allclose(score(0), jnp.einsum('BTHK,BTHK->H', q, k))


@pytest.mark.parametrize('scaling', ['linear', 'llama3', 'yarn'])
def test_stretched_positions_slow_down_slow_pairs_and_leave_fast_ones(scaling):
  plain = rotary.compute_frequencies(RotaryConfig(theta=5e5), 64)
  config = RotaryConfig(theta=5e5, scaling=scaling, factor=8.0, fast=32.0 if scaling == 'yarn' else 4.0)
  ratio = rotary.compute_frequencies(config, 64) / plain
  assert ratio[-1] == pytest.approx(1 / 8)
  assert ratio[0] == pytest.approx(1 / 8 if scaling == 'linear' else 1.0)
  assert (np.diff(ratio) <= 1e-6).all()


@pytest.mark.parametrize(
  ('changes', 'says'),
  [
    ({'num_kv_heads': 3}, 'num_heads 4 is not divisible by num_kv_heads 3'),
    ({'head_dim': 5}, 'must be even'),
    ({'window': 4}, 'goes with an S'),
    ({'window_pattern': 'SL'}, 'goes with an S'),
    ({'value_embeddings': (2,)}, 'names layer 2; there are 0 to 1'),
    ({'scan_layers': True, 'value_embeddings': (0,)}, 'layers that are alike'),
    ({'activation': 'gelu'}, 'not one of swiglu'),
  ],
  ids=str,
)
def test_what_does_not_fit_is_refused(changes, says):
  with pytest.raises(ValueError, match=says):
    dataclasses.replace(LLAMA, **changes)
  with pytest.raises(UserError, match=r'rotary\.fast=1'):
    RotaryConfig(fast=1.0)
