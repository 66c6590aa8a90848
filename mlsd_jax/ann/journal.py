"""The journal of an index: every change since its segments were built, on disk before it is visible."""

import json
import os
import pathlib
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from mlsd_jax.errors import UserError

_MAGIC = b'ANN1'
_HEAD = struct.Struct('<4sQII')  # magic, length of the body, CRC-32 of the body, CRC-32 of what stands before


class Journal:
  """A file of records, each a JSON object and named byte arrays. One process writes, under the folder's lock.

  A record that a killed process wrote half of is not there; one whose bytes have changed is an error.
  """

  def __init__(self, path: pathlib.Path):
    self.path = path
    self._size = path.stat().st_size if path.exists() else 0

  @staticmethod
  def create(path: pathlib.Path) -> 'Journal':
    """An empty journal, in the place of any other."""
    path.write_bytes(b'')
    return Journal(path)

  def records(self) -> Iterator[tuple[dict[str, Any], dict[str, np.ndarray]]]:
    """Reads all records in order; the next `append` goes behind the last whole one."""
    self._size = 0
    with open(self.path, 'rb') as file:
      while True:
        head = file.read(_HEAD.size)
        if len(head) < _HEAD.size:
          return
        magic, length, digest, check = _HEAD.unpack(head)
        if magic != _MAGIC or zlib.crc32(head[:-4]) != check:
          raise UserError(f'{self.path} is damaged at byte {self._size:,}: no record begins there')
        body = file.read(length)
        if len(body) < length:
          return
        if zlib.crc32(body) != digest:
          raise UserError(f'{self.path} is damaged in the record at byte {self._size:,}: its checksum differs')
        self._size = file.tell()
        yield _unpack(body)

  def append(self, note: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Writes one record to the disk, whole or not at all.

    Raises:
      UserError: the disk is full, or the folder cannot be written.
    """
    body = _pack(note, arrays)
    head = _HEAD.pack(_MAGIC, len(body), zlib.crc32(body), 0)[:-4]
    record = memoryview(head + struct.pack('<I', zlib.crc32(head)) + body)
    try:
      with open(self.path, 'rb+', buffering=0) as file:
        file.truncate(self._size)  # what a killed process left behind the last whole record
        file.seek(self._size)
        try:
          while record:
            record = record[file.write(record) :]
          os.fsync(file.fileno())
        except OSError:
          file.truncate(self._size)
          raise
        self._size = file.tell()
    except OSError as error:
      raise UserError(f'cannot write {self.path}: {error.strerror}; the index is as it was') from error


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
