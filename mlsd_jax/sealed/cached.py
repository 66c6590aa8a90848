"""A file of the user cache that can be made again: made once, checked at each use."""

import logging
import pathlib
from collections.abc import Callable

from mlsd_jax import files
from mlsd_jax.errors import UserError
from mlsd_jax.sealed import json_files
from mlsd_jax.sealed.digests import damage, seal_file
from mlsd_jax.sealed.lock import lock

_logger = logging.getLogger(__name__)


def cached_file(
  path: pathlib.Path, make: Callable[[pathlib.Path], object], *, warn: Callable[[str], None] = _logger.warning
) -> pathlib.Path:
  """`path`, whole: as it was made before, or made now.

  Args:
    make: writes the file under the name it is given.
    warn: gets one line, naming the file, if what was there is damaged and made anew.

  Raises:
    UserError: what `make` raises, or the cache cannot be written.
  """
  if _damage(path) is None:
    return path
  with lock(path.parent, wait=True):
    problem = _damage(path)  # another process may have made it meanwhile
    if problem is None:
      return path
    if problem:
      warn(f'{problem}: it is made anew')
    seal = seal_path(path)
    seal.unlink(missing_ok=True)
    with files.atomic_path(path) as temporary:
      make(temporary)
      sealed = seal_file(temporary)
    json_files.write_json(seal, {'files': {path.name: sealed}})
  return path


def seal_path(path: pathlib.Path) -> pathlib.Path:
  """Where the checksum of a single file stands."""
  return path.with_name(f'{path.name}.sha256.json')


def _damage(path: pathlib.Path) -> str | None:
  """'' if there is nothing yet, or nothing with a seal."""
  if not path.exists() or not seal_path(path).exists():
    return ''
  try:
    return damage(path.parent, json_files.read_json(seal_path(path))['files'])
  except (UserError, KeyError, TypeError, AttributeError):
    return f'{seal_path(path)} is not a whole checksum file'
