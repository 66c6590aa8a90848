"""What somebody who practises asks for: a class judged on a design problem, a new contest laid out."""

import dataclasses
import json
import pathlib
import random
import shutil
import sys
from collections.abc import Sequence

from mlsd_jax import reading
from mlsd_jax.algorithms import allowed, packages
from mlsd_jax.algorithms.checking import Checker
from mlsd_jax.algorithms.comparison import Comparison, Difference
from mlsd_jax.algorithms.judge import judge
from mlsd_jax.algorithms.languages import build
from mlsd_jax.algorithms.limits import Limits
from mlsd_jax.algorithms.operations import Call, plain, read_operations, write_operations
from mlsd_jax.algorithms.pool import Pool
from mlsd_jax.algorithms.problem import Mismatch, Problem, answers, compare
from mlsd_jax.algorithms.published import form_of, shared_calls
from mlsd_jax.algorithms.verdicts import Case, CaseResult, Report
from mlsd_jax.errors import UserError

CONTESTS = pathlib.Path(__file__).with_name('contests')
_DRIVER = pathlib.Path(__file__).with_name('operations.py')
_LIBRARY = pathlib.Path(__file__).parent


def reference(problem: Problem) -> pathlib.Path:
  """The file of a problem's own solution."""
  return pathlib.Path(str(sys.modules[problem.solution.__module__].__file__))


def operations_cases(problem: Problem, sizes: Sequence[int], count: int, seed: int = 0) -> list[Case]:
  """Hidden cases of a design problem: random operations, with the oracle's answers."""
  cases = []
  for number, size in enumerate(sizes):
    calls = problem.operations(random.Random(f'{seed}/{number}'), count, size)
    cases.append(operations_case(problem, calls, f'random {number + 1}: size {size}'))
  return cases


def edge_cases(problem: Problem, count: int, seed: int = 0) -> list[Case]:
  """Cases of small structures and edge values: all that the statement allows, not what LeetCode promises to ask."""
  draw = lambda number: allowed.edge_operations(problem, random.Random(f'{seed}/{number}'))
  return [operations_case(problem, draw(number), f'edges {number + 1}') for number in range(count)]


def operations_case(problem: Problem, calls: list[Call], name: str) -> Case:
  expected = answers(problem.oracle, calls)
  return Case(name, write_operations(calls).encode(), _json_lines(expected).encode())


def _json_lines(values: Sequence[object]) -> str:
  return ''.join(json.dumps(value) + '\n' for value in values)


def judge_class(
  problem: Problem,
  solution: pathlib.Path,
  cases: Sequence[Case],
  *,
  pool: Pool,
  limits: Limits,
  build_folder: pathlib.Path,
) -> tuple[Report, Mismatch | None]:
  """Judges a file that defines the problem's class; with a wrong answer, the calls up to it.

  The class runs in a process of its own, under the limits, and is told the operations as LeetCode does. Where LeetCode
  has other signatures, a class that has those is judged by them (published.py).
  """
  checked = build(solution, build_folder, pool)
  if checked.compile_error is not None:
    return Report(solution.name, (), checked.compile_error), None
  class_name = problem.solution.__name__
  driver = build_folder / _DRIVER.name
  shutil.copyfile(_DRIVER, driver)
  driver.chmod(0o644)
  # Our own solutions stand beside their oracles; every other one must not see them.
  ours = solution.absolute().is_relative_to(_LIBRARY)
  program = dataclasses.replace(
    checked, argv=(checked.argv[0], '-P', str(driver), checked.argv[-1], class_name), shows_library=ours
  )
  published = form_of(problem, solution)
  results: list[CaseResult] = []
  for case in cases:
    calls = read_operations(Case.read(case.input).decode())
    if published is not None:
      calls = shared_calls(problem, published, calls)
      case = dataclasses.replace(case, input=write_operations(map(published.theirs, calls)).encode())
    check = _AgainstOracle(problem, calls)
    report = judge(program, [case], pool=pool, limits=limits, check=check)
    results += report.results
    if report.verdict != 'AC':
      return Report(solution.name, tuple(results)), check.mismatch
  return Report(solution.name, tuple(results)), None


def _answers(output: bytes) -> list[object]:
  found: list[object] = []
  for line in output.splitlines():
    try:
      found.append(plain(reading.parse_json(line, 'an answer')))
    except UserError:  # the class printed something of its own
      found.append(line.decode(errors='replace'))
  return found


@dataclasses.dataclass
class _AgainstOracle:
  """A check of what the calls are answered with, by the oracle.

  Attributes:
    mismatch: what it found wrong in the whole output, of which a result holds only the beginning.
  """

  problem: Problem
  calls: list[Call]
  mismatch: Mismatch | None = None

  def __call__(self, output: bytes, expected: bytes) -> Difference | None:
    self.mismatch = compare(self.problem, self.calls, _answers(output))
    if self.mismatch is None:
      return None
    line = len(self.mismatch.calls) - 1
    name, arguments = self.mismatch.calls[-1]
    shown = ', '.join(map(repr, arguments))
    actual, right = str(self.mismatch.actual)[:80], str(self.mismatch.expected)[:80]
    return Difference(line, line, f'{name}({shown[:60]}) answers {actual!r}, {right!r} is expected')


def contest_check(program: pathlib.Path, folder: pathlib.Path, pool: Pool) -> Comparison | Checker:
  """How answers to a contest problem are told right: by its check_NAME.py, if there may be several, else by tokens."""
  source = program.with_name(f'check_{program.stem}.py')
  return Checker(build(source, folder, pool)) if source.is_file() else Comparison()


def contest_problems() -> dict[str, pathlib.Path]:
  """Contest problems by name, such as '2044/A': the program, with its samples beside it."""
  found = sorted(CONTESTS.glob('*/*.py'), key=lambda path: (path.parent.name, packages.natural_order(path)))
  return {f'{path.parent.name}/{path.stem}': path for path in found if packages.has_samples(path)}
