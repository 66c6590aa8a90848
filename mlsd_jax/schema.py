"""Reading a frozen dataclass out of a config dictionary: every value is of its type and in its range, or refused.

A field is annotated with the numbers that it takes, `Annotated[int, at_least(1)]`; without, they are finite and 0 or
more. Of words, `Literal['documents', 'contiguous']` names those that there are.
"""

import ast
import dataclasses
import inspect
import io
import math
import re
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


_ONE_SLASH = re.compile(r'([a-z][a-z0-9+.-]+):/(?!/)(.*)', re.IGNORECASE | re.DOTALL)  # C:/ is a drive
_FORMS = re.compile(r'(hf|tfds|tokens):')  # before the name or folder of a source


def one_slash(path: str) -> str | None:
  """What is wrong with an address that lost a slash, as s3:/bucket; as a path it is a folder of the name s3: here."""
  if not (slip := _ONE_SLASH.match(path)):
    return None
  store, rest = slip.groups()
  return f'has one slash: {store}://{rest} is of an object store, and a folder here is ./{path}'


def not_here(path: str) -> str | None:
  """What is wrong with what should be a path of this machine."""
  where = f'is {path}: it must be a file or folder of this machine, and no address'
  return one_slash(path) or (where if '://' in path else None)


def _source_slip(spec: str) -> str | None:
  return one_slash(_FORMS.sub('', spec))


Place = Annotated[str, Rule(one_slash)]  # a folder, or a prefix of an object store
Path = Annotated[str, Rule(not_here)]  # of a file or folder of this machine
PathName = Annotated[Name, Rule(not_here)]
Source = Annotated[str, Rule(_source_slip)]  # a name, a path, or one behind hf:, tfds:, tokens:
SourceName = Annotated[Name, Rule(_source_slip)]
SourceNames = Annotated[tuple[SourceName, ...], Rule(_repeated)]
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
    said = str(error)
    for own in (f'{where}.', f'{where.rpartition(".")[2]}.'):  # 'moons.steps must be', of a class that says its section
      if where and said.startswith(own):
        raise UserError(f'{section}.{said.removeprefix(own)}') from error
    of_field = said.partition(' ')[0] in fields  # 'steps must be' is 'config.moons.steps must be'
    raise UserError(f'{section}{"." if of_field else ": "}{said}') from error


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
