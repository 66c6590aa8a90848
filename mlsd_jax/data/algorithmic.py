"""Problems whose answers are known by rule: addition, sorting, reversal, dates; endless examples by seed and number.

A problem turns a source text into a target text. Whether a source is held out of training is a function of its text
alone, so that no order or seed can leak one. Ids are shared by all problems: padding 0, start 1, end 2, then the
problem's characters.

    problem = Addition(digits=2)
    problem.answer('85+50=')                                         # '531': the sum's digits from the lowest up
    batch = next(answer_batches(problem, batch_size=64).batches())   # {'tokens': [64, 10], 'weights': [64, 9]}
"""

import abc
import dataclasses
import datetime
import functools
import itertools
import zlib
from collections.abc import Callable, Sequence

import numpy as np

from mlsd_jax.data.batches import Batch, Stream
from mlsd_jax.errors import UserError
from mlsd_jax.schema import Share

PAD, START, END = 0, 1, 2
_FIRST = 3  # id of a problem's first character
_DIGITS = '0123456789'


@dataclasses.dataclass(frozen=True)
class Problem(abc.ABC):
  """A rule that turns a source text into a target text.

  Attributes:
    held_out: share of the sources that training never sees.
  """

  held_out: Share = dataclasses.field(default=0.2, kw_only=True)

  @property
  @abc.abstractmethod
  def characters(self) -> str:
    """The characters of sources and targets."""

  @property
  @abc.abstractmethod
  def lengths(self) -> tuple[int, int]:
    """The most characters of a source and of a target."""

  @abc.abstractmethod
  def draw(self, rng: np.random.Generator, number: int) -> list[str]:
    """Random sources, held-out ones among them."""

  @abc.abstractmethod
  def answer(self, source: str) -> str:
    """The target of a source."""

  @property
  def vocab_size(self) -> int:
    return _FIRST + len(self.characters)

  def is_held_out(self, source: str) -> bool:
    return zlib.crc32(f'held out? {source}'.encode()) < self.held_out * 2**32

  def sources(self, rng: np.random.Generator, number: int, *, held_out: bool) -> list[str]:
    """Random sources of the training part or of the held-out part.

    Raises:
      UserError: the first thousand draws brought none.
    """
    found: list[str] = []
    while len(found) < number:
      drawn = self.draw(rng, number if found else max(number, 1000))
      found += [source for source in drawn if self.is_held_out(source) == held_out]
      if not found:
        part = 'held-out' if held_out else 'training'
        raise UserError(f'{self} has no {part} examples; held_out is the share of the former')
    return found[:number]

  def encode(self, text: str) -> list[int]:
    """Ids of a text, without start and end.

    Raises:
      UserError: a character that the problem has not.
    """
    try:
      return [self._ids[character] for character in text]
    except KeyError as error:
      raise UserError(f'{error.args[0]!r} is not among the characters {self.characters!r} of this problem') from error

  def decode(self, ids: Sequence[int]) -> str:
    """The text up to the first end or padding; a start is left out."""
    characters = self.characters
    text = itertools.takewhile(lambda i: i not in (PAD, END), ids)
    return ''.join(characters[i - _FIRST] for i in text if i >= _FIRST)

  @functools.cached_property
  def _ids(self) -> dict[str, int]:
    return {character: _FIRST + i for i, character in enumerate(self.characters)}


@dataclasses.dataclass(frozen=True)
class Addition(Problem):
  """'85+50=' -> '531': two numbers of up to `digits` digits, and their sum from the lowest digit up.

  So that each digit of the sum follows from digits and a carry that are already there. Numbers have leading zeros
  to `digits` places where min_digits is 0; otherwise both have one random length from min_digits to digits.
  """

  digits: int = 2
  min_digits: int = 0

  def __post_init__(self):
    if not 0 <= self.min_digits <= self.digits or self.digits < 1:
      raise UserError(f'numbers of {self.min_digits} to {self.digits} digits cannot be added')

  @property
  def characters(self) -> str:
    return _DIGITS + '+='

  @property
  def lengths(self) -> tuple[int, int]:
    return 2 * self.digits + 2, self.digits + 1

  def source(self, a: int, b: int, digits: int | None = None) -> str:
    """'a+b=' with leading zeros to `digits` places."""
    width = self.digits if digits is None else digits
    return f'{a:0{width}}+{b:0{width}}='

  def draw(self, rng: np.random.Generator, number: int) -> list[str]:
    digits = rng.integers(self.min_digits or self.digits, self.digits + 1, number)
    numbers = rng.integers(0, 10 ** digits[:, None], (number, 2))
    return [self.source(a, b, width) for (a, b), width in zip(numbers.tolist(), digits.tolist(), strict=True)]

  def answer(self, source: str) -> str:
    a, b = source.rstrip('=').split('+')
    return f'{int(a) + int(b):0{max(len(a), len(b)) + 1}}'[::-1]

  def all_sources(self) -> list[str]:
    """Every pair of numbers of `digits` places."""
    return [self.source(a, b) for a in range(10**self.digits) for b in range(10**self.digits)]


@dataclasses.dataclass(frozen=True)
class Sorting(Problem):
  """'0212=' -> '0122': `length` symbols out of `symbols`, in order."""

  length: int = 6
  symbols: int = 3

  def __post_init__(self):
    if not 1 <= self.symbols <= len(_DIGITS) or self.length < 1:
      raise UserError(f'{self.length} symbols out of {self.symbols} cannot be sorted; there are 1 to {len(_DIGITS)}')

  @property
  def characters(self) -> str:
    return _DIGITS[: self.symbols] + '='

  @property
  def lengths(self) -> tuple[int, int]:
    return self.length + 1, self.length

  def draw(self, rng: np.random.Generator, number: int) -> list[str]:
    rows = rng.integers(0, self.symbols, (number, self.length))
    return [''.join(map(str, row)) + '=' for row in rows.tolist()]

  def answer(self, source: str) -> str:
    return ''.join(sorted(source.rstrip('=')))


@dataclasses.dataclass(frozen=True)
class Reversal(Problem):
  """'abca' -> 'acba': letters of a random length, backwards."""

  length: int = 12
  min_length: int = 1
  symbols: int = 26

  def __post_init__(self):
    if not 1 <= self.min_length <= self.length or not 1 <= self.symbols <= 26:
      raise UserError(f'{self.min_length} to {self.length} letters out of {self.symbols} cannot be reversed')

  @property
  def characters(self) -> str:
    return 'abcdefghijklmnopqrstuvwxyz'[: self.symbols]

  @property
  def lengths(self) -> tuple[int, int]:
    return self.length, self.length

  def draw(self, rng: np.random.Generator, number: int) -> list[str]:
    lengths = rng.integers(self.min_length, self.length + 1, number)
    letters = rng.integers(0, self.symbols, (number, self.length))
    rows = zip(letters.tolist(), lengths.tolist(), strict=True)
    return [''.join(self.characters[i] for i in row[:length]) for row, length in rows]

  def answer(self, source: str) -> str:
    return source[::-1]


_MONTHS = ['January', 'February', 'March', 'April', 'May', 'June']
_MONTHS += ['July', 'August', 'September', 'October', 'November', 'December']
_FORMATS = (
  lambda d: f'{_MONTHS[d.month - 1]} {d.day}, {d.year}',
  lambda d: f'{d.day} {_MONTHS[d.month - 1]} {d.year}',
  lambda d: f'{_MONTHS[d.month - 1][:3]} {d.day}, {d.year}',
  lambda d: f'{d.day:02}.{d.month:02}.{d.year}',
  lambda d: f'{d.month}/{d.day}/{d.year}',
)


@dataclasses.dataclass(frozen=True)
class Dates(Problem):
  """Days of 1900 to 2099 as people write them -> as ISO 8601 does: 'Mar 7, 1998', '07.03.1998' -> '1998-03-07'."""

  @property
  def characters(self) -> str:
    return ''.join(sorted(set(''.join(_MONTHS)) | set(_DIGITS) | set(' ,./-')))

  @property
  def lengths(self) -> tuple[int, int]:
    return len('September 30, 2099'), len('2099-09-30')

  def draw(self, rng: np.random.Generator, number: int) -> list[str]:
    first = datetime.date(1900, 1, 1).toordinal()
    days = rng.integers(first, datetime.date(2100, 1, 1).toordinal(), number).tolist()
    forms = rng.integers(0, len(_FORMATS), number).tolist()
    return [_FORMATS[form](datetime.date.fromordinal(day)) for day, form in zip(days, forms, strict=True)]

  def answer(self, source: str) -> str:
    if '/' in source:
      month, day, year = source.split('/')
    elif '.' in source:
      day, month, year = source.split('.')
    else:
      words = source.replace(',', '').split()
      name, day = (words[0], words[1]) if words[0].isalpha() else (words[1], words[0])
      month, year = str(1 + [full[:3] for full in _MONTHS].index(name[:3])), words[2]
    return f'{int(year):04}-{int(month):02}-{int(day):02}'


PROBLEMS: dict[str, type[Problem]] = {
  'addition': Addition,
  'sorting': Sorting,
  'reversal': Reversal,
  'dates': Dates,
}


def sequences(problem: Problem, sources: Sequence[str]) -> dict[str, np.ndarray]:
  """Sources and targets one behind the other, for a decoder.

  Returns:
    'tokens': int32 [B, L + 1], source, target, end, padding; 'weights': float32 [B, L], 1 where the next token is of
    the target or its end.
  """
  width = sum(problem.lengths) + 1
  tokens_BL = np.full((len(sources), width), PAD, np.int32)
  weights_BL = np.zeros((len(sources), width - 1), np.float32)
  for row, source in enumerate(sources):
    given, wanted = problem.encode(source), [*problem.encode(problem.answer(source)), END]
    end = len(given) + len(wanted)
    tokens_BL[row, :end] = given + wanted
    weights_BL[row, len(given) - 1 : end - 1] = 1.0
  return {'tokens': tokens_BL, 'weights': weights_BL}


def pairs(problem: Problem, sources: Sequence[str]) -> dict[str, np.ndarray]:
  """Sources and targets apart, for an encoder and a decoder.

  Returns:
    'source': int32 [B, S]; 'target': int32 [B, T] from start to end; both padded.
  """
  longest_source, longest_target = problem.lengths
  source_BS = np.full((len(sources), longest_source), PAD, np.int32)
  target_BT = np.full((len(sources), longest_target + 2), PAD, np.int32)
  for row, source in enumerate(sources):
    given, wanted = problem.encode(source), [START, *problem.encode(problem.answer(source)), END]
    source_BS[row, : len(given)] = given
    target_BT[row, : len(wanted)] = wanted
  return {'source': source_BS, 'target': target_BT}


def answer_batches(
  problem: Problem, batch_size: int, seed: int = 0, arrange: Callable[[Problem, Sequence[str]], Batch] = sequences
) -> Stream:
  """Training examples of a problem, without end; batch i follows from (seed, i).

  Args:
    arrange: `sequences` or `pairs`.
  """

  def batch(number: int, rows: slice | np.ndarray) -> Batch:
    rng = np.random.default_rng([seed, number])
    # All sources are drawn, as what the generator gives next depends on them; only `rows` are encoded.
    return arrange(problem, problem.sources(rng, batch_size, held_out=False)[rows])

  return Stream(batch)


def held_out_sources(problem: Problem, number: int, seed: int = 1) -> list[str]:
  """Distinct held-out sources in drawing order: `number` of them, or fewer where so many draws bring nothing new."""
  rng, found = np.random.default_rng(seed), dict[str, None]()
  for _ in range(20):
    found |= dict.fromkeys(problem.sources(rng, number, held_out=True))
    if len(found) >= number:
      break
  return list(found)[:number]
