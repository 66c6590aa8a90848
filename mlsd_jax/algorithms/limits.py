"""What a program may use, and what became of a run."""

import dataclasses
import signal

MEBIBYTE = 1 << 20


@dataclasses.dataclass(frozen=True)
class Limits:
  """What one run of a program may use.

  Attributes:
    time: seconds of processor time, of the program and all its descendants together.
    wall: seconds on the clock. None: processor time and time asleep together may be 1.1 times `time`, while seconds in
      which the program was ready but had no processor do not count: a loaded machine makes no program late.
    memory: bytes of resident memory, of the program and all its descendants together.
    output: bytes of standard output.
    processes: how many may be alive at once.
    stack: bytes of the main thread's stack; None takes half of `memory`.
  """

  time: float = 2.0
  wall: float | None = None
  memory: int = 256 * MEBIBYTE
  output: int = 64 * MEBIBYTE
  processes: int = 64
  stack: int | None = None


@dataclasses.dataclass(frozen=True)
class Outcome:
  """What became of one run, before anything is said about its answer.

  Attributes:
    exit_code: None when a signal ended the program or it never started.
    signal: number of the signal that ended it, whoever sent it.
    killed: the limit the judge killed it for: 'cpu', 'wall', 'memory', 'output', 'processes'; None when it was not.
    cpu, wall: seconds used.
    memory: highest resident bytes of the process tree.
    output_size: bytes written to standard output.
    stderr: the beginning and the end of standard error.
    error: why the program could not be started, or the supervisor's own trouble.
    first: of two programs in conversation, whether this one ended first.
    output: what it wrote to standard output, not more than a byte beyond the limit.
  """

  exit_code: int | None = None
  signal: int | None = None
  killed: str | None = None
  cpu: float = 0.0
  wall: float = 0.0
  memory: int = 0
  output_size: int = 0
  stderr: str = ''
  error: str | None = None
  first: bool = False
  output: bytes = b''

  @property
  def ending(self) -> str:
    """'exit code 3', 'SIGSEGV', ..."""
    if self.signal is not None:
      return signal_name(self.signal)
    return self.error or f'exit code {self.exit_code}'


def signal_name(number: int) -> str:
  try:
    return signal.Signals(number).name
  except ValueError:
    return f'signal {number}'
