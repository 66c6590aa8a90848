"""Numbers with units: '1.49 GB', '250 ms', '5k QPS', '$2.99' to floats in bytes, seconds, a second, dollars, and back.

Decimal prefixes are powers of 1,000 (KB, MB, GB), binary ones of 1,024 (KiB, MiB, GiB), as IEC 80000-13 has them.
"""

import math
import re

from mlsd_jax.errors import UserError

DAY, YEAR = 86_400.0, 365 * 86_400.0

_PREFIXES = {'': 1.0, 'k': 1e3, 'K': 1e3, 'M': 1e6, 'G': 1e9, 'T': 1e12, 'P': 1e15, 'E': 1e18}
_BINARY = {f'{prefix}i': 1024.0**power for power, prefix in enumerate('KMGTP', 1)}
_COUNTS = {
  '': 1.0,
  'k': 1e3,
  'K': 1e3,
  'M': 1e6,
  'B': 1e9,
  'G': 1e9,
  'T': 1e12,
  'thousand': 1e3,
  'million': 1e6,
  'billion': 1e9,
  'trillion': 1e12,
}
_TIMES = {
  'ns': 1e-9,
  'us': 1e-6,
  'µs': 1e-6,
  'ms': 1e-3,
  's': 1.0,
  'sec': 1.0,
  'second': 1.0,
  'seconds': 1.0,
  'min': 60.0,
  'minute': 60.0,
  'minutes': 60.0,
  'h': 3600.0,
  'hour': 3600.0,
  'hours': 3600.0,
  'd': DAY,
  'day': DAY,
  'days': DAY,
  'week': 7 * DAY,
  'weeks': 7 * DAY,
  'year': YEAR,
  'years': YEAR,
}
_SIZES = {
  **{
    f'{prefix}{byte}': factor for prefix, factor in {**_PREFIXES, **_BINARY}.items() for byte in ('B', 'byte', 'bytes')
  }
}
_FLOP = {f'{prefix}{name}': factor for prefix, factor in _PREFIXES.items() for name in ('FLOP', 'FLOPs')}
_PER = {'/s': 1.0, ' per second': 1.0, 'QPS': 1.0, 'qps': 1.0, '/min': 1 / 60, '/h': 1 / 3600, '/day': 1 / DAY}
_RATES = {
  f'{count}{space}{what}{per}': factor * each
  for count, factor in _COUNTS.items()
  for per, each in _PER.items()
  for what in ('', 'tokens', 'requests', 'queries', 'submissions')
  for space in (' ', '')
}
DIMENSIONS = {
  'count': ('a count, such as 30M', _COUNTS | {f'{c} tokens': f for c, f in _COUNTS.items()}),
  'bytes': ('a size, such as 4 GB or 512 MiB', _SIZES),
  'seconds': ('a time, such as 200 ms', _TIMES),
  'rate': ('a rate, such as 500 QPS or 20/s', {'': 1.0} | {name.strip(): factor for name, factor in _RATES.items()}),
  'flop': ('floating-point operations, such as 0.86 GFLOP', _FLOP),
  'dollars': ('an amount of money, such as $2.99', {'': 1.0, 'USD': 1.0, 'dollars': 1.0, 'k': 1e3, 'M': 1e6}),
  'share': ('a share, such as 0.4 or 40%', {'': 1.0, '%': 0.01}),
}


def parse(text: str, dimension: str) -> float:
  """'1.5 GB' as 'bytes' is 1.5e9; 'B' is bytes where a size is asked for, and a billion where a count is.

  Args:
    dimension: one of DIMENSIONS.

  Raises:
    UserError: no number, an unknown unit, one of another dimension, or a number below 0.
  """
  wanted, units = DIMENSIONS[dimension]
  cleaned = ' '.join(str(text).split())
  is_money = cleaned.startswith('$')
  match = re.fullmatch(r'\$? ?(\d[\d,_]*\.?\d*(?:[eE][+-]?\d+)?|\.\d+)\s*(.*)', cleaned)
  if not match:
    told = 'is below 0' if re.match(r'\$? ?- ?\$? ?[\d.]', cleaned) else 'is no number'
    raise UserError(f'{text!r} {told}; {wanted} is asked for')
  number, unit = float(re.sub('[,_]', '', match[1])), match[2].strip()
  if is_money != (dimension == 'dollars' and is_money) or unit not in units:
    raise UserError(f'{text!r} is {_dimension_of(unit, is_money)}; {wanted} is asked for')
  value = number * units[unit]
  if not math.isfinite(value):
    raise UserError(f'{text!r} is too large')
  return value


def _dimension_of(unit: str, is_money: bool) -> str:
  if is_money:
    return 'an amount of money'
  named = [said.partition(',')[0] for said, units in DIMENSIONS.values() if unit in units]
  return named[0] if named else f'in {unit!r}, which is no unit that is known'


def show(value: float, unit: str) -> str:
  """A value for people: 1492051968 'bytes' is '1.49 GB'; an unknown unit stands behind the number.

  Args:
    unit: 'bytes', 'seconds', 'count', 'share', 'dollars', 'flop', or any other word ('tokens/s').
  """
  if not math.isfinite(value):
    return 'never' if unit == 'seconds' else 'unbounded'
  if unit == 'bytes':
    return _scaled(value, 'B', 'kMGTPE')
  if unit in ('flop', 'flop/s'):
    return _scaled(value, 'FLOP' + unit.removeprefix('flop'), 'kMGTPEZY')
  if unit == 'bytes/s':
    return _scaled(value, 'B/s', 'kMGTP')
  if unit == 'seconds':
    return _show_time(value)
  if unit == 'share':
    return f'{100 * value:.1f}%'
  if unit == 'dollars':
    return f'${value:,.0f}' if value >= 100 else f'${value:.2f}' if value >= 0.01 or not value else f'${value:.2g}'
  number = _number(value)
  return number if unit == 'count' else f'{number} {unit}'


def _scaled(value: float, base: str, prefixes: str) -> str:
  power = 0
  while abs(value) >= 999.5 and power < len(prefixes):
    value, power = value / 1e3, power + 1
  prefix = f'{prefixes[power - 1]}' if power else ''
  return f'{value:.3g} {prefix}{base}' if value < 999.5 else f'{value:,.0f} {prefix}{base}'


def _show_time(seconds: float) -> str:
  if seconds < 1e-9:
    return '0 s'
  for limit, factor, unit in (
    *((1e-6, 1e9, 'ns'), (1e-3, 1e6, 'us'), (1.0, 1e3, 'ms'), (120.0, 1.0, 's'), (7200.0, 1 / 60, 'min')),
    (2 * DAY, 1 / 3600, 'h'),
  ):
    if seconds < limit:
      return f'{seconds * factor:.3g} {unit}'
  return f'{seconds / DAY:,.3g} days' if seconds < 1000 * DAY else f'{seconds / YEAR:,.3g} years'


def _number(value: float) -> str:
  if value == int(value) and abs(value) < 1e15:
    return f'{int(value):,}'
  return f'{value:,.0f}' if abs(value) >= 1000 else f'{value:.3g}'
