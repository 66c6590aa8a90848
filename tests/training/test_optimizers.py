import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mlsd_jax.errors import UserError
from mlsd_jax.models import gpt
from mlsd_jax.training.optimizers import OptimizerConfig, decay_mask, learning_rate_schedule, make_optimizer


@pytest.mark.parametrize('scan_layers', [False, True])
def test_decay_touches_matrices_only(scan_layers, key):
  config = gpt.GPTConfig(
    vocab_size=16, context_length=8, num_layers=2, num_heads=2, embed_dim=8, scan_layers=scan_layers
  )
  params = jax.tree.map(jnp.ones_like, gpt.init(key, config))
  optimizer = make_optimizer(OptimizerConfig(learning_rate=0.1, weight_decay=0.5, schedule='constant'), 10)
  updates, _ = optimizer.update(jax.tree.map(jnp.zeros_like, params), optimizer.init(params), params)
  moved = jax.tree.map(lambda u: bool(jnp.all(u != 0)), updates)
  still = jax.tree.map(lambda u: bool(jnp.all(u == 0)), updates)
  for path, value in jax.tree_util.tree_leaves_with_path(moved):
    name = path[-1].key
    assert value == (name == 'kernel' or name.endswith('embedding')), path
  assert jax.tree.leaves(still) == [not value for value in jax.tree.leaves(moved)]
  assert sum(jax.tree.leaves(decay_mask(params))) == (4 * (1 if scan_layers else 2)) + 2


def test_adamw_is_the_paper_s(key):
  """Against the update written out (Loshchilov & Hutter 2019, algorithm 2)."""
  rng = np.random.default_rng(0)
  weight = rng.normal(size=(3, 4)).astype(np.float32)
  config = OptimizerConfig(learning_rate=0.01, schedule='constant', clip_norm=0.0, weight_decay=0.1)
  optimizer = make_optimizer(config, 100)
  params = {'kernel': jnp.asarray(weight)}
  state = optimizer.init(params)
  m = v = np.zeros_like(weight)
  for t in range(1, 6):
    gradient = rng.normal(size=(3, 4)).astype(np.float32)
    updates, state = optimizer.update({'kernel': jnp.asarray(gradient)}, state, params)
    params = optax.apply_updates(params, updates)
    m = config.beta1 * m + (1 - config.beta1) * gradient
    v = config.beta2 * v + (1 - config.beta2) * gradient**2
    m_hat, v_hat = m / (1 - config.beta1**t), v / (1 - config.beta2**t)
    weight = weight - 0.01 * (m_hat / (np.sqrt(v_hat) + config.epsilon) + 0.1 * weight)
  np.testing.assert_allclose(params['kernel'], weight, rtol=1e-5, atol=1e-6)


def test_clipping_scales_to_the_global_norm():
  optimizer = make_optimizer(OptimizerConfig(name='sgd', beta1=0.0, learning_rate=1.0, schedule='constant'), 10)
  params = {'a': jnp.zeros(2), 'b': jnp.zeros(1)}
  updates, _ = optimizer.update({'a': jnp.array([3.0, 0.0]), 'b': jnp.array([4.0])}, optimizer.init(params), params)
  np.testing.assert_allclose(updates['a'], [-0.6, 0.0], rtol=1e-6)
  np.testing.assert_allclose(updates['b'], [-0.8], rtol=1e-6)


def test_schedule_warms_up_to_the_peak_and_ends_at_the_floor():
  config = OptimizerConfig(learning_rate=1e-3, warmup_steps=10, final_learning_rate=1e-4)
  rates = [float(learning_rate_schedule(config, 100)(i)) for i in range(101)]
  assert 0 < rates[0] < rates[5] < rates[9] < 1e-3
  assert rates[10] == pytest.approx(1e-3)
  assert all(a >= b for a, b in itertools.pairwise(rates[10:]))
  assert rates[55] == pytest.approx((1e-3 + 1e-4) / 2)
  assert rates[100] == pytest.approx(1e-4)


@pytest.mark.parametrize(
  'config',
  [OptimizerConfig(name='nope'), OptimizerConfig(schedule='nope'), OptimizerConfig(warmup_steps=10, decay_steps=10)],
)
def test_bad_settings_are_named(config):
  with pytest.raises(UserError, match=r'nope|warmup_steps'):
    make_optimizer(config, 10)


def test_rsqrt_is_the_schedule_of_attention_is_all_you_need():
  """D^-0.5 min(step^-0.5, step warmup^-1.5) from the peak on, and a linear warmup to it."""
  width, warmup = 64, 400
  peak = (width * warmup) ** -0.5
  config = OptimizerConfig(learning_rate=peak, schedule='rsqrt', warmup_steps=warmup)
  schedule = learning_rate_schedule(config, 4000)
  for step in (400, 401, 1000, 3999):
    assert float(schedule(step)) == pytest.approx(width**-0.5 * step**-0.5, rel=1e-5)
  assert float(schedule(199)) == pytest.approx(peak / 2, rel=0.01)


@pytest.mark.parametrize('name', ['learning_rate', 'weight_decay', 'clip_norm', 'final_learning_rate'])
@pytest.mark.parametrize('value', [float('nan'), float('inf'), -1.0])
def test_settings_that_are_no_sizes_are_refused(name, value):
  with pytest.raises(UserError, match=name):
    OptimizerConfig(**{name: value})


def test_rowwise_adagrad_keeps_one_number_a_row():
  params = {'item_table': jnp.ones((5, 3)), 'code_tables': {'0': jnp.ones((2, 4))}, 'mlp': {'kernel': jnp.ones((3, 3))}}
  config = OptimizerConfig(
    name='rowwise_adagrad',
    learning_rate=0.01,
    table_learning_rate=0.5,
    schedule='constant',
    clip_norm=0.0,
    weight_decay=0.0,
  )
  optimizer = make_optimizer(config, 10)
  state = optimizer.init(params)
  grads = jax.tree.map(jnp.zeros_like, params)
  rows = jnp.array([[1.0, 2.0, 2.0], [0.0, 0.0, 0.0]])
  grads['item_table'] = grads['item_table'].at[:2].set(rows)
  wanted, total = jnp.ones((2, 3)), jnp.zeros((2, 1))
  for _ in range(3):
    updates, state = optimizer.update(grads, state, params)
    params = optax.apply_updates(params, updates)
    total = total + jnp.square(rows).mean(1, keepdims=True)
    wanted = wanted - 0.5 * rows / jnp.sqrt(total + 1e-8)
  np.testing.assert_allclose(params['item_table'][:2], wanted, rtol=1e-5)
  np.testing.assert_array_equal(params['item_table'][2:], 1.0)  # no gradient, no move
  sizes = [leaf.shape for leaf in jax.tree.leaves(state) if getattr(leaf, 'ndim', 0) == 2]
  assert (5, 1) in sizes
  assert (2, 1) in sizes
  assert (5, 3) not in sizes
