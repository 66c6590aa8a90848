"""Prices, quantities and ratings as people write them: how a column writes its numbers is decided for all of it.

    decimals    a point or a comma; whatever of both is not it may stand at the thousands, as spaces and apostrophes may
    signs       a minus (or any other dash) before or behind, parentheses; 12,- and 12.- are whole prices
    around      a currency, a unit; no word that makes another number of it (2 dozen, 5k, 50 %)

1.299 is 1299 beside 2.549,00 and 1.299 beside 0.5. A column in which nothing tells is refused, and so is one that
writes both; what is no number is counted, with examples.
"""

import dataclasses
from collections.abc import Mapping

import polars as pl

from mlsd_jax.errors import UserError

DECIMALS = {'point': '.', 'comma': ','}
_EXAMPLES = 3
# What stands where nothing is: of programs, databases (\\N), and a spreadsheet's formula that failed.
EMPTY = (
  *('', 'nan', 'null', 'none', 'na', 'nat', 'n/a', '<na>', r'\n'),
  *('#n/a', '#null!', '#ref!', '#value!', '#div/0!', '#name?', '#num!'),
)
_DASHES = r'[\p{Pd}\u{2212}\u{207B}]'
# Words behind which stands another number than the digits say.
_SCALES = (
  *(
    'k',
    'm',
    'mn',
    'mio',
    'mrd',
    'bn',
    'b',
    'tsd',
    'thousand',
    'million',
    'millions',
    'billion',
    'lakh',
    'lac',
    'crore',
  ),
  *('dozen', 'dozens', 'hundred', 'pair', 'pairs', 'half', 'c', 'ct', 'cts', 'cent', 'cents', 'p', 'pence'),
  *('pct', 'percent', 'minus', 'cr', 'dr', 'x'),
)
_WORD = r'[\p{L}\p{M}\p{Sc}]'
_SHAPE = (
  rf'^(?P<open>\(?) ?(?P<before>[-+]?) ?(?P<left>(?:\p{{L}}\.|{_WORD}| )*?)(?P<inner>[-+]?) ?'
  r"(?P<digits>(?:\d|[.,]\d)(?:[\d.,']| \d)*(?:[eE][-+]?\d+)?) ?(?P<behind>-?)"
  rf'(?P<right>(?: ?{_WORD}(?:{_WORD}|[. ])*)?)(?P<last>-?) ?(?P<close>\)?)$'
)


@dataclasses.dataclass(frozen=True)
class Numbers:
  """A column read.

  Attributes:
    value: float64 of the column; null where there is none.
    unread: lines whose text is no number.
    examples: some of those texts.
  """

  value: pl.Expr
  unread: int = 0
  examples: tuple[str, ...] = ()


def is_empty(name: str) -> pl.Expr:
  """Whether a column has nothing to say."""
  text = pl.col(name).cast(pl.String).str.strip_chars()
  return text.is_null() | text.str.to_lowercase().is_in(EMPTY)


def read_numbers(rows: pl.LazyFrame, name: str, *, called: str = '', decimal: str = '') -> Numbers:
  """The column `name` as numbers. One that is of numbers already stays as it is.

  Args:
    called: what messages call it; its name by default.
    decimal: 'point' or 'comma' where that is known; '' finds it out.

  Raises:
    UserError: texts that may be read in two ways, that are written in both, or of which none is a number.
  """
  called = called or name
  if decimal and decimal not in DECIMALS:
    raise UserError(f'config.data.decimal={decimal!r} is not one of {", ".join(DECIMALS)}')
  if rows.collect_schema()[name].is_numeric():
    value = pl.col(name).cast(pl.Float64)
    return Numbers(pl.when(value.is_finite()).then(value))
  text = pl.col(name).cast(pl.String)
  counted = rows.filter(~is_empty(name)).group_by(text.alias('text')).agg(pl.len().alias('lines'))
  read = parse(counted.collect(engine='streaming'))
  chosen = decimal or _decide(read, called)
  read = read.with_columns(pl.col(chosen).alias('value'))
  unread = read.filter(pl.col('value').is_null()).sort('lines', 'text', descending=[True, False])
  examples = tuple(unread['text'].head(_EXAMPLES))
  if read.height and unread.height == read.height:
    raise UserError(f'{called} has no number that can be read, such as {", ".join(map(repr, examples))}')
  value = text.replace_strict(read['text'], read['value'], default=None, return_dtype=pl.Float64)
  return Numbers(value, int(unread['lines'].sum()), examples)


def _decide(read: pl.DataFrame, called: str) -> str:
  """Which decimal sign the texts of a column have: the one with which all are read that can be."""
  point, comma = pl.col('point'), pl.col('comma')
  only = {
    'point': read.filter(point.is_not_null() & comma.is_null()),
    'comma': read.filter(comma.is_not_null() & point.is_null()),
  }
  example = lambda rows: repr(rows.sort('lines', 'text', descending=[True, False])['text'][0])
  option = '--config.data.decimal=point or =comma'
  if only['point'].height and only['comma'].height:
    raise UserError(
      f'{called} is written with a decimal point in some lines ({example(only["point"])}) and with a decimal comma in '
      f'others ({example(only["comma"])}): write all alike, or count those of the other kind as unknown with {option}'
    )
  either = read.filter(point.is_not_null() & comma.is_not_null() & (point != comma))
  if either.height and not (only['point'].height or only['comma'].height):
    row = either.sort('lines', 'text', descending=[True, False]).row(0, named=True)
    raise UserError(
      f'{called} {row["text"]!r} may be {row["point"]:.10g} or {row["comma"]:.10g}, and no other line tells which: '
      f'say {option}'
    )
  return 'comma' if only['comma'].height else 'point'


def parse(counted: pl.DataFrame) -> pl.DataFrame:
  """A table with `text` with what each is with a decimal point and with a comma: float64, null where it is none."""
  clean = (
    pl.col('text')
    .str.normalize('NFKC')
    .str.replace_all(_DASHES, '-')
    .str.replace_all(r'[’‘ʼ`´]', "'")
    .str.replace_all(r'\s+', ' ')
    .str.strip_chars()
    .str.replace(r'(\d)([.,])-+', '${1}${2}00')
  )
  parts = counted.with_columns(clean.str.extract_groups(_SHAPE).alias('parts')).unnest('parts')
  has = lambda *names: sum(((pl.col(name) == '-').cast(pl.Int8) for name in names), pl.lit(0, pl.Int8))
  words = pl.concat_str('left', pl.lit(' '), 'right').str.to_lowercase().str.replace_all(r'[. ]+', ' ').str.split(' ')
  minuses = has('before', 'inner', 'behind', 'last') + (pl.col('open') != '').cast(pl.Int8)
  sound = (
    ((pl.col('open') == '') == (pl.col('close') == ''))
    & (minuses <= 1)
    & ~((pl.col('before') != '') & (pl.col('inner') != ''))
    & (words.list.set_intersection(list(_SCALES)).list.len() == 0)
    & ~words.list.contains('¢')
  )
  sign = pl.when(minuses == 1).then(-1.0).otherwise(1.0)
  values = {}
  for kind, decimal in DECIMALS.items():
    value = sign * pl.when(sound).then(_of_digits(decimal))
    values[kind] = pl.when(value.is_finite()).then(value)
  return parts.select(*counted.columns, **values)


def _of_digits(decimal: str) -> pl.Expr:
  """Digits with their separators as a number, null where the separators cannot be."""
  digits, other = pl.col('digits'), ',' if decimal == '.' else '.'
  end = rf'(?:[{decimal}]\d*)?$'
  thousands = '|'.join(rf'[1-9]\d{{0,2}}(?:[{mark}]\d{{3}})+' for mark in (other, ' ', "'"))
  indian = rf'[1-9]\d?(?:[{other}]\d{{2}})+[{other}]\d{{3}}'
  plain = rf'^(?:\d+(?:[{decimal}]\d*)?|[{decimal}]\d+)(?:[eE][-+]?\d+)?$'
  fits = digits.str.contains(plain) | digits.str.contains(rf'^(?:{thousands}|{indian}){end}')
  bare = digits.str.replace_all(rf"[{other} ']", '').str.replace(decimal, '.', literal=True)
  bare = bare.str.replace(r'^\.', '0.').str.replace(r'\.($|[eE])', '$1')
  return pl.when(fits).then(bare.cast(pl.Float64, strict=False))


def describe_unread(numbers: Mapping[str, Numbers], meaning: Mapping[str, str], lines: int) -> tuple[str, ...]:
  """A line for each column with texts that are no numbers, with examples; `meaning` says what such a line counts as."""
  return tuple(
    f'{name} that is no number, so {meaning[name]}: {read.unread:,} of {lines:,} lines, such as '
    f'{", ".join(map(repr, read.examples))}'
    for name, read in numbers.items()
    if read.unread
  )
