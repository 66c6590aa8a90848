"""Looks at processes through /proc, and kills all that are below one."""

import contextlib
import math
import os
import signal
import time

PAGE = os.sysconf('SC_PAGE_SIZE')
_EXITING = 0x4  # PF_EXITING of linux/sched.h, which is set before a process's files are closed
BUSY = (b'R', b'D')  # states of a thread that runs, waits for a processor, or for the disk


def descendants(pid, enough=math.inf, freeze=False):
  """Processes below `pid`, not itself; the search ends when more than `enough` are found.

  With `freeze` each is stopped before its children are asked for, so that it can make no more of them.
  """
  found: list[int] = []
  stack = [pid]
  try:
    while stack and len(found) <= enough:
      below = _children(stack.pop())
      if freeze:
        send(below, signal.SIGSTOP)
      found += below
      stack += below
  except NotImplementedError:
    return _descendants_by_parent(pid)
  return found


def _children(pid):
  """Children of every thread of a process, by /proc/PID/task/TID/children (CONFIG_PROC_CHILDREN)."""
  found: list[int] = []
  try:
    threads = os.listdir(f'/proc/{pid}/task')
  except OSError:
    return found
  for thread in threads:
    try:
      with open(f'/proc/{pid}/task/{thread}/children', 'rb', 0) as file:
        found += map(int, file.read().split())
    except FileNotFoundError:
      if os.path.exists(f'/proc/{pid}/task/{thread}/stat'):
        raise NotImplementedError from None
    except OSError:
      pass
  return found


def _descendants_by_parent(pid):
  parents: dict[int, list[int]] = {}
  for name in os.listdir('/proc'):
    fields = stat(int(name)) if name.isdigit() else None
    if fields:
      parents.setdefault(int(fields[1]), []).append(int(name))
  found, stack = [], [pid]
  while stack:
    below = parents.get(stack.pop(), [])
    found += below
    stack += below
  return found


def stat(pid):
  """Fields of /proc/PID/stat from the state on (proc(5) counts it as field 3); None when the process is gone."""
  try:
    with open(f'/proc/{pid}/stat', 'rb', 0) as file:
      return file.read().rpartition(b')')[2].split() or None
  except OSError:
    return None


def is_ending(fields):
  """Whether a process, by `stat`'s fields, has ended or has begun to (PF_EXITING), its descriptors closed or not."""
  return fields[0] in (b'Z', b'X') or bool(int(fields[6]) & _EXITING)


def proportional_memory(pid):
  try:
    with open(f'/proc/{pid}/smaps_rollup', 'rb', 0) as file:
      return next(int(line.split()[1]) * 1024 for line in file.read().splitlines() if line.startswith(b'Pss:'))
  except (OSError, StopIteration):
    return 0


def has_busy_thread(pid):
  with contextlib.suppress(OSError):
    for thread in os.listdir(f'/proc/{pid}/task'):
      with open(f'/proc/{pid}/task/{thread}/stat', 'rb', 0) as file:
        if file.read().rpartition(b')')[2].split(None, 1)[0] in BUSY:
          return True
  return False


def send(pids, number):
  for pid in pids:
    with contextlib.suppress(ProcessLookupError, PermissionError):
      os.kill(pid, number)


def sweep():
  """Kills and reaps until this process has no descendant left."""
  while True:
    try:
      while os.waitpid(-1, os.WNOHANG)[0]:
        pass
    except ChildProcessError:
      return
    send(descendants(os.getpid(), freeze=True), signal.SIGKILL)
    time.sleep(0.0002)


def threads_of_this_user():
  """Threads of this user, all over the machine."""
  user, count = os.getuid(), 0
  for name in os.listdir('/proc'):
    with contextlib.suppress(OSError):
      if name.isdigit() and os.stat(f'/proc/{name}').st_uid == user:
        fields = stat(int(name))  # of one that has ended meanwhile there are none
        count += int(fields[17]) if fields else 0
  return count
