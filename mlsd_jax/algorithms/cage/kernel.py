"""System calls that Python has no function for, by number, on x86-64 and on 64-bit ARM."""

import ctypes
import os
from typing import Any

# PyDLL and not CDLL: after clone(2) there is only one thread, and it must find the interpreter's lock as it left it.
_LIBC = ctypes.PyDLL(None, use_errno=True)
ARM = os.uname().machine == 'aarch64'
KNOWN = os.uname().machine in ('x86_64', 'aarch64')

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x4000000, 0x8000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND, MS_REC, MS_SLAVE = 1, 2, 4, 32, 4096, 1 << 14, 1 << 19
PDEATHSIG, DUMPABLE, KEEPCAPS, CAPBSET_DROP, SUBREAPER, NO_NEW_PRIVS, AMBIENT = 1, 4, 8, 24, 36, 38, 47
CAP_DAC_READ_SEARCH = 2

_MNT_DETACH = 2
_AT_FDCWD, _AT_EMPTY_PATH, _AT_RECURSIVE = -100, 0x1000, 0x8000
_OPEN_TREE_CLONE, _OPEN_TREE_CLOEXEC, _MOVE_MOUNT_F_EMPTY_PATH = 1, 0x80000, 4
_READ_ONLY_TREE = 1 | 2 | 4  # MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV
_WRITABLE_TREE, _DEVICE = 2 | 4, 1 | 2
_CAPABILITY_VERSION = 0x20080522


def call(x86: int, arm: int, *arguments: Any) -> int:
  """A system call by its number on either machine.

  Raises:
    OSError: it failed, or this is a machine whose numbers are not known here (ENOSYS).
  """
  if not KNOWN:
    raise OSError(38, os.strerror(38))
  words = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
  answer = _LIBC.syscall(ctypes.c_long(arm if ARM else x86), *words)
  if answer < 0:
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number))
  return answer


def clone(flags: int) -> int:
  """fork(2) into new namespaces: the child's number, and 0 in the child."""
  return call(56, 220, flags | 17, 0, 0, 0, 0)  # 17 is SIGCHLD


def prctl(option: int, *arguments: int) -> int:
  """prctl(2); its failures are told by -1, as many options are for newer kernels only."""
  words = [ctypes.c_ulong(each) for each in (*arguments, 0, 0, 0, 0)[:4]]
  return _LIBC.prctl(ctypes.c_int(option), *words)


def mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
  encoded = [None if each is None else os.fsencode(each) for each in (source, target, kind, data)]
  if _LIBC.mount(*encoded[:3], ctypes.c_ulong(flags), encoded[3]) < 0:
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number), target)


def detached(path: str, writable: bool = False, device: bool = False) -> int:
  """A descriptor of a copy of the mounts at and below `path`, read-only unless said (open_tree(2), Linux 5.12)."""
  tree = call(
    428, 428, _AT_FDCWD, ctypes.c_char_p(os.fsencode(path)), _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC | _AT_RECURSIVE
  )
  wanted = _DEVICE if device else _WRITABLE_TREE if writable else _READ_ONLY_TREE
  attributes = (ctypes.c_uint64 * 4)(wanted, 0, 0, 0)
  try:
    call(442, 442, tree, ctypes.c_char_p(b''), _AT_EMPTY_PATH | _AT_RECURSIVE, ctypes.byref(attributes), 32)
  except OSError:
    os.close(tree)
    raise
  return tree


def attach(tree: int, path: str) -> None:
  """Mounts what `detached` gave at `path`."""
  names = ctypes.c_char_p(b''), ctypes.c_char_p(os.fsencode(path))
  call(429, 429, tree, names[0], _AT_FDCWD, names[1], _MOVE_MOUNT_F_EMPTY_PATH)


def own_proc() -> int:
  """A descriptor of a new proc file system of this PID namespace, without what is not about processes, if it may be.

  Made while another is in sight: the kernel gives none else to who is root in a user namespace only.
  """
  for options in ((b'subset', b'pid'),), ():
    context = call(430, 430, ctypes.c_char_p(b'proc'), 1)  # fsopen, FSOPEN_CLOEXEC
    try:
      for name, value in options:
        call(431, 431, context, 1, ctypes.c_char_p(name), ctypes.c_char_p(value), 0)  # FSCONFIG_SET_STRING
      call(431, 431, context, 6, None, None, 0)  # FSCONFIG_CMD_CREATE
      return call(432, 432, context, 1, _READ_ONLY_TREE | 8)  # FSMOUNT_CLOEXEC, MOUNT_ATTR_NOEXEC
    except OSError:
      if not options:
        raise
    finally:
      os.close(context)
  raise AssertionError


def make_root(path: str) -> None:
  """Makes the mount at `path` the root and lets go of the one before (pivot_root(2), as in its example)."""
  os.chdir(path)
  here = ctypes.c_char_p(b'.')
  call(155, 41, here, here)
  call(166, 39, here, _MNT_DETACH)
  os.chdir('/')


def keep_capabilities(mask: int) -> None:
  """Permitted, effective and inheritable capabilities become `mask`, of the first 32."""
  header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
  _LIBC.capset(header, (ctypes.c_uint32 * 6)(mask, mask, mask, 0, 0, 0))
