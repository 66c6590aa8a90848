"""The towers: what each side may depend on."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlsd_jax.models import adapter, two_tower
from mlsd_jax.models.two_tower import Items, TwoTowerConfig

CONFIG = TwoTowerConfig(
  num_items=30,
  code_sizes=(4, 6),
  user_sizes=(3,),
  embed_dim=8,
  hidden_dim=16,
  history_length=12,
  sequence_length=6,
  history_code=1,
  factor_dim=3,
)
CODES = jnp.asarray(np.random.default_rng(0).integers(0, 4, (31, 2)), jnp.int32)
KNOWN = Items(CODES, jnp.asarray(np.random.default_rng(1).random((31, 3)), jnp.float32), jnp.arange(31.0))


@pytest.fixture
def params(key):
  """Away from the start, where the perceptrons give nothing yet."""
  started = two_tower.init(key, CONFIG)
  down = 0.1 * jax.random.normal(key, started['user_mlp']['down']['kernel'].shape)
  return started | {'user_mlp': started['user_mlp'] | {'down': started['user_mlp']['down'] | {'kernel': down}}}


def test_at_the_start_the_perceptrons_give_nothing(key):
  started = two_tower.init(key, CONFIG)
  items = jnp.arange(1, 5)
  bare = started['item_table'][items] + sum(
    started['code_tables'][str(column)][CODES[items, column]] for column in range(CODES.shape[1])
  )
  np.testing.assert_allclose(two_tower.item_vectors(started, items, KNOWN, CONFIG)[:, :8], bare, rtol=1e-6)


def _users(params, history, ages=None, user_codes=None, config=CONFIG):
  history = jnp.asarray(history, jnp.int32)
  ages = jnp.ones(history.shape) if ages is None else jnp.asarray(ages, jnp.float32)
  factors = jnp.tile(jnp.array([1.0, 2.0, 3.0]), (len(history), 1))
  user_codes = jnp.zeros((len(history), 1), jnp.int32) if user_codes is None else user_codes
  return two_tower.user_vectors(params, history, ages, factors, user_codes, CODES, config)


def test_the_sequence_is_what_whole_blocks_make_of_its_last_item(key):
  deep = dataclasses.replace(CONFIG, num_layers=2)
  params = two_tower.init(key, deep)
  module = adapter.bind(two_tower.TwoTower, deep, params)
  rng = np.random.default_rng(3)
  x_BHD = jnp.asarray(rng.normal(size=(4, CONFIG.history_length, 8)), jnp.float32)
  known_BH = jnp.asarray(rng.random(x_BHD.shape[:2]) < 0.8).at[:3, -1].set(True).at[3, -1].set(False)
  length = CONFIG.sequence_length
  y_BTD = module.sequence_in(x_BHD[:, -length:]) + module.position[...][None]
  for block in module.blocks:
    y_BTD, _ = block(y_BTD, mask_BTS=jnp.tril(jnp.ones((length, length), bool))[None] & known_BH[:, None, -length:])
  expected = y_BTD[:, -1] * known_BH[:, -1:]
  np.testing.assert_allclose(module.sequence(x_BHD, known_BH), expected, rtol=1e-5, atol=1e-6)
  assert np.abs(np.asarray(expected)[:3]).min() > 0


def _history(*rows):
  out = np.full((len(rows), CONFIG.history_length), -1)
  for row, items in enumerate(rows):
    if items:
      out[row, -len(items) :] = items
  return out


def test_what_is_counted_stands_beside_what_is_learnt(params):
  users = _users(params, _history([1, 2], []))
  items = two_tower.item_vectors(params, jnp.arange(1, 31), KNOWN, CONFIG)
  chex.assert_shape([users, items], [(2, 8 + 3 + 1), (30, 8 + 3 + 1)])
  np.testing.assert_array_equal(items[:, 8:11], KNOWN.factors_IK[1:])
  np.testing.assert_array_equal(items[:, 11], KNOWN.popularity_I[1:])
  strength = jnp.exp(params['factor_strength'])
  np.testing.assert_allclose(users[:, 8:11], strength * jnp.array([[1.0, 2.0, 3.0]] * 2), rtol=1e-6)
  np.testing.assert_allclose(users[:, 11], params['popularity_weight'])
  boosted = _users(params, _history([1, 2], []), config=dataclasses.replace(CONFIG, factor_boost=2.0))
  np.testing.assert_allclose(boosted, users * np.where((np.arange(12) >= 8) & (np.arange(12) < 11), 2, 1), rtol=1e-5)


def test_a_user_does_not_depend_on_its_batch(params):
  together = _users(params, _history([1, 2, 3], [4, 5]))
  alone = _users(params, _history([4, 5]))
  np.testing.assert_allclose(together[1], alone[0], rtol=1e-5, atol=1e-6)


def test_padding_says_nothing(params):
  history = _history([1, 2, 3])
  ages = np.ones(history.shape)
  ages[history < 0] = 1e6
  np.testing.assert_allclose(_users(params, history), _users(params, history, ages), rtol=1e-6)


def test_who_bought_nothing_has_a_finite_vector(params):
  chex.assert_tree_all_finite(_users(params, _history([])))


def test_the_bag_does_not_know_order_and_the_transformer_does(params):
  config = dataclasses.replace(CONFIG, sequence_length=0)
  bag = two_tower.init(jax.random.key(1), config)
  forth, back = _history([1, 2, 3]), _history([3, 2, 1])
  np.testing.assert_allclose(_users(bag, forth, config=config), _users(bag, back, config=config), atol=1e-6)
  assert abs(_users(params, forth) - _users(params, back)).max() > 1e-4


def test_content_reaches_an_item_without_a_row_of_its_own(params):
  told = lambda *codes: KNOWN._replace(codes_IC=CODES.at[0].set(jnp.array(codes)))
  items, other = (two_tower.item_vectors(params, jnp.array([0, 0]), told(*codes), CONFIG) for codes in ((1, 2), (3, 3)))
  assert abs(items - other).max() > 1e-3
  config = dataclasses.replace(CONFIG, content=False)
  without = two_tower.init(jax.random.key(0), config)
  assert 'code_tables' not in without


def test_normalised_vectors_have_length_one(params):
  config = dataclasses.replace(CONFIG, normalize=True, temperature=0.1)
  items = two_tower.item_vectors(params, jnp.arange(1, 5), KNOWN, config)[:, :8]
  np.testing.assert_allclose(jnp.linalg.norm(items, axis=-1), 1.0, rtol=1e-3)
  users = _users(params, _history([1, 2]), config=config)[:, :8]
  np.testing.assert_allclose(jnp.linalg.norm(users, axis=-1), 10.0, rtol=1e-3)


def test_bad_shapes_are_refused():
  with pytest.raises(ValueError, match='longer than the history'):
    TwoTowerConfig(num_items=3, history_length=4, sequence_length=8)
  with pytest.raises(ValueError, match='divisible'):
    TwoTowerConfig(num_items=3, sequence_dim=9)


def test_ids_past_the_table_take_the_row_of_unknown_ones(params):
  past, unknown = (two_tower.item_vectors(params, jnp.full(2, row), KNOWN, CONFIG) for row in (31, 0))
  np.testing.assert_array_equal(past, unknown)
