"""Landlock (landlock(7)): a process gives up all files but some folders, TCP, and signals to those outside."""

import contextlib
import ctypes
import os
import struct
from collections.abc import Iterable

from . import kernel

_EXECUTE, _WRITE, _READ, _READ_FOLDER = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_ALL_OF_FIRST = (1 << 13) - 1
_REFER, _TRUNCATE, _IOCTL = 1 << 13, 1 << 14, 1 << 15
READ = _EXECUTE | _READ | _READ_FOLDER
DEVICE = _READ | _WRITE | _TRUNCATE | _IOCTL
_OF_A_FILE = _EXECUTE | _WRITE | _READ | _TRUNCATE | _IOCTL
_TCP, _SCOPES = 3, 3  # bind and connect; abstract sockets and signals
_O_PATH = os.O_PATH | os.O_CLOEXEC


def version() -> int:
  """Landlock's version here; 0 where there is none."""
  with contextlib.suppress(OSError):
    return kernel.call(444, 444, 0, 0, 1)
  return 0


def handled(abi: int) -> int:
  """The rights to files that this version knows; what is not allowed by a rule is refused."""
  return _ALL_OF_FIRST | (_REFER if abi >= 2 else 0) | (_TRUNCATE if abi >= 3 else 0) | (_IOCTL if abi >= 5 else 0)


def restrict(abi: int, rules: Iterable[tuple[str, int]]) -> None:
  """Gives up, for this process and all that comes of it, what no (path, rights) of `rules` allows.

  Raises:
    OSError: the kernel refused. A path that does not exist, or that we may not open, is no rule.
  """
  attributes = struct.pack('QQQ', handled(abi), _TCP if abi >= 4 else 0, _SCOPES if abi >= 6 else 0)
  size = 8 if abi < 4 else 16 if abi < 6 else 24
  ruleset = kernel.call(444, 444, ctypes.c_char_p(attributes), size, 0)
  for path, rights in rules:
    try:
      folder = os.open(path, _O_PATH)
    except OSError:
      continue
    rights &= handled(abi)
    if not os.path.isdir(path):
      rights &= _OF_A_FILE
    with contextlib.suppress(OSError):  # of a file system that Landlock does not know
      kernel.call(445, 445, ruleset, 1, ctypes.c_char_p(struct.pack('=Qi', rights, folder)), 0)
    os.close(folder)
  try:
    kernel.call(446, 446, ruleset, 0)
  finally:
    os.close(ruleset)
