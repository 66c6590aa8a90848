"""Judges a program on many cases: runs it under limits, checks its answers, gives a verdict.

with Pool() as pool: program = build('solution.py', folder, pool) report = judge(program, sample_cases('samples/'),
pool=pool, limits=Limits(time=2)) print(report.verdict)                      # 'AC', 'WA', 'TLE', 'MLE', 'OLE', 'RE',
'CE'; 'JE' for a broken checker"""

import concurrent.futures
import dataclasses
import pathlib
import tempfile
import threading
from collections.abc import Callable, Sequence

from mlsd_jax.algorithms.checking import CHECKER_LIMITS, Checker, Desk, Judgement, read_made
from mlsd_jax.algorithms.comparison import Comparison, Difference
from mlsd_jax.algorithms.languages import Program
from mlsd_jax.algorithms.limits import Limits, Outcome
from mlsd_jax.algorithms.pool import Pool
from mlsd_jax.algorithms.verdicts import Case, CaseResult, Report, verdict_of

_ANSWER_KEPT = 1 << 16  # bytes of an answer that a result holds for the reader's eye
type Check = Callable[[bytes, bytes], Difference | None] | Checker


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
      as `interactor input answer feedback_folder`, or `interactor input output answer` by testlib's convention, where
      a checker then judges the output that it has written. Otherwise `check` is not used.
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
  referee = interactor or (check if isinstance(check, Checker) else None)
  if referee is None:
    assert not isinstance(check, Checker)
    return _compare(program, case, pool, limits, check)
  desk = Desk.lay(folder, referee, case)
  second = check if interactor is not None and interactor.convention == 'testlib' else None
  total, output, next_input = Outcome(), b'', case.input
  for _ in range(referee.passes):
    desk.put('input', next_input)
    if interactor is not None:
      outcome, judgement = _converse(program, desk, pool, limits)
    else:
      outcome = pool.run(program.process(limits, next_input))[0]
      output = outcome.output
      judgement = Judgement(*verdict_of(outcome, limits))
      if not judgement.verdict:
        judgement = desk.ask(output, pool)
    total = _worst(total, outcome)
    if judgement.verdict != 'AC' or judgement.next_input is None:
      break
    next_input = judgement.next_input
  else:
    judgement = Judgement('JE', f'the checker asks for more than {referee.passes} passes')
  if judgement.verdict == 'AC' and isinstance(second, Checker):
    written = read_made(desk.feedback / 'output', limits.output) or b''
    (folder / 'second').mkdir()
    judgement = Desk.lay(folder / 'second', second, case).ask(written, pool)
  return CaseResult(
    case,
    judgement.verdict,
    judgement.message,
    total,
    output[:_ANSWER_KEPT],
    score=judgement.score,
    multiplies=judgement.multiplies,
  )


def _compare(
  program: Program, case: Case, pool: Pool, limits: Limits, check: Callable[[bytes, bytes], Difference | None]
) -> CaseResult:
  # Read before the run: what a program does to files, if it gets at them, comes too late.
  answer = Case.read(case.answer) if case.answer is not None else None
  outcome = pool.run(program.process(limits, case.input))[0]
  output, outcome = outcome.output, dataclasses.replace(outcome, output=b'')
  written = output[:_ANSWER_KEPT]
  result = lambda verdict, message, difference=None: CaseResult(case, verdict, message, outcome, written, difference)
  verdict, message = verdict_of(outcome, limits)
  if verdict:
    return result(verdict, message)
  if answer is None:
    return result('AC', 'ran to its end; there is no answer to compare with')
  comparison = Comparison.from_flags(case.flags) if case.flags is not None else check
  difference = comparison(output, answer)
  if difference is None:
    return result('AC', '')
  return result('WA', f'line {difference.line}: {difference.message}', difference)


def _converse(program: Program, desk: Desk, pool: Pool, limits: Limits) -> tuple[Outcome, Judgement]:
  """Program and interactor through pipes. Who ends first decides whose ending counts when both end badly."""
  wall = dataclasses.replace(CHECKER_LIMITS, wall=10 * limits.time + 60)
  theirs = desk.checker.program.process(wall, None, desk.args(), case=desk.case, feedback=desk.feedback)
  outcome, other = pool.run(program.process(limits), theirs)
  judgement = desk.judgement(other)
  if other.first and judgement.verdict in ('WA', 'JE'):
    return outcome, judgement
  verdict, message = verdict_of(outcome, limits)
  return outcome, Judgement(verdict, message) if verdict else judgement


def _worst(before: Outcome, after: Outcome) -> Outcome:
  """Of two passes the later one, with the greater cost."""
  return dataclasses.replace(
    after,
    cpu=max(before.cpu, after.cpu),
    wall=max(before.wall, after.wall),
    memory=max(before.memory, after.memory),
    output=b'',
  )
