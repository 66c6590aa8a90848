"""A single file with its checksum beside it; one of the user cache is made again where it is damaged or out of date."""

import logging
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from mlsd_jax import files
from mlsd_jax.errors import UserError
from mlsd_jax.sealed import json_files
from mlsd_jax.sealed.digests import damage, seal_file
from mlsd_jax.sealed.lock import lock

_logger = logging.getLogger(__name__)
_MADE_OF = 'made_of'

type Make = Callable[[pathlib.Path], object]


def cached_file(
  path: pathlib.Path,
  make: Make,
  *,
  made_of: Mapping[str, Any] | None = None,
  warn: Callable[[str], None] = _logger.warning,
) -> pathlib.Path:
  """`path`, whole: as it was made before, or made now.

  Args:
    make: writes the file under the name it is given.
    made_of: what it is made of, as JSON has it; made of something else, it is made anew without a word.
    warn: gets one line, naming the file, if what was there is damaged and made anew.

  Raises:
    UserError: what `make` raises, or the cache cannot be written.
  """
  if _damage(path, made_of) is None:
    return path
  with lock(path.parent, wait=True):
    problem = _damage(path, made_of)  # another process may have made it meanwhile
    if problem is None:
      return path
    if problem:
      warn(f'{problem}: it is made anew')
    write_file(path, make, made_of=made_of)
  return path


def write_file(path: pathlib.Path, make: Make, *, made_of: Mapping[str, Any] | None = None) -> None:
  """Writes `path` by `make`, atomically, and then its checksum beside it."""
  seal = seal_path(path)
  seal.unlink(missing_ok=True)
  with files.atomic_path(path) as temporary:
    make(temporary)
    sealed = seal_file(temporary)
  json_files.write_json(seal, {'files': {path.name: sealed}} | ({} if made_of is None else {_MADE_OF: made_of}))


def check_file(path: pathlib.Path) -> None:
  """Raises UserError if `path` is not as `write_file` wrote it. One without a checksum, as older ones, is taken."""
  problem = _damage(path, None)
  if problem:
    raise UserError(problem)


def delete_file(path: pathlib.Path) -> None:
  """Removes `path`, if it is there, and its checksum."""
  path.unlink(missing_ok=True)
  seal_path(path).unlink(missing_ok=True)


def seal_path(path: pathlib.Path) -> pathlib.Path:
  """Where the checksum of a single file stands."""
  return path.with_name(f'{path.name}.sha256.json')


def _damage(path: pathlib.Path, made_of: Mapping[str, Any] | None) -> str | None:
  """'' if there is nothing yet, nothing with a seal, or something made of other things."""
  if not path.exists() or not seal_path(path).exists():
    return ''
  try:
    seal = json_files.read_json(seal_path(path))
    if made_of is not None and seal.get(_MADE_OF) != made_of:
      return ''
    return damage(path.parent, seal['files'])
  except (UserError, KeyError, TypeError, AttributeError):
    return f'{seal_path(path)} is not a whole checksum file'
