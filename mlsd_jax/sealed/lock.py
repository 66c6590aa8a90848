"""One writer a folder: a lock that falls with the process, however that ends, and names the process that holds it."""

import contextlib
import errno
import fcntl
import os
import pathlib
import socket
import time
from collections.abc import Iterator

from mlsd_jax.errors import UserError

_NAME = '.lock'
_UNSUPPORTED = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)


@contextlib.contextmanager
def lock(folder: str | os.PathLike[str], *, wait: bool = False) -> Iterator[None]:
  """Holds FOLDER/.lock, in which stand this process's id and machine; makes the folder if there is none.

  On leaving, the file is gone again, and so is a folder that was made here and is still empty. Readers need no lock.
  A file system that has no locks (some network file systems) gives none: there the lock holds nobody up.

  Args:
    wait: for the other process to end, instead of an error.

  Raises:
    UserError: another process (or another part of this one) holds it, named by its id; or the folder cannot be written.
  """
  folder = pathlib.Path(folder).absolute()
  made = [path for path in (folder, *folder.parents) if not path.exists()]
  try:
    descriptor = _take(folder / _NAME, wait)
  except OSError as error:
    _remove_empty(made)
    raise UserError(f'cannot write in {folder}: {error.strerror}') from error
  try:
    yield
  finally:
    with contextlib.suppress(OSError):  # before the lock falls: nobody else may have taken the file by then
      (folder / _NAME).unlink()
    os.close(descriptor)
    _remove_empty(made)


def _take(path: pathlib.Path, wait: bool) -> int:
  while True:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
      descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except FileNotFoundError:  # the folder went, empty, with whoever had made it
      continue
    try:
      try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
      except BlockingIOError as error:
        holder = _holder(descriptor)
        raise UserError(f'{path.parent} is being written by {holder}: wait until it ends, or stop it') from error
      except OSError as error:
        if error.errno not in _UNSUPPORTED:
          raise
      if _is_at(descriptor, path):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f'{os.getpid()} {socket.gethostname()}\n'.encode(), 0)
        return descriptor
    except BaseException:
      os.close(descriptor)
      raise
    os.close(descriptor)  # of a holder that has ended meanwhile and taken the file with it


def _is_at(descriptor: int, path: pathlib.Path) -> bool:
  try:
    return os.path.samestat(os.fstat(descriptor), path.stat())
  except FileNotFoundError:
    return False


def _holder(descriptor: int) -> str:
  for _ in range(20):  # it writes its id a moment after it took the lock
    pid, _, machine = os.pread(descriptor, 300, 0).decode(errors='replace').strip().partition(' ')
    if pid:
      return f'process {pid}' + (f' on {machine}' if machine and machine != socket.gethostname() else '')
    time.sleep(0.01)
  return 'another process'


def _remove_empty(made: list[pathlib.Path]) -> None:
  with contextlib.suppress(OSError):  # not empty, or not there
    for path in made:
      path.rmdir()
