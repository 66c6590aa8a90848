"""A log that only grows: a record counts from the moment that `append` returns, whatever is killed after.

    head   magic (4 bytes), length of the body (8), CRC-32 of the body (4), CRC-32 of the 16 bytes before (4)
    body   bytes, which are the owner's

Every call of `append` waits for one fsync, however many records it is given: what it was called for is on the disk when
it returns, and who has many writes them in one call. A process that is killed in it leaves a part of a record at the
end, of which nobody was told that it counts; it is left out, and the next `append` cuts it off. Bytes that changed
elsewhere are an error that names the place: a record in the middle is never left out in silence.
"""

import os
import pathlib
import struct
import zlib
from collections.abc import Iterator, Sequence

from mlsd_jax.errors import UserError

_HEAD = struct.Struct('<4sQII')
_AT_ONCE = 1 << 20  # bytes of what is left behind the last record, when it is looked at


class AppendLog:
  """Records in one file. One process writes, under a lock that its owner holds.

  Attributes:
    path: of the file.
    torn: bytes behind the last whole record when the records were last read; the next `append` cuts them off.
  """

  def __init__(self, path: pathlib.Path, magic: bytes):
    """`magic`, 4 bytes, stands before each record: a file of something else is refused."""
    assert len(magic) == 4
    self.path, self._magic, self.torn = path, magic, 0
    self._size = path.stat().st_size if path.exists() else 0

  @classmethod
  def create(cls, path: pathlib.Path, magic: bytes) -> 'AppendLog':
    """An empty log, in the place of any other.

    Raises:
      OSError: the file cannot be written.
    """
    with open(path, 'wb') as file:
      os.fsync(file.fileno())
    _sync_folder(path.parent)
    return cls(path, magic)

  def rewrite(self, bodies: Sequence[bytes]) -> None:
    """Puts these records in the place of all that there are, at once: whatever is killed, it is the old log or the new.

    Raises:
      OSError: the disk is full, or the folder cannot be written; the log is as it was.
    """
    made = self.create(self.path.with_name(f'{self.path.name}.new'), self._magic)  # over what a killed process left
    if bodies:
      made.append(*bodies)
    made.path.replace(self.path)
    self._size, self.torn = made._size, 0
    _sync_folder(self.path.parent)

  def records(self) -> Iterator[bytes]:
    """Reads all bodies in order; the next `append` goes behind the last whole one.

    Raises:
      UserError: a record is damaged, named by its place.
    """
    self._size = self.torn = 0
    with open(self.path, 'rb') as file:
      total = os.fstat(file.fileno()).st_size
      while True:
        head = file.read(_HEAD.size)
        if len(head) < _HEAD.size:
          break
        magic, length, digest, check = _HEAD.unpack(head)
        if magic != self._magic or zlib.crc32(head[:-4]) != check:
          file.seek(self._size)
          if _only_zeros(file):  # the file had grown when the power went, and its new bytes were not written yet
            break
          raise UserError(f'{self.path} is damaged at byte {self._size:,}: no record begins there')
        if length > total - file.tell():
          break
        body = file.read(length)
        if len(body) < length:
          break
        if zlib.crc32(body) != digest:
          raise UserError(f'{self.path} is damaged in the record at byte {self._size:,}: its checksum differs')
        self._size = file.tell()
        yield body
      self.torn = total - self._size

  def append(self, *bodies: bytes) -> None:
    """Writes records to the disk, in order; if it fails, none of them.

    Raises:
      OSError: the disk is full, or the file cannot be written.
    """
    record = memoryview(b''.join(part for body in bodies for part in (self._head(body), body)))
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
      self._size, self.torn = file.tell(), 0

  def _head(self, body: bytes) -> bytes:
    head = _HEAD.pack(self._magic, len(body), zlib.crc32(body), 0)[:-4]
    return head + struct.pack('<I', zlib.crc32(head))


def _sync_folder(path: pathlib.Path) -> None:
  """A name is only there when its folder is on the disk."""
  folder = os.open(path, os.O_RDONLY)
  try:
    os.fsync(folder)
  finally:
    os.close(folder)


def _only_zeros(file) -> bool:
  return all(not any(part) for part in iter(lambda: file.read(_AT_ONCE), b''))
