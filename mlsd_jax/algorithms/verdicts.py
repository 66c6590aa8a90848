"""Cases, what came of them, and what a run that did not end well is called."""

import dataclasses
import pathlib
import re
import signal
from typing import Any

from mlsd_jax.algorithms.comparison import Difference
from mlsd_jax.algorithms.limits import MEBIBYTE, Limits, Outcome

VERDICTS = {
  'AC': 'accepted',
  'WA': 'wrong answer',
  'TLE': 'time limit exceeded',
  'MLE': 'memory limit exceeded',
  'OLE': 'output limit exceeded',
  'RE': 'run-time error',
  'CE': 'compile error',
  'JE': 'judge error',
}
_NO_MEMORY = re.compile(
  r'^(?:\w+\.)*MemoryError\b|std::bad_alloc|java\.lang\.OutOfMemoryError|JavaScript heap out of memory|'
  r'memory allocation of \d+ bytes failed',
  re.MULTILINE,
)


@dataclasses.dataclass(frozen=True)
class Case:
  """One input with its expected answer, each a file or the bytes themselves.

  Attributes:
    answer: None where only a checker can tell, or nobody.
    flags: of the comparison or the checker, for this case alone.
  """

  name: str
  input: pathlib.Path | bytes
  answer: pathlib.Path | bytes | None = None
  flags: tuple[str, ...] | None = None

  @staticmethod
  def read(content: pathlib.Path | bytes) -> bytes:
    return content if isinstance(content, bytes) else content.read_bytes()


@dataclasses.dataclass(frozen=True)
class CaseResult:
  """What came of one case.

  Attributes:
    verdict: a key of VERDICTS, or '' for a case that was not run because an earlier one had failed.
    message: why, in words.
    output: the beginning of what the program wrote.
    score: what a checker of a scoring problem gave: points, or with `multiplies` a share of a case's points.
  """

  case: Case
  verdict: str
  message: str
  outcome: Outcome
  output: bytes = b''
  difference: Difference | None = None
  score: float | None = None
  multiplies: bool = False


@dataclasses.dataclass(frozen=True)
class Report:
  """What came of all cases, in their order. `verdict` is that of the first that was not accepted."""

  program: str
  results: tuple[CaseResult, ...]
  compile_error: str | None = None

  @property
  def verdict(self) -> str:
    if self.compile_error is not None:
      return 'CE'
    return self.failure.verdict if self.failure else 'AC'

  @property
  def failure(self) -> CaseResult | None:
    return next((result for result in self.results if result.verdict not in ('AC', '')), None)

  def to_json(self) -> dict[str, Any]:
    """Of JSON types; times in seconds, sizes in bytes."""
    rows: list[dict[str, Any]] = []
    for result in self.results:
      outcome = result.outcome
      rows.append(
        {
          'case': result.case.name,
          'verdict': result.verdict or None,
          'message': result.message,
          'exit_code': outcome.exit_code,
          'signal': outcome.signal,
          'cpu_seconds': round(outcome.cpu, 4),
          'wall_seconds': round(outcome.wall, 4),
          'memory_bytes': outcome.memory,
          'output_bytes': outcome.output_size,
        }
      )
    return {
      'program': self.program,
      'verdict': self.verdict,
      'compile_error': self.compile_error,
      'cpu_seconds': round(max((row['cpu_seconds'] for row in rows), default=0.0), 4),
      'memory_bytes': max((row['memory_bytes'] for row in rows), default=0),
      'cases': rows,
    }


def verdict_of(outcome: Outcome, limits: Limits) -> tuple[str, str]:
  """(verdict, message) of a run that did not end well; ('', '') of one that did, whatever its answer is.

  Time comes before a bad ending and a bad ending before a wrong answer: who is late and crashes is late.
  """
  if outcome.error:
    return ('JE' if 'supervisor' in outcome.error else 'RE'), outcome.error
  if outcome.killed in ('cpu', 'wall') or outcome.signal == signal.SIGXCPU or outcome.cpu > limits.time:
    spent = f'{outcome.cpu:.2f} s of processor time, {outcome.wall:.2f} s on the clock'
    return 'TLE', f'{spent}; {limits.time:g} s are allowed'
  if outcome.killed == 'output' or outcome.output_size > limits.output or outcome.signal == signal.SIGXFSZ:
    return 'OLE', f'more than {limits.output:,} bytes of output, or too much in files'
  if outcome.killed == 'memory':
    return 'MLE', f'{outcome.memory / MEBIBYTE:.0f} MiB; {limits.memory / MEBIBYTE:.0f} MiB are allowed'
  if outcome.killed == 'processes':
    return 'RE', f'more than {limits.processes} processes at once'
  if outcome.exit_code != 0:
    if _NO_MEMORY.search(outcome.stderr):
      return 'MLE', f'an allocation failed; {limits.memory / MEBIBYTE:.0f} MiB are allowed'
    last = outcome.stderr.strip().rpartition('\n')[2]
    return 'RE', outcome.ending + (f': {last[:200]}' if last else '')
  return '', ''
