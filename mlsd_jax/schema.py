"""Reading a frozen dataclass out of a config dictionary: every value is of its type and in its range, or refused.

A field is annotated with the numbers that it takes, `Annotated[int, at_least(1)]`; without, they are finite and 0 or
more. Of words, `Literal['documents', 'contiguous']` names those that there are.
"""

import ast
import dataclasses
import inspect
import io
import math
import textwrap
import tokenize
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

from mlsd_jax.errors import UserError


class Range(typing.NamedTuple):
  """Numbers from `low` to `high`; an open end is not among them."""

  low: float = 0
  high: float = math.inf
  low_open: bool = False
  high_open: bool = False

  def holds(self, value: float) -> bool:
    """False for NaN and for infinity, too."""
    above = value > self.low if self.low_open else value >= self.low
    return above and (value < self.high if self.high_open else value <= self.high) and math.isfinite(value)

  def __str__(self) -> str:
    low = f'above {self.low:g}' if self.low_open else f'at least {self.low:g}'
    if self.high == math.inf:
      return low
    return f'{low} and {"below" if self.high_open else "at most"} {self.high:g}'


ANY = Range(-math.inf)  # that is finite
_LARGEST = 2**63 - 1


def at_least(low: float) -> Range:
  return Range(low)


def above(low: float) -> Range:
  return Range(low, low_open=True)


def between(low: float, high: float) -> Range:
  """Both ends are taken, too."""
  return Range(low, high)


class Rule(typing.NamedTuple):
  """Of a value that is no number: what is wrong with it, or None."""

  wrong: Callable[[Any], str | None]


def _repeated(values: Sequence[Any]) -> str | None:
  return next((f'names {each!r} twice' for i, each in enumerate(values) if each in values[:i]), None)


# '' as a file, a folder or a source would be the folder one stands in.
Name = Annotated[str, Rule(lambda value: None if value else 'is empty')]
Names = Annotated[tuple[str, ...], Rule(_repeated)]
Numbers = Annotated[tuple[int, ...], Rule(_repeated)]
Positive = Annotated[int, at_least(1)]
Share = Annotated[float, Range(0, 1, low_open=True, high_open=True)]  # with something left on both sides
Dropout = Annotated[float, Range(0, 1, high_open=True)]


class Setting(typing.NamedTuple):
  """One field of a settings class: its default (dataclasses.MISSING where it has none) and the comment behind it."""

  default: Any
  comment: str


def describe(cls: type) -> dict[str, Setting]:
  """The fields of a dataclass of settings with their defaults and the comments on their lines of its source.

  The comments are those a reader of the class sees, so that what --help prints cannot fall behind them.
  """
  source = textwrap.dedent(inspect.getsource(cls))
  tokens = tokenize.generate_tokens(io.StringIO(source).readline)
  comments = {token.start[0]: token.string.lstrip('# ') for token in tokens if token.type == tokenize.COMMENT}
  body = typing.cast(ast.ClassDef, ast.parse(source).body[0]).body
  lines = {statement.target.id: statement.lineno for statement in body
           if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)}  # fmt: skip
  return {
    field.name: Setting(_default(field), comments.get(lines.get(field.name, 0), ''))
    for field in dataclasses.fields(cls)
  }


def _default(field: dataclasses.Field) -> Any:
  return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def from_mapping[T](cls: type[T], values: Mapping[str, Any], where: str) -> T:
  """Builds a dataclass from a mapping, nested dataclasses included.

  Args:
    where: the section that the mapping is; '' for the whole config.

  Raises:
    UserError: an unknown key, a missing one, a value of another type or out of its range, or one that the class
      refuses; the section and the key are named.
  """
  hints = typing.get_type_hints(cls, include_extras=True)
  fields = {field.name: field for field in dataclasses.fields(typing.cast(Any, cls))}
  section = f'config.{where}' if where else 'config'
  unknown = sorted(set(values) - set(fields))
  if unknown:
    raise UserError(f'{section} has no key {unknown[0]!r}; its keys are {", ".join(fields)}')
  arguments = {name: _checked(hints[name], value, f'{section}.{name}') for name, value in values.items()}
  try:
    return cls(**arguments)
  except (UserError, TypeError, ValueError, ArithmeticError) as error:
    if isinstance(error, UserError) and 'config.' in str(error):
      raise
    if where and str(error).startswith(f'{where}.'):  # 'moons.steps must be', of a class that knows its section
      raise UserError(f'config.{error}') from error
    of_field = str(error).partition(' ')[0] in fields  # 'steps must be' is 'config.moons.steps must be'
    raise UserError(f'{section}{"." if of_field else ": "}{error}') from error


def _checked(hint: Any, value: Any, key: str) -> Any:
  """`value` as the hint has it."""
  allowed = Range()
  if typing.get_origin(hint) is Annotated:
    hint, *extras = typing.get_args(hint)
    allowed = next((extra for extra in extras if isinstance(extra, Range)), allowed)
    rules = [extra for extra in extras if isinstance(extra, Rule)]
    if rules:
      value = _checked(hint, value, key)
      for wrong in filter(None, (rule.wrong(value) for rule in rules)):
        raise UserError(f'{key} {wrong}')
      return value
  if hint is Any:
    return value
  origin = typing.get_origin(hint)
  if origin is typing.Literal:
    if value not in typing.get_args(hint):
      raise UserError(f'{key}={value!r} is not one of {", ".join(typing.get_args(hint))}')
    return value
  if origin is types.UnionType:
    kinds = typing.get_args(hint)
    hint = next((kind for kind in kinds if isinstance(value, typing.get_origin(kind) or kind)), kinds[0])
    return _checked(hint, value, key)
  if origin is tuple:
    return _checked_tuple(hint, value, key)
  if origin is Mapping and isinstance(value, Mapping):
    inner = typing.get_args(hint)[1]
    return {name: _checked(inner, each, f'{key}.{name}') for name, each in value.items()}
  if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
    return from_mapping(typing.cast(type, hint), value, key.removeprefix('config.'))
  if hint is float and isinstance(value, int) and not isinstance(value, bool):
    value = float(value)
  elif isinstance(hint, type) and not isinstance(hint, types.GenericAlias) and not isinstance(value, hint):
    raise UserError(f'{key} must be {hint.__name__}, got {value!r}')
  if hint is int and not -_LARGEST <= value <= _LARGEST:  # beyond are overflows, or steps that no counter holds
    raise UserError(f'{key} must be at most {_LARGEST:,} in size, got {value!r}')
  if hint in (int, float) and not allowed.holds(value):
    what = 'a finite number' if allowed == Range() and not math.isfinite(value) else str(allowed)
    raise UserError(f'{key} must be {what}, got {value!r}')
  return value


def _checked_tuple(hint: Any, value: Any, key: str) -> tuple[Any, ...]:
  if not isinstance(value, tuple | list):
    raise UserError(f'{key} must be a tuple, got {value!r}')
  inner, *rest = typing.get_args(hint)
  return tuple(_checked(inner, each, f'{key}[{i}]') for i, each in enumerate(value)) if rest == [...] else tuple(value)
