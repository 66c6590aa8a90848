"""What a shop announces: looked up for the week after the cut in the user's usual place, and for no other week."""

import dataclasses
import datetime

import numpy as np
import polars as pl
import pytest

from mlsd_jax.recsys.known import snapshot
from mlsd_jax.recsys.purchases import weeks
from mlsd_jax.recsys.purchases.events import DAY, make_dataset
from mlsd_jax.recsys.stages import blend, candidates, features
from mlsd_jax.recsys.stages.features import PROMOTED

USERS = np.array([0, 1, 2], np.int32)


def _shop(promotions=(), closed=()):
  """Two users who buy at places 7 and 12 on each of 35 days; the week held out begins on 28 January."""
  days = [datetime.date(2020, 1, 1) + datetime.timedelta(day) for day in range(35)]
  events = pl.DataFrame(
    {
      'user_id': ['a', 'b'] * 35,
      'item_id': [letter for day in range(35) for letter in ('wx', 'yz')[day % 2]],
      'time': [str(day) for day in days for _ in range(2)],
      'place': ['7', '12'] * 35,
    }
  )
  table = pl.LazyFrame(
    [(*row, True, row[1] == 7, False) for row in promotions],
    schema={
      'item_id': pl.String,
      'place': pl.Int64,
      'start': pl.Date,
      'stop': pl.Date,
      'display': pl.Boolean,
      'mailer': pl.Boolean,
      'front': pl.Boolean,
    },
    orient='row',
  )
  return make_dataset('shop', events, promotions=table, closed=closed)


def _week(first_day: int) -> tuple[datetime.date, datetime.date]:
  start = datetime.date(2020, 1, first_day)
  return start, start + datetime.timedelta(7)


def _cut(data):
  return weeks.list_cuts(data, 1)[0]


def test_only_the_week_after_the_cut_is_seen():
  now, before = _week(28), _week(21)
  later = (datetime.date(2020, 2, 4), datetime.date(2020, 2, 11))
  old = [('x', 7, *before)]
  seen, same, other = _shop([*old, ('w', 7, *now)]), _shop([*old, ('w', 7, *now), ('y', 12, *later)]), _shop(old)
  taken = [snapshot.take(data, _cut(data)) for data in (seen, same, other)]
  for name, array in taken[0].arrays.items():
    np.testing.assert_array_equal(array, taken[1].arrays[name], err_msg=name)
  assert not np.array_equal(taken[0]['promotion_key'], taken[2]['promotion_key'])


def test_promotions_are_of_the_usual_place():
  data = _shop([('w', 7, *_week(28)), ('w', 12, *_week(28)), ('y', 12, *_week(28))])
  taken = snapshot.take(data, _cut(data))
  rows = {name: row for row, name in enumerate(data.items['id'])}
  asked = [(0, 'w'), (1, 'w'), (0, 'y'), (1, 'y'), (0, 'z'), (2, 'w')]  # user 2 is nobody
  users, items = (np.array(x) for x in zip(*[(user, rows[name]) for user, name in asked], strict=True))
  found = features.look_up_promotions(taken, users, items)
  assert found[:, PROMOTED.index('display')].tolist() == [1, 1, 0, 1, 0, 0]
  assert found[:, PROMOTED.index('mailer')].tolist() == [1, 0, 0, 0, 0, 0]
  assert found[:, PROMOTED.index('share')].tolist() == [1, 1, 0.5, 0.5, 0, 1]


def test_promotions_are_columns_only_where_a_shop_announces_them():
  announced = _shop([('w', 7, *_week(28))])
  columns = []
  for data in (announced, dataclasses.replace(announced, promotions=None)):
    taken = snapshot.take(data, _cut(data))
    union = candidates.collect(taken, USERS, candidates.SOURCES, 4)
    dense = features.compute(taken, union)
    assert dense.shape[1] == len(features.dense_names(taken, union.sources))
    columns.append((dense.shape[1], blend.compute_signals(taken, union).shape[1]))
  assert np.subtract(*columns).tolist() == [len(PROMOTED)] * 2


def test_unknown_items_and_places_of_promotions_are_left_out():
  data = _shop([('w', 7, *_week(28)), ('never sold', 7, *_week(28)), ('w', 99, *_week(28))])
  assert data.promotions is not None
  assert data.promotions.height == 1


@pytest.mark.parametrize(('closed', 'share'), [((), 1.0), ((30,), 6 / 7), ((27, 28, 30, 31), 4 / 7)])
def test_closed_days_of_the_week_to_come_are_known(closed, share):
  data = _shop(closed=tuple(datetime.date(2020, 1, day) for day in closed))
  cut = _cut(data)
  assert datetime.datetime.fromtimestamp(cut, datetime.UTC).date() == datetime.date(2020, 1, 28)
  # The cut is one second past midnight of the 28th: its days are those that their noon lies in.
  assert snapshot.take(data, cut).open_share == pytest.approx(share)
  assert snapshot.take(data, cut + 14 * DAY).open_share == 1.0


def test_deals_are_purchases_made_while_promoted():
  data = _shop([('w', 7, *_week(8)), ('w', 7, *_week(28))])
  rows = {name: row for row, name in enumerate(data.items['id'])}
  taken = snapshot.take(data, _cut(data))
  found = features.look_up_promotions(taken, np.array([0, 0, 1]), np.array([rows['w'], rows['y'], rows['w']]))
  events = data.before(_cut(data)).with_columns(day=pl.from_epoch('time').dt.day())
  mine = events.filter(pl.col('user') == 0)
  of_w = mine.filter(pl.col('item') == rows['w'])
  deals = of_w.filter(pl.col('day').is_between(8, 14)).height
  assert deals > 0
  expected = [deals / of_w.height, 0.0, 0.0]
  np.testing.assert_allclose(found[:, PROMOTED.index('of_pair')], expected, rtol=1e-6)
  np.testing.assert_allclose(found[:, PROMOTED.index('of_user')], [deals / mine.height] * 2 + [0], rtol=1e-6)
  all_w = events.filter(pl.col('item') == rows['w']).height
  np.testing.assert_allclose(found[:, PROMOTED.index('of_item')], [deals / all_w, 0, deals / all_w], rtol=1e-6)


def test_promoted_again_is_told_from_new():
  data = _shop([('w', 7, *_week(21)), ('w', 7, *_week(28)), ('x', 7, *_week(28)), ('y', 7, *_week(21))])
  rows = {name: row for row, name in enumerate(data.items['id'])}
  taken = snapshot.take(data, _cut(data))
  found = features.look_up_promotions(taken, np.zeros(3, int), np.array([rows[name] for name in 'wxy']))
  assert found[:, PROMOTED.index('again')].tolist() == [1, 0, 0]
  assert found[:, PROMOTED.index('display')].tolist() == [1, 1, 0]
