"""Pipes between two programs that talk to each other, both ends of which the supervisor holds too."""

import contextlib
import fcntl
import os
import select
import struct

_PIPE_SIZE = 1 << 20
_RECORD = struct.Struct('hhqqi4x')  # struct flock: type, whence, start, length, pid
_READ_LOCK, _WRITE_LOCK = (_RECORD.pack(kind, os.SEEK_SET, 0, 1, 0) for kind in (fcntl.F_RDLCK, fcntl.F_WRLCK))


class Pipe:
  """A pipe either of whose users can give up its end without being able to end it: whoever holds another one sees it.

  A reader gets the end of file when nobody holds a writing end, and a writer EPIPE when nobody holds a reading one, and
  we hold both. Whether we are the last is told by no system call; hence each gets an open file description of its own,
  with a lock that the kernel takes away with the last of its descriptors: flock(2) for the writer, and for the reader,
  as there is one of those a pipe, a lock of fcntl(2) on a byte. A program that lets go of its lock itself only makes us
  close ours early.
  """

  def __init__(self):
    self.reading, self._writing = os.pipe()
    self._is_watched = False  # whether the reader's lock could be taken
    with contextlib.suppress(OSError):
      fcntl.fcntl(self.reading, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)

  @contextlib.contextmanager
  def writer(self):
    """A descriptor to be inherited by the program that writes; ours is closed behind it."""
    end = os.open(f'/proc/self/fd/{self._writing}', os.O_WRONLY)
    try:
      with contextlib.suppress(OSError):
        fcntl.flock(end, fcntl.LOCK_EX)
      yield end
    finally:
      os.close(end)

  @contextlib.contextmanager
  def reader(self):
    """A descriptor to be inherited by the program that reads; ours is closed behind it."""
    end = os.open(f'/proc/self/fd/{self.reading}', os.O_RDONLY)
    try:
      with contextlib.suppress(OSError):
        fcntl.fcntl(end, fcntl.F_OFD_SETLK, _READ_LOCK)
        self._is_watched = True
      yield end
    finally:
      os.close(end)

  def is_left(self):
    """Whether the writer has given up its end, while ours is still open."""
    if self._writing < 0:
      return False
    try:
      fcntl.flock(self._writing, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
      return False
    fcntl.flock(self._writing, fcntl.LOCK_UN)
    return True

  def is_blocked(self):
    """Whether the reader has given up its end, and there is no room to write: who writes on would wait for ever.

    What fits is taken all the same, as if it had been written a little earlier.
    """
    if not self._is_watched or self._writing < 0 or self.reading < 0:
      return False
    poller = select.poll()
    poller.register(self._writing, select.POLLOUT)
    if poller.poll(0):
      return False
    held = fcntl.fcntl(self._writing, fcntl.F_OFD_GETLK, _WRITE_LOCK)
    return _RECORD.unpack(held)[0] == fcntl.F_UNLCK

  def close_writing(self):
    if self._writing >= 0:
      os.close(self._writing)
      self._writing = -1

  def close_reading(self):
    if self.reading >= 0:
      os.close(self.reading)
      self.reading = -1

  def close(self):
    self.close_writing()
    self.close_reading()
