"""The journal of an index: every change since its segments were built, on disk before it is visible."""

import json
import pathlib
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from mlsd_jax.errors import UserError
from mlsd_jax.sealed import AppendLog

_MAGIC = b'ANN1'


class Journal:
  """A log (sealed/append_log.py) of JSON objects with named arrays. One process writes, under the folder's lock."""

  def __init__(self, path: pathlib.Path):
    self._log = AppendLog(path, _MAGIC)

  @staticmethod
  def create(path: pathlib.Path) -> 'Journal':
    """An empty journal, in the place of any other."""
    AppendLog.create(path, _MAGIC)
    return Journal(path)

  def records(self) -> Iterator[tuple[dict[str, Any], dict[str, np.ndarray]]]:
    """Reads all records in order; the next `append` goes behind the last whole one."""
    return map(_unpack, self._log.records())

  def append(self, note: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Writes one record to the disk, whole or not at all.

    Raises:
      UserError: the disk is full, or the folder cannot be written.
    """
    try:
      self._log.append(_pack(note, arrays))
    except OSError as error:
      raise UserError(f'cannot write {self._log.path}: {error.strerror}; the index is as it was') from error


def _pack(note: dict[str, Any], arrays: dict[str, np.ndarray]) -> bytes:
  described = {name: [array.dtype.str, list(array.shape)] for name, array in arrays.items()}
  text = json.dumps({'note': note, 'arrays': described}, allow_nan=False).encode()
  return b''.join([struct.pack('<I', len(text)), text, *(array.tobytes() for array in arrays.values())])


def _unpack(body: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
  (length,) = struct.unpack_from('<I', body)
  described = json.loads(body[4 : 4 + length])
  at, arrays = 4 + length, {}
  for name, (dtype, shape) in described['arrays'].items():
    count = int(np.prod(shape, dtype=np.int64))
    arrays[name] = np.frombuffer(body, dtype, count, at).reshape(shape)
    at += arrays[name].nbytes
  return described['note'], arrays
