"""Ratings predicted by ridge regressions, beside their definitions and beside stars whose cause is known."""

import dataclasses

import numpy as np
import polars as pl
import pytest

from experiments import recsys
from mlsd_jax.errors import UserError
from mlsd_jax.recsys import ratings
from mlsd_jax.recsys.purchases import own_table
from mlsd_jax.recsys.purchases.own_table import Reading
from mlsd_jax.recsys.ratings import Ratings, RatingsConfig

U, I = 120, 60


def _rows(seed=0, noise=0.3, share=0.5):
  """Stars of a mean, biases and two tastes."""
  rng = np.random.default_rng(seed)
  user, item = (axis.ravel() for axis in np.meshgrid(np.arange(U), np.arange(I), indexing='ij'))
  truth = 3 + rng.normal(0, 0.4, U)[user] + rng.normal(0, 0.4, I)[item]
  truth += np.einsum('nk,nk->n', rng.normal(0, 0.7, (U, 2))[user], rng.normal(0, 0.7, (I, 2))[item])
  chosen = rng.permutation(len(user))[: int(share * len(user))]
  return user[chosen], item[chosen], truth[chosen] + rng.normal(0, noise, len(chosen))


def _written(folder, **changed):
  user, item, stars = _rows()
  table = pl.DataFrame({'user_id': user, 'item_id': item, 'time': np.arange(len(user)) + 10**9, 'rating': stars})
  table.with_columns(**changed).write_csv(folder / 'stars.csv')
  return folder / 'stars.csv'


def _read(path):
  return own_table.read_table(path, {}, (), Reading(ratings=True))


def test_what_is_held_out_of_each_user_is_its_latest(tmp_path):
  data = _read(_written(tmp_path))
  known, latest = ratings.split_latest(data, 0.1)
  time = {(user, item): time for user, item, time in data.events.select('user', 'item', 'time').iter_rows()}
  when = lambda part, user: [time[pair] for pair in zip(part.user, part.item, strict=True) if pair[0] == user]
  counts = data.events['user'].value_counts()
  for user, count in counts.iter_rows():
    before, after = when(known, user), when(latest, user)
    assert len(after) == count // 10
    assert not after or max(before) < min(after)


def test_factors_solve_each_users_ridge_regression():
  known = Ratings(*_rows())
  biases = ratings.fit_biases(known, U, I)
  model = ratings.fit_factors(known, biases, 3, 0.1, rounds=400)
  left = known.value - biases.mean - biases.of_user[known.user] - biases.of_item[known.item]
  for user in range(3):
    mine = known.user == user
    x = model.items[known.item[mine]]
    expected = np.linalg.solve(x.T @ x + 0.1 * mine.sum() * np.eye(3), x.T @ left[mine])
    np.testing.assert_allclose(model.users[user], expected, atol=1e-3)


def test_biases_are_shrunk_means_of_what_is_left():
  known = Ratings(*_rows())
  model = ratings.fit_biases(known, U, I)
  left = known.value - model.mean - model.of_item[known.item]
  expected = [left[known.user == user].sum() / ((known.user == user).sum() + 5) for user in range(U)]
  np.testing.assert_allclose(model.of_user, expected)


def test_tastes_are_found_where_there_are_any(tmp_path):
  judged = ratings.judge(_read(_written(tmp_path)), RatingsConfig(factors=2))
  rmse = {name: each['rmse'].mean for name, each in judged.errors.items()}
  assert rmse['factors'] < 0.8 * rmse['biases'] < 0.8 * rmse['mean']
  assert judged.p < 0.01


def test_nobodys_ratings_are_the_mean_within_the_scale():
  known = Ratings(*_rows())
  known = dataclasses.replace(known, value=np.clip(known.value, 1, 5))
  model = ratings.fit_factors(known, ratings.fit_biases(known, U + 1, I + 1), 2, 0.1, 3)
  assert model.predict(np.array([U]), np.array([I])) == pytest.approx(known.value.mean())
  every = model.predict(known.user, known.item)
  assert every.min() >= 1
  assert every.max() <= 5


def test_the_command_prints_both_errors(tmp_path, capsys):
  path = _written(tmp_path)
  assert recsys.main(['--mode=ratings', f'--config.data.path={path}', '--config.ratings.factors=2']) == 0
  assert 'factors - biases' in capsys.readouterr().out


def test_few_or_no_ratings_are_said_in_a_line(tmp_path):
  few = tmp_path / 'few.csv'
  few.write_text('user_id,item_id,time,rating\na,x,2020-01-01,3\nb,x,2020-01-01,4\n')
  with pytest.raises(UserError, match='nobody rated 10 things'):
    ratings.split_latest(_read(few), 0.1)
  few.write_text(
    'user_id,item_id,time,rating\n' + ''.join(f'a,i{n},2020-01-01,3\n' for n in range(20)) + 'a,x,2020-01-01,1e308\n'
  )
  with pytest.raises(UserError, match='a rating of inf; beyond'):
    ratings.split_latest(_read(few), 0.1)
  few.write_text('user_id,item_id,time\na,x,2020-01-01\n')
  with pytest.raises(UserError, match='say which column is the rating'):
    _read(few)
