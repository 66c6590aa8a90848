"""Times in the forms that people write them in."""

import datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsd_jax.errors import UserError
from mlsd_jax.recsys.purchases import times

SECOND = datetime.datetime(2019, 1, 31, 20, 5, tzinfo=datetime.UTC)


def _read(values):
  events = pl.LazyFrame({'time': values})
  return events.select(times.parse_seconds(events, 'shop')).collect()['time'].to_list()


@pytest.mark.parametrize(
  'text',
  [
    '2019-01-31 20:05',
    '2019-01-31T20:05:00Z',
    '2019-01-31T20:05:00.250+00:00',
    '2019-01-31 21:05:00+01:00',
    '2019-01-31T15:05:00-0500',
    '2019/1/31 20:05:00',
    '31.01.2019 20:05',
    '31/1/19 20:05',
    '1/31/2019 8:05 PM',
    '01-31-2019 8:05pm',
    '31-Jan-2019 20:05',
    '31 JANUARY 2019 20:05',
    'Jan 31, 2019 8:05 PM',
    '1548965100',
    '1548965100000',
    '201901312005',
    '20190131200500',
  ],
)
def test_one_moment_in_many_forms(text):
  assert _read([text]) == [int(SECOND.timestamp())]


@pytest.mark.parametrize(
  'day',
  [
    '20190131',
    20190131,
    '31012019',
    '01312019',
    '2019-01-31',
    '31.01.2019',
    '1/31/19',
    43496,
    43496.0,
    datetime.date(2019, 1, 31),
  ],
)
def test_one_day_in_many_forms(day):
  assert _read([day]) == [int(SECOND.timestamp()) // times.DAY * times.DAY]


@pytest.mark.parametrize('unit', [1, 10**3, 10**6, 10**9])
def test_numbers_are_taken_by_their_size(unit):
  assert _read([1_548_965_100 * unit, 1_548_965_160 * unit]) == [1_548_965_100, 1_548_965_160]


def test_days_from_any_day_on():
  assert _read([1, 3, 711]) == [times.DAY, 3 * times.DAY, 711 * times.DAY]


@given(st.lists(st.dates(datetime.date(1970, 1, 1), datetime.date(2068, 12, 31)), min_size=1), st.booleans())
def test_day_or_month_first_is_decided_for_the_whole_column(days, day_first):
  # One day past the twelfth settles it; without one, the month is taken to come first.
  days = [*days, datetime.date(2019, 1, 31)]
  form = '%d/%m/%Y' if day_first else '%m/%d/%Y'
  epoch = datetime.date(1970, 1, 1)
  assert _read([day.strftime(form) for day in days]) == [(day - epoch).days * times.DAY for day in days]
  assert _read(['02/03/2019']) == _read(['2019-02-03'])


def test_texts_that_occur_often_are_read_as_those_that_do_not():
  once = ['1/31/2019 8:05 PM', '31-Jan-2019', '', 'tomorrow', None, '2019-02-01T00:00:00+01:00', '2/3/2019']
  assert _read(once * 8) == _read(once) * 8
  assert [value is None for value in _read(once)] == [False, False, True, True, True, False, False]


def test_what_cannot_be_read():
  assert _read(['2019-02-30', 'soon', '', None, '2019-01-31']) == [None] * 4 + [1_548_892_800]
  assert _read([20190131, 20190230]) == [1_548_892_800, None]
  assert _read([20190131000000, 20190230000000]) == [1_548_892_800, None]
  with pytest.raises(UserError, match='times from 201901 to 201902 are months'):
    _read([201901, 201902])
  with pytest.raises(UserError, match='times of type Boolean cannot be read'):
    _read([True])
