"""A filter of system calls (seccomp(2)): what no solution needs is refused with EPERM, before the kernel looks at it.

Refused are the ways to other processes (ptrace, pidfd_getfd, process_vm_readv), to new namespaces and mounts, to keys,
to programs in the kernel (bpf), to memory that no limit counts (memfd, System V), to clocks, modules and devices, and
calls that have brought most holes of late (io_uring, userfaultfd). clone3, whose flags a filter cannot see, does not
exist: the C library then uses clone.
"""

import ctypes
import errno
import os
import struct

from . import kernel

# Number on x86-64 and on ARM; -1 where there is no such call.
_REFUSED = {
  'ptrace': (101, 117), 'process_vm_readv': (310, 270), 'process_vm_writev': (311, 271),
  'process_madvise': (440, 440), 'process_mrelease': (448, 448), 'kcmp': (312, 272), 'pidfd_getfd': (438, 438),
  'add_key': (248, 217), 'request_key': (249, 218), 'keyctl': (250, 219),
  'mount': (165, 40), 'umount2': (166, 39), 'pivot_root': (155, 41), 'chroot': (161, 51),
  'mount_setattr': (442, 442), 'move_mount': (429, 429), 'open_tree': (428, 428), 'fsopen': (430, 430),
  'fsconfig': (431, 431), 'fsmount': (432, 432), 'fspick': (433, 433), 'setns': (308, 268), 'unshare': (272, 97),
  'bpf': (321, 280), 'perf_event_open': (298, 241), 'userfaultfd': (323, 282),
  'io_uring_enter': (426, 426), 'io_uring_register': (427, 427), 'io_setup': (206, 0),
  'memfd_secret': (447, 447), 'open_by_handle_at': (304, 265), 'name_to_handle_at': (303, 264),
  'kexec_load': (246, 104), 'kexec_file_load': (320, 294), 'init_module': (175, 105), 'finit_module': (313, 273),
  'delete_module': (176, 106), 'reboot': (169, 142), 'swapon': (167, 224), 'swapoff': (168, 225), 'acct': (163, 89),
  'quotactl': (179, 60), 'quotactl_fd': (443, 443), 'syslog': (103, 116), 'settimeofday': (164, 170),
  'clock_settime': (227, 112), 'adjtimex': (159, 171), 'clock_adjtime': (305, 266), 'iopl': (172, -1),
  'ioperm': (173, -1), 'sethostname': (170, 161), 'setdomainname': (171, 162), 'vhangup': (153, 58),
  'fanotify_init': (300, 262), 'modify_ldt': (154, -1), 'msgget': (68, 186), 'semget': (64, 190),
  'shmget': (29, 194), 'mq_open': (240, 180), 'migrate_pages': (256, 238), 'move_pages': (279, 239),
  'lookup_dcookie': (212, 18), 'ioprio_set': (251, 30),
}  # fmt: skip
_ABSENT = {'clone3': (435, 435), 'memfd_create': (319, 279), 'io_uring_setup': (425, 425)}
_SOCKET, _CLONE, _IOCTL, _PRLIMIT = (41, 198), (56, 220), (16, 29), (302, 261)
# Calls whose first argument names a process or a thread, which then must be the caller's own or 0.
_AT_A_PROCESS = {
  'sched_setaffinity': (203, 122), 'sched_setscheduler': (144, 119), 'sched_setparam': (142, 118),
  'sched_setattr': (314, 274), 'kill': (62, 129), 'tkill': (200, 130), 'tgkill': (234, 131),
  'rt_sigqueueinfo': (129, 138), 'rt_tgsigqueueinfo': (297, 240),
}  # fmt: skip
_AT_ANYTHING = {'setpriority': (141, 140), 'pidfd_send_signal': (424, 424)}
NEW_NAMESPACES = 0x7E020000  # every CLONE_NEW flag of clone(2)
_AF_UNIX, _TIOCSTI, _TIOCLINUX = 1, 0x5412, 0x541C

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_SET_FILTER, _SPECULATION_ALLOWED = 1, 4
_ARCHITECTURE = 0xC00000B7 if kernel.ARM else 0xC000003E
_X32 = 0x40000000


class _Code:
  """Instructions of a classic BPF program (linux/filter.h)."""

  def __init__(self) -> None:
    self.bytes = b''

  def add(self, code: int, value: int, yes: int = 0, no: int = 0) -> None:
    self.bytes += struct.pack('HBBI', code, yes, no, value)

  def load_argument(self, index: int, high: bool = False) -> None:
    self.add(_LOAD, 16 + 8 * index + 4 * high)

  def error(self, number: int) -> None:
    self.add(_RETURN, _ERROR | number)

  def on(self, numbers: tuple[int, int], body: '_Code') -> None:
    """`body` for one system call; it must not fall through."""
    number = numbers[kernel.ARM]
    if number >= 0:
      self.add(_EQUAL, number, 0, len(body.bytes) // 8)
      self.bytes += body.bytes


def program(*, local_sockets: bool, signals_to: int | None = None) -> bytes:
  """The filter.

  Args:
    local_sockets: whether AF_UNIX sockets may be made. Where the program sees files of others, among them are sockets.
      Pairs of sockets may always be made, other sockets never.
    signals_to: the one process that may be signalled, for the program alone among processes of its user; None: any.
  """
  code = _Code()
  code.add(_LOAD, 4)
  code.add(_EQUAL, _ARCHITECTURE, 1, 0)
  code.add(_RETURN, _KILL)  # a call by another machine's numbers, as int 0x80 makes
  code.add(_LOAD, 0)
  if not kernel.ARM:
    code.add(_AT_LEAST, _X32, 0, 1)
    code.add(_RETURN, _KILL)
  for group, number in ((_REFUSED, errno.EPERM), (_ABSENT, errno.ENOSYS)):
    for numbers in group.values():
      body = _Code()
      body.error(number)
      code.on(numbers, body)
  code.on(_SOCKET, _where(0, (_AF_UNIX,) if local_sockets else (), errno.EACCES))
  code.on(_PRLIMIT, _where(0, (0,), errno.EPERM))
  body = _Code()
  body.load_argument(0)
  body.add(_ANY_BIT, NEW_NAMESPACES, 0, 1)
  body.error(errno.EPERM)
  body.add(_RETURN, _ALLOW)
  code.on(_CLONE, body)
  body = _Code()
  body.load_argument(1)
  for request in (_TIOCSTI, _TIOCLINUX):
    body.add(_EQUAL, request, 0, 1)
    body.error(errno.EPERM)
  body.add(_RETURN, _ALLOW)
  code.on(_IOCTL, body)
  if signals_to is not None:
    for numbers in _AT_A_PROCESS.values():
      code.on(numbers, _where(0, (0, signals_to), errno.EPERM))
    for numbers in _AT_ANYTHING.values():
      body = _Code()
      body.error(errno.EPERM)
      code.on(numbers, body)
  code.add(_RETURN, _ALLOW)
  return code.bytes


def _where(argument: int, allowed: tuple[int, ...], number: int) -> _Code:
  """Allows a call when the lower half of an argument is one of these."""
  code = _Code()
  code.load_argument(argument)
  for value in allowed:
    code.add(_EQUAL, value, 0, 1)
    code.add(_RETURN, _ALLOW)
  code.error(number)
  return code


def install(filter_: bytes) -> None:
  """Puts the filter on this thread and all that comes of it, for good. no_new_privs must be set before.

  Raises:
    OSError: the kernel has no filters, or not for us.
  """
  buffer = ctypes.create_string_buffer(filter_, len(filter_))
  record = struct.pack('HxxxxxxP', len(filter_) // 8, ctypes.addressof(buffer))
  # Without the flag older kernels switch a processor's speculation off, which slows the program down.
  for flags in (_SPECULATION_ALLOWED, 0):
    try:
      kernel.call(317, 277, _SET_FILTER, flags, ctypes.c_char_p(record))
      return
    except OSError as error:
      if not flags or error.errno != errno.EINVAL:
        raise


def available() -> str:
  """'' where filters can be put on, else why not. Tried in a child: a filter never comes off."""
  child = os.fork()
  if not child:
    try:
      kernel.prctl(kernel.NO_NEW_PRIVS, 1)
      install(program(local_sockets=True))
      os._exit(0)
    except OSError as error:
      os._exit(error.errno or 1)
    finally:
      os._exit(1)
  code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
  return '' if code == 0 else os.strerror(code) if code > 0 else 'the kernel killed who tried'
