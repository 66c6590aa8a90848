"""Splits by time: weeks do not overlap, cold users are named."""

import numpy as np
import polars as pl
import pytest

from mlsd_jax.errors import UserError
from mlsd_jax.recsys.purchases import weeks
from mlsd_jax.recsys.purchases.events import DAY, make_dataset


def _shop(days):
  return make_dataset(
    'shop', pl.DataFrame({'user_id': ['a'] * len(days), 'item_id': ['x'] * len(days), 'time': [d * DAY for d in days]})
  )


def test_weeks_are_disjoint_and_reach_the_end():
  data = _shop(range(30))
  cuts = weeks.list_cuts(data, 3)
  times = [data.between(cut, cut + weeks.WEEK)['time'].to_list() for cut in cuts]
  assert [len(week) for week in times] == [7, 7, 7]
  assert times[0][-1] == 29 * DAY
  assert times[1][-1] == times[0][0] - DAY


def test_too_little_data_is_told():
  with pytest.raises(UserError, match='spans 10 days, too few to hold out 2 weeks'):
    weeks.list_cuts(_shop([0, 10]), 2)


def test_targets_are_distinct_pairs_with_their_first_day():
  events = pl.DataFrame(
    {
      'user_id': ['a', 'a', 'b'],
      'item_id': ['x', 'x', 'x'],
      'time': [10 * DAY, 12 * DAY, 11 * DAY],
      'quantity': [1, 2, 1],
    }
  )
  found = weeks.find_targets(make_dataset('shop', events), 10 * DAY)
  assert found.user.tolist() == [0, 1]
  assert found.days.tolist() == [0.0, 1.0]
  assert found.quantity.tolist() == [3.0, 1.0]
  assert found.only(found.users[1:]).user.tolist() == [1]


def test_a_week_without_purchases_is_empty():
  found = weeks.find_targets(_shop([0, 30]), 10 * DAY)
  assert len(found.user) == len(found.users) == 0


def test_segments():
  data = make_dataset(
    'shop',
    pl.DataFrame({'user_id': ['a'] * 12 + ['b'], 'item_id': ['x'] * 13, 'time': [d * DAY for d in [*range(12), 30]]}),
  )
  assert weeks.segment_users(data.before(20 * DAY), 2).tolist() == ['heavy', 'cold']
  assert weeks.segment_users(data.before(20 * DAY), 2, light=12).tolist() == ['light', 'cold']


def test_a_sample_of_users_has_all_they_bought(made):
  found = weeks.find_targets(made.dataset, weeks.list_cuts(made.dataset, 1)[0])
  some = found.sample(10)
  assert len(some.users) == 10
  assert [*some.item] == [*found.item[np.isin(found.user, some.users)]]
  assert [*found.sample(10).users] == [*some.users]
  assert found.sample(0) is found
  assert found.sample(10**6) is found


_START = 18_000  # days since 1970: 2019


def _days(*extra, weeks=20, a_week=14):
  rng = np.random.default_rng(0)
  return sorted([*rng.integers(0, 7 * weeks, weeks * a_week).tolist(), 0, 7 * weeks - 1, *extra])


def _from_2019(days):
  return _shop([_START + day for day in days])


@pytest.mark.parametrize('late', [[150], [1000], [29_000], [900, 29_000], [150, 151, 152]])
def test_a_few_purchases_long_after_the_rest_are_named_and_the_week_before_them_offered(late):
  data = _from_2019(_days(*late))
  with pytest.raises(
    UserError,
    match=f'{len(late)} of {len(data.events)} purchases (is|are) .*last is of {weeks.day((_START + 139) * DAY)}',
  ):
    weeks.choose_cuts(data, 3)
  said = weeks.find_late(data)
  assert f' of {weeks.day((_START + late[0]) * DAY)} or later, {late[0] - 139:,} days after all others' in said
  skip = int(said.rpartition('=')[2])
  mended = data.until(int(data.events['time'][-1]) + 1 - skip * weeks.WEEK)
  assert mended.events.equals(_from_2019(_days()).events)
  assert weeks.choose_cuts(mended, 3) == weeks.choose_cuts(_from_2019(_days()), 3)


@pytest.mark.parametrize(
  'days',
  [_days(), [*range(0, 300, 10)], [*range(60), *range(90, 120)], [*range(0, 60, 3), 80], _days(*range(150, 164))],
  ids=['usual', 'few a week', 'closed for a month', 'rare', 'open again'],
)
def test_a_last_week_like_others_is_held_out(days):
  assert weeks.find_late(_from_2019(days)) == ''


def test_a_purchase_long_before_the_rest_is_told():
  days = [-9000, *_days()]
  assert weeks.describe_early(_from_2019(days)).startswith(
    '1 of 283 purchases is of 1994-08-23 or earlier, 9,000 days before'
  )
  assert weeks.describe_early(_from_2019(_days())) == ''
