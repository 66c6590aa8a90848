"""The GPT against a plain numpy forward pass and against what must hold of any decoder-only Transformer."""

import dataclasses
import functools
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlsd_jax.models import gpt

CONFIG = gpt.GPTConfig(vocab_size=61, context_length=16, num_layers=2, num_heads=2, embed_dim=16)
STACKED = dataclasses.replace(CONFIG, scan_layers=True)


@functools.cache
def params_of(config: gpt.GPTConfig):
  """Random parameters, biases and scales too, so that none can be left out unseen."""
  rng = np.random.default_rng(2)
  shapes = jax.eval_shape(lambda: gpt.init(jax.random.key(0), config))
  return jax.tree.map(lambda leaf: jnp.asarray(0.2 * rng.standard_normal(leaf.shape, np.float32)), shapes)


@functools.cache
def tokens_of(batch: int, length: int, vocab_size: int = CONFIG.vocab_size):
  return np.random.default_rng(3).integers(0, vocab_size, (batch, length)).astype(np.int32)


@functools.partial(jax.jit, static_argnums=2)
def logits_of(params, tokens, config, key=None):
  return gpt.apply(params, tokens, config, key=key)


@functools.partial(jax.jit, static_argnums=2)
def loss_and_grads(params, tokens, config, key=None):
  loss = lambda params: gpt.token_losses(params, tokens[:, :-1], tokens[:, 1:], config, key=key).mean()
  return jax.value_and_grad(loss)(params)


def stack_blocks(params):
  blocks = [params['blocks'][str(i)] for i in range(len(params['blocks']))]
  return {**params, 'blocks': jax.tree.map(lambda *leaves: jnp.stack(leaves), *blocks)}


def reference_logits(params, tokens_T, config):
  """GPT-2 in float64 numpy, one sequence, one head and one query at a time."""
  params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)

  def norm(x, p):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * p['scale'] + p['bias']

  def gelu(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))

  x = params['token_embedding'][tokens_T] + params['position_embedding'][: len(tokens_T)]
  for layer in range(config.num_layers):
    block = params['blocks'][str(layer)]
    p, h = block['attention'], norm(x, block['norm_1'])
    mixed = np.zeros((len(x), config.num_heads, config.head_dim))
    for head in range(config.num_heads):
      q, k, v = (h @ p['qkv']['kernel'][:, i, head] + p['qkv']['bias'][i, head] for i in range(3))
      for t in range(len(x)):
        weights = np.exp(k[: t + 1] @ q[t] / math.sqrt(config.head_dim))
        mixed[t, head] = weights / weights.sum() @ v[: t + 1]
    x = x + np.einsum('thk,hkd->td', mixed, p['out']['kernel']) + p['out']['bias']
    p, h = block['mlp'], norm(x, block['norm_2'])
    x = x + gelu(h @ p['up']['kernel'] + p['up']['bias']) @ p['down']['kernel'] + p['down']['bias']
  return norm(x, params['final_norm']) @ params['token_embedding'][: config.vocab_size].T


def test_logits_are_those_of_a_plain_forward_pass():
  tokens, params = tokens_of(2, 12), params_of(CONFIG)
  expected = np.stack([reference_logits(params, row, CONFIG) for row in tokens])
  np.testing.assert_allclose(logits_of(params, tokens, CONFIG), expected, atol=2e-5)


def test_causality_by_gradient():
  """The logits of a position depend on every embedding up to it and on none after it."""
  params, tokens = params_of(CONFIG), jnp.arange(10)[None] + 3

  def summed(table):
    return gpt.apply({**params, 'position_embedding': table}, tokens, CONFIG)[0].sum(-1)

  grads_TTD = jax.jit(jax.jacrev(summed))(params['position_embedding'])[:, :10]
  np.testing.assert_array_equal(np.abs(grads_TTD).sum(-1) > 0, np.tri(10, dtype=bool))


@pytest.mark.parametrize('config', [CONFIG, STACKED], ids=['unrolled', 'stacked'])
def test_cached_decoding_equals_the_whole_sequence(config):
  params = params_of(CONFIG) if not config.scan_layers else stack_blocks(params_of(CONFIG))
  tokens = tokens_of(2, 12)
  expected = logits_of(params, tokens, config)
  cache = gpt.init_cache(config, 2, 16)
  hidden, cache = gpt.apply_cached(params, tokens[:, :5], config, cache, jnp.zeros(2, jnp.int32))
  np.testing.assert_allclose(gpt.head(params, hidden, config), expected[:, :5], atol=1e-5)
  for t in range(5, 12):
    hidden, cache = gpt.apply_cached(params, tokens[:, t : t + 1], config, cache, jnp.full(2, t))
    np.testing.assert_allclose(gpt.head(params, hidden, config)[:, 0], expected[:, t], atol=1e-5)


@pytest.mark.parametrize('slots', [16, 384])
def test_rows_of_a_cache_are_filled_apart_and_read_each_to_its_own_end(slots):
  params, tokens = params_of(CONFIG), tokens_of(3, 12)
  expected = logits_of(params, tokens, CONFIG)
  # Whatever lies behind a row's own tokens is never read: here other numbers, from padding or an earlier text.
  cache = jax.tree.map(lambda leaf: leaf + 7.0, gpt.init_cache(CONFIG, 3, slots))
  lengths = np.array([5, 2, 9])
  for row in (2, 0, 1):
    padded = np.full((1, 12), 60, np.int32)
    padded[0, : lengths[row]] = tokens[row, : lengths[row]]
    hidden, cache = gpt.apply_cached(params, padded, CONFIG, cache, jnp.zeros(1, jnp.int32), rows_B=jnp.array([row]))
    np.testing.assert_allclose(
      gpt.head(params, hidden, CONFIG)[0, : lengths[row]], expected[row, : lengths[row]], atol=1e-5
    )
  for step in range(3):
    index = lengths + step
    hidden, cache = gpt.apply_cached(params, tokens[np.arange(3), index][:, None], CONFIG, cache, jnp.array(index))
    np.testing.assert_allclose(gpt.head(params, hidden, CONFIG)[:, 0], expected[np.arange(3), index], atol=1e-5)


def test_several_tokens_may_follow_a_prompt_at_once():
  params, tokens = params_of(CONFIG), tokens_of(2, 12)
  cache = gpt.init_cache(CONFIG, 2, 16)
  _, cache = gpt.apply_cached(params, tokens[:, :5], CONFIG, cache, jnp.zeros(2, jnp.int32))
  hidden, _ = gpt.apply_cached(params, tokens[:, 5:9], CONFIG, cache, jnp.full(2, 5))
  np.testing.assert_allclose(gpt.head(params, hidden, CONFIG), logits_of(params, tokens, CONFIG)[:, 5:9], atol=1e-5)


def test_padding_of_the_vocabulary_has_no_logit_and_no_probability():
  padded = dataclasses.replace(CONFIG, vocab_multiple=64)
  params = params_of(CONFIG)
  table = jnp.pad(params['token_embedding'], ((0, 3), (0, 0)), constant_values=50.0)
  wide = {**params, 'token_embedding': table}
  assert padded.padded_vocab_size == 64
  tokens = tokens_of(2, 13)
  short = tokens[:, :12]
  np.testing.assert_allclose(logits_of(wide, short, padded), logits_of(params, short, CONFIG), rtol=0, atol=1e-5)
  loss, grads = loss_and_grads(wide, tokens, padded)
  expected_loss, expected_grads = loss_and_grads(params, tokens, CONFIG)
  np.testing.assert_allclose(loss, expected_loss, rtol=1e-6)
  np.testing.assert_array_equal(grads['token_embedding'][61:], 0)
  np.testing.assert_allclose(grads['token_embedding'][:61], expected_grads['token_embedding'], atol=1e-6)


@pytest.mark.parametrize(
  'options',
  [{'loss_chunks': 4}, {'remat': 'full'}, {'remat': 'dots'}, {'loss_chunks': 2, 'vocab_multiple': 61, 'remat': 'full'}],
  ids=str,
)
def test_memory_savers_change_neither_loss_nor_gradients(options):
  params, tokens = params_of(CONFIG), tokens_of(2, 13)
  loss, grads = loss_and_grads(params, tokens, CONFIG)
  other_loss, other_grads = loss_and_grads(params, tokens, dataclasses.replace(CONFIG, **options))
  np.testing.assert_allclose(other_loss, loss, rtol=1e-6)
  chex.assert_trees_all_close(other_grads, grads, atol=1e-6)


@pytest.mark.parametrize('remat', ['none', 'full'])
def test_stacked_layers_compute_what_unrolled_ones_do(remat):
  params, tokens = params_of(CONFIG), tokens_of(2, 13)
  loss, grads = loss_and_grads(params, tokens, CONFIG)
  stacked_loss, stacked_grads = loss_and_grads(stack_blocks(params), tokens, dataclasses.replace(STACKED, remat=remat))
  np.testing.assert_allclose(stacked_loss, loss, rtol=1e-6)
  chex.assert_trees_all_close(stacked_grads, stack_blocks(grads), atol=1e-6)


def test_token_losses_are_the_cross_entropy_of_the_logits():
  params, tokens = params_of(CONFIG), tokens_of(2, 13)
  log_probs = jax.nn.log_softmax(logits_of(params, tokens[:, :-1], CONFIG))
  expected = -jnp.take_along_axis(log_probs, tokens[:, 1:, None], axis=-1)[..., 0].mean()
  np.testing.assert_allclose(loss_and_grads(params, tokens, CONFIG)[0], expected, rtol=1e-5)


class TestDropout:
  # The 'rbg' generator compiles several times faster than threefry, the default.
  config = dataclasses.replace(CONFIG, dropout=0.3)

  def test_is_off_without_a_key_and_deterministic_with_one(self):
    params, tokens = params_of(CONFIG), tokens_of(2, 12)
    chex.assert_trees_all_equal(logits_of(params, tokens, self.config), logits_of(params, tokens, CONFIG))
    one, same, other = (logits_of(params, tokens, self.config, jax.random.key(seed, impl='rbg')) for seed in (5, 5, 6))
    chex.assert_trees_all_equal(one, same)
    assert not np.allclose(one, other)

  def test_differs_between_rows_and_layers(self):
    params = params_of(CONFIG)
    rows = logits_of(params, np.repeat(tokens_of(1, 12), 2, axis=0), self.config, jax.random.key(0, impl='rbg'))
    assert not np.allclose(rows[0], rows[1])

  def test_drops_the_stated_share_of_the_embedding(self):
    """With blocks that add nothing and a final norm made an identity, dropped embeddings come out as zeros."""
    config = gpt.GPTConfig(vocab_size=7, context_length=32, num_layers=1, num_heads=1, embed_dim=64, dropout=0.3)
    params = jax.tree.map(jnp.zeros_like, params_of(config))
    params = {**params, 'final_norm': {'scale': jnp.ones(64), 'bias': jnp.zeros(64)}}
    table = jnp.zeros((7, 64)).at[0].set(jnp.where(jnp.arange(64) % 2, 1.0, -1.0))
    params = {**params, 'token_embedding': table, 'position_embedding': jnp.zeros((32, 64))}
    module = gpt.adapter.bind(gpt.GPT, config, params)
    embedded = module.embed(jnp.zeros((64, 32), jnp.int32), jnp.arange(32), jax.random.key(1))
    kept = embedded != 0
    assert abs(1 - kept.mean() - 0.3) < 0.006  # 131,072 draws: four standard deviations are 0.005
    np.testing.assert_allclose(np.abs(embedded[kept]), 1 / 0.7, rtol=1e-6)

  def test_remat_repeats_the_same_draws(self):
    params = stack_blocks(params_of(CONFIG))
    config = dataclasses.replace(self.config, scan_layers=True)
    plain = loss_and_grads(params, tokens_of(2, 13), config, jax.random.key(0, impl='rbg'))
    again = loss_and_grads(
      params, tokens_of(2, 13), dataclasses.replace(config, remat='full'), jax.random.key(0, impl='rbg')
    )
    chex.assert_trees_all_close(again, plain, atol=1e-6)


def test_initial_weights_are_normal_with_smaller_residual_projections():
  config = gpt.GPTConfig(vocab_size=1000, context_length=64, num_layers=8, num_heads=4, embed_dim=64, scan_layers=True)
  params = jax.jit(gpt.init, static_argnums=1)(jax.random.key(0), config)
  block = params['blocks']
  residual = 0.02 / math.sqrt(2 * 8)
  for leaf, stddev in [
    (params['token_embedding'], 0.02),
    (params['position_embedding'], 0.02),
    (block['attention']['qkv']['kernel'], 0.02),
    (block['mlp']['up']['kernel'], 0.02),
    (block['attention']['out']['kernel'], residual),
    (block['mlp']['down']['kernel'], residual),
  ]:
    np.testing.assert_allclose(leaf.std(), stddev, rtol=0.05)
    assert abs(leaf.mean()) < 5 * stddev / math.sqrt(leaf.size)
    assert leaf.dtype == jnp.float32
  assert not np.allclose(block['mlp']['up']['kernel'][0], block['mlp']['up']['kernel'][1])  # stacked, yet drawn apart
  for name in ('norm_1', 'norm_2'):
    np.testing.assert_array_equal(block[name]['scale'], 1)
  for bias in (block['norm_1']['bias'], block['attention']['qkv']['bias'], block['mlp']['down']['bias']):
    np.testing.assert_array_equal(bias, 0)


@pytest.mark.parametrize(
  ('size', 'expected'),
  [('gpt2', 124_439_808), ('gpt2-medium', 354_823_168), ('gpt2-large', 774_030_080), ('gpt2-xl', 1_557_611_200)],
)
def test_sizes_have_the_published_number_of_parameters(size, expected):
  config = gpt.GPTConfig(**gpt.SIZES[size], scan_layers=True)
  shapes = jax.eval_shape(lambda: gpt.init(jax.random.key(0), config))
  assert gpt.num_params(shapes) == expected
  assert gpt.num_params(shapes, positions=False) == expected - 1024 * config.embed_dim


def test_no_bias_has_none():
  config = dataclasses.replace(CONFIG, use_bias=False)
  shapes = jax.eval_shape(lambda: gpt.init(jax.random.key(0), config))
  assert not [path for path, _ in jax.tree.leaves_with_path(shapes) if 'bias' in jax.tree_util.keystr(path)]


def test_flops_follow_the_parameters_of_matrix_products():
  """6 N a token, where N leaves out positions, norms and biases, plus attention that grows with the length."""
  config = gpt.GPTConfig()
  shapes = jax.eval_shape(lambda: gpt.init(jax.random.key(0), config))
  assert gpt.flops_per_token(config, 0) == pytest.approx(6 * gpt.num_params(shapes, positions=False), rel=0.002)
  per_key = gpt.flops_per_token(config, 1024) - gpt.flops_per_token(config, 1023)
  assert per_key == 12 * 12 * 768


def test_logits_come_in_the_dtype_of_the_parameters():
  params, tokens = params_of(CONFIG), tokens_of(2, 12)
  half = logits_of(jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params), tokens, CONFIG)
  assert half.dtype == jnp.bfloat16
  np.testing.assert_allclose(half.astype(jnp.float32), logits_of(params, tokens, CONFIG), atol=0.15)


@pytest.mark.parametrize(
  'options', [{'embed_dim': 15}, {'attention': 'flash'}, {'remat': 'some'}, {'dropout': 1.0}], ids=str
)
def test_impossible_configs_are_refused(options):
  with pytest.raises(ValueError, match=next(iter(options))):
    dataclasses.replace(CONFIG, **options)


def test_a_sequence_longer_than_the_positions_is_refused():
  with pytest.raises(ValueError, match='17 tokens is longer than the 16 positions'):
    gpt.apply(params_of(CONFIG), tokens_of(1, 17), CONFIG)
  with pytest.raises(ValueError, match='129 cache slots'):
    gpt.init_cache(CONFIG, 1, 129)
