"""Rates of what comes back, against a loop over weeks and pairs."""

import numpy as np
import polars as pl
import pytest

from mlsd_jax.recsys.known import reorders, snapshot
from mlsd_jax.recsys.purchases import weeks
from mlsd_jax.recsys.purchases.events import DAY


def test_rates_are_those_of_a_loop(made):
  data = made.dataset
  cut = weeks.list_cuts(data, 1)[0]
  state = snapshot.take(data, cut)
  history = data.before(cut)
  week = ((cut - history['time'].to_numpy()) / DAY // 7).astype(int)
  pairs = list(zip(history['user'].to_list(), history['item'].to_list(), strict=True))
  risk, back = [], []
  for latest in range(reorders.LATEST):
    before = {pair for pair, at in zip(pairs, week, strict=True) if latest < at <= latest + reorders.BEFORE}
    bought = {pair for pair, at in zip(pairs, week, strict=True) if at == latest}
    risk += sorted(before)
    back += [pair in bought for pair in sorted(before)]
  usual = np.mean(back)
  kind = state['category'][1]
  for of, number, rates in (
    (lambda pair: pair[1], data.num_items, state['reorder_item'][:, 0]),
    (lambda pair: pair[0], data.num_users + 1, state['reorder_user']),
    (lambda pair: kind[pair[1]], kind.max() + 1, state['reorder_1']),
  ):
    asked = np.array([of(pair) for pair in risk])
    for each in range(0, number, 7):
      mine = asked == each
      expected = 10 * (np.array(back)[mine].sum() / usual + 20) / (mine.sum() + 20)
      assert rates[each] == pytest.approx(expected, rel=1e-5)

  of_last = {pair for pair, at in zip(pairs, week, strict=True) if 0 < at <= reorders.BEFORE}
  last = list(zip(risk, back, strict=True))[: len(of_last)]
  usual = np.mean([came for _, came in last])
  for each in range(0, data.num_items, 7):
    mine = [came for pair, came in last if pair[1] == each]
    assert state['reorder_item'][each, 1] == pytest.approx(10 * (sum(mine) / usual + 20) / (len(mine) + 20), rel=1e-5)


def test_without_anything_at_risk_all_rates_are_the_usual_one():
  history = pl.DataFrame({'user': [0, 1], 'item': [0, 1], 'age': [1.0, 2.0]})
  found = reorders.reorders(history, np.zeros((1, 2), np.int32), 3, 2)
  assert found['reorder_item'].tolist() == [[10, 10], [10, 10]]
  assert found['reorder_user'].tolist() == [10, 10, 10]
