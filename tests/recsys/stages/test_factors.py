"""Factors: what they tell apart, what they are zero for, and that they know nothing past their cut."""

import dataclasses

import jax
import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp

from mlsd_jax.models import two_tower
from mlsd_jax.recsys.purchases import weeks
from mlsd_jax.recsys.purchases.histories import Histories
from mlsd_jax.recsys.stages import factors, tower_examples, tower_vectors, towers
from mlsd_jax.recsys.stages.factors import Factors

DAY = 86_400
SMALL = {'embed_dim': 8, 'hidden_dim': 8, 'history_length': 16, 'sequence_length': 4}


def _histories(user, item, users, day=None):
  day = np.arange(len(user)) % 7 if day is None else day
  events = pl.DataFrame({'user': user, 'item': item, 'time': np.asarray(day, np.int64) * DAY}).sort('time')
  return Histories.from_events(events, users)


def _two_tastes(rng, users=60, items=20, each=12):
  """Users of an even number buy even items, the others odd ones."""
  user = np.repeat(np.arange(users), each)
  return user, 2 * rng.integers(0, items // 2, len(user)) + user % 2


def _at(histories, items, dim, day=1000):
  return Factors.at(histories, day * DAY, items, dim)


def test_items_of_one_taste_lie_together():
  user, item = _two_tastes(np.random.default_rng(0))
  table = _at(_histories(user, item, 60), 21, 2).table
  assert table.shape == (22, 2)
  near = table[1:21] @ table[1:21].T
  same = np.equal.outer(np.arange(20) % 2, np.arange(20) % 2)
  assert near[same].min() > 0 > near[~same].max() - 1e-4
  np.testing.assert_allclose(table[[0, 21]], 0.0, atol=1e-6)  # the row of unknown items, and what nobody bought


def test_of_full_rank_a_purchase_stands_out_and_scores_about_one():
  user, item = _two_tastes(np.random.default_rng(0))
  histories = _histories(user, item, 60)
  found = _at(histories, 20, 19)
  scores = found.of_users(histories, np.arange(60), np.full(60, 1000 * DAY)) @ found.table.T
  bought = np.zeros((60, 21), bool)
  bought[user, item + 1] = True
  assert np.median(scores[bought]) == pytest.approx(1.0, abs=0.1)
  assert scores[bought].mean() > 5 * abs(scores[~bought]).mean()


@pytest.mark.parametrize('few', [0, 4096])
def test_few_users_and_many_get_the_same_factors(few, monkeypatch):
  user, item = _two_tastes(np.random.default_rng(4))
  histories = _histories(user, item, 60)
  exact = _at(histories, 20, 6)
  monkeypatch.setattr(factors, '_EXACT', 2.0)
  monkeypatch.setattr(factors, '_FEW', few)
  found = _at(histories, 20, 6)
  np.testing.assert_allclose(exact.table @ exact.table.T, found.table @ found.table.T, atol=2e-4)


@pytest.mark.parametrize('few', [0, 4096])
@pytest.mark.parametrize('shape', [(900, 500), (500, 900)])
def test_the_directions_found_hold_nearly_as_much_as_the_largest(few, shape, monkeypatch):
  rng = np.random.default_rng(5)
  # Tastes that fade slowly into chance, so that no gap parts the directions asked for from the others.
  tastes = rng.random((shape[0], 60)) ** 8 @ rng.random((60, shape[1])) ** 8
  matrix = sp.csr_matrix((rng.random(shape) < 0.05 * tastes / tastes.mean()).astype(np.float32))
  _, values, directions = np.linalg.svd(matrix.toarray())
  monkeypatch.setattr(factors, '_FEW', few)
  found, vectors = factors._largest(matrix, 40)
  np.testing.assert_allclose(vectors.T @ vectors, np.eye(40), atol=1e-4)
  held = lambda vectors: np.square(matrix @ vectors).sum()
  assert held(vectors) > 0.98 * held(directions[:40].T)
  exact = values[39::-1]
  assert (found < exact * (1 + 1e-4)).all()
  assert (found > 0.98 * exact).all()
  assert found[-1] == pytest.approx(exact[-1], rel=1e-3)
  again, _ = factors._largest(matrix, 40)
  np.testing.assert_array_equal(found, again)


@pytest.mark.parametrize('few', [0, 4096])
@pytest.mark.parametrize('shape', [(90, 50), (50, 90)])
def test_what_rounding_leaves_past_the_rank_is_no_direction(few, shape, monkeypatch):
  rng = np.random.default_rng(6)
  matrix = sp.csr_matrix((rng.random((shape[0], 5)) @ rng.random((5, shape[1]))).astype(np.float32))
  monkeypatch.setattr(factors, '_EXACT', 2.0)
  monkeypatch.setattr(factors, '_FEW', few)
  found, vectors = factors._largest(matrix, 20)
  assert not found[:15].any()
  assert not vectors[:, :15].any()
  np.testing.assert_allclose(found[15:], np.linalg.svd(matrix.toarray())[1][4::-1], rtol=1e-3)


def test_directions_past_the_rank_are_empty():
  user, item = _two_tastes(np.random.default_rng(1), users=6, items=4)
  table = _at(_histories(user, item, 6), 4, 16).table
  assert table.shape == (5, 16)
  assert np.isfinite(table).all()
  np.testing.assert_allclose(table[:, 6:], 0.0, atol=1e-6)


def test_a_purchase_of_long_ago_says_less():
  user, item = _two_tastes(np.random.default_rng(2))
  # One item is bought by both tastes: lately by the even, once upon a time by the odd.
  user, item = np.concatenate([user, np.arange(60)]), np.concatenate([item, np.full(60, 20)])
  day = np.concatenate([np.full(len(user) - 60, 990), np.where(np.arange(60) % 2, 0, 990)])
  table = _at(_histories(user, item, 60, day), 21, 2).table
  assert (table[21] @ table[1:21:2].T).mean() > 2 * (table[21] @ table[2:21:2].T).mean()


def test_what_comes_after_the_cut_changes_nothing():
  rng = np.random.default_rng(3)
  user, item = _two_tastes(rng)
  day = rng.integers(0, 100, len(user))
  past = day < 50
  all_of_it, before = _histories(user, item, 60, day), _histories(user[past], item[past], 60, day[past])
  found, expected = (_at(histories, 20, 4, day=50) for histories in (all_of_it, before))
  np.testing.assert_allclose(found.popularity, expected.popularity)
  np.testing.assert_allclose(found.table, expected.table, atol=1e-5)
  asked = np.arange(60), np.full(60, 50 * DAY)
  np.testing.assert_allclose(found.of_users(all_of_it, *asked), expected.of_users(before, *asked), atol=1e-5)


def test_popular_is_what_sold_lately():
  day = np.array([0, 0, 0, 95, 96])  # item 0 thrice long ago, item 1 twice this week
  found = _at(_histories(np.arange(5), np.array([0, 0, 0, 1, 1]), 5, day), 3, 0, day=100)
  assert found.table.shape == (4, 0)
  assert np.argmax(found.popularity) == 2
  assert found.popularity[3] == found.popularity.min() == pytest.approx(np.log(0.05))


def test_nothing_bought_yet():
  histories = _histories(np.arange(5), np.arange(5), 5)
  found = _at(histories, 5, 4, day=0)
  assert not found.table.any()
  assert not found.of_users(histories, np.arange(6), np.zeros(6, np.int64)).any()


def test_towers_find_more_with_factors_than_without(made):
  cut = weeks.list_cuts(made.dataset, 1)[0]
  bought = weeks.find_targets(made.dataset, cut)

  def found(dim):
    data, _ = tower_examples.make_examples(made.dataset, cut, 4, dim)
    config = towers.make_model_config(data, SMALL)
    params = two_tower.init(jax.random.key(0), config)
    users = tower_vectors.compute_user_vectors(params, data, config, data.histories, bought.users, cut)
    best = np.argsort(-users @ tower_vectors.compute_item_vectors(params, data, config).T, 1)[:, :40]
    row = np.searchsorted(bought.users, bought.user)
    return (best[row] == bought.item[:, None]).any(1).mean()

  assert found(16) > 1.2 * found(0)


def test_the_boost_is_the_one_that_finds_most(made):
  cut = weeks.list_cuts(made.dataset, 1)[0]
  data, _ = tower_examples.make_examples(made.dataset, cut, 4, 16)
  config = towers.make_model_config(data, SMALL)
  params = two_tower.init(jax.random.key(0), config)
  bought = weeks.find_targets(made.dataset, cut)
  boost = towers.choose_factor_boost(params, data, config, bought, 40)
  vectors = tower_vectors.compute_user_vectors(params, data, config, data.histories, bought.users, cut)
  items = tower_vectors.compute_item_vectors(params, data, config)
  row = np.searchsorted(bought.users, bought.user)

  def recall(boost):
    scale = np.ones(items.shape[1])
    scale[8:24] = boost
    best = np.argsort(-(vectors * scale) @ items.T, 1)[:, :40]
    hit = (best[row] == bought.item[:, None]).any(1)
    return (np.bincount(row, hit) / np.bincount(row)).mean()

  assert recall(boost) == pytest.approx(max(map(recall, (1.0, 1.5, 2.0, 3.0, 4.0, 6.0))), abs=1e-3)


def test_a_refresh_keeps_the_usual_weight_unless_another_is_clearly_better(made):
  cut = weeks.list_cuts(made.dataset, 1)[0]
  data, _ = tower_examples.make_examples(made.dataset, cut, 4, 16)
  config = towers.make_model_config(data, SMALL)
  params = two_tower.init(jax.random.key(0), config)
  own = float(np.exp(params['factor_strength']))
  boost = lambda usual=None: towers.choose_factor_boost(
    params, data, config, weeks.find_targets(made.dataset, cut), 40, usual and usual * own
  )
  best = boost()
  assert boost(0.9 * best) == pytest.approx(0.9 * best)  # finds nearly as much
  assert boost(1e-3) == boost()  # as if there were no factors
  boosted = dataclasses.replace(config, factor_boost=best)
  assert towers.factor_weight(params, boosted) == pytest.approx(best * own)
