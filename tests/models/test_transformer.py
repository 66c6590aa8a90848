"""The encoder-decoder against a plain numpy forward pass and against what must hold of it."""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlsd_jax.models import transformer

CONFIG = transformer.TransformerConfig(
  vocab_size=11, num_layers=2, num_heads=2, embed_dim=8, feedforward_dim=12, dropout=0.0
)
SOURCE = np.array([[3, 4, 5, 6, 0, 0], [7, 8, 9, 10, 3, 4]], np.int32)
TARGET = np.array([[1, 5, 4, 3], [1, 9, 8, 0]], np.int32)


@pytest.fixture(scope='module')
def params():
  rng = np.random.default_rng(2)
  shapes = jax.eval_shape(lambda: transformer.init(jax.random.key(0), CONFIG))
  return jax.tree.map(lambda leaf: jnp.asarray(0.4 * rng.standard_normal(leaf.shape, np.float32)), shapes)


def reference_logits(params, source, target):
  """The paper in float64 numpy, one pair, one head at a time."""
  params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
  width = CONFIG.embed_dim
  head_dim = width // CONFIG.num_heads

  def embed(tokens):
    x = math.sqrt(width) * params['embedding'][tokens]
    for position in range(len(tokens)):
      for i in range(width // 2):
        angle = position / 10000 ** (2 * i / width)
        x[position, 2 * i] += math.sin(angle)
        x[position, 2 * i + 1] += math.cos(angle)
    return x

  def norm(x, p):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * p['scale'] + p['bias']

  def attend(x, memory, allowed, p):
    heads = []
    for h in range(CONFIG.num_heads):
      inputs = {'query': x, 'key': memory, 'value': memory}
      q, k, v = (y @ p[name]['kernel'][:, h] + p[name]['bias'][h] for name, y in inputs.items())
      scores = np.where(allowed, q @ k.T / math.sqrt(head_dim), -np.inf)
      weights = np.exp(scores - scores.max(-1, keepdims=True))
      heads.append(weights / weights.sum(-1, keepdims=True) @ v)
    return np.concatenate(heads, -1) @ p['out']['kernel'].reshape(width, width) + p['out']['bias']

  def feedforward(x, p):
    inner = np.maximum(x @ p['up']['kernel'] + p['up']['bias'], 0)
    return inner @ p['down']['kernel'] + p['down']['bias']

  seen = np.tile(source != 0, (len(source), 1))
  memory = embed(source)
  for layer in range(CONFIG.num_layers):
    p = params['encoder'][str(layer)]
    memory = norm(memory + attend(memory, memory, seen, p['attention']), p['norm_1'])
    memory = norm(memory + feedforward(memory, p['feedforward']), p['norm_2'])
  x = embed(target)
  causal = np.tril(np.ones((len(target), len(target)), bool))
  for layer in range(CONFIG.num_layers):
    p = params['decoder'][str(layer)]
    x = norm(x + attend(x, x, causal, p['attention']), p['norm_1'])
    x = norm(x + attend(x, memory, np.tile(source != 0, (len(target), 1)), p['cross_attention']), p['norm_2'])
    x = norm(x + feedforward(x, p['feedforward']), p['norm_3'])
  return x @ params['embedding'].T


def test_matches_a_plain_forward_pass(params):
  logits = transformer.apply(params, SOURCE, TARGET, CONFIG)
  for row in range(len(SOURCE)):
    np.testing.assert_allclose(logits[row], reference_logits(params, SOURCE[row], TARGET[row]), rtol=2e-4, atol=2e-4)


def test_sinusoids_turn_with_position():
  """A shift by k positions is one and the same rotation wherever it starts (section 3.5 of the paper)."""
  table = np.asarray(transformer.sinusoids(40, 8), np.float64)
  sin, cos = table[:, 0::2], table[:, 1::2]
  dot = sin[5:] * sin[:-5] + cos[5:] * cos[:-5]
  np.testing.assert_allclose(dot, np.tile(dot[0], (len(dot), 1)), atol=1e-5)
  np.testing.assert_allclose(table[0], [0, 1] * 4)


def test_no_target_sees_what_follows_it(params):
  first = transformer.apply(params, SOURCE, TARGET, CONFIG)
  other = transformer.apply(params, SOURCE, np.where(np.arange(4) == 2, 7, TARGET), CONFIG)
  np.testing.assert_allclose(first[:, :2], other[:, :2], atol=1e-5)
  assert not np.allclose(first[:, 2:], other[:, 2:], atol=1e-3)


def test_padding_of_the_source_changes_nothing(params):
  short = transformer.apply(params, SOURCE[:1, :4], TARGET[:1], CONFIG)
  np.testing.assert_allclose(transformer.apply(params, SOURCE[:1], TARGET[:1], CONFIG), short, atol=1e-5)


def test_cross_attention_sums_to_one_and_avoids_padding(params):
  maps = transformer.cross_attention(params, SOURCE, TARGET, CONFIG)
  chex.assert_shape(maps, (2, 2, 2, 4, 6))
  np.testing.assert_allclose(maps.sum(-1), 1.0, rtol=1e-5)
  assert float(maps[:, 0, :, :, 4:].max()) == 0.0


def test_dropout_needs_a_key(params, key):
  config = transformer.TransformerConfig(11, num_layers=2, num_heads=2, embed_dim=8, feedforward_dim=12, dropout=0.5)
  still = transformer.apply(params, SOURCE, TARGET, config)
  np.testing.assert_array_equal(still, transformer.apply(params, SOURCE, TARGET, CONFIG))
  assert not np.allclose(still, transformer.apply(params, SOURCE, TARGET, config, key=key))


@pytest.mark.parametrize('wrong', [dict(num_heads=3), dict(dropout=1.0), dict(embed_dim=9, num_heads=3)])
def test_impossible_shapes_are_refused(wrong):
  with pytest.raises(ValueError):
    transformer.TransformerConfig(11, **(dict(embed_dim=8, num_heads=2) | wrong))
