"""Whether an answer is right: by tokens, exactly, within a tolerance."""

import dataclasses
import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from mlsd_jax.errors import UserError

_FLOAT = re.compile(rb'[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?')
_PUNCTUATION = re.compile(rb'([][(){},;:|]+)')
_SHOWN = 40  # characters of a token


class Difference(NamedTuple):
  """Where two outputs part: the line (from 1) of either, and what is wrong there."""

  line: int
  expected_line: int
  message: str


@dataclasses.dataclass(frozen=True)
class Comparison:
  """How an answer is compared with the expected one; the default validator's flags of the Kattis problem format.

  Attributes:
    exact: byte for byte; nothing else then counts.
    case_sensitive: of words. Kattis's default validator takes 'YES' for 'yes', as many judges do; ours only if asked.
    space_change_sensitive: white space must be the same; otherwise any run of it parts tokens, and the end is free.
    float_relative, float_absolute: where either is given and the expected token is a finite decimal number, the answer
      must be a number as near as one of the two allows. So is every number in a token such as `[1.0,2.5]` or `x:3`,
      whose brackets, commas, colons and other parts must be equal. None: numbers are words.
  """

  exact: bool = False
  case_sensitive: bool = True
  space_change_sensitive: bool = False
  float_relative: float | None = None
  float_absolute: float | None = None

  @classmethod
  def from_flags(cls, flags: Sequence[str]) -> 'Comparison':
    """From validator flags such as ['case_sensitive', 'float_tolerance', '1e-6'].

    Raises:
      UserError: a flag that does not exist, or a tolerance that is no number.
    """
    words = iter(flags)
    values: dict[str, bool | float] = {'case_sensitive': False}
    for word in words:
      if word in ('case_sensitive', 'space_change_sensitive'):
        values[word] = True
      elif word in ('float_tolerance', 'float_relative_tolerance', 'float_absolute_tolerance'):
        number = next(words, '')
        try:
          tolerance = float(number)
        except ValueError as error:
          raise UserError(f'validator flag {word} needs a number such as 1e-6, not {number!r}') from error
        if not 0 <= tolerance < math.inf:
          raise UserError(f'validator flag {word} needs a finite number that is not negative, not {number!r}')
        names = ('relative', 'absolute') if word == 'float_tolerance' else (word.split('_')[1],)
        values |= {f'float_{name}': tolerance for name in names}
      else:
        raise UserError(
          f'no validator flag {word!r}; there are case_sensitive, space_change_sensitive, float_tolerance, '
          'float_relative_tolerance, float_absolute_tolerance'
        )
    return cls(**values)  # type: ignore[arg-type]

  def __call__(self, answer: bytes, expected: bytes) -> Difference | None:
    """The first difference, or None when the answer is right."""
    if answer == expected:
      return None
    if self.exact:
      return _first_difference(answer, expected)
    if self.space_change_sensitive:
      found = _spaces_differ(answer, expected)
      if found:
        return found
    given, wanted = answer.split(), expected.split()
    if len(given) == len(wanted) and given == wanted:
      return None
    for index, (mine, right) in enumerate(zip(given, wanted, strict=False)):
      message = None if mine == right else self._token(mine, right)
      if message:
        return Difference(_line_of(answer, index), _line_of(expected, index), message)
    if len(given) < len(wanted):
      lines = _line_of(answer, len(given)), _line_of(expected, len(given))
      what = f'the answer ends where {_shown(wanted[len(given)])} is expected' if given else 'the answer is empty'
      return Difference(*lines, what)
    if len(given) > len(wanted):
      lines = _line_of(answer, len(wanted)), _line_of(expected, len(wanted))
      return Difference(*lines, f'{_shown(given[len(wanted)])} where nothing more is expected')
    return None

  def _token(self, mine: bytes, right: bytes) -> str | None:
    if self.float_relative is not None or self.float_absolute is not None:
      value = _number(right)
      if value is None and len(wanted := _PUNCTUATION.split(right)) > 1:
        return self._parts(mine, right, wanted)
      if value is not None:
        given = _number(mine)
        if given is None:
          return f'{_shown(mine)} where a number near {_shown(right)} is expected'
        error = abs(given - value)
        if self.float_absolute is not None and error <= self.float_absolute:
          return None
        if self.float_relative is not None and error <= self.float_relative * abs(value):
          return None
        relative = f', relative {error / abs(value):.3g}' if value else ''
        return f'{_shown(mine)} where {_shown(right)} is expected: error {error:.3g}{relative}'
    if not self.case_sensitive and mine.lower() == right.lower():
      return None
    return _pair(mine, right)

  def _parts(self, mine: bytes, right: bytes, wanted: list[bytes]) -> str | None:
    given = _PUNCTUATION.split(mine)
    if len(given) != len(wanted):
      return _pair(mine, right)
    for index, (one, other) in enumerate(zip(given, wanted, strict=True)):  # what parts them stands at odd places
      message = None if one == other else _pair(one, other) if index % 2 else self._token(one, other)
      if message:
        return f'{message} (in {_shown(mine)})'
    return None


def _number(token: bytes) -> float | None:
  """A finite number in decimal; None for a word, NaN, an infinity or an overflow."""
  if not _FLOAT.fullmatch(token):
    return None
  value = float(token)
  return value if math.isfinite(value) else None


def _shown(token: bytes) -> str:
  return _window(token, 0)


def _window(token: bytes, start: int) -> str:
  """Of a long token what stands around a place, in quotes; bytes that are no text as escapes, NUL among them."""
  start = max(0, min(start - _SHOWN // 2, len(token) - _SHOWN))
  end = start + _SHOWN
  text = token[start:end].decode(errors='backslashreplace')
  return repr('...' * (start > 0) + text + '...' * (end < len(token)))


def _pair(mine: bytes, right: bytes) -> str:
  """The two around their first difference, so that it is seen in tokens of any length."""
  place = next((i for i, (a, b) in enumerate(zip(mine, right, strict=False)) if a != b), min(len(mine), len(right)))
  if max(len(mine), len(right)) <= _SHOWN:
    return f'{_shown(mine)} where {_shown(right)} is expected'
  where = f' (from character {place + 1}; {len(mine)} and {len(right)} long)'
  return f'{_window(mine, place)} where {_window(right, place)} is expected{where}'


def _line_of(text: bytes, token: int) -> int:
  """The line, from 1, on which the token of this number stands, or the last line."""
  for number, line in enumerate(text.splitlines(), 1):
    token -= len(line.split())
    if token < 0:
      return number
  return max(1, len(text.splitlines()))


def _first_difference(answer: bytes, expected: bytes) -> Difference:
  common = next(
    (i for i, (mine, right) in enumerate(zip(answer, expected, strict=False)) if mine != right),
    min(len(answer), len(expected)),
  )
  line = answer.count(b'\n', 0, common) + 1
  mine, right = (_shown(text[common : common + 20]) if common < len(text) else 'the end' for text in (answer, expected))
  return Difference(line, line, f'byte {common}: {mine} where {right} is expected')


def _spaces_differ(answer: bytes, expected: bytes) -> Difference | None:
  space = re.compile(rb'\s+')
  mine, right = space.findall(answer), space.findall(expected)
  if mine == right and answer[:1].isspace() == expected[:1].isspace():
    return None
  pairs = enumerate(zip(mine, right, strict=False))
  index = next((i for i, pair in pairs if pair[0] != pair[1]), min(len(mine), len(right)))
  spaces = [_shown(each[index]) if index < len(each) else 'none' for each in (mine, right)]
  # The space after token i is the i-th, unless the text begins with one.
  lines = [_line_of(text, max(0, index - text[:1].isspace())) for text in (answer, expected)]
  return Difference(lines[0], lines[1], f'white space {spaces[0]} where {spaces[1]} is expected')
