"""JSON that others wrote: a value or one on each line, of bounded size and depth."""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from mlsd_jax.errors import UserError
from mlsd_jax.reading.text import lines, read_text

JSON_DEPTH = 100  # levels; what is read is walked by functions that call themselves


def parse_json(text: str | bytes, where: str, *, unique: bool = False) -> Any:
  """The value that JSON text stands for, which must not be nested deeper than JSON_DEPTH.

  Args:
    where: file and line, for the error.
    unique: whether a key that an object has twice is an error, too.

  Raises:
    UserError: it is no JSON, no UTF-8, nested too deeply, or has a number of thousands of digits.
  """
  try:
    return _parsed(text, unique)
  except _JSONError as error:
    raise UserError(f'{where}: {error}') from error


def read_json(path: str | os.PathLike[str], *, unique: bool = False) -> Any:
  """Reads a JSON file.

  Args:
    unique: as of `parse_json`; of what a user writes, so that nothing of it is dropped without a word.

  Raises:
    UserError: the file is missing, larger than FILE_BYTES, or not what `parse_json` reads.
  """
  try:
    return _parsed(read_text(path), unique)
  except _JSONError as error:
    raise UserError(f'{path} is not valid JSON: {error}') from error


def json_lines(path: str | os.PathLike[str], *, unique: bool = False) -> Iterator[tuple[int, Any | UserError]]:
  """Numbered JSON values of a file with one on each line; in place of a bad one comes its error. Empty lines count.

  Raises:
    UserError: as `lines`.
  """
  for number, line in lines(path):
    if isinstance(line, UserError):
      yield number, line
    elif line.strip():
      try:
        value: Any = parse_json(line, f'{path}, line {number}', unique=unique)
      except UserError as error:
        value = error
      yield number, value


def strict[T](numbered: Iterable[tuple[int, T | UserError]]) -> Iterator[tuple[int, T]]:
  """Lines of which the first bad one is an error of the whole.

  Raises:
    UserError: that one.
  """
  for number, value in numbered:
    if isinstance(value, UserError):
      raise value
    yield number, value


class _JSONError(Exception):
  """Why a text is not read as JSON."""


class RepeatedKeyError(_JSONError):
  """An object has a key twice.

  Attributes:
    key: the first such.
  """

  def __init__(self, key: str):
    super().__init__(f'the key {key!r} is there twice')
    self.key = key


def unique_keys(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
  """An object of its pairs, none of them dropped in silence: the object_pairs_hook of json.loads.

  Raises:
    RepeatedKeyError: a key is there twice.
  """
  made = dict(pairs)
  if len(made) < len(pairs):
    seen: set[str] = set()
    for key, _ in pairs:
      if key in seen:
        raise RepeatedKeyError(key)
      seen.add(key)
  return made


def _parsed(text: str | bytes, unique: bool) -> Any:
  try:
    text = text.decode() if isinstance(text, bytes) else text
    value = json.loads(text, object_pairs_hook=unique_keys if unique else None)
  except UnicodeDecodeError as error:
    raise _JSONError(f'not UTF-8 ({error.reason}); convert the file to UTF-8') from error
  except json.JSONDecodeError as error:
    raise _JSONError(f'not JSON ({_placed(error)})') from error
  except RecursionError as error:
    raise _JSONError(f'nested more than {JSON_DEPTH} levels deep') from error
  except ValueError as error:  # of int(), which refuses to spend minutes on digits
    raise _JSONError('a number has too many digits') from error
  if isinstance(value, dict | list) and text.count('[') + text.count('{') > JSON_DEPTH and _is_deep(value):
    raise _JSONError(f'nested more than {JSON_DEPTH} levels deep')
  return value


def _placed(error: json.JSONDecodeError) -> str:
  return f'{error.msg} at line {error.lineno}, column {error.colno}' if error.lineno > 1 else error.msg


def _is_deep(value: Any) -> bool:
  level = [value]
  for _ in range(JSON_DEPTH):
    parts = (part.values() if isinstance(part, dict) else part for part in level)
    level = [each for part in parts for each in part if isinstance(each, dict | list)]
    if not level:
      return False
  return True
