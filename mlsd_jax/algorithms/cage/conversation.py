"""Pipes between two programs that talk to each other, both ends of which the supervisor holds too."""

import contextlib
import fcntl
import os

_PIPE_SIZE = 1 << 20


class Pipe:
  """A pipe whose writer can give up its end without being able to end it: whoever holds another one sees it.

  A reader gets the end of file when nobody holds a writing end, and we hold one. Whether we are the last is told by no
  system call; hence the writer gets an open file description of its own, with a lock (flock(2)) that the kernel takes
  away with the last of its descriptors. A program that lets go of the lock itself only makes us close ours early.
  """

  def __init__(self):
    self.reading, self._writing = os.pipe()
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
