"""Times in the forms that people write them in."""

import datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsd_jax.errors import UserError
from mlsd_jax.recsys.purchases import times

SECOND = datetime.datetime(2019, 1, 31, 20, 5, tzinfo=datetime.UTC)


def _read(values, order=''):
  events = pl.LazyFrame({'time': values})
  return events.select(times.parse_seconds(events, 'shop', order)).collect()['time'].to_list()


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
@settings(max_examples=20, deadline=None)
def test_day_or_month_first_is_decided_for_the_whole_column(days, day_first):
  # One day past the twelfth settles it.
  days = [*days, datetime.date(2019, 1, 31)]
  form = '%d/%m/%Y' if day_first else '%m/%d/%Y'
  epoch = datetime.date(1970, 1, 1)
  assert _read([day.strftime(form) for day in days]) == [(day - epoch).days * times.DAY for day in days]


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


@pytest.mark.parametrize('dates', [['02/03/2019'], ['1.2.19', '02/02/2019'], ['01022019'], [1022019, 3042019]])
def test_days_and_months_that_nothing_tells_apart_are_refused(dates):
  with pytest.raises(UserError, match=r'nothing tells whether the day or the month comes first .*date_order=day'):
    _read(dates)
  day, month = (_read(dates, order) for order in times.ORDERS)
  assert day != month
  assert None not in day + month


@pytest.mark.parametrize(
  ('text', 'year'),
  [('31/12/99', 1999), ('31-Dec-69', 1969), ('31.12.68', 2068), ('Dec 31, 00', 2000), ('12/31/70 8:05 PM', 1970)],
)
def test_years_of_two_digits_are_of_the_century_around_1970(text, year):
  assert datetime.datetime.fromtimestamp(_read([text])[0], datetime.UTC).year == year


@pytest.mark.parametrize('written', ['+05', '+0500', '+05:00', ' +5', ' UTC+5', 'GMT+05:00', '＋05'])
@pytest.mark.parametrize('clock', ['T20:05', ' 20:05:00', ' 20:05:00.250', ' 8:05 PM', 't200500'])
def test_an_offset_is_never_dropped(written, clock):
  behind = int(SECOND.timestamp()) - 5 * 3600
  assert _read([f'2019-01-31{clock}{written}']) == [behind]
  assert _read([f'2019-01-31{clock}{written.replace("+", "−").replace("＋", "−")}']) == [behind + 10 * 3600]


@pytest.mark.parametrize(
  'rest', [' CET', ' 25:00', ' 20:61', ' 8', '-05', ' 20:05 about', ' 20:05+99', ' late', '5', ' 13:05 AM']
)
def test_what_stands_behind_a_date_is_never_passed_over(rest):
  assert _read(['2019-01-31', f'2019-01-31{rest}']) == [1_548_892_800, None]


@pytest.mark.parametrize('years', [[2018, 2019], ['2019', '2018', '0'], [2018.0, 2019.0]])
def test_bare_years_are_no_days(years):
  with pytest.raises(UserError, match='times from 2018 to 2019 are years'):
    _read(years)


def test_days_without_a_century_are_refused():
  with pytest.raises(UserError, match='may be days without their century'):
    _read(['190131', '190228'])


@pytest.mark.parametrize('first', [1, 10**3, 10**6, 10**9])
@pytest.mark.parametrize('second', [1, 10**3, 10**6, 10**9])
def test_numbers_of_two_units_are_refused(first, second):
  values = [1_548_965_100 * first, 1_548_965_160 * first, 1_548_965_220 * second]
  if first == second:
    assert _read(values) == [1_548_965_100, 1_548_965_160, 1_548_965_220]
  else:
    with pytest.raises(UserError, match=r'seconds in some lines .* in others .*write all alike'):
      _read(values)


@pytest.mark.parametrize(
  'values', [[20190131, 0, 20190201], [1_548_892_800, 0], [43496, 0], ['20190131', '0', '00000000']]
)
def test_a_zero_moves_no_other_day(values):
  events = pl.LazyFrame({'time': values})
  read = _read(values)
  assert read[:2] == [1_548_892_800, None]
  assert events.select(zero=times.is_zero(events)).collect()['zero'].to_list() == [second is None for second in read]


def test_a_number_of_no_kind_is_not_read():
  assert _read([20190131.0, 5.0, 20190131.0, -1.0, 20190131.0, 20190131.5])[1::2] == [None, None, None]
  assert _read(['1548965100', '1548965160', 'tomorrow'])[2] is None
  assert _read([datetime.date(9999, 12, 31), datetime.date(2019, 1, 31)]) == [None, 1_548_892_800]
