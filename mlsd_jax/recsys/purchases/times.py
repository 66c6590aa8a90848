"""Times of purchases as people write them, as seconds since 1970.

    timestamps, dates   as they are; those with a zone in UTC
    text                year first (2019-01-31, 2019/1/31 8:05, 20190131, 2019-01-31T08:05:00+01:00), months by English
                        name (31-Jan-2019), day or month first (31.01.2019, 1/31/19 8:05 PM)
    numbers             see number_times.py

A text counts whole or not at all: nothing that stands behind a date is passed over. Years of two digits are 1969 to
2068, as POSIX has them. Whether the day or the month comes first is decided for the whole column, by which reads more
of its texts; if both read as much, and differently, that is refused.
"""

from collections.abc import Mapping

import polars as pl

from mlsd_jax.errors import UserError
from mlsd_jax.recsys.purchases import number_times
from mlsd_jax.recsys.purchases.number_times import DAY, FIRST_YEAR, LAST_YEAR

__all__ = ['DAY', 'ORDERS', 'is_zero', 'parse_seconds']

ORDERS = ('day', 'month')  # which may come first
_MONTHS = ('january', 'february', 'march', 'april', 'may', 'june', 'july', 'august', 'september', 'october',
           'november', 'december')  # fmt: skip
_MONTH = '|'.join(f'{month[:3]}(?:{month[3:]})?' for month in _MONTHS if month != 'may') + '|may|sept'
_YEAR = r'(?P<year>\d{4}|\d{2})'
_WEEKDAY = r'(?:(?:mon|tues?|wed(?:nes)?|thu(?:rs?)?|fri|sat(?:ur)?|sun)(?:day)?[,.]? )?'
_TH = '(?:st|nd|rd|th)?'
_DATES = {
  'year': r'(?P<year>\d{4})[-/.](?P<month>\d{1,2})[-/.](?P<day>\d{1,2})',
  'compact': r'(?P<year>\d{4})(?P<month>\d{2})(?P<day>\d{2})',
  'day_named': rf'{_WEEKDAY}(?P<day>\d{{1,2}}){_TH}[-/. ]*(?P<month>{_MONTH})[-/., ]*{_YEAR}',
  'named': rf'{_WEEKDAY}(?P<month>{_MONTH})[-/. ]*(?P<day>\d{{1,2}}){_TH}[-/., ]+{_YEAR}',
}
_YEAR_LAST = rf'(?P<first>\d{{1,2}})[-/. ](?P<second>\d{{1,2}})[-/. ]{_YEAR}'
_CLOCK = (  # behind a date: 20:05, T20:05:00.25, 8:05 PM, 8 pm, T200500; then Z, UTC, +01, -0500 or +05:30
  r'^(?:t|,? )(?:(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,]\d+)?)?(?: ?(?P<half>[ap])\.?m\.?)?'
  r'|(?P<only>\d{1,2}) ?(?P<its_half>[ap])\.?m\.?)'
  r'(?: ?(?:z|utc|gmt)?(?: ?(?P<sign>[-+])(?P<zone_hour>\d{1,2})(?::?(?P<zone_minute>\d{2}))?)?)$'
)
_COMPACT_CLOCK = r'^t(\d{2})(\d{2})(\d{2})?(\D.*)?$'


def parse_seconds(events: pl.LazyFrame, name: str, order: str = '') -> pl.Expr:
  """The column `time` of `events` as seconds since 1970; null where it cannot be read.

  Args:
    order: 'day' or 'month', whichever comes first in 01/02/2019; '' finds it out.

  Raises:
    UserError: times of another type, numbers that are months or years, of two units, or texts of which nothing tells
      whether the day or the month comes first.
  """
  if order and order not in ORDERS:
    raise UserError(f'config.data.date_order={order!r} is not one of {", ".join(ORDERS)}')
  time = pl.col('time')
  dtype = events.collect_schema()['time']
  if dtype == pl.Date or isinstance(dtype, pl.Datetime):
    return pl.when(time.dt.year().is_between(FIRST_YEAR, LAST_YEAR)).then(time.dt.epoch('s')).alias('time')
  if isinstance(dtype, pl.Categorical | pl.Enum):
    time, dtype = time.cast(pl.String), pl.String()
  if dtype == pl.String:
    text = _cleaned(time)
    if not _are_numbers(events, text):
      return _each_once(events, text, name, order).alias('time')
    time, dtype = text.cast(pl.Float64, strict=False), pl.Float64()
  if dtype.is_numeric():
    return number_times.parse_numbers(events, time, name, order).alias('time')
  raise UserError(f'{name}: times of type {dtype} cannot be read; give timestamps, dates or seconds since 1970')


def is_zero(events: pl.LazyFrame) -> pl.Expr:
  """Where `time` is a 0 among days or moments, as some tables have it for what is not known."""
  dtype = events.collect_schema()['time']
  if dtype.is_numeric():
    return number_times.is_zero(events, pl.col('time'))
  if dtype != pl.String:
    return pl.lit(False)
  text = _cleaned(pl.col('time'))
  zeros = text.str.contains(r'^0000-00-00([ t]00:00(:00(\.0+)?)?)?$')
  if _are_numbers(events, text):
    return zeros | number_times.is_zero(events, text.cast(pl.Float64, strict=False)).fill_null(False)
  return zeros | text.str.contains(r'^0+(\.0+)?$')


def _cleaned(time: pl.Expr) -> pl.Expr:
  text = time.str.normalize('NFKC').str.replace_all(r'[\p{Pd}\x{2212}]', '-').str.replace_all(r'\s+', ' ')
  return text.str.strip_chars().str.to_lowercase()


def _are_numbers(events: pl.LazyFrame, text: pl.Expr) -> bool:
  """Whether a column of texts is one of numbers: more of it are numbers than are dates that begin with the year."""
  numbers, dates = text.str.contains(r'^[-+]?\d+(\.\d+)?([eE]\+?\d+)?$'), text.str.contains(r'^\d{8}$')
  counted = events.select(
    numbers.sum().alias('numbers'),
    (numbers & dates).sum().alias('compact'),
    (~numbers & (text != '')).sum().alias('texts'),
  ).collect(engine='streaming')
  numbers_, compact, texts = counted.row(0)
  return texts == 0 or numbers_ - compact > texts


def _each_once(events: pl.LazyFrame, text: pl.Expr, name: str, order: str) -> pl.Expr:
  """What `_text` says; of texts that occur often, as days do, each is read once."""
  count = events.select(text.approx_n_unique().alias('texts'), pl.len().alias('rows')).collect(engine='streaming')
  if 4 * count['texts'][0] > count['rows'][0]:
    return _text(events, text, name, order)
  texts = events.select(text.unique().alias('text')).collect(engine='streaming')
  read = texts.select('text', _text(texts.lazy(), pl.col('text'), name, order).alias('seconds'))
  return text.replace_strict(read['text'], read['seconds'], return_dtype=pl.Int64)


def _text(events: pl.LazyFrame, text: pl.Expr, name: str, order: str) -> pl.Expr:
  """A date and, behind it, a clock or nothing."""
  dates, rests = [], []
  for date in _DATES.values():
    parts = text.str.extract_groups(rf'^{date}(?P<rest>\D.*)?$').struct
    dates.append(_date(parts.field('year'), _month(parts.field('month')), parts.field('day')))
    rests.append(parts.field('rest'))
  parts = text.str.extract_groups(rf'^{_YEAR_LAST}(?P<rest>\D.*)?$').struct
  first, second, year = (parts.field(part) for part in ('first', 'second', 'year'))
  either = {'month': _date(year, first, second), 'day': _date(year, second, first)}
  chosen = order or _choose_order(events, text, either, name)
  rest = pl.coalesce(*rests, parts.field('rest'))
  return pl.coalesce(*dates, either[chosen]).dt.epoch('s') + pl.when(rest.is_null()).then(0).otherwise(_clock(rest))


def _month(month: pl.Expr) -> pl.Expr:
  """Of a number or a name the number."""
  numbers = {name[:3]: str(number) for number, name in enumerate(_MONTHS, 1)}
  return month.str.slice(0, 3).replace(numbers)


def _date(year: pl.Expr, month: pl.Expr, day: pl.Expr) -> pl.Expr:
  short = year.str.len_chars() == 2
  century = pl.when(short & (year.cast(pl.Int32, strict=False) >= 69)).then(pl.lit('19')).otherwise(pl.lit('20'))
  whole = pl.when(short).then(century + year).otherwise(year)
  date = pl.concat_str(whole, month, day, separator='-').str.to_date('%Y-%m-%d', strict=False)
  return pl.when(date.dt.year().is_between(FIRST_YEAR, LAST_YEAR)).then(date)


def _choose_order(events: pl.LazyFrame, text: pl.Expr, either: Mapping[str, pl.Expr], name: str) -> str:
  """Which of day and month comes first: that by which more texts are dates."""
  unlike = either['month'].is_not_null() & either['day'].is_not_null() & (either['month'] != either['day'])
  counted = events.select(
    either['month'].count().alias('month'),
    either['day'].count().alias('day'),
    text.filter(unlike).first().alias('text'),
  )
  count = counted.collect(engine='streaming').row(0, named=True)
  if count['month'] == count['day'] and count['text'] is not None:
    raise UserError(
      f'{name}: nothing tells whether the day or the month comes first in times like {count["text"]!r}: '
      'say --config.data.date_order=day or =month'
    )
  return 'day' if count['day'] > count['month'] else 'month'


def _clock(rest: pl.Expr) -> pl.Expr:
  """Seconds of what stands behind a date; null where that is no clock."""
  rest = rest.str.replace(_COMPACT_CLOCK, 't${1}:${2}:${3}${4}').str.replace(r'(t\d{2}:\d{2}):(\D|$)', '${1}${2}')
  parts = rest.str.extract_groups(_CLOCK).struct
  number = lambda part: parts.field(part).cast(pl.Int64, strict=False)
  hour = pl.coalesce(number('hour'), number('only'))
  minute, second = number('minute').fill_null(0), number('second').fill_null(0)
  half = pl.coalesce(parts.field('half'), parts.field('its_half'))
  hour_of_day = (
    pl.when((half == 'p') & (hour < 12)).then(hour + 12).when((half == 'a') & (hour == 12)).then(0).otherwise(hour)
  )
  zone_hour, zone_minute = number('zone_hour').fill_null(0), number('zone_minute').fill_null(0)
  east = (60 * zone_hour + zone_minute) * pl.when(parts.field('sign') == '-').then(-60).otherwise(60)
  seconds = 3600 * hour_of_day + 60 * minute + second
  sound = (minute < 60) & (second <= 60) & (seconds <= DAY) & (zone_hour <= 14) & (zone_minute < 60)
  sound &= ~((half.fill_null('') == 'a') & (hour > 12))
  return pl.when(sound).then(seconds - east)
