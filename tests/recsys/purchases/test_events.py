"""Events as one table: ids become rows, whatever is wrong is said in one line."""

import datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsd_jax.errors import UserError
from mlsd_jax.recsys.purchases.events import DAY, make_dataset, vocabulary


def _events(**columns):
  return pl.DataFrame(
    {'user_id': ['b', 'a', 'b'], 'item_id': [7, 7, 9], 'time': [1_500_000_300, 1_500_000_100, 1_500_000_200]} | columns
  )


def test_rows_are_sorted_by_time_and_named_by_number():
  data = make_dataset('shop', _events(price=[1.0, float('nan'), None]))
  assert data.events['time'].to_list() == [1_500_000_100, 1_500_000_200, 1_500_000_300]
  assert [data.users['id'][u] for u in data.events['user']] == ['a', 'b', 'b']
  assert [data.items['id'][i] for i in data.events['item']] == ['7', '9', '7']
  assert data.events['price'].to_list() == [0.0, 0.0, 1.0]
  assert data.events['quantity'].to_list() == [1.0] * 3


def test_a_fingerprint_is_of_what_was_bought_however_its_lines_come():
  rows = {'user_id': list('aab'), 'item_id': list('xxy'), 'time': [5, 5, 9], 'price': [1.0, 2.0, 3.0]}
  data = make_dataset('shop', pl.DataFrame(rows))
  assert make_dataset('shop', pl.DataFrame(rows)[[2, 1, 0]]).fingerprint == data.fingerprint
  others = [{'price': [1.0, 2.0, 4.0]}, {'time': [5, 5, 8]}, {'item_id': list('xyx')}, {'user_id': list('aac')}]
  found = {make_dataset('shop', pl.DataFrame(rows | other)).fingerprint for other in others}
  assert len(found | {data.fingerprint}) == 5


def test_a_place_that_is_missing_is_no_other_place():
  places = make_dataset('shop', _events(place=['A', None, 'B'])).events['place'].to_list()
  assert len(set(places)) == 3


@given(st.permutations(range(6)))
def test_order_of_the_rows_does_not_matter(order):
  events = pl.concat([_events(price=[1.0, 2.0, 3.0]), _events(price=[3.0, 1.0, 2.0])])  # two of each user and moment
  assert make_dataset('shop', events[list(order)]).events.equals(make_dataset('shop', events).events)


@pytest.mark.parametrize(
  'times',
  [
    ['2020-01-03', '2020-01-01', '2020-01-02'],
    ['2020-01-03 00:00:00', '2020-01-01T00:00:00Z', '2020-01-02 00:00'],
    [datetime.date(2020, 1, day) for day in (3, 1, 2)],
    [datetime.datetime(2020, 1, day) for day in (3, 1, 2)],
  ],
)
def test_times_in_other_forms(times):
  data = make_dataset('shop', _events(time=times))
  assert data.events['time'].diff().drop_nulls().to_list() == [DAY, DAY]
  assert data.events['time'][0] == 1_577_836_800


def test_between_is_half_open():
  data = make_dataset('shop', _events())
  first, last = 1_500_000_100, 1_500_000_300
  assert data.between(first, last)['time'].to_list() == [first, first + 100]
  assert data.before(first).height == 0
  assert data.before(last + 1).height == 3


def test_what_is_wrong_is_told():
  with pytest.raises(UserError, match="no column 'item_id'"):
    make_dataset('shop', _events().drop('item_id'))
  with pytest.raises(UserError, match="1 of 3 events have no time that can be read, such as 'soon'"):
    make_dataset('shop', _events(time=['2020-01-01', 'soon', '2020-01-03']))
  with pytest.raises(UserError, match='times of type'):
    make_dataset('shop', _events(time=[True, False, True]))
  with pytest.raises(UserError, match="id '7' stands there 2 times"):
    make_dataset('shop', _events(), None, pl.DataFrame({'id': ['7', '9', '7']}))
  with pytest.raises(UserError, match='1 of 3 events have items that the items table does not have'):
    make_dataset('shop', _events(), None, pl.DataFrame({'id': ['7']}))
  with pytest.raises(UserError, match='no column id'):
    make_dataset('shop', _events(), pl.DataFrame({'name': ['a']}))
  with pytest.raises(UserError, match='has no events'):
    make_dataset('shop', _events().clear())


def test_vocabulary_puts_the_rare_and_the_missing_at_zero():
  codes, names = vocabulary(pl.Series(['x', 'y', None, 'x', 'z', 'z']), min_count=2)
  assert codes.tolist() == [1, 0, 0, 1, 2, 2]
  assert names == ['', 'x', 'z']
  assert vocabulary(pl.Series([None, None], dtype=pl.String))[0].tolist() == [0, 0]


def test_rare_values_share_hashed_codes_behind_the_known_ones():
  rare = [f'rare{number}' for number in range(200)]
  values = pl.Series(['x', 'x', 'y', 'y', None, *rare])
  codes, names = vocabulary(values, min_count=2, buckets=8)
  assert codes[:5].tolist() == [1, 1, 2, 2, 0]
  assert set(codes[5:].tolist()) == set(range(3, 11))
  assert len(names) == 11
  # Of the value alone: another table with the same known values gives the same codes.
  other = vocabulary(pl.Series(['y', 'y', 'x', 'x', *rare[::-1]]), min_count=2, buckets=8)[0]
  assert other[4:][::-1].tolist() == codes[5:].tolist()
