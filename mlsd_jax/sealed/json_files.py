"""JSON files with a digest of their content as their last key, so that a changed one is noticed."""

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

from mlsd_jax import files
from mlsd_jax.errors import UserError

KEY = 'sha256'


def write_json(path: str | os.PathLike[str], value: Mapping[str, Any]) -> None:
  """Writes an object and the digest of it under 'sha256', atomically.

  Raises:
    UserError: a number in it is not finite, or the file cannot be written.
  """
  plain = {name: item for name, item in value.items() if name != KEY}
  files.write_json(path, plain | {KEY: _digest(json.loads(files.to_json(plain, path)))})


def read_json(path: str | os.PathLike[str]) -> dict[str, Any]:
  """The object that `write_json` wrote, without its digest. One that has none, as older ones, is taken as it is.

  Raises:
    UserError: no such file; it is damaged (no JSON object); or edited by hand (its digest is of another content).
  """
  try:
    content = files.read_json(path)
  except UserError as error:
    raise UserError(f'{error} (damaged)' if os.path.exists(path) else str(error)) from error  # noqa: PTH110
  if not isinstance(content, dict):
    raise UserError(f'{path} is damaged: it holds no JSON object')
  *others, last = content.items() or [('', None)]
  if last[1] == _digest(dict(others)):
    return dict(others)
  if KEY in content:
    raise UserError(
      f'{path} was edited by hand: its content is not what was written; '
      f'put it back, or delete its key "{KEY}" to have it taken as it is'
    )
  return content


def _digest(content: Mapping[str, Any]) -> str:
  return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
