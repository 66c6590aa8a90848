"""Supervisors at work side by side: hands them programs, gets back what became of them.

Not a concurrent.futures.ProcessPoolExecutor: that is broken as a whole once a worker dies, while here a supervisor that
was killed is one verdict, and the others go on.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from mlsd_jax.algorithms.limits import MEBIBYTE, Limits, Outcome
from mlsd_jax.errors import UserError

_SUPERVISOR = pathlib.Path(__file__).with_name('supervisor.py')


@dataclasses.dataclass(frozen=True)
class Process:
  """A program as it is to be started.

  Attributes:
    argv: the first is the path of an executable.
    cwd: its working folder.
    limits: what it may use.
    stdin: file that it reads; None reads nothing.
    stdout: file that takes its output (not used for two programs in conversation).
    managed: its runtime keeps to the memory limit by itself and reserves far more than it touches, as Java does.
    trusted: runs as the user we are. Others, if we are root, run as a user that nobody is (supervisor.py); a compiler
      then could not do its work, as access(2) knows nothing of the rights that are left to such a user.
    env: added to the environment.
  """

  argv: Sequence[str]
  cwd: str
  limits: Limits
  stdin: str | None = None
  stdout: str | None = None
  managed: bool = False
  trusted: bool = False
  env: Mapping[str, str] = dataclasses.field(default_factory=dict)

  def spec(self) -> dict[str, Any]:
    limits = dataclasses.asdict(self.limits)
    limits['stack'] = self.limits.stack or self.limits.memory // 2
    limits['data'] = None if self.managed else 2 * self.limits.memory + 512 * MEBIBYTE
    if self.managed:  # the runtime's own share: code, collector, threads
      limits['memory'] = self.limits.memory * 5 // 4 + 96 * MEBIBYTE
    return {
      'argv': list(self.argv),
      'cwd': self.cwd,
      'limits': limits,
      'trusted': self.trusted,
      'stdin': self.stdin,
      'stdout': self.stdout,
      'env': _environment() | {'TMPDIR': self.cwd} | dict(self.env),
    }


def _environment() -> dict[str, str]:
  """Ours without what would change a Python program's ways; hashes the same in every run."""
  kept = {name: value for name, value in os.environ.items() if not name.startswith(('PYTHON', 'COVERAGE', 'LD_'))}
  return kept | {'PYTHONHASHSEED': '0', 'PYTHONDONTWRITEBYTECODE': '1', 'PYTHONIOENCODING': 'utf-8'}


class Pool:
  """A few supervisors; `run` may be called from many threads and waits for a free one.

  Leaving the context ends them all, with whatever they run.

  Args:
    size: how many; None takes as many as there are processors.
    namespaces: whether PID namespaces are used where the kernel gives them; without, what runs is only hunted down.
  """

  def __init__(self, size: int | None = None, *, namespaces: bool = True):
    if not sys.platform.startswith('linux'):
      raise UserError(f"the judge watches processes through Linux's /proc, which {sys.platform} does not have")
    self.size = size or len(os.sched_getaffinity(0))
    self._options = [] if namespaces else ['--no-namespaces']
    self._idle: queue.LifoQueue[subprocess.Popen[bytes] | None] = queue.LifoQueue()
    for _ in range(self.size):
      self._idle.put(None)  # started when first wanted
    self._started: list[subprocess.Popen[bytes]] = []
    self._lock = threading.Lock()

  def __enter__(self) -> Self:
    return self

  def __exit__(
    self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
  ) -> None:
    with self._lock:
      started, self._started = self._started, []
    for supervisor in started:
      _end(supervisor)

  def run(self, *programs: Process) -> list[Outcome]:
    """Runs a program, or two whose standard streams are joined to each other; an outcome each."""
    supervisor = self._idle.get()
    try:
      if supervisor is None:
        supervisor = self._start()
      assert supervisor.stdin is not None
      assert supervisor.stdout is not None
      try:
        supervisor.stdin.write(json.dumps({'programs': [program.spec() for program in programs]}).encode() + b'\n')
        supervisor.stdin.flush()
        answer = supervisor.stdout.readline()
      except BrokenPipeError:
        answer = b''
      if not answer:
        _end(supervisor)
        supervisor = None
        return [Outcome(error='the supervisor was killed') for _ in programs]
      return [Outcome(**fields) for fields in json.loads(answer)]
    finally:
      self._idle.put(supervisor)

  def _start(self) -> subprocess.Popen[bytes]:
    supervisor = subprocess.Popen(
      [sys.executable, '-I', '-S', str(_SUPERVISOR), *self._options],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      start_new_session=True,
      env=dict(os.environ),
    )
    with self._lock:
      self._started.append(supervisor)
    return supervisor


def _end(supervisor: subprocess.Popen[bytes]) -> None:
  for stream in (supervisor.stdin, supervisor.stdout):
    if stream is not None:
      with contextlib.suppress(BrokenPipeError):
        stream.close()
  supervisor.wait()
