"""Writing files so that a reader never sees half of one."""

import contextlib
import errno
import hashlib
import json
import math
import os
import pathlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mlsd_jax import reading
from mlsd_jax.errors import UserError

_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS, errno.ENOTDIR)


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[pathlib.Path]:
  """Yields a temporary name beside `path`; on a clean exit it is flushed to disk and renamed to `path`.

  The temporary keeps the suffix of `path`, as writers such as matplotlib choose their format by it.

  Raises:
    UserError: the disk is full or the folder cannot be written. Whatever stood at `path` before is untouched.
  """
  path = pathlib.Path(path)
  temporary = None
  try:
    try:
      path.parent.mkdir(parents=True, exist_ok=True)
      descriptor, name = tempfile.mkstemp(prefix=f'.{path.stem}-', suffix=f'.tmp{path.suffix}', dir=path.parent)
    except OSError as error:  # whatever it is: no folder, a file in its place, a name that is too long
      raise UserError(f'cannot write {path}: {error.strerror}') from error
    os.close(descriptor)
    temporary = pathlib.Path(name)
    yield temporary
    flush(temporary)
    umask = os.umask(0)
    os.umask(umask)
    temporary.chmod(0o666 & ~umask)
    temporary.replace(path)
  except OSError as error:
    if error.errno in _UNWRITABLE:
      raise UserError(f'cannot write {path}: {error.strerror}; nothing that stood there was changed') from error
    raise
  finally:
    if temporary is not None:
      temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(folder: str | os.PathLike[str]) -> Iterator[pathlib.Path]:
  """Yields a temporary folder beside `folder` that takes its place on a clean exit.

  A folder that holds something cannot be renamed over: what stood there is first renamed to .NAME.old. A process killed
  in that moment leaves it so, whole, and the next call here, or of `restore_folder`, puts it back.

  Raises:
    UserError: the disk is full or the folder cannot be written. Whatever stood at `folder` before stands there again.
  """
  folder = pathlib.Path(folder)
  try:
    folder.parent.mkdir(parents=True, exist_ok=True)
    restore_folder(folder)
    with tempfile.TemporaryDirectory(prefix=f'.{folder.name}-', suffix='.tmp', dir=folder.parent) as name:
      fresh, old = pathlib.Path(name) / 'new', _set_aside(folder)
      fresh.mkdir()
      yield fresh
      try:
        if folder.exists():
          if old.exists():  # of a process killed before the last line of this
            old.rename(pathlib.Path(name) / 'older')
          folder.rename(old)
        fresh.rename(folder)
      except BaseException:
        restore_folder(folder)
        raise
      if old.exists():
        old.rename(pathlib.Path(name) / 'old')
  except OSError as error:
    if error.errno in _UNWRITABLE:
      raise UserError(f'cannot write {folder}: {error.strerror}; nothing that stood there was changed') from error
    raise


def restore_folder(folder: str | os.PathLike[str]) -> None:
  """Puts back what a process killed in `atomic_folder` left set aside, if nothing stands at `folder`.

  Raises:
    UserError: it cannot be put back.
  """
  folder = pathlib.Path(folder)
  old = _set_aside(folder)
  if old.exists() and not folder.exists():
    try:
      old.rename(folder)
    except OSError as error:
      raise UserError(f'{old} is what stood at {folder}, but cannot be renamed back: {error.strerror}') from error


def _set_aside(folder: pathlib.Path) -> pathlib.Path:
  return folder.parent / f'.{folder.name}.old'


def flush(path: str | os.PathLike[str]) -> None:
  """Waits until what was written to `path` is on the disk."""
  with open(path, 'rb+') as file:
    os.fsync(file.fileno())


def write_text(path: str | os.PathLike[str], text: str) -> None:
  """Writes `text` as UTF-8, atomically."""
  with atomic_path(path) as temporary:
    temporary.write_text(text, encoding='utf-8')


def write_json(path: str | os.PathLike[str], value: Any) -> None:
  """Writes `value` as indented JSON, atomically.

  Raises:
    UserError: a number in it is NaN or infinite, which is no JSON; or the file cannot be written.
  """
  write_text(path, to_json(value, path, indent=2) + '\n')


def write_json_lines(path: str | os.PathLike[str], values: Iterable[Any]) -> None:
  """Writes each value as one line of JSON, atomically.

  Raises:
    UserError: as `write_json`.
  """
  write_text(path, ''.join(to_json(value, path) + '\n' for value in values))


def to_json(value: Any, path: str | os.PathLike[str], indent: int | None = None) -> str:
  """`value` as the text of JSON. All JSON that is kept comes from here.

  Raises:
    UserError: a number in it is NaN or infinite, which is no JSON: named, with `path` as what is not written.
  """
  bad = _not_finite(value)
  if bad:
    raise UserError(f'{path} is not written: {bad}, and JSON has no such number')
  return json.dumps(value, indent=indent, allow_nan=False)


def _not_finite(value: Any, name: str = '') -> str | None:
  """'test_loss.mlp is nan' for the first number that is not finite."""
  if isinstance(value, float) and not math.isfinite(value):
    return f'{name or "the value"} is {value}'
  if isinstance(value, Mapping):
    parts: Iterable[tuple[Any, Any]] = value.items()
  elif isinstance(value, list | tuple):
    parts = enumerate(value)
  else:
    return None
  found = (_not_finite(part, f'{name}.{key}' if name else str(key)) for key, part in parts)
  return next((bad for bad in found if bad), None)


def read_json(path: str | os.PathLike[str]) -> Any:
  """Reads a JSON file, in memory that is bounded whatever it holds (reading.py).

  Raises:
    UserError: the file is missing, is not JSON, or is too large or too deep for it.
  """
  return reading.read_json(path)


def sha256(path: str | os.PathLike[str]) -> str:
  """The SHA-256 of a file's bytes, in hexadecimal."""
  with open(path, 'rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()
