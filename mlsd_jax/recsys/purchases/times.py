"""Times of purchases as people write them, as seconds since 1970.

    timestamps, dates   as they are; those with a zone in UTC
    text                year first (2019-01-31, 2019/1/31 8:05, 20190131, 2019-01-31T08:05:00+01:00), months by name
                        (31-Jan-2019), day or month first (31.01.2019, 1/31/19 8:05 PM)
    numbers             seconds, milliseconds, microseconds or nanoseconds since 1970; 20190131 (or 31012019, 01312019),
                        201901310805, 20190131080500; days since 1899-12-30 as spreadsheets count them; seconds or
                        days from any moment on

Whether the day or the month comes first is decided for the whole column, by which reads more of its texts; month first
if both read as much.
"""

import polars as pl

from mlsd_jax.errors import UserError

DAY = 86_400
_YEAR_FIRST = r'^(\d{4})[-/.]?(\d{1,2})[-/.]?(\d{1,2})(?:\D|$)'
_YEAR_LAST = r'^(\d{1,2})[-/. ](\d{1,2})[-/. ](\d{2,4})(?:\D|$)'
_DAY_OF_NAMED = r'^(\d{1,2})[-/. ]?[A-Za-z]{3,9}[-/., ]+\d{2,4}'
_NAMED = r'^(?:\d{1,2}[-/. ]?)?([A-Za-z]{3})'
_YEAR_OF_NAMED = r'[A-Za-z]{3,9}[-/., ]+(?:\d{1,2},? )?(\d{2,4})'
_CLOCK = r'(?:[ T]|^)(\d{1,2}):(\d{2})(?::(\d{2}))?'
_OFFSET = r':\d{2}(?:\.\d+)? ?([+-])(\d{2}):?(\d{2})$'
_SPREADSHEET = 25_569  # days from 1899-12-30 to 1970-01-01


def parse_seconds(events: pl.LazyFrame, name: str) -> pl.Expr:
  """The column `time` of `events` as seconds since 1970; null where a text cannot be read.

  Raises:
    UserError: times of another type, or numbers that are months (201901).
  """
  time = pl.col('time')
  dtype = events.collect_schema()['time']
  if dtype == pl.Date or isinstance(dtype, pl.Datetime):
    return time.dt.epoch('s').alias('time')
  if isinstance(dtype, pl.Categorical | pl.Enum):
    time, dtype = time.cast(pl.String), pl.String()
  if dtype == pl.String:
    text = time.str.strip_chars()
    numbers = text.str.contains(r'^\d+(\.\d+)?$') | (text == '')
    if not events.select(numbers.all()).collect(engine='streaming').item():
      return _each_once(events, text).alias('time')
    time, dtype = text.cast(pl.Float64, strict=False), pl.Float64()
  if dtype.is_numeric():
    return _numbers(events, time, name).alias('time')
  raise UserError(f'{name}: times of type {dtype} cannot be read; give timestamps, dates or seconds since 1970')


def _numbers(events: pl.LazyFrame, time: pl.Expr, name: str) -> pl.Expr:
  bounds = events.select(time.min().alias('low'), time.max().alias('high')).collect(engine='streaming')
  low, high = (float(bounds[column][0] or 0) for column in ('low', 'high'))
  written = _written(events, time, low, high)
  if written is not None:
    return written
  if low >= 190_001 and high <= 210_012:
    raise UserError(f'{name}: times from {low:g} to {high:g} are months; give days (20190131) or seconds since 1970')
  for limit, unit in ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3), (80_000, 1)):
    if high >= limit:
      return (time // unit).cast(pl.Int64)
  days = time - _SPREADSHEET if low >= 20_000 else time
  return (days * DAY).cast(pl.Int64)


def _written(events: pl.LazyFrame, time: pl.Expr, low: float, high: float) -> pl.Expr | None:
  """Numbers from `low` to `high` as digits of a date; None if they are not.

  Year first if all lie where such dates do, else day or month first if every one of them is a date so.
  """
  digits = time.cast(pl.Int64).cast(pl.String)
  for unit, clock in ((1, '000000'), (10**4, '00'), (10**6, '')):  # of the clock as much as is missing
    if low >= 19_000_101 * unit and high < 21_001_232 * unit:
      return (digits + clock).str.to_datetime('%Y%m%d%H%M%S', strict=False).dt.epoch('s')
  if low < 1_011_900 or high > 31_122_100:  # without their zeros
    return None
  for form in ('%d%m%Y', '%m%d%Y'):
    dates = digits.str.zfill(8).str.to_date(form, strict=False)
    sound = dates.dt.year().is_between(1900, 2100).fill_null(False) | time.is_null()
    if events.select(sound.all()).collect(engine='streaming').item():
      return dates.dt.epoch('s')
  return None


def _each_once(events: pl.LazyFrame, text: pl.Expr) -> pl.Expr:
  """What `_text` says; of texts that occur often, as days do, each is read once."""
  count = events.select(text.approx_n_unique().alias('texts'), pl.len().alias('rows')).collect(engine='streaming')
  if 4 * count['texts'][0] > count['rows'][0]:
    return _text(events, text)
  texts = events.select(text.unique().alias('text')).collect(engine='streaming')
  read = texts.select('text', _text(texts.lazy(), pl.col('text')).alias('seconds'))
  return text.replace_strict(read['text'], read['seconds'], return_dtype=pl.Int64)


def _text(events: pl.LazyFrame, text: pl.Expr) -> pl.Expr:
  part = lambda pattern, group: text.str.extract(pattern, group)
  date = lambda year, month, day, form='%m': (
    pl.concat_str(pl.when(year.str.len_chars() == 2).then('20' + year).otherwise(year), month, day, separator='-')
    .str.to_date(f'%Y-{form}-%d', strict=False)
  )  # fmt: skip
  named_day = pl.coalesce(part(_DAY_OF_NAMED, 1), part(r'^[A-Za-z]{3,9} (\d{1,2})', 1))
  certain = pl.coalesce(
    date(*(part(_YEAR_FIRST, group) for group in (1, 2, 3))),
    date(part(_YEAR_OF_NAMED, 1), part(_NAMED, 1).str.to_titlecase(), named_day, '%b'),
  )
  first, second, year = (part(_YEAR_LAST, group) for group in (1, 2, 3))
  month_first, day_first = date(year, first, second), date(year, second, first)
  read = events.select(month_first.count().alias('month'), day_first.count().alias('day')).collect(engine='streaming')
  either = day_first if read['day'][0] > read['month'][0] else month_first
  number = lambda pattern, group: part(pattern, group).cast(pl.Int64, strict=False).fill_null(0)
  hour = number(_CLOCK, 1)
  lower = text.str.to_lowercase()
  hour = pl.when(lower.str.ends_with('pm') & (hour < 12)).then(hour + 12).otherwise(hour)
  hour = pl.when(lower.str.ends_with('am') & (hour == 12)).then(0).otherwise(hour)
  east = (60 * number(_OFFSET, 2) + number(_OFFSET, 3)) * pl.when(part(_OFFSET, 1) == '-').then(-60).otherwise(60)
  clock = 3600 * hour + 60 * number(_CLOCK, 2) + number(_CLOCK, 3) - east
  return pl.coalesce(certain, either).dt.epoch('s') + clock
