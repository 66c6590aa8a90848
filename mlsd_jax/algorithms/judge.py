"""Judges a program on many cases: runs it under limits, checks its answers, gives a verdict.

with Pool() as pool: program = build('solution.py', folder, pool) report = judge(program, sample_cases('samples/'),
pool=pool, limits=Limits(time=2)) print(report.verdict)                      # 'AC', 'WA', 'TLE', 'MLE', 'OLE', 'RE',
'CE'; 'JE' for a broken checker"""

import concurrent.futures
import dataclasses
import os
import pathlib
import re
import shutil
import signal
import stat
import tempfile
import threading
from collections.abc import Callable, Sequence
from typing import Any

from mlsd_jax.algorithms.comparison import Comparison, Difference
from mlsd_jax.algorithms.languages import Program
from mlsd_jax.algorithms.limits import MEBIBYTE, Limits, Outcome
from mlsd_jax.algorithms.pool import Pool

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
_ANSWER_KEPT = 1 << 16  # bytes of an answer that a result holds for the reader's eye
type Check = Callable[[bytes, bytes], Difference | None] | Checker
_CHECKER_LIMITS = Limits(time=60, wall=120, memory=2048 * MEBIBYTE)
_RIGHT_AND_WRONG = {'kattis': ((42,), (43,)), 'testlib': ((0,), (1, 2))}  # exit codes of a checker


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
class Checker:
  """A program that says whether an answer is right.

  Attributes:
    convention: 'kattis' calls `checker input answer feedback_folder < output`, 42 is right and 43 wrong; 'testlib'
      calls `checker input output answer`, 0 is right, 1 and 2 are wrong. Any other ending is the checker's own fault.
    flags: further arguments.
  """

  program: Program
  convention: str = 'kattis'
  flags: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class CaseResult:
  """What came of one case.

  Attributes:
    verdict: a key of VERDICTS, or '' for a case that was not run because an earlier one had failed.
    message: why, in words.
    output: the beginning of what the program wrote.
  """

  case: Case
  verdict: str
  message: str
  outcome: Outcome
  output: bytes = b''
  difference: Difference | None = None


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


def judge(
  program: Program,
  cases: Sequence[Case],
  *,
  pool: Pool,
  limits: Limits = Limits(),  # noqa: B008 (frozen)
  check: Check = Comparison(),  # noqa: B008
  interactor: Checker | None = None,
  stop_at_first: bool = True,
  on_result: Callable[[CaseResult], None] = lambda result: None,
) -> Report:
  """Runs a program on every case, as many at once as the pool has supervisors.

  Args:
    check: how an answer is told right from wrong: a Comparison, or any function of its kind, or a Checker.
    interactor: talks to the program through pipes and gives the verdict, by the exit codes of a checker; it is called
      as `interactor input answer feedback_folder`. `check` is then not used.
    stop_at_first: leaves out the cases after the first that fails.
    on_result: is told each result as it comes, not in order, from other threads.
  """
  if program.compile_error is not None:
    return Report(program.name, (), program.compile_error)
  results: list[CaseResult | None] = [None] * len(cases)
  first_failure, lock = len(cases), threading.Lock()

  def work(index: int) -> None:
    nonlocal first_failure
    if stop_at_first and index > first_failure:
      results[index] = CaseResult(cases[index], '', 'not run', Outcome())
      return
    with tempfile.TemporaryDirectory(prefix='judge-', ignore_cleanup_errors=True) as folder:
      pathlib.Path(folder).chmod(0o711)  # for a program of another user, which is told the name of what it may read
      result = _judge_case(program, cases[index], pathlib.Path(folder), pool, limits, check, interactor)
    results[index] = result
    if result.verdict != 'AC':
      with lock:
        first_failure = min(first_failure, index)
    on_result(result)

  with concurrent.futures.ThreadPoolExecutor(pool.size) as executor:
    list(executor.map(work, range(len(cases))))
  done = [result for result in results if result is not None]
  if stop_at_first:  # a case after the failure may have been under way in another supervisor
    failed = Outcome()
    done = [each if i <= first_failure else CaseResult(each.case, '', 'not run', failed) for i, each in enumerate(done)]
  return Report(program.name, tuple(done))


def _judge_case(
  program: Program,
  case: Case,
  folder: pathlib.Path,
  pool: Pool,
  limits: Limits,
  check: Check,
  interactor: Checker | None,
) -> CaseResult:
  if interactor is not None:
    return _converse(program, case, folder, pool, limits, interactor)
  # Read before the run: what a program does to files, if it gets at them, comes too late.
  answer = Case.read(case.answer) if case.answer is not None else None
  outcome = pool.run(program.process(limits, case.input))[0]
  output, outcome = outcome.output, dataclasses.replace(outcome, output=b'')
  written = output[:_ANSWER_KEPT]
  result = lambda verdict, message, difference=None: CaseResult(case, verdict, message, outcome, written, difference)
  verdict, message = verdict_of(outcome, limits)
  if verdict:
    return result(verdict, message)
  if isinstance(check, Checker):
    return result(*_ask(check, case, output, folder, pool))
  if answer is None:
    return result('AC', 'ran to its end; there is no answer to compare with')
  comparison = Comparison.from_flags(case.flags) if case.flags is not None else check
  difference = comparison(output, answer)
  if difference is None:
    return result('AC', '')
  return result('WA', f'line {difference.line}: {difference.message}', difference)


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
    return 'OLE', f'more than {limits.output:,} bytes of output'
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


def _converse(
  program: Program,
  case: Case,
  folder: pathlib.Path,
  pool: Pool,
  limits: Limits,
  interactor: Checker,
) -> CaseResult:
  """Program and interactor through pipes. Who ends first decides whose ending counts when both end badly."""
  desk = _Desk.lay(folder, interactor, case)
  theirs = interactor.program.process(
    dataclasses.replace(_CHECKER_LIMITS, wall=10 * limits.time + 60), None, desk.args, case=desk.case,
    feedback=desk.feedback,
  )  # fmt: skip
  outcome, other = pool.run(program.process(limits), theirs)
  result = lambda verdict, message: CaseResult(case, verdict, message, outcome)
  judged, said = _checker_verdict(interactor, other, desk.feedback)
  if other.first and judged in ('WA', 'JE'):
    return result(judged, said)
  verdict, message = verdict_of(outcome, limits)
  if verdict:
    return result(verdict, message)
  return result(judged, said)


def _ask(checker: Checker, case: Case, output: bytes, folder: pathlib.Path, pool: Pool) -> tuple[str, str]:
  desk = _Desk.lay(folder, checker, case, output)
  process = checker.program.process(_CHECKER_LIMITS, output, desk.args, case=desk.case, feedback=desk.feedback)
  return _checker_verdict(checker, pool.run(process)[0], desk.feedback)


@dataclasses.dataclass(frozen=True)
class _Desk:
  """What lies before a checker or an interactor: copies of the case, a folder to write into, and its arguments."""

  case: pathlib.Path
  feedback: pathlib.Path
  args: list[str]

  @classmethod
  def lay(cls, folder: pathlib.Path, checker: Checker, case: Case, output: bytes | None = None) -> '_Desk':
    desk, feedback = folder / 'case', folder / 'feedback'
    desk.mkdir()
    feedback.mkdir()
    feedback.chmod(0o777)  # in a folder of ours that nobody else enters
    contents = {'input': case.input, 'answer': case.answer or b'', 'output': output}
    paths = []
    for name, content in contents.items():
      if content is not None:
        path = desk / name
        if isinstance(content, bytes):
          path.write_bytes(content)
        else:
          shutil.copyfile(content, path)
        path.chmod(0o644)
        paths.append(str(path))
    if checker.convention == 'testlib' and output is not None:
      args = [paths[0], paths[2], paths[1]]
    else:
      args = [*paths[:2], f'{feedback}/']
    return cls(desk, feedback, [*args, *(checker.flags if case.flags is None else case.flags)])


def _checker_verdict(checker: Checker, outcome: Outcome, feedback: pathlib.Path) -> tuple[str, str]:
  right, wrong = _RIGHT_AND_WRONG[checker.convention]
  said = _message(feedback / 'judgemessage.txt')
  said = ' '.join((outcome.stderr if said is None else said).split())[:300]
  if outcome.killed is None and outcome.exit_code in right:
    return 'AC', said
  if outcome.killed is None and outcome.exit_code in wrong:
    return 'WA', said
  return 'JE', f'the checker ended with {outcome.killed or outcome.ending}' + (f': {said}' if said else '')


def _message(path: pathlib.Path) -> str | None:
  """The beginning of a file that a program has made; None if it made none, or something else of that name."""
  try:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
  except OSError:
    return None
  with open(descriptor, 'rb') as file:
    return file.read(1 << 14).decode(errors='replace') if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
