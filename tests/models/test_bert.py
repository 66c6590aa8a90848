"""The encoder against a plain float64 numpy forward pass and against what must hold of it."""

import dataclasses
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlsd_jax.models import bert

CONFIG = bert.BertConfig(
  vocab_size=13, context_length=8, num_layers=2, num_heads=2, embed_dim=8, mlp_dim=12, heads=bert.HEADS
)
TOKENS = np.array([[3, 4, 5, 6, 0, 0], [7, 8, 9, 10, 11, 4]], np.int32)
MASK = np.array([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]], bool)
TYPES = np.array([[0, 0, 1, 1, 0, 0], [0, 1, 1, 1, 1, 1]], np.int32)


@pytest.fixture(scope='module')
def params():
  rng = np.random.default_rng(2)
  shapes = jax.eval_shape(lambda: bert.init(jax.random.key(0), CONFIG))
  return jax.tree.map(lambda leaf: jnp.asarray(0.4 * rng.standard_normal(leaf.shape, np.float32)), shapes)


def reference_hidden(params, tokens, types):
  """The paper in float64 numpy, one text without padding, one head at a time."""
  p = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
  head_dim = CONFIG.head_dim

  def norm(x, p):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-12) * p['scale'] + p['bias']

  gelu = lambda x: x * np.vectorize(lambda v: 0.5 * (1 + math.erf(v / math.sqrt(2))))(x)
  x = p['token_embedding'][tokens] + p['position_embedding'][: len(tokens)] + p['type_embedding'][types]
  x = norm(x, p['embedding_norm'])
  for i in range(CONFIG.num_layers):
    b = p['blocks'][str(i)]
    heads = []
    for h in range(CONFIG.num_heads):
      q, k, v = (x @ b['qkv']['kernel'][:, part, h] + b['qkv']['bias'][part, h] for part in range(3))
      weights = np.exp(q @ k.T / math.sqrt(head_dim))
      heads.append(weights / weights.sum(-1, keepdims=True) @ v)
    y = np.concatenate(heads, -1) @ b['out']['kernel'].reshape(CONFIG.embed_dim, -1) + b['out']['bias']
    x = norm(x + y, b['norm_1'])
    inner = gelu(x @ b['up']['kernel'] + b['up']['bias'])
    x = norm(x + inner @ b['down']['kernel'] + b['down']['bias'], b['norm_2'])
  return x


def test_hidden_states_and_heads_are_the_papers(params):
  hidden = bert.apply(params, TOKENS, MASK, CONFIG, types_BT=TYPES)
  for row in range(2):
    length = MASK[row].sum()
    wanted = reference_hidden(params, TOKENS[row, :length], TYPES[row, :length])
    np.testing.assert_allclose(hidden[row, :length], wanted, atol=2e-5)
  first = reference_hidden(params, TOKENS[1], TYPES[1])[0]
  pooled = np.tanh(first @ np.asarray(params['pooler']['kernel']) + np.asarray(params['pooler']['bias']))
  wanted = pooled @ np.asarray(params['score']['kernel'])[:, 0] + float(params['score']['bias'][0])
  np.testing.assert_allclose(bert.score(params, TOKENS, MASK, TYPES, CONFIG)[1], wanted, atol=2e-5)


def test_segments_default_to_the_first(params):
  zeros = np.zeros_like(TOKENS)
  np.testing.assert_array_equal(
    bert.apply(params, TOKENS, MASK, CONFIG), bert.apply(params, TOKENS, MASK, CONFIG, types_BT=zeros)
  )


@pytest.mark.parametrize('pooling', bert.POOLINGS)
def test_padding_changes_nothing(params, pooling):
  vectors = bert.embed(params, TOKENS, MASK, CONFIG, pooling)
  other = np.where(MASK, TOKENS, 12)
  np.testing.assert_allclose(bert.embed(params, other, MASK, CONFIG, pooling), vectors, atol=1e-6)
  alone = bert.embed(params, TOKENS[:1, :4], MASK[:1, :4], CONFIG, pooling)
  np.testing.assert_allclose(alone[0], vectors[0], atol=1e-6)
  np.testing.assert_allclose(jnp.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)


def test_pooling_is_the_mean_or_the_first():
  hidden = jnp.asarray([[[3.0, 0.0], [0.0, 4.0], [9.0, 9.0]]])
  mask = jnp.asarray([[True, True, False]])
  np.testing.assert_allclose(bert.pool(hidden, mask, 'mean'), [[0.6, 0.8]], atol=1e-6)
  np.testing.assert_allclose(bert.pool(hidden, mask, 'cls'), [[1.0, 0.0]], atol=1e-6)


def test_gradient_reaches_tokens_in_both_directions_and_no_padding(params):
  def middle(table):
    return bert.apply(params | {'token_embedding': table}, TOKENS, MASK, CONFIG)[0, 1].sum()

  touched = np.abs(jax.grad(middle)(params['token_embedding'])).sum(1) > 0
  assert touched[[3, 4, 5, 6]].all()
  assert not touched[0]


def test_masked_logits_are_of_the_chosen_positions(params):
  positions = np.array([[1, 3], [5, 0]], np.int32)
  logits = bert.masked_logits(params, TOKENS, MASK, positions, CONFIG)
  chex.assert_shape(logits, (2, 2, CONFIG.vocab_size))
  alone = bert.masked_logits(params, TOKENS, MASK, positions[:, ::-1], CONFIG)
  np.testing.assert_allclose(alone[:, ::-1], logits, atol=1e-6)


def test_dropout_only_with_a_key(params, key):
  config = dataclasses.replace(CONFIG, dropout=0.5)
  np.testing.assert_array_equal(bert.apply(params, TOKENS, MASK, config), bert.apply(params, TOKENS, MASK, CONFIG))
  assert not np.allclose(bert.apply(params, TOKENS, MASK, config, key=key), bert.apply(params, TOKENS, MASK, config))


def test_narrow_kernels_keep_the_residual_stream_wide(params):
  narrow = jax.tree_util.tree_map_with_path(
    lambda path, leaf: leaf.astype(jnp.bfloat16) if path[-1].key == 'kernel' else leaf, params
  )
  hidden = bert.apply(narrow, TOKENS, MASK, CONFIG)
  chex.assert_type(hidden, jnp.float32)
  np.testing.assert_allclose(hidden[MASK], bert.apply(params, TOKENS, MASK, CONFIG)[MASK], atol=0.2)


def test_heads_are_added_and_dropped(params, key):
  scored, config = bert.with_heads(params, CONFIG, ('pooler', 'score'), key)
  assert set(params) - set(scored) == {'mlm'}
  assert config.heads == ('pooler', 'score')
  assert scored['score'] is params['score']
  fresh, _ = bert.with_heads({k: v for k, v in params.items() if k != 'score'}, config, ('pooler', 'score'), key)
  assert not np.array_equal(fresh['score']['kernel'], params['score']['kernel'])


@pytest.mark.parametrize(
  'bad', [{'embed_dim': 9}, {'heads': ('score',)}, {'heads': ('mlm', 'pooler')}, {'dropout': 1.0}]
)
def test_configs_that_cannot_be_are_refused(bad):
  with pytest.raises(ValueError, match=r'divisible|stands on|in that order|not in'):
    dataclasses.replace(CONFIG, **bad)


def test_a_text_longer_than_the_positions_is_refused(params):
  with pytest.raises(ValueError, match='longer than the 8 positions'):
    bert.apply(params, np.zeros((1, 9), np.int32), np.ones((1, 9), bool), CONFIG)
