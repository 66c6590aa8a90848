"""The keeper: a fork of the supervisor that builds the cage around itself, starts the program in it, and reports.

With a PID namespace it is process 1 there: nothing inside can see or signal what is outside, and when the keeper dies
the kernel kills all that is left inside. It then shuts itself in and spawns the program. Without one, the program could
kill a keeper of its own user, and the keeper would be outside of the program's Landlock domain: there the program shuts
itself in between fork and exec.
"""

import contextlib
import json
import math
import os
import resource
import signal
import time
from typing import Any

from . import kernel, landlock, namespaces, seccomp

_DESCRIPTORS = 1024
_ADDRESSES = 64 << 30  # bytes: page tables for so much are 128 MiB, and no limit counts them


def keep(spec, report, streams, cage, trees) -> None:
  """Never returns.

  Args:
    report: descriptor that takes one JSON object, of what became of the program.
    streams: the program's standard input, output and error.
    trees: detached mounts for its root, with their places.
  """
  ended: dict[str, Any] = {}
  try:
    kernel.prctl(kernel.SUBREAPER, 1)
    os.setsid()
    user = spec['user']
    if cage.namespaces.root:
      template = cage.template(spec)
      owner = (user, user) if user is not None else (os.geteuid(), os.getegid())
      namespaces.enter(template, trees, spec['scratch'], owner, (*spec['toolchain'], *spec['library']))
    else:
      os.chdir(spec['folder'])
    _confine(spec, cage)
    first = os.getpid() == 1
    if first and user is not None:  # nobody inside can signal process 1, so it may be of their user
      _become(user, cage.kept_capabilities)
    kernel.prctl(kernel.PDEATHSIG, signal.SIGKILL)  # a change of user forgets it
    began = time.monotonic()
    try:
      program = _spawn(spec, streams, cage) if first else _fork(spec, streams, cage)
    except OSError as error:
      ended = {'error': f'{spec["argv"][0]}: {error.strerror}', 'wall': 0.0}
    else:
      os.closerange(0, report)  # ends of pipes too, or nobody would ever read their end of file
      os.closerange(report + 1, _DESCRIPTORS)
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
    ended = {'error': f'the supervisor failed: its keeper: {error!r}', 'wall': 0.0}
  os.write(report, json.dumps(ended).encode())
  os._exit(0)


_EVERY_SIGNAL = [n for n in range(1, signal.NSIG) if n not in (signal.SIGKILL, signal.SIGSTOP, 32, 33)]


def _spawn(spec, streams, cage) -> int:
  shut(spec, cage, None)
  actions = [(os.POSIX_SPAWN_DUP2, stream, number) for number, stream in enumerate(streams)]
  options: dict[str, Any] = {'file_actions': actions, 'setsid': True, 'setsigdef': _EVERY_SIGNAL, 'setsigmask': []}
  return os.posix_spawn(spec['argv'][0], spec['argv'], spec['env'], **options)


def _fork(spec, streams, cage) -> int:
  told, tell = os.pipe()
  program = os.fork()
  if program:
    os.close(tell)
    said = os.read(told, 16)  # empty once exec has closed it
    os.close(told)
    if said:
      os.waitpid(program, 0)
      raise OSError(int(said), os.strerror(int(said)))
    return program
  try:
    for number, stream in enumerate(streams):
      os.dup2(stream, number)
    os.setsid()
    for each in _EVERY_SIGNAL:
      signal.signal(each, signal.SIG_DFL)
    if spec['user'] is not None:
      _become(spec['user'], cage.kept_capabilities)
    shut(spec, cage, os.getpid() if spec['user'] is None and cage.landlock < 6 else None)
    os.execve(spec['argv'][0], spec['argv'], spec['env'])
  except OSError as error:
    os.write(tell, b'%d' % (error.errno or 1))
  finally:
    os._exit(127)


def shut(spec, cage, signals_to: int | None) -> None:
  """Landlock and the filter of system calls, on this process and all that comes of it."""
  if cage.landlock:
    landlock.restrict(cage.landlock, _rules(spec, cage, landlock.handled(cage.landlock)))
  if cage.filter:
    own = seccomp.program(local_sockets=cage.namespaces.root, signals_to=signals_to) if signals_to else cage.filter
    seccomp.install(own)


def _rules(spec, cage, everything):
  devices = ('null', 'zero', 'full', 'random', 'urandom')
  yield from ((f'/dev/{name}', landlock.DEVICE) for name in devices)
  if cage.namespaces.root:
    yield from (('/', landlock.READ), (namespaces.SCRATCH, everything))
    if spec['binds'].get(namespaces.FEEDBACK):
      yield namespaces.FEEDBACK, everything
    if spec['program_writable']:
      yield namespaces.PROGRAM, everything
    return
  for path in cage.readable(tuple(spec['toolchain']), tuple(spec['hidden'])):
    yield path, landlock.READ
  for path in ('/proc/self', '/proc/meminfo', '/proc/cpuinfo', '/proc/stat'):
    yield path, landlock.READ
  for place, path in spec['binds'].items():
    writable = place == namespaces.FEEDBACK or (place == namespaces.PROGRAM and spec['program_writable'])
    yield path, everything if writable else landlock.READ
  yield spec['folder'], everything


def _become(user, kept) -> None:
  """Root becomes a user that nobody is: he can signal none but his own processes, and RLIMIT_NPROC holds for him.

  Args:
    kept: mask of capabilities that stay his (ambient): without a private root, to read files as root does.
  """
  kernel.prctl(kernel.KEEPCAPS, 1)
  os.setgroups([])
  os.setresgid(user, user, user)
  os.setresuid(user, user, user)
  kernel.keep_capabilities(kept)
  for capability in range(32):
    if kept >> capability & 1:
      kernel.prctl(kernel.AMBIENT, 2, capability)  # PR_CAP_AMBIENT_RAISE


def _confine(spec, cage) -> None:
  """Limits that the kernel itself holds; what it cannot is watched by the supervisor."""
  limits = spec['limits']
  for name, value in (
    (resource.RLIMIT_CORE, 0),
    (resource.RLIMIT_CPU, math.ceil(limits['time']) + 1),
    (resource.RLIMIT_FSIZE, limits['output'] + 1),
    (resource.RLIMIT_STACK, limits['stack']),
    # Not RLIMIT_AS alone: runtimes reserve address space that they never touch. Twice the memory and half a GiB for
    # stacks of threads: this is there for allocations far beyond the limit, resident memory is watched.
    (resource.RLIMIT_DATA, limits['data']),
    (resource.RLIMIT_AS, None if limits['data'] is None else _ADDRESSES + 8 * limits['memory']),
    (resource.RLIMIT_NPROC, spec['threads']),
    (resource.RLIMIT_NOFILE, _DESCRIPTORS),
    (resource.RLIMIT_MEMLOCK, 8 << 20),
    (resource.RLIMIT_MSGQUEUE, 0),
    (resource.RLIMIT_SIGPENDING, 4096),
  ):
    hard = resource.getrlimit(name)[1]
    if value is not None:
      value = value if hard == resource.RLIM_INFINITY else min(value, hard)
      with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(name, (value, value))
  kernel.prctl(kernel.NO_NEW_PRIVS, 1)
  if os.geteuid() == 0 or cage.namespaces.users:  # root without root's powers
    for capability in range(64):
      if not cage.kept_capabilities >> capability & 1:
        kernel.prctl(kernel.CAPBSET_DROP, capability)
  with contextlib.suppress(OSError):
    os.setpriority(os.PRIO_PROCESS, 0, limits['nice'])
