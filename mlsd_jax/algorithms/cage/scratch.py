"""A folder for a program to write into, where it gets no private root: made for one run, and removed after it."""

import contextlib
import os


def make(parent: str, user: int | None) -> str:
  folder = os.path.join(parent, f'judged-{os.urandom(8).hex()}')
  os.mkdir(folder, 0o700)
  if user is not None:
    os.chown(folder, user, user)
  return folder


def remove(folder: str) -> None:
  """Removes a folder whose owner tried to keep it: without rights, or deeper than a path or a recursion can go.

  What is two levels down is moved one level up, so that no path ever grows.
  """
  number = 0
  with contextlib.suppress(OSError):
    os.chmod(folder, 0o700)
    while entries := list(os.scandir(folder)):
      for entry in entries:
        if not entry.is_dir(follow_symlinks=False):
          os.unlink(entry.path)
          continue
        os.chmod(entry.path, 0o700)
        for below in list(os.scandir(entry.path)):
          if below.is_dir(follow_symlinks=False):
            os.chmod(below.path, 0o700)  # whose parent is to change
            number += 1
            os.rename(below.path, os.path.join(folder, f'{number}-{os.urandom(8).hex()}'))
          else:
            os.unlink(below.path)
        os.rmdir(entry.path)
    os.rmdir(folder)


def used(folder: str, enough: int) -> int:
  """Bytes on disk in a folder and all below it; the count ends once it is more than `enough`."""
  total, stack = 0, [folder]
  while stack and total <= enough:
    with contextlib.suppress(OSError), os.scandir(stack.pop()) as entries:
      for entry in entries:
        with contextlib.suppress(OSError):
          if entry.is_dir(follow_symlinks=False):
            stack.append(entry.path)
          total += entry.stat(follow_symlinks=False).st_blocks * 512
  return total
