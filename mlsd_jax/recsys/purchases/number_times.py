"""Times that are numbers, as seconds since 1970.

    moments   seconds, milliseconds, microseconds or nanoseconds since 1970, from 1973 to 2100
    dates     20190131 (or 31012019, 01312019), 201901310805, 20190131080500; days since 1899-12-30, as spreadsheets
              count
    others    seconds or days from any moment on, where all are too small to be any of these

The kind is that of most of a column; a number of another kind is refused and one of none is not read.
"""

from collections.abc import Mapping

import polars as pl

from mlsd_jax.errors import UserError

DAY = 86_400
FIRST_YEAR, LAST_YEAR = 1900, 2100  # of a purchase
_EARLIEST, _LATEST = 100_000_000, 4_133_980_800  # seconds since 1970: 1973 and the end of 2100
_SPREADSHEET = 25_569  # days from 1899-12-30 to 1970-01-01
_SPREADSHEET_DAYS = 20_000, 80_000  # 1954 to 2119
_UNITS = {'seconds': 1, 'milliseconds': 10**3, 'microseconds': 10**6, 'nanoseconds': 10**9}
_WRITTEN = {  # least, most, width, format
  'days like 20190131': (19_000_101, 21_001_231, 8, '%Y%m%d'),
  'days like 31012019': (1_011_900, 31_122_100, 8, '%d%m%Y'),
  'days like 01312019': (1_011_900, 12_312_100, 8, '%m%d%Y'),
  'minutes like 201901310805': (190_001_010_000, 210_012_312_359, 12, '%Y%m%d%H%M'),
  'seconds like 20190131080500': (19_000_101_000_000, 21_001_231_235_959, 14, '%Y%m%d%H%M%S'),
}
_DAY_FIRST, _MONTH_FIRST = 'days like 31012019', 'days like 01312019'


def parse_numbers(events: pl.LazyFrame, time: pl.Expr, name: str, order: str = '') -> pl.Expr:
  """Numbers as seconds since 1970; null where one is none of the column's kind.

  Args:
    order: 'day' or 'month', whichever comes first in 01022019; '' finds it out.

  Raises:
    UserError: years or months, numbers of two kinds, or of a kind that is not certain.
  """
  form = _choose(events, time, name, order)
  if form is not None:
    return form
  low, high = _bounds(events, time)
  counted = lambda sound: events.select((sound | (time == 0)).fill_null(True).all()).collect(engine='streaming').item()
  what = f'{name}: times from {low:.15g} to {high:.15g}'
  whole = time == time.floor()
  if low >= FIRST_YEAR and high <= LAST_YEAR and counted(whole):
    raise UserError(f'{what} are years; give days (20190131) or seconds since 1970')
  if low >= 100 * FIRST_YEAR and high <= 100 * LAST_YEAR + 12 and counted((time % 100).is_between(1, 12) & whole):
    raise UserError(f'{what} are months; give days (20190131) or seconds since 1970')
  if low >= 101 and high < 10**6:
    for short in ('%y%m%d', '%d%m%y', '%m%d%y'):
      if counted(_date(time, 6, short).is_not_null()):
        raise UserError(f'{what} may be days without their century; give days like 20190131 or seconds since 1970')
  return (time * (DAY if high < _SPREADSHEET_DAYS[1] else 1)).cast(pl.Int64)


def is_zero(events: pl.LazyFrame, time: pl.Expr) -> pl.Expr:
  """Where a 0 stands among numbers that are moments or dates; among those of another kind it is a time like any."""
  low, high = _bounds(events, time)
  return (time == 0) if low >= _SPREADSHEET_DAYS[0] or high >= _EARLIEST else pl.lit(False)


def _bounds(events: pl.LazyFrame, time: pl.Expr) -> tuple[float, float]:
  """The least and the largest number but 0; (0, 0) where there is none."""
  some = time.filter((time != 0) & time.cast(pl.Float64).is_finite())
  low, high = events.select(some.min().alias('low'), some.max().alias('high')).collect(engine='streaming').row(0)
  return float(low or 0), float(high or 0)


def _choose(events: pl.LazyFrame, time: pl.Expr, name: str, order: str) -> pl.Expr | None:
  """The reading of the kind that at least half of the numbers are of; None where that may be seconds or days from any
  moment on."""
  low, high = _bounds(events, time)
  forms = dict(_forms(time, low, high))
  if order:
    forms.pop(_MONTH_FIRST if order == 'day' else _DAY_FIRST, None)
  if not forms:
    return None if high < _EARLIEST else pl.lit(None, pl.Int64)
  known = time.is_not_null() & (time != 0)
  counts = events.select(known.sum().alias(''), *(form.count().alias(kind) for kind, form in forms.items()))
  count = counts.collect(engine='streaming').row(0, named=True)
  best = max(forms, key=lambda kind: count[kind])
  if high < _EARLIEST and 2 * count[best] < count['']:
    return None
  if best == _DAY_FIRST and count.get(_MONTH_FIRST) == count[best]:
    _refuse_if_unlike(events, time, forms, name)
  others = {kind: form for kind, form in forms.items() if kind != best and {kind, best} - {_DAY_FIRST, _MONTH_FIRST}}
  unlike = {kind: forms[best].is_null() & form.is_not_null() for kind, form in others.items()}
  firsts = events.select(time.filter(forms[best].is_not_null()).first().alias(best),
                         *(time.filter(rows).first().alias(kind) for kind, rows in unlike.items()))  # fmt: skip
  example = firsts.collect(engine='streaming').row(0, named=True)
  for kind in others:
    if example[kind] is not None:
      raise UserError(
        f'{name}: times are {best} in some lines ({example[best]:.20g}) and {kind} in others ({example[kind]:.20g}); '
        'write all alike'
      )
  return forms[best]


def _refuse_if_unlike(events: pl.LazyFrame, time: pl.Expr, forms: Mapping[str, pl.Expr], name: str) -> None:
  unlike = events.filter(forms[_DAY_FIRST] != forms[_MONTH_FIRST]).select(time).head(1).collect(engine='streaming')
  if unlike.height:
    raise UserError(
      f'{name}: nothing tells whether the day or the month comes first in {int(unlike.item()):08d}: '
      'say --config.data.date_order=day or =month'
    )


def _forms(time: pl.Expr, low: float, high: float):
  """Kinds that numbers from `low` to `high` may be of, and how they are read."""
  for kind, (least, most, width, form) in _WRITTEN.items():
    if low <= most and high >= least:
      yield kind, pl.when(time.is_between(least, most)).then(_date(time, width, form))
  days = _SPREADSHEET_DAYS
  if low < days[1] and high >= days[0]:
    yield (
      'days of a spreadsheet',
      pl.when((time >= days[0]) & (time < days[1])).then(((time - _SPREADSHEET) * DAY).cast(pl.Int64)),
    )
  for kind, unit in _UNITS.items():
    if low < _LATEST * unit and high >= _EARLIEST * unit:
      moment = (time // unit).cast(pl.Int64, strict=False)
      yield kind, pl.when((time >= _EARLIEST * unit) & (time < _LATEST * unit)).then(moment)


def _date(time: pl.Expr, width: int, form: str) -> pl.Expr:
  """Seconds of the date that the digits of a whole number are; null where they are none."""
  digits = pl.when((time == time.floor()) & (time < 10**width)).then(time).cast(pl.Int64, strict=False)
  read = digits.cast(pl.String).str.zfill(width)
  if '%H' in form:
    moment = read.str.to_datetime(form, strict=False)
  elif '%y' in form:
    moment = _with_century(read, form).str.to_date(form.replace('%y', '%Y'), strict=False)
  else:
    moment = read.str.to_date(form, strict=False)
  return pl.when(moment.dt.year().is_between(FIRST_YEAR, LAST_YEAR)).then(moment.dt.epoch('s'))


def _with_century(digits: pl.Expr, form: str) -> pl.Expr:
  """Six digits with 20 before those of the year."""
  return '20' + digits if form.startswith('%y') else digits.str.slice(0, 4) + '20' + digits.str.slice(4)
