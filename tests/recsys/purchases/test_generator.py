"""Generated purchases follow the truth they came from; estimators of a policy's value find it."""

import numpy as np
import pytest

from mlsd_jax.errors import UserError
from mlsd_jax.recsys.judging import off_policy, simulation
from mlsd_jax.recsys.purchases import weeks
from mlsd_jax.recsys.purchases.generator import SyntheticConfig, generate


def test_the_same_config_gives_the_same_purchases(made):
  again = generate(made.truth.config)
  assert again.dataset.events.equals(made.dataset.events)


def test_purchases_are_of_the_users_tastes_and_on_sale():
  made = generate(SyntheticConfig(num_users=200, num_items=100, weeks=10, tastes=5, repeat=0.0))
  events, truth = made.dataset.events, made.truth
  user, item = events['user'].to_numpy(), events['item'].to_numpy()
  assert (truth.user_taste[user] == truth.item_taste[item][:, None]).any(1).all()
  week = (events['time'].to_numpy() - events['time'].min()) // weeks.WEEK
  assert (truth.on_sale[item, 0] <= week + 1).all()
  assert (week - 1 < truth.on_sale[item, 1]).all()


def test_probabilities_sum_to_one_and_are_met():
  made = generate(
    SyntheticConfig(num_users=50, num_items=40, events_per_user=400, weeks=2, tastes=4, repeat=0.0, on_sale_weeks=0)
  )
  users = np.arange(50)
  probability = made.truth.probabilities(users, 0)
  np.testing.assert_allclose(probability.sum(1), 1.0, rtol=1e-6)
  counts = np.zeros((50, 40))
  np.add.at(counts, (made.dataset.events['user'].to_numpy(), made.dataset.events['item'].to_numpy()), 1)
  share = counts.sum(0) / counts.sum()
  expected = (probability * counts.sum(1, keepdims=True)).sum(0) / counts.sum()
  assert abs(share - expected).max() < 0.01


def test_bad_sizes_are_refused():
  with pytest.raises(UserError, match='num_users must be at least 1, got 0'):
    SyntheticConfig(num_users=0)
  with pytest.raises(UserError, match='tastes must be at least the 3 of tastes_per_user, got 2'):
    SyntheticConfig(tastes=2, tastes_per_user=3)
  with pytest.raises(UserError, match='num_items must be at least 20, one for each of tastes, got 5'):
    SyntheticConfig(num_items=5)
  with pytest.raises(UserError, match='repeat must be at least 0 and below 1, got 1'):
    SyntheticConfig(repeat=1.0)


def test_nobody_beats_the_oracle(made):
  found = simulation.measure_recovery(made)
  oracle = found.pop('oracle')['recall@100'].mean()
  assert all(values['recall@100'].mean() < oracle + 0.02 for values in found.values())


def test_estimators_find_the_value_of_a_policy():
  made = generate(SyntheticConfig(num_users=500, num_items=100, weeks=6, tastes=10))
  truth, found = simulation.simulate_bandit(made.truth)
  for name in ('IPS', 'SNIPS', 'doubly robust'):
    assert abs(found[name].mean - truth) < 4 * found[name].error, name
  assert abs(found['direct (wrong model)'].mean - truth) > 10 * found['direct (wrong model)'].error
  assert found['SNIPS'].error < found['IPS'].error * 1.2


def test_a_right_reward_model_needs_no_right_weights():
  rng = np.random.default_rng(0)
  rows, actions = 20_000, 3
  chance = rng.random((rows, actions))
  target = np.full((rows, actions), 1 / 3)
  action = rng.integers(0, actions, rows)
  reward = (rng.random(rows) < chance[np.arange(rows), action]).astype(float)
  wrong = np.full(rows, 0.5)  # it was 1/3
  value = off_policy.doubly_robust(action, reward, wrong, target, chance)
  assert abs(value.mean - (target * chance).sum(1).mean()) < 4 * value.error
  with pytest.raises(ValueError, match='probability 0'):
    off_policy.ips(action, reward, np.zeros(rows), target)
