"""Supervisors at work side by side: hands them programs, gets back what became of them.

Not a concurrent.futures.ProcessPoolExecutor: that is broken as a whole once a worker dies, while here a supervisor that
was killed is one verdict, and the others go on.
"""

import contextlib
import dataclasses
import fcntl
import functools
import json
import os
import pathlib
import queue
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from mlsd_jax.algorithms.limits import MEBIBYTE, Limits, Outcome
from mlsd_jax.errors import UserError

_HERE = pathlib.Path(__file__).parent
_START = f'import sys; sys.path.append({str(_HERE)!r}); from cage import supervisor; supervisor.main()'
_CHUNK = 1 << 20
_SCRATCH = 16 * MEBIBYTE  # that a program may write at least, besides its output
# What a layer of the cage holds, for whom it is not there.
LAYERS = {
  'processes': 'a PID namespace: other processes are out of sight and reach',
  'root': 'a root of its own: no file but its toolchain and itself; what it writes is gone after the run',
  'network': 'a network namespace: no network, no service of this machine',
  'files': 'Landlock: no file but its toolchain and itself, no TCP',
  'system calls': 'a filter: no ptrace, mounts, keys, new namespaces, other sockets',
  'user': 'a user of its own: no rights to files of others',
}


@dataclasses.dataclass(frozen=True)
class Process:
  """A program as it is to be started.

  Attributes:
    argv: the first is the path of an executable.
    limits: what it may use.
    stdin: what it reads, bytes or the file that holds them; it is given a copy. None: nothing.
    managed: its runtime keeps to the memory limit by itself and reserves far more than it touches, as Java does.
    folder: of the program itself, where it sees it as /program; None: it is a part of the system.
    compiles: whether it may write there.
    case, feedback: folders of a checker: it reads the first and writes the second.
    toolchain: files and folders outside of the system's that it reads, such as an interpreter.
    shows_library: whether it sees the answers in this library too: designs with their oracles, contests.
    env: added to the environment, which is none of ours.
  """

  argv: Sequence[str]
  limits: Limits
  stdin: pathlib.Path | bytes | None = None
  managed: bool = False
  folder: pathlib.Path | None = None
  compiles: bool = False
  case: pathlib.Path | None = None
  feedback: pathlib.Path | None = None
  toolchain: tuple[str, ...] = ()
  shows_library: bool = False
  env: Mapping[str, str] = dataclasses.field(default_factory=dict)

  def spec(self) -> dict[str, Any]:
    limits = dataclasses.asdict(self.limits)
    limits['stack'] = self.limits.stack or self.limits.memory // 2
    limits['data'] = None if self.managed else 2 * self.limits.memory + 512 * MEBIBYTE
    if self.managed:  # the runtime's own share: code, collector, threads
      limits['memory'] = self.limits.memory * 5 // 4 + 96 * MEBIBYTE
    binds = {'/program': self.folder, '/case': self.case, '/feedback': self.feedback}
    return {
      'argv': list(self.argv),
      'env': _ENVIRONMENT | _own_libraries() | dict(self.env),
      'limits': limits,
      'binds': {place: str(path) for place, path in binds.items() if path is not None},
      'program_writable': self.compiles,
      'toolchain': [*interpreter(), *([str(_HERE.parent.parent)] if self.shows_library else []), *self.toolchain],
      'library': [] if self.shows_library else toolkit(),
      'hidden': [] if self.shows_library else answers(),
      'scratch': max(_SCRATCH, self.limits.output),
      'temporary': tempfile.gettempdir(),
    }


_ENVIRONMENT = {
  'PATH': '/usr/local/bin:/usr/bin:/bin',
  'LANG': 'C.UTF-8',
  'PYTHONHASHSEED': '0',  # hashes are the same in every run
  'PYTHONDONTWRITEBYTECODE': '1',
  'PYTHONIOENCODING': 'utf-8',
}


@functools.cache
def interpreter() -> tuple[str, ...]:
  """What our own Python needs to start: itself, its libraries, the installed packages."""
  found = [os.path.realpath(sys.executable)]
  for prefix in (sys.prefix, sys.base_prefix):  # not all of it: an environment may be made in a folder of other things
    found += [f'{prefix}/{name}' for name in ('bin', 'lib', 'lib64', 'pyvenv.cfg')]
  return tuple(path for path in found if os.path.lexists(path))


@functools.cache
def toolkit() -> list[str]:
  """What of this library a contestant may import, with a root of its own: Landlock would have to show folders above."""
  files = [_HERE.parent / '__init__.py', *_HERE.glob('__init__.py*'), *_HERE.glob('sorted_list.py')]
  return [str(path) for path in (*files, *sorted(_HERE.glob('contests/*.py')))]


@functools.cache
def answers() -> list[str]:
  """Folders of this library in which answers stand."""
  return [str(path) for path in (_HERE / 'design', *sorted(_HERE.glob('contests/[0-9]*')))]


class Pool:
  """A few supervisors; `run` may be called from many threads and waits for a free one.

  Leaving the context ends them all, with whatever they run.

  Args:
    size: how many; None takes as many as there are processors.
    without: layers of the cage that are not used though the kernel has them: 'namespaces', 'landlock', 'seccomp'.

  Attributes:
    missing: once a program has run: each layer (LAYERS) that is not there, with the reason.
  """

  def __init__(self, size: int | None = None, *, without: Sequence[str] = ()):
    if not sys.platform.startswith('linux'):
      raise UserError(f"the judge watches processes through Linux's /proc, which {sys.platform} does not have")
    self.size = size or len(os.sched_getaffinity(0))
    self.missing: dict[str, str] = {}
    self._without = list(without)
    self._idle: queue.LifoQueue[_Supervisor | None] = queue.LifoQueue()
    for _ in range(self.size):
      self._idle.put(None)  # started when first wanted
    self._started: list[_Supervisor] = []
    self._lock = threading.Lock()

  def __enter__(self) -> Self:
    return self

  def __exit__(
    self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
  ) -> None:
    with self._lock:
      started, self._started = self._started, []
    for supervisor in started:
      supervisor.end()

  def gaps(self) -> list[str]:
    """What of the cage is not there, a line each; empty before the first has run."""
    missing = dict(self.missing)
    if not {'root', 'processes'} & set(missing):
      missing.pop('user', None)  # which then keeps them from nothing more
    return [f'{LAYERS[layer]} ({reason})' for layer, reason in missing.items()]

  def run(self, *programs: Process) -> list[Outcome]:
    """Runs a program, or two whose standard streams are joined to each other; an outcome each."""
    supervisor = self._idle.get()
    try:
      if supervisor is None:
        supervisor = self._start()
      try:
        return supervisor.run(programs)
      except ConnectionError:
        supervisor.end()
        supervisor = None
        return [Outcome(error='the supervisor was killed') for _ in programs]
    finally:
      self._idle.put(supervisor)

  def _start(self) -> '_Supervisor':
    supervisor = _Supervisor(self._without)
    with self._lock:
      self._started.append(supervisor)
    self.missing = supervisor.missing
    return supervisor


class _Supervisor:
  """A process that runs programs one after another (cage/supervisor.py)."""

  def __init__(self, without: Sequence[str]):
    self._socket, theirs = socket.socketpair()
    with theirs:
      # Its environment would be there to read for who runs as our user.
      self._process = subprocess.Popen(
        [sys.executable, '-I', '-S', '-c', _START, *without],
        stdin=theirs.fileno(),
        start_new_session=True,
        env=_own_libraries(),
      )
    self._lines = self._socket.makefile('rb')
    hello = self._lines.readline()
    if not hello:
      raise UserError('the supervisor of the judge did not start')
    self.missing: dict[str, str] = json.loads(hello)['missing']

  def run(self, programs: Sequence[Process]) -> list[Outcome]:
    """Raises: ConnectionError: the supervisor died."""
    request = json.dumps({'programs': [program.spec() for program in programs]}).encode() + b'\n'
    if len(programs) > 1:
      self._socket.sendall(request)
      return [Outcome(**fields) for fields in json.loads(self._answer())]
    (program,) = programs
    with _memory('input') as given, _memory('output') as taken:
      _fill(given, program.stdin)
      fcntl.fcntl(taken, fcntl.F_SETFL, os.O_APPEND)
      sent = socket.send_fds(self._socket, [request], [given, taken])
      self._socket.sendall(request[sent:])
      (fields,) = json.loads(self._answer())
      # The descriptor is ours; whoever else held it is dead. Not a byte more is read than the limit and one.
      return [Outcome(**fields, output=_read(taken, program.limits.output + 1))]

  def _answer(self) -> bytes:
    answer = self._lines.readline()
    if not answer:
      raise ConnectionResetError
    return answer

  def end(self) -> None:
    self._lines.close()
    self._socket.close()
    self._process.wait()


def _own_libraries() -> dict[str, str]:
  """The one variable of ours that an interpreter may not start without."""
  return {name: value for name, value in os.environ.items() if name == 'LD_LIBRARY_PATH'}


@contextlib.contextmanager
def _memory(name: str) -> Iterator[int]:
  """A file without a name, in memory: who finds it by /proc/self/fd finds nothing beside it, and nothing is left."""
  descriptor = os.memfd_create(name)
  try:
    yield descriptor
  finally:
    os.close(descriptor)


def _fill(descriptor: int, content: pathlib.Path | bytes | None) -> None:
  """Writes content and goes back to the beginning."""
  if isinstance(content, pathlib.Path):
    with open(content, 'rb') as source:
      while os.sendfile(descriptor, source.fileno(), None, _CHUNK):
        pass
  elif content:
    view = memoryview(content)
    while view:
      view = view[os.write(descriptor, view) :]
  os.lseek(descriptor, 0, os.SEEK_SET)


def _read(descriptor: int, limit: int) -> bytes:
  parts, place = [], 0
  while place < limit and (part := os.pread(descriptor, min(_CHUNK, limit - place), place)):
    parts.append(part)
    place += len(part)
  return b''.join(parts)
