"""The models of makemore: causal, and the same as a plain reading of their papers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from mlsd_jax.errors import UserError
from mlsd_jax.models import manual_backprop, name_models
from mlsd_jax.models.name_models import NameConfig

V, T = 5, 6
apply = jax.jit(name_models.apply, static_argnames='config')
CONFIGS = {
  'bigram': NameConfig('bigram', V, T),
  'mlp': NameConfig('mlp', V, T, context=3, embed_dim=4, hidden_dim=7),
  'mlp_norm': NameConfig('mlp', V, T, context=4, embed_dim=4, hidden_dim=7, norm=True, kaiming=True),
  'wavenet': NameConfig('wavenet', V, T, context=4, embed_dim=4, hidden_dim=7),
  'rnn': NameConfig('rnn', V, T, embed_dim=4, hidden_dim=7),
  'gru': NameConfig('gru', V, T, embed_dim=4, hidden_dim=7),
  'lstm': NameConfig('lstm', V, T, embed_dim=4, hidden_dim=7),
  'bow': NameConfig('bow', V, T, embed_dim=4, hidden_dim=7),
  'transformer': NameConfig('transformer', V, T, embed_dim=8, num_layers=2, num_heads=2),
}
REACH = {'bigram': 1, 'mlp': 3, 'mlp_norm': 4, 'wavenet': 4}  # characters that a model can see
TOKENS = jnp.array([[0, 1, 2, 3, 4, 1], [0, 4, 4, 2, 0, 0], [0, 2, 1, 0, 0, 0]])
WEIGHTS = jnp.array([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0], [1, 1, 1, 0, 0, 0]], jnp.float32)


def shaken(config: NameConfig) -> dict:
  """Parameters of which none is zero."""
  params = name_models.init(jax.random.key(1), config)
  noise = lambda x: x + 0.3 * jax.random.normal(jax.random.key(x.size), x.shape)
  params = jax.tree.map(noise, params)
  return jax.tree_util.tree_map_with_path(lambda path, x: jnp.abs(x) if path[-1].key == 'variance' else x, params)


@pytest.mark.parametrize('name', CONFIGS)
def test_a_place_sees_what_came_before_as_far_as_the_model_reaches(name):
  config = CONFIGS[name]
  params = shaken(config)
  logits = apply(params, TOKENS, config)
  assert logits.shape == (3, T, V)
  row = TOKENS[:1]
  changed = jnp.where(jnp.eye(T, dtype=bool), (row + 1) % V, row)  # each row at one place
  moved = np.abs(apply(params, changed, config) - logits[:1]).max(-1) > 1e-6
  reach = REACH.get(name, T)
  assert moved.tolist() == [[place <= i < place + reach for i in range(T)] for place in range(T)]


@pytest.mark.parametrize('name', CONFIGS)
def test_a_shorter_word_has_the_same_logits(name):
  config = CONFIGS[name]
  params = shaken(config)
  whole = apply(params, TOKENS, config)
  np.testing.assert_allclose(apply(params, TOKENS[:, :4], config), whole[:, :4], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('name', [name for name in CONFIGS if name != 'transformer'])  # whose norms are in float32
def test_gradients(name):
  config = CONFIGS[name]
  loss = lambda params: jnp.sum(jnp.sin(apply(params, TOKENS, config, weights_BT=WEIGHTS)) * WEIGHTS[..., None])
  with jax.enable_x64(True):
    params = jax.tree.map(lambda x: x.astype(jnp.float64), shaken(config))
    check_grads(loss, (params,), order=1, modes=['rev'], atol=1e-6, rtol=1e-5)


def sigmoid(x):
  return 1 / (1 + np.exp(-x))


def plain_recurrence(kind: str, params: dict, tokens: np.ndarray) -> np.ndarray:
  """One word, one place after the other, from the papers' equations."""
  p = jax.tree.map(np.asarray, params)
  h, cell, found = p['start'], np.zeros_like(p['start']), []
  W, U, b = p['from_input']['kernel'], p['from_state']['kernel'], p['from_input']['bias']
  size = len(h)
  for token in tokens:
    x = p['embedding'][token] @ W + b
    if kind == 'rnn':
      h = np.tanh(x + h @ U)
    elif kind == 'gru':
      r, z = sigmoid(x[:size] + h @ U[:, :size]), sigmoid(x[size : 2 * size] + h @ U[:, size : 2 * size])
      h = (1 - z) * h + z * np.tanh(x[2 * size :] + (r * h) @ U[:, 2 * size :])
    else:
      i, f, o, g = np.split(x + h @ U, 4)
      cell = sigmoid(f + 1) * cell + sigmoid(i) * np.tanh(g)
      h = sigmoid(o) * np.tanh(cell)
    found.append(h @ p['out']['kernel'] + p['out']['bias'])
  return np.array(found)


@pytest.mark.parametrize('kind', ['rnn', 'gru', 'lstm'])
def test_recurrent_models_are_their_equations(kind):
  params = shaken(CONFIGS[kind])
  logits = apply(params, TOKENS, CONFIGS[kind])
  for row, word in zip(logits, np.asarray(TOKENS), strict=True):
    np.testing.assert_allclose(row, plain_recurrence(kind, params, word), rtol=1e-5, atol=1e-5)


def test_the_mlp_is_bengios():
  config = CONFIGS['mlp']
  p = jax.tree.map(np.asarray, shaken(config))
  logits = apply(p, TOKENS, config)
  for b, word in enumerate(np.asarray(TOKENS)):
    for t in range(T):
      context = [word[t - k] if t >= k else 0 for k in (2, 1, 0)]
      x = p['embedding'][context].reshape(-1)
      h = np.tanh(x @ p['kernel'].reshape(-1, config.hidden_dim) + p['bias'])
      np.testing.assert_allclose(logits[b, t], h @ p['out']['kernel'] + p['out']['bias'], rtol=1e-5, atol=1e-5)


def test_bag_of_words_is_a_running_mean():
  config = CONFIGS['bow']
  p = jax.tree.map(np.asarray, shaken(config))
  word = np.asarray(TOKENS)[0]
  x = p['embedding'][word] + p['positions'][:T]
  x = x + np.cumsum(x, 0) / np.arange(1, T + 1)[:, None]
  h = np.tanh(x @ p['up']['kernel'] + p['up']['bias']) @ p['down']['kernel'] + p['down']['bias']
  expected = (x + h) @ p['out']['kernel'] + p['out']['bias']
  np.testing.assert_allclose(apply(p, TOKENS, config)[0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('name', ['mlp_norm', 'wavenet'])
def test_calibrated_statistics_give_what_training_on_those_words_gave(name):
  config = CONFIGS[name]
  params = shaken(config)
  in_training = apply(params, TOKENS, config, weights_BT=WEIGHTS)
  calibrated = name_models.calibrate(params, TOKENS, WEIGHTS, config)
  np.testing.assert_allclose(apply(calibrated, TOKENS, config), in_training, rtol=1e-4, atol=1e-5)
  assert not np.allclose(apply(params, TOKENS, config), in_training, atol=0.1)


def test_padding_does_not_move_the_statistics():
  config = CONFIGS['mlp_norm']
  params = shaken(config)
  other = jnp.where(WEIGHTS > 0, TOKENS, 3)
  logits = [apply(params, tokens, config, weights_BT=WEIGHTS) for tokens in (TOKENS, other)]
  np.testing.assert_allclose(logits[0][WEIGHTS > 0], logits[1][WEIGHTS > 0], rtol=1e-5, atol=1e-6)


def test_the_backward_pass_by_hand_is_jaxs():
  config = CONFIGS['mlp_norm']
  params = shaken(config)
  padded = np.pad(np.asarray(TOKENS), ((0, 0), (config.context - 1, 0)))
  places = [(b, t) for b in range(3) for t in range(T - 1) if WEIGHTS[b, t + 1] > 0]
  contexts = jnp.array([padded[b, t : t + config.context] for b, t in places])
  targets = jnp.array([TOKENS[b, t + 1] for b, t in places])

  def loss(params):
    weights = jnp.zeros((len(places), config.context)).at[:, -1].set(1.0)
    logits = apply(params, contexts, config, weights_BT=weights)[:, -1]
    return -jax.nn.log_softmax(logits)[jnp.arange(len(places)), targets].mean()

  expected_loss, expected = jax.value_and_grad(loss)(params)
  found_loss, found = manual_backprop.loss_and_gradient(params, contexts, targets)
  np.testing.assert_allclose(found_loss, expected_loss, rtol=1e-6)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6), found, expected)


@pytest.mark.parametrize(
  ('options', 'message'),
  [
    (dict(kind='cnn'), 'no model'),
    (dict(kind='wavenet', context=6), 'power of two'),
    (dict(kind='mlp', context=0), 'positive'),
  ],
)
def test_bad_settings(options, message):
  with pytest.raises(UserError, match=message):
    NameConfig(vocab_size=V, length=T, **options)
