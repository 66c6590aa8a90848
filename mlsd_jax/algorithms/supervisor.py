"""Runs programs one after another, each in a cage, and tells what became of them.

pool.py starts this file as a process of its own (python -I -S supervisor.py): a line of JSON comes in on standard
input for each run, a line of JSON goes out on standard output. It imports the standard library only.

Between this process and a program stands a keeper, a fork of this process. Where the kernel allows it the keeper is
process 1 of a PID namespace: nothing inside can see or signal what is outside, and when the keeper dies the kernel
kills all that is left inside. Elsewhere keeper and supervisor are subreapers (prctl(2)), so that a daemon's orphans
come back to them, and all descendants are frozen with SIGSTOP, then killed, until none is left. What root starts runs
as a user that nobody is: it can signal no other process, and the kernel's limit on processes holds for it.
"""

import contextlib
import ctypes
import fcntl
import gc
import json
import math
import os
import resource
import select
import signal
import sys
import time
from typing import Any

POLL_SECONDS = 0.004
_BUSY = (b'R', b'D')  # states of a thread that runs, waits for a processor, or for the disk
STDERR_KEPT = 1 << 14  # bytes of its beginning, and as many of its end
PAGE = os.sysconf('SC_PAGE_SIZE')
TICK = os.sysconf('SC_CLK_TCK')
PIPE_SIZE = 1 << 20

_PDEATHSIG, _KEEPCAPS, _CAPBSET_DROP, _SUBREAPER, _NO_NEW_PRIVS, _AMBIENT = 1, 8, 24, 36, 38, 47
_AMBIENT_RAISE, _CAPABILITY_VERSION = 2, 0x20080522
_DAC_OVERRIDE, _DAC_READ_SEARCH, _FOWNER = 1, 2, 3
_NOBODIES = 61184  # and up: numbers that no user has
_LIBC = ctypes.CDLL(None, use_errno=True)


class Program:
  """One program under supervision; a run has one, or two that talk to each other."""

  def __init__(self, spec):
    self.spec, self.limits = spec, spec['limits']
    self.keeper = 0
    self.report = self.errors = -1  # descriptors we read from
    self.began = time.monotonic()
    self.memory = self.resident = self.threads = 0
    self.cpu = self.slept = 0.0
    self.pids: list[int] = []
    self.busy = True
    self.killed: str | None = None
    self.ended: dict[str, Any] = {}  # empty until it has
    self.first = False
    self.head, self.tail, self.size = b'', b'', 0

  def start(self, stdin, stdout, cage):
    report, report_end = os.pipe()
    self.errors, errors_end = os.pipe()
    for end in (report, self.errors):
      os.set_blocking(end, False)
    cage.enter()
    self.began = time.monotonic()
    self.keeper = os.fork()
    if not self.keeper:
      _keep(self.spec, report_end, (stdin, stdout, errors_end))
    cage.leave()
    os.close(report_end)
    os.close(errors_end)
    self.report = report

  def drain(self):
    """Reads some of what there is on standard error; False once it is closed.

    Not all of it: whoever writes without end must not keep us from looking at what else he does.
    """
    try:
      data = os.read(self.errors, 1 << 16)
    except BlockingIOError:
      return True
    self.size += len(data)
    self.head, rest = self.head + data[: STDERR_KEPT - len(self.head)], data[STDERR_KEPT - len(self.head) :]
    self.tail = (self.tail + rest)[-STDERR_KEPT:]
    return bool(data)

  def stderr(self):
    left_out = self.size - len(self.head) - len(self.tail)
    middle = f'\n... {left_out} bytes left out ...\n'.encode() if left_out > 0 else b''
    return (self.head + middle + self.tail).decode(errors='replace')

  def measure(self):
    """Looks at the process tree. Of a fork bomb only that it is one: it would grow faster than we can look."""
    self.pids = descendants(self.keeper, self.limits['processes'])
    cpu = memory = 0
    self.threads, self.busy = 0, not self.pids
    for pid in () if len(self.pids) > self.limits['processes'] else (self.keeper, *self.pids):
      fields = _stat(pid)
      if fields is None:
        continue
      if pid == self.keeper:  # what its children used that are gone
        cpu += int(fields[13]) + int(fields[14])
        continue
      cpu += sum(map(int, fields[11:15]))
      threads = int(fields[17])
      self.threads += threads
      memory += int(fields[21]) * PAGE
      self.busy = self.busy or fields[0] in _BUSY or (threads > 1 and _has_busy_thread(pid))
    self.cpu = max(self.cpu, cpu / TICK)
    if memory > self.limits['memory'] and len(self.pids) > 1:
      memory = sum(map(_proportional_memory, self.pids))  # pages shared after a fork are one page, not many
    self.resident = memory
    self.memory = max(self.memory, memory)

  def overrun(self, output, slept):
    """The name of a limit that is overrun, or None.

    Args:
      slept: seconds since the last look in which nobody, the other side of a conversation included, did anything.
    """
    limits, elapsed = self.limits, time.monotonic() - self.began
    self.slept += slept
    if len(self.pids) > limits['processes'] or self.threads > 16 * limits['processes']:
      return 'processes'
    if self.cpu > limits['time']:
      return 'cpu'
    if self.resident > limits['memory']:
      return 'memory'
    if output is not None and os.fstat(output).st_size > limits['output']:
      return 'output'
    if limits['wall'] is not None:
      return 'wall' if elapsed > limits['wall'] else None
    # Who is ready to run and gets no processor on a loaded machine is not late; the last bound is for what we overlook.
    allowed = 1.1 * limits['time']
    return 'wall' if self.cpu + self.slept > allowed or elapsed > 20 * allowed + 20 else None

  def finish(self):
    """Takes the keeper's report if there is one."""
    data = b''
    with contextlib.suppress(BlockingIOError):
      data = os.read(self.report, 4096)
    os.close(self.report)
    self.ended = json.loads(data) if data else {'wall': time.monotonic() - self.began}

  def result(self, output):
    ended = self.ended
    return {
      'exit_code': ended.get('exit_code'),
      'signal': ended.get('signal'),
      'killed': self.killed,
      'cpu': max(self.cpu, ended.get('cpu', 0.0)),
      'wall': ended['wall'],
      'memory': max(self.memory, ended.get('memory', 0)),
      'output_size': os.fstat(output).st_size if output is not None else 0,
      'stderr': self.stderr(),
      'error': ended.get('error') or (None if len(ended) > 1 or self.killed else 'its keeper was killed'),
      'first': self.first,
    }


class Cage:
  """A PID namespace for the next fork, where the kernel gives us one."""

  def __init__(self):
    self.works = False
    flag = getattr(os, 'CLONE_NEWPID', None)
    if flag is None or '--no-namespaces' in sys.argv:
      return
    with contextlib.suppress(OSError):
      self.own = os.open('/proc/self/ns/pid', os.O_RDONLY)
      if os.geteuid():
        _own_user_namespace()
      self.enter(flag)
      self.works = True
      self.leave()

  def enter(self, flag=None):
    if flag or self.works:
      os.unshare(os.CLONE_NEWPID)

  def leave(self):
    if self.works:
      os.setns(self.own, os.CLONE_NEWPID)


def _own_user_namespace():
  """Gives an ordinary user the right to make PID namespaces, where the kernel lets users have it."""
  user, group = os.getuid(), os.getgid()
  os.unshare(os.CLONE_NEWUSER)
  for name, line in (('setgroups', 'deny'), ('uid_map', f'{user} {user} 1'), ('gid_map', f'{group} {group} 1')):
    with open(f'/proc/self/{name}', 'w') as file:
      file.write(line)


def _keep(spec, report, streams):
  """The keeper: starts the program, waits for it, reports, dies. Never returns."""
  ended = {}
  try:
    _LIBC.prctl(_SUBREAPER, 1)
    os.setsid()
    _confine(spec['limits'], spec['threads'])
    os.chdir(spec['cwd'])
    if spec['user'] is not None and os.getpid() == 1:  # nobody inside can signal process 1, so it may be of their user
      _become(spec['user'])
      spec['user'] = None
    _LIBC.prctl(_PDEATHSIG, signal.SIGKILL)  # a change of user forgets it
    began = time.monotonic()
    try:
      program = _start(spec, streams)
    except OSError as error:
      ended = {'error': f'{spec["argv"][0]}: {error.strerror}', 'wall': 0.0}
    else:
      os.closerange(0, report)  # ends of pipes too, or nobody would ever read their end of file
      os.closerange(report + 1, 256)
      pid = 0
      while pid != program:
        pid, status, usage = os.wait4(-1, 0)
      ended['wall'] = time.monotonic() - began
      everyone = resource.getrusage(resource.RUSAGE_CHILDREN)
      ended['cpu'] = everyone.ru_utime + everyone.ru_stime
      ended['memory'] = usage.ru_maxrss * 1024
      code = os.waitstatus_to_exitcode(status)
      ended['exit_code' if code >= 0 else 'signal'] = abs(code)
  except BaseException as error:  # a fork of the supervisor must never fall back into its loop
    ended = {'error': f'the keeper failed: {error!r}', 'wall': 0.0}
  os.write(report, json.dumps(ended).encode())
  os._exit(0)


def _start(spec, streams):
  """Starts the program with these streams, every signal as it should be, in a session of its own; its number."""
  every = [number for number in range(1, signal.NSIG) if number not in (signal.SIGKILL, signal.SIGSTOP, 32, 33)]
  if spec['user'] is None:
    actions = [(os.POSIX_SPAWN_DUP2, stream, number) for number, stream in enumerate(streams)]
    options: dict[str, Any] = {'file_actions': actions, 'setsid': True, 'setsigdef': every, 'setsigmask': []}
    return os.posix_spawn(spec['argv'][0], spec['argv'], spec['env'], **options)
  program = os.fork()  # posix_spawn cannot change the user
  if program:
    return program
  try:
    for number, stream in enumerate(streams):
      os.dup2(stream, number)
    os.setsid()
    for number in every:
      signal.signal(number, signal.SIG_DFL)
    _become(spec['user'])
    os.execve(spec['argv'][0], spec['argv'], spec['env'])
  finally:
    os._exit(127)


def _become(user):
  """Root becomes a user of nobody, who may still read and write files as root does (ambient capabilities).

  Such a user can signal none but his own processes, and RLIMIT_NPROC, which does not hold for root, holds for him.
  """
  kept = 1 << _DAC_OVERRIDE | 1 << _DAC_READ_SEARCH
  _LIBC.prctl(_KEEPCAPS, 1, 0, 0, 0)
  os.setgroups([])
  os.setresgid(user, user, user)
  os.setresuid(user, user, user)
  header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
  _LIBC.capset(header, (ctypes.c_uint32 * 6)(kept, kept, kept, 0, 0, 0))
  for capability in (_DAC_OVERRIDE, _DAC_READ_SEARCH):
    _LIBC.prctl(_AMBIENT, _AMBIENT_RAISE, capability, 0, 0)


def _confine(limits, threads):
  """Limits that the kernel itself holds; what it cannot is watched by Program.check."""
  for name, value in (
    (resource.RLIMIT_CORE, 0),
    (resource.RLIMIT_CPU, math.ceil(limits['time']) + 1),
    (resource.RLIMIT_FSIZE, limits['output'] + 1),
    (resource.RLIMIT_STACK, limits['stack']),
    # Not RLIMIT_AS: runtimes reserve address space that they never touch. Twice the memory and half a GiB for
    # stacks of threads: this is there for allocations far beyond the limit, resident memory is watched.
    (resource.RLIMIT_DATA, limits['data']),
    (resource.RLIMIT_NPROC, threads),
  ):
    hard = resource.getrlimit(name)[1]
    if value is not None:
      value = value if hard == resource.RLIM_INFINITY else min(value, hard)
      with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(name, (value, value))
  _LIBC.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
  if os.geteuid() == 0:  # root without root's powers: files only
    for capability in {0, *range(_FOWNER, 64)}:
      _LIBC.prctl(_CAPBSET_DROP, capability, 0, 0, 0)
  with contextlib.suppress(OSError):
    os.setpriority(os.PRIO_PROCESS, 0, limits['nice'])


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
        _signal(below, signal.SIGSTOP)
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
    fields = _stat(int(name)) if name.isdigit() else None
    if fields:
      parents.setdefault(int(fields[1]), []).append(int(name))
  found, stack = [], [pid]
  while stack:
    below = parents.get(stack.pop(), [])
    found += below
    stack += below
  return found


def _stat(pid):
  """Fields of /proc/PID/stat from the state on (proc(5) counts it as field 3); None when the process is gone."""
  try:
    with open(f'/proc/{pid}/stat', 'rb', 0) as file:
      return file.read().rpartition(b')')[2].split()
  except OSError:
    return None


def _proportional_memory(pid):
  try:
    with open(f'/proc/{pid}/smaps_rollup', 'rb', 0) as file:
      return next(int(line.split()[1]) * 1024 for line in file.read().splitlines() if line.startswith(b'Pss:'))
  except (OSError, StopIteration):
    return 0


def _has_busy_thread(pid):
  with contextlib.suppress(OSError):
    for thread in os.listdir(f'/proc/{pid}/task'):
      with open(f'/proc/{pid}/task/{thread}/stat', 'rb', 0) as file:
        if file.read().rpartition(b')')[2].split(None, 1)[0] in _BUSY:
          return True
  return False


def _signal(pids, number):
  for pid in pids:
    with contextlib.suppress(ProcessLookupError, PermissionError):
      os.kill(pid, number)


def kill(program, cage):
  """Ends a keeper and all that is below it."""
  if not cage.works:
    _signal(descendants(program.keeper, freeze=True), signal.SIGKILL)
  _signal([program.keeper], signal.SIGKILL)


def sweep():
  """Kills and reaps until this process has no descendant left."""
  while True:
    try:
      while os.waitpid(-1, os.WNOHANG)[0]:
        pass
    except ChildProcessError:
      return
    _signal(descendants(os.getpid(), freeze=True), signal.SIGKILL)
    time.sleep(0.0002)


def run(request, cage, nice):
  """Runs one program, or two whose standard streams are joined; a result a program."""
  programs = [Program(spec) for spec in request['programs']]
  for program in programs:
    program.limits['nice'] = nice
    # The limit on threads counts all of a user's, and does not hold for root.
    program.spec['user'] = program.spec['threads'] = None
    if program.spec['trusted']:
      continue
    if os.geteuid() == 0:
      program.spec['user'] = _NOBODIES + os.getpid() % 4000
      program.spec['threads'] = 16 * program.limits['processes']
    else:
      program.spec['threads'] = _own_threads() + 16 * program.limits['processes']
  outputs, pipes = [None] * len(programs), []
  opened = []
  try:
    if len(programs) == 2:
      pipes = [_pipe(), _pipe()]  # to the second, to the first
      opened += [end for pipe in pipes for end in pipe]
      streams = [(pipes[1][0], pipes[0][1]), (pipes[0][0], pipes[1][1])]
    else:
      spec = programs[0].spec
      opened.append(os.open(spec['stdin'] or os.devnull, os.O_RDONLY))
      opened.append(os.open(spec['stdout'], os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600))
      streams, outputs[0] = [tuple(opened)], opened[1]
    # The one that answers is started first, so that the one that is timed need not wait for its start.
    for program, (stdin, stdout) in reversed(list(zip(programs, streams, strict=True))):
      program.start(stdin, stdout, cage)
    _watch(programs, outputs, pipes, cage)
    results = [program.result(output) for program, output in zip(programs, outputs, strict=True)]
  finally:
    sweep()
    for descriptor in opened:
      with contextlib.suppress(OSError):
        os.close(descriptor)
    for program in programs:
      if program.errors >= 0:
        os.close(program.errors)
  return results


def _own_threads():
  """Threads of this user, all over the machine."""
  user, count = os.getuid(), 0
  for name in os.listdir('/proc'):
    with contextlib.suppress(OSError):
      if name.isdigit() and os.stat(f'/proc/{name}').st_uid == user:
        count += int(_stat(int(name))[17])
  return count


def _pipe():
  pipe = os.pipe()
  with contextlib.suppress(OSError):
    fcntl.fcntl(pipe[0], fcntl.F_SETPIPE_SZ, PIPE_SIZE)
  return pipe


def _watch(programs, outputs, pipes, cage):
  poller = select.poll()
  poller.register(0, select.POLLIN)
  owners = {}
  for program in programs:
    for descriptor in (program.report, program.errors):
      owners[descriptor] = program
      poller.register(descriptor, select.POLLIN)
  checked = time.monotonic()
  while any(not program.ended for program in programs):
    for descriptor, _ in poller.poll(POLL_SECONDS * 1000):
      if descriptor == 0:  # the judge is gone
        sweep()
        os._exit(1)
      program = owners[descriptor]
      if descriptor == program.errors:
        if not program.drain():
          poller.unregister(descriptor)
      elif not program.ended:
        poller.unregister(descriptor)
        _settle(program, programs, pipes)
    since = time.monotonic() - checked
    if since >= POLL_SECONDS:
      running = [program for program in programs if not program.ended and program.killed is None]
      for program in running:
        program.measure()
      slept = 0.0 if any(program.busy for program in running) else min(since, 5 * POLL_SECONDS)
      for program, output in zip(programs, outputs, strict=True):
        if program in running:
          program.killed = program.overrun(output, slept)
          if program.killed:
            kill(program, cage)
      checked = time.monotonic()
  for program in programs:
    program.drain()


def _settle(program, programs, pipes):
  """Takes a report, and closes what the other program would wait on.

  We hold both ends of both pipes, so that who ended first is never a race with a broken pipe: a writing end is closed
  when its owner has ended, and what the first writes can be written as long as the second has not refused.
  """
  program.finish()
  program.first = all(not each.ended for each in programs if each is not program)
  if not pipes:
    return
  index = programs.index(program)
  os.close(pipes[index][1])
  if index == 1 and not (program.first and program.ended.get('exit_code') == 42):
    os.close(pipes[0][0])


def main():
  _LIBC.prctl(_SUBREAPER, 1)
  for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)  # the judge ends us by closing our input
  nice = os.getpriority(os.PRIO_PROCESS, 0)
  with contextlib.suppress(OSError):  # root only: a thousand processes must not keep us from seeing them
    os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
  gc.freeze()  # a fork then copies no page for the collector's sake
  cage = Cage()
  for line in sys.stdin.buffer:
    request = json.loads(line)
    try:
      answer = run(request, cage, nice)
    except OSError as error:
      answer = [{'error': f'the supervisor failed: {error}'} for _ in request['programs']]
    os.write(1, json.dumps(answer).encode() + b'\n')


if __name__ == '__main__':
  main()
