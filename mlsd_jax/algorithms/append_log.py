"""An append-only log whose records are there whole or not at all, whenever the process or the machine stops.

A record is its length and CRC-32 (four bytes each, little end first) and its bytes. It counts as written when `append`
returns: the bytes have then been flushed to the disk. On opening, what stands behind the last whole record is what a
stop left behind, and is cut off; a record that is damaged with whole ones behind it is no such thing, and is an error.
"""

import fcntl
import os
import pathlib
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Self

from mlsd_jax.errors import UserError

_HEAD = struct.Struct('<II')


class AppendLog:
  """A log in a file that one process at a time may open.

  Attributes:
    size: bytes of the records in it.
  """

  def __init__(self, path: str | os.PathLike[str]):
    """Opens the log, or begins one.

    Raises:
      UserError: another process has it open, or a record in the middle is damaged.
    """
    self.path = pathlib.Path(path)
    # The lock is on a file of its own, as `rewrite` puts another file in the log's place.
    self._lock = os.open(self.path.with_name(self.path.name + '.lock'), os.O_RDWR | os.O_CREAT, 0o644)
    try:
      fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
      os.close(self._lock)
      raise UserError(f'{self.path} is open in another process') from error
    try:
      self._file = self._open()
    except BaseException:
      os.close(self._lock)
      raise
    self._broken = False

  def _open(self) -> int:
    begun = not self.path.exists()
    file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
    if begun:
      _flush_folder(self.path.parent)
    data = _read_all(file)
    records, self.size = split_records(data)
    if self.size < len(data):
      if _has_record_behind(data, self.size):
        os.close(file)
        raise UserError(f'{self.path} is damaged at byte {self.size:,}, with whole records behind it')
      os.ftruncate(file, self.size)
      os.fsync(file)
    self.records = records  # those found on opening
    return file

  def append(self, record: bytes) -> None:
    """Writes a record; on return it is safe.

    Raises:
      OSError: it could not be written. The log is as it was.
      UserError: it could not even be put back as it was: open it anew.
    """
    if self._broken:
      raise UserError(f'{self.path} could not be written to earlier; open it anew')
    data = _pack(record)
    try:
      _write_at(self._file, data, self.size)
      os.fsync(self._file)
    except BaseException:
      self._broken = True  # after a failed flush nobody knows what is on the disk, until it has been read again
      try:
        os.ftruncate(self._file, self.size)
        os.fsync(self._file)
        self._broken = False
      except OSError:
        pass
      raise
    self.size += len(data)

  def rewrite(self, records: Iterable[bytes]) -> None:
    """Puts these records in the place of all there are. A stop leaves the old ones or the new ones."""
    temporary = self.path.with_name(self.path.name + '.new')
    file = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
      data = b''.join(map(_pack, records))
      _write_at(file, data, 0)
      os.fsync(file)
      temporary.replace(self.path)
    except BaseException:
      os.close(file)
      raise
    os.close(self._file)
    self._file, self.size = file, len(data)
    _flush_folder(self.path.parent)

  def close(self) -> None:
    os.close(self._file)
    os.close(self._lock)

  def __enter__(self) -> Self:
    return self

  def __exit__(self, *error: object) -> None:
    self.close()


def split_records(data: bytes) -> tuple[list[bytes], int]:
  """The whole records at the beginning of `data`, and how many bytes they take."""
  records, place = [], 0
  while (end := _record_end(data, place)) is not None:
    records.append(data[place + _HEAD.size : end])
    place = end
  return records, place


def _record_end(data: bytes, place: int) -> int | None:
  if place + _HEAD.size > len(data):
    return None
  length, checksum = _HEAD.unpack_from(data, place)
  end = place + _HEAD.size + length
  if length == 0 or end > len(data) or zlib.crc32(data[place + _HEAD.size : end]) != checksum:
    return None
  return end


def _has_record_behind(data: bytes, place: int) -> bool:
  """Whether a whole record begins anywhere behind `place`: the damage may be to the length of the one there."""
  return any(_record_end(data, behind) is not None for behind in range(place + 1, len(data) - _HEAD.size))


def _pack(record: bytes) -> bytes:
  assert record, 'an empty record looks like a file that was extended but not filled'
  return _HEAD.pack(len(record), zlib.crc32(record)) + record


def _write_at(file: int, data: bytes, place: int) -> None:
  while data:
    written = os.pwrite(file, data, place)
    data, place = data[written:], place + written


def _read_all(file: int) -> bytes:
  return b''.join(_pieces(file))


def _pieces(file: int) -> Iterator[bytes]:
  while piece := os.read(file, 1 << 20):
    yield piece


def _flush_folder(folder: pathlib.Path) -> None:
  """Makes names that were made or changed in a folder safe."""
  descriptor = os.open(folder, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)
