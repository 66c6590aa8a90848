"""Runs programs one after another, each in a cage, and tells what became of them.

pool.py starts `main` as a process of its own: over its standard input, a Unix socket, comes a line of JSON a run, with
the descriptors of the program's input and output; a line goes back. Between this process and a program stands a
keeper (keeper.py), a fork of this process. What is not held by a namespace is hunted down: keeper and supervisor are
subreapers (prctl(2)), so that a daemon's orphans come back to them, and all descendants are frozen with SIGSTOP, then
killed, until none is left.
"""

import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys
import time
from typing import Any

from . import conversation, kernel, landlock, namespaces, processes, scratch, seccomp
from .keeper import keep

POLL_SECONDS = 0.004
_FILES_SECONDS = 0.05  # between looks at what is written, where no file system of its own limits it
STDERR_KEPT = 1 << 14  # bytes of its beginning, and as many of its end
TICK = os.sysconf('SC_CLK_TCK')
_NOBODIES = 61184  # and up: numbers that no user has
_REQUEST_DESCRIPTORS = 2


class Cage:
  """The layers that there are here.

  Attributes:
    missing: each layer that is not there, with the reason.
    landlock: its version, 0 without.
    filter: of system calls; empty without.
    user: the first of the users that programs run as, when we are root; None for our own.
    kept_capabilities: mask of those that a program keeps: without a private root, what root's files need to be read.
  """

  def __init__(self, without=()):
    self.namespaces = namespaces.Namespaces('namespaces' not in without)
    self.missing = dict(self.namespaces.missing)
    self.landlock = 0 if 'landlock' in without else landlock.version()
    if not self.landlock:
      self.missing['files'] = 'switched off' if 'landlock' in without else 'the kernel has no Landlock'
    filters = 'switched off' if 'seccomp' in without else seccomp.available()
    self.filter = b'' if filters else seccomp.program(local_sockets=self.namespaces.root)
    if filters:
      self.missing['system calls'] = filters
    self._readable: dict[tuple[tuple[str, ...], ...], list[str]] = {}
    self.user = None
    self.kept_capabilities = 0
    if os.geteuid():
      self.missing['user'] = 'only root can change the user'
    elif self.namespaces.users or not _may_change_user():
      self.missing['user'] = 'root here may not change the user'
    else:
      self.user = _NOBODIES + 2 * (os.getpid() % 2000)
      if not self.namespaces.root:
        self.kept_capabilities = 1 << kernel.CAP_DAC_READ_SEARCH

  def template(self, spec):
    return self.namespaces.template((*spec['toolchain'], *spec['library']), tuple(spec['hidden']))

  def readable(self, toolchain, hidden):
    """Paths that Landlock is to let a program read: the system's and the toolchain's, without the hidden ones."""
    key = (toolchain, hidden)
    if key not in self._readable:
      covered = [os.path.realpath(path) for path in hidden]
      paths = [os.path.realpath(path) for path in (*namespaces.system_paths(), *toolchain)]
      self._readable[key] = [each for path in dict.fromkeys(paths) for each in _without(path, covered)]
    return self._readable[key]

  def threads(self, limit):
    """RLIMIT_NPROC, which counts all threads of a user; None for root, for whom it does not hold."""
    if self.user is None and os.geteuid() == 0:
      return None
    if self.user is not None or self.namespaces.users:  # which is counted by itself
      return 16 * limit + 16
    return processes.threads_of_this_user() + 16 * limit + 16


def _without(path, hidden):
  """The path, or what is below it and leads to none of the hidden folders."""
  if path in hidden:
    return
  if not any(each.startswith(path.rstrip('/') + '/') for each in hidden):
    yield path
    return
  with contextlib.suppress(OSError):
    for name in os.listdir(path):
      yield from _without(os.path.join(path, name), hidden)


def _may_change_user():
  with open('/proc/self/status', 'rb') as file:
    effective = next(int(line.split()[1], 16) for line in file if line.startswith(b'CapEff'))
  return effective >> 6 & 3 == 3  # CAP_SETGID, CAP_SETUID


class Program:
  """One program under supervision; a run has one, or two that talk to each other."""

  def __init__(self, spec):
    self.spec, self.limits = spec, spec['limits']
    self.folder = ''  # that it may write into, without a private root
    self.files_seen = 0.0
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
    trees = self._prepare(cage)
    try:
      self.began = time.monotonic()
      self.keeper = kernel.clone(kernel.CLONE_NEWPID) if cage.namespaces.processes else os.fork()
      if not self.keeper:
        keep(self.spec, report_end, (stdin, stdout, errors_end), cage, trees)
    finally:
      for tree, _ in trees:
        os.close(tree)
    os.close(report_end)
    os.close(errors_end)
    self.report = report

  def _prepare(self, cage):
    """Detached mounts for a private root, where the program is told their places; else a folder to write into."""
    spec = self.spec
    if not cage.namespaces.root:
      cage.readable(tuple(spec['toolchain']), tuple(spec['hidden']))  # looked up once, and not by each child
      self.folder = spec['folder'] = scratch.make(spec['temporary'], spec['user'])
      spec['env'] |= {'TMPDIR': self.folder, 'HOME': self.folder}
      return []
    spec['env'] |= {'TMPDIR': namespaces.SCRATCH, 'HOME': namespaces.SCRATCH}
    cage.template(spec)
    for place, path in sorted(spec['binds'].items(), key=lambda each: -len(each[1])):
      spec['argv'] = [part.replace(path, place) for part in spec['argv']]
    return [(kernel.detached(path, self._writable(place)), place) for place, path in spec['binds'].items()]

  def _writable(self, place):
    return place == namespaces.FEEDBACK or (place == namespaces.PROGRAM and self.spec['program_writable'])

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
    self.pids = processes.descendants(self.keeper, self.limits['processes'])
    cpu = memory = 0
    self.threads, self.busy = 0, not self.pids
    for pid in () if len(self.pids) > self.limits['processes'] else (self.keeper, *self.pids):
      fields = processes.stat(pid)
      if fields is None:
        continue
      if pid == self.keeper:  # what its children used that are gone
        cpu += int(fields[13]) + int(fields[14])
        continue
      cpu += sum(map(int, fields[11:15]))
      threads = int(fields[17])
      self.threads += threads
      memory += int(fields[21]) * processes.PAGE
      self.busy = self.busy or fields[0] in processes.BUSY or (threads > 1 and processes.has_busy_thread(pid))
    self.cpu = max(self.cpu, cpu / TICK)
    if memory > self.limits['memory'] and len(self.pids) > 1:
      memory = sum(map(processes.proportional_memory, self.pids))  # pages shared after a fork are one page, not many
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
    if self.folder and elapsed - self.files_seen > _FILES_SECONDS:
      self.files_seen = elapsed
      if self.wrote_too_much():
        return 'output'
    if limits['wall'] is not None:
      return 'wall' if elapsed > limits['wall'] else None
    # Who is ready to run and gets no processor on a loaded machine is not late; the last bound is for what we overlook.
    allowed = 1.1 * limits['time']
    return 'wall' if self.cpu + self.slept > allowed or elapsed > 20 * allowed + 20 else None

  def goes_on(self):
    """Whether it is there and none of its processes is about to end. Whoever ends gives up his descriptors after that
    can be seen: if an output was given up before this is called, it was not by ending."""
    found = [processes.stat(pid) for pid in processes.descendants(self.keeper)]
    return bool(found) and not any(fields is None or processes.is_ending(fields) for fields in found)

  def wrote_too_much(self):
    return bool(self.folder) and scratch.used(self.folder, self.spec['scratch']) > self.spec['scratch']

  def finish(self):
    """Takes the keeper's report if there is one."""
    data = b''
    with contextlib.suppress(BlockingIOError):
      data = os.read(self.report, 4096)
    os.close(self.report)
    self.ended = json.loads(data) if data else {'wall': time.monotonic() - self.began}

  def result(self, output):
    ended = self.ended
    if self.killed is None and self.wrote_too_much():
      self.killed = 'output'
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


def kill(program, cage):
  """Ends a keeper and all that is below it."""
  if not cage.namespaces.processes:
    processes.send(processes.descendants(program.keeper, freeze=True), signal.SIGKILL)
  processes.send([program.keeper], signal.SIGKILL)


def run(request, given, cage, nice):
  """Runs one program, or two whose standard streams are joined; a result a program.

  Args:
    given: descriptors of input and output of one program.
  """
  programs = [Program(spec) for spec in request['programs']]
  for number, program in enumerate(programs):
    program.limits['nice'] = nice
    program.spec['user'] = None if cage.user is None else cage.user + number
    program.spec['threads'] = cage.threads(program.limits['processes'])
  outputs, pipes = [None] * len(programs), []
  try:
    if len(programs) == 2:
      pipes = [conversation.Pipe(), conversation.Pipe()]  # to the second, to the first
    else:
      outputs[0] = given[1]
    # The one that answers is started first, so that the one that is timed need not wait for its start.
    for number, program in reversed(list(enumerate(programs))):
      if pipes:
        with pipes[1 - number].reader() as stdin, pipes[number].writer() as stdout:
          program.start(stdin, stdout, cage)
      else:
        stdin, stdout = given
        program.start(stdin, stdout, cage)
    _watch(programs, outputs, pipes, cage)
    results = [program.result(output) for program, output in zip(programs, outputs, strict=True)]
  finally:
    processes.sweep()
    for pipe in pipes:
      pipe.close()
    for program in programs:
      if program.errors >= 0:
        os.close(program.errors)
      if program.folder:
        scratch.remove(program.folder)
  return results


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
        processes.sweep()
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
      if pipes and slept:
        for program, other, pipe in zip(programs, programs[::-1], pipes, strict=True):
          if not program.ended and pipe.is_left() and program.goes_on():
            pipe.close_writing()
          if pipe.is_blocked() and (other.ended or other.goes_on()):
            pipe.close_reading()
      checked = time.monotonic()
  for program in programs:
    program.drain()


def _settle(program, programs, pipes):
  """Takes a report, and closes what the other program would wait on.

  We hold both ends of both pipes, so that who ended first is never a race with a broken pipe: a writing end is closed
  when its owner has ended, or goes on without it, and what the first writes can be written as long as the second has
  not refused, or there is room for it.
  """
  program.finish()
  program.first = all(not each.ended for each in programs if each is not program)
  if not pipes:
    return
  index = programs.index(program)
  pipes[index].close_writing()
  if index == 1 and not (program.first and program.ended.get('exit_code') == 42):
    pipes[0].close_reading()


def main():
  nice = os.getpriority(os.PRIO_PROCESS, 0)
  kernel.prctl(kernel.SUBREAPER, 1)
  for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)  # the judge ends us by closing our input
  with contextlib.suppress(OSError):  # root only: a thousand processes must not keep us from seeing them
    os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
  cage = Cage(sys.argv[1:])
  kernel.prctl(kernel.DUMPABLE, 0)  # what runs as our user can then look into neither us nor a keeper
  judge = socket.socket(fileno=0)
  judge.sendall(json.dumps({'missing': cage.missing, 'landlock': cage.landlock}).encode() + b'\n')
  gc.freeze()  # a fork then copies no page for the collector's sake
  while True:
    line, given = _receive(judge)
    if not line:
      return
    request = json.loads(line)
    try:
      answer = run(request, given, cage, nice)
    except OSError as error:
      answer = [{'error': f'the supervisor failed: {error}'} for _ in request['programs']]
    for descriptor in given:
      os.close(descriptor)
    judge.sendall(json.dumps(answer).encode() + b'\n')


def _receive(judge):
  """A request and its descriptors; nothing once the judge is gone."""
  data, given, _, _ = socket.recv_fds(judge, 1 << 16, _REQUEST_DESCRIPTORS)
  for descriptor in given:
    os.set_inheritable(descriptor, False)  # recv_fds takes flags and does not pass them on
  while data and not data.endswith(b'\n'):
    more = judge.recv(1 << 16)
    data = data + more if more else b''
  return data, given
