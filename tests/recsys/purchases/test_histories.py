"""Histories: what a user had bought at a moment, to the second and however long the data is."""

import numpy as np
import polars as pl
import pytest

from mlsd_jax.recsys.purchases.events import DAY
from mlsd_jax.recsys.purchases.histories import Histories
from mlsd_jax.recsys.stages.factors import Factors


def _of(seconds, items):
  return Histories.from_events(
    pl.DataFrame({'user': [0] * len(items), 'item': items, 'time': np.asarray(seconds, np.int64)}), 1
  )


@pytest.mark.parametrize('last', [10, 255, 256, 734, 20_000, 40_000])
def test_the_last_day_before_a_cut_is_known_and_the_cut_is_not(last):
  histories = _of([0, (last - 1) * DAY, last * DAY], [1, 2, 3])
  users = np.array([0])
  after = histories.at(users, np.array([last * DAY + 1]), 4)
  assert after['history'].tolist() == [[-1, 2, 3, 4]]
  np.testing.assert_allclose(after['ages'], [[0, last, 1, 1 / DAY]], rtol=1e-3)
  assert histories.at(users, np.array([last * DAY]), 4)['history'].tolist() == [[-1, -1, 2, 3]]
  sold = lambda cut: Factors.at(histories, cut, 4, 0).popularity > np.log(0.06)
  assert sold(last * DAY + 1).tolist()[3:] == [True, True]
  assert sold(last * DAY).tolist()[3:] == [True, False]


@pytest.mark.parametrize('seed', range(5))
def test_histories_are_those_of_a_loop(seed):
  rng = np.random.default_rng(seed)
  number, users = 200, 7
  events = pl.DataFrame(
    {
      'user': rng.integers(0, users, number),
      'item': rng.integers(0, 20, number),
      'time': rng.integers(300, 400, number) * DAY // 4,
    }
  ).sort('time')
  histories = Histories.from_events(events, users)
  asked, cuts = rng.integers(0, users + 1, 50), rng.integers(290, 410, 50) * DAY // 4
  found = histories.at(asked, cuts, 5)
  for user, cut, row, ages in zip(asked, cuts, found['history'], found['ages'], strict=True):
    mine = [(t, i) for u, i, t in events.iter_rows() if u == user and t < cut]
    expected = [item + 1 for _, item in sorted(mine)[-5:]]
    assert row.tolist() == [-1] * (5 - len(expected)) + expected
    np.testing.assert_allclose(ages[row > 0], [(cut - t) / DAY for t, _ in sorted(mine)[-5:]], rtol=1e-6)
