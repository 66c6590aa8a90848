"""Factors that the towers start from: what they are zero for, and whether they tell tastes apart."""

import dataclasses

import jax
import numpy as np
import polars as pl
import pytest

from mlsd_jax.models import two_tower
from mlsd_jax.recsys import factors, splits, tower_examples, towers
from mlsd_jax.recsys.tower_examples import Histories

DAY = 86_400


def _histories(user, item, users, day=None):
  day = np.arange(len(user)) % 7 if day is None else day
  events = pl.DataFrame({'user': user, 'item': item, 'time': np.asarray(day, np.int64) * DAY}).sort('time')
  return Histories.of(events, users)


def _two_tastes(rng, users=60, items=20, each=12):
  """Users of an even number buy even items, the others odd ones."""
  user = np.repeat(np.arange(users), each)
  return user, 2 * rng.integers(0, items // 2, len(user)) + user % 2


def test_items_of_one_taste_lie_together():
  user, item = _two_tastes(np.random.default_rng(0))
  table = factors.item_factors(_histories(user, item, 60), 21, 2)
  assert table.shape == (22, 2)
  near = table[1:21] @ table[1:21].T
  same = np.equal.outer(np.arange(20) % 2, np.arange(20) % 2)
  assert near[same].min() > 0 > near[~same].max() - 1e-4
  np.testing.assert_allclose(table[[0, 21]], 0.0, atol=1e-6)  # the row of unknown items, and what nobody bought
  assert np.linalg.norm(table, axis=1).max() == pytest.approx(1.0)


def test_directions_past_the_rank_are_empty():
  user, item = _two_tastes(np.random.default_rng(1), users=6, items=4)
  table = factors.item_factors(_histories(user, item, 6), 4, 16)
  assert table.shape == (5, 16)
  assert np.isfinite(table).all()
  np.testing.assert_allclose(table[:, 6:], 0.0, atol=1e-6)


def test_a_purchase_of_long_ago_says_less():
  user, item = _two_tastes(np.random.default_rng(2))
  # One item is bought by both tastes: lately by the even, once upon a time by the odd.
  user, item = np.concatenate([user, np.arange(60)]), np.concatenate([item, np.full(60, 20)])
  day = np.concatenate([np.full(len(user) - 60, 700), np.where(np.arange(60) % 2, 0, 700)])
  table = factors.item_factors(_histories(user, item, 60, day), 21, 2)
  assert (table[21] @ table[1:21:2].T).mean() > 2 * (table[21] @ table[2:21:2].T).mean()


def test_items_without_columns_have_factors_all_the_same(made):
  cut = splits.cuts(made.dataset, 1)[0]
  bare = dataclasses.replace(made.dataset, categories=(), attributes=())
  data = tower_examples.tower_data(bare, cut, 8)
  config = towers.model_config(data, {'embed_dim': 8, 'hidden_dim': 8, 'history_length': 16, 'sequence_length': 4})
  key = jax.random.key(0)
  assert jax.tree.structure(factors.start(key, config, data)) == jax.tree.structure(two_tower.init(key, config))


def test_towers_find_more_from_factors_than_from_noise(made):
  cut = splits.cuts(made.dataset, 1)[0]
  data = tower_examples.tower_data(made.dataset, cut, 8)
  config = towers.model_config(data, {'embed_dim': 8, 'hidden_dim': 8, 'history_length': 16, 'sequence_length': 4})
  bought = splits.targets(made.dataset, cut)

  def found(params):
    users = towers.some_users(params, data, config, data.histories, bought.users, cut)
    best = np.argsort(-users @ towers.all_items(params, data, config).T, 1)[:, :40]
    row = np.searchsorted(bought.users, bought.user)
    return (best[row] == bought.item[:, None]).any(1).mean()

  key = jax.random.key(0)
  start = factors.start(key, config, data)
  shapes = lambda params: jax.tree.map(lambda x: (x.shape, x.dtype), params)
  assert shapes(start) == shapes(two_tower.init(key, config))
  assert found(start) > 1.3 * found(two_tower.init(key, config))
