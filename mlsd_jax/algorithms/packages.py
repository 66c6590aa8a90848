"""Where cases come from: a folder of samples, or a problem package of Kattis, the ICPC, DOMjudge or Polygon."""

import dataclasses
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mlsd_jax.algorithms.checking import Checker
from mlsd_jax.algorithms.comparison import Comparison
from mlsd_jax.algorithms.expectations import Rule, entry_of, rules_for
from mlsd_jax.algorithms.languages import language_of
from mlsd_jax.algorithms.limits import Limits
from mlsd_jax.algorithms.pool import Pool
from mlsd_jax.algorithms.scoring import Score
from mlsd_jax.algorithms.verdicts import Case, Report
from mlsd_jax.errors import UserError

ANSWERS = ('.ans', '.out', '.a', '.output')
# A submissions/ folder and the verdicts that it allows. Older packages know no verdict for memory and output.
EXPECTED = {
  'accepted': {'AC'},
  'slow_accepted': {'AC', 'TLE'},
  'wrong_answer': {'WA'},
  'time_limit_exceeded': {'TLE'},
  'run_time_error': {'RE', 'MLE', 'OLE'},
  'memory_limit_exceeded': {'MLE'},
  'output_limit_exceeded': {'OLE'},
  'compile_error': {'CE'},
  'partially_accepted': {'AC', 'WA', 'TLE', 'RE', 'MLE', 'OLE'},
  'rejected': {'WA', 'TLE', 'RE', 'MLE', 'OLE', 'CE'},
}


# What DOMjudge's submissions say of themselves: @EXPECTED_RESULTS@: WRONG-ANSWER, RUN-ERROR
_NAMED = {
  'CORRECT': 'AC',
  'WRONG-ANSWER': 'WA',
  'NO-OUTPUT': 'WA',
  'TIMELIMIT': 'TLE',
  'RUN-ERROR': 'RE',
  'MEMORY-LIMIT': 'MLE',
  'OUTPUT-LIMIT': 'OLE',
  'COMPILER-ERROR': 'CE',
}


@dataclasses.dataclass(frozen=True)
class Submission:
  """A program that comes with a package, the verdicts that it may get, and its points where it says them.

  Attributes:
    rules: of submissions.yaml, by case; where there are some, they count and `expected` does not.
    main: of a folder, the file to start, where submissions.yaml names it.
  """

  kind: str
  path: pathlib.Path
  expected: frozenset[str]
  score: float | None = None
  rules: tuple[Rule, ...] = ()
  main: str = ''


@dataclasses.dataclass(frozen=True)
class Package:
  """A problem package, ready to be judged by.

  Attributes:
    time_is_given: whether the package states a time limit; otherwise it is to be had from the accepted submissions.
    stops: whether the first failing case ends the judging.
    submissions: in the languages known here.
    score: of a scoring package, the points that a report earns; None for others.
  """

  name: str
  folder: pathlib.Path
  cases: tuple[Case, ...]
  limits: Limits
  check: Comparison | Checker
  interactor: Checker | None = None
  time_is_given: bool = True
  stops: bool = True
  submissions: tuple[Submission, ...] = ()
  score: Callable[[Report], Score] | None = None


def is_package(folder: pathlib.Path) -> bool:
  return any((folder / name).is_file() for name in ('problem.yaml', 'problem.xml', 'domjudge-problem.ini'))


def load(folder: pathlib.Path, build_folder: pathlib.Path, pool: Pool) -> Package:
  """Reads a package: of Polygon, if it has a problem.xml, else in the legacy, ICPC, DOMjudge, 2023-07 or 2025-09 form.

  Its checker and interactor are compiled, and of a Polygon package what makes tests that are not there.

  Raises:
    UserError: it is no package, something in it cannot be used, or a program of it does not compile.
  """
  from mlsd_jax.algorithms.kattis import load as load_kattis  # which make what is defined here
  from mlsd_jax.algorithms.polygon import load as load_polygon

  if not is_package(folder):
    raise UserError(f'{folder} is no problem package: it has no problem.yaml, problem.xml or domjudge-problem.ini')
  read = load_polygon if (folder / 'problem.xml').is_file() else load_kattis
  return read(folder.absolute(), build_folder, pool)


def submissions_below(folder: pathlib.Path, expectations: Mapping[str, Any] | None = None) -> Iterator[Submission]:
  """Programs of a submissions/ folder; what the text of one says of itself counts more than its folder's name.

  Args:
    expectations: of its submissions.yaml, where there is one.
  """
  for kind in sorted(folder.glob('*')):
    for path in sorted(kind.iterdir()) if kind.is_dir() else ():
      files = [each for each in path.rglob('*') if each.is_file()] if path.is_dir() else [path]
      sources = [each for each in files if language_of(each)]
      if sources:
        named = _named(sources) or frozenset(EXPECTED.get(kind.name, _ANY))
        below = path.relative_to(folder).as_posix()
        rules = rules_for(below, expectations) if expectations is not None else ()
        main = entry_of(below, expectations or {})
        yield Submission(kind.name, path, named, _points(sources), rules, main)


_ANY = frozenset({'AC', 'WA', 'TLE', 'MLE', 'OLE', 'RE', 'CE'})


def _named(sources: list[pathlib.Path]) -> frozenset[str]:
  for path in sources:
    found = re.search(r'@EXPECTED_RESULTS@:\s*([^\r\n*]+)', path.read_text(errors='replace'))
    if found:
      words = re.split(r'[,\s]+', found[1].strip().upper())
      named = {_NAMED[word] for word in words if word in _NAMED}
      return frozenset(named | ({'MLE'} if 'RE' in named else set()))  # to DOMjudge no memory left is a run error
  return frozenset()


def _points(sources: list[pathlib.Path]) -> float | None:
  for path in sources:
    found = re.search(r'@EXPECTED_SCORE@:\s*([0-9]+(?:\.[0-9]+)?)\s*$', path.read_text(errors='replace'), re.MULTILINE)
    if found:
      return float(found[1])
  return None


def has_samples(program: pathlib.Path) -> bool:
  """Whether A.in, A1.in, A-2.in or the like stand beside A.py."""
  return any(_is_of(path, program.stem) for path in program.parent.glob(f'{program.stem}*.in'))


def _is_of(path: pathlib.Path, stem: str) -> bool:
  """A, A1, A-1, A_1, A.1 are samples of A; AB is not, nor is A1 when there is a program A1."""
  if path.stem != stem and path.with_suffix('.py').exists():
    return False
  return re.fullmatch(rf'{re.escape(stem)}[-_.]?\d*', path.stem) is not None


def sample_cases(folder: pathlib.Path, stem: str | None = None) -> list[Case]:
  """Pairs such as 1.in and 1.out (or .ans), 01 and 01.a, A.in and A.out, input1.txt and output1.txt, in/01.txt and
  out/01.txt, in natural order.

  Args:
    stem: of the program whose samples they are, in a folder of several programs; None takes all.

  Raises:
    UserError: there is none, or an input lacks its answer.
  """
  cases = []
  for path in sorted(folder.iterdir(), key=natural_order) if folder.is_dir() else []:
    if path.is_dir():
      continue
    if path.suffix == '.in':
      candidates = [path.with_suffix(suffix) for suffix in ANSWERS]
    elif path.name.startswith('input') and path.suffix in ('.txt', ''):
      candidates = [path.with_name(path.name.replace('input', 'output', 1))]
    elif path.name.isdigit() and path.with_name(f'{path.name}.a').exists():
      candidates = [path.with_name(f'{path.name}.a')]
    else:
      continue
    if stem is None or _is_of(path, stem):
      cases.append(_pair(path, candidates))
  for name, other in (('in', 'out'), ('input', 'output'), ('inputs', 'outputs')):
    if stem is None and (folder / name).is_dir() and (folder / other).is_dir():
      for path in sorted((folder / name).iterdir(), key=natural_order):
        there = folder / other / path.name
        same = there.with_name(path.name.replace('input', 'output', 1))
        cases.append(_pair(path, [there, same, *(there.with_suffix(suffix) for suffix in ANSWERS)]))
  if not cases:
    raise UserError(
      f'{folder} has no cases; they look like 1.in with 1.out or 1.ans, 01 with 01.a, in/1.txt with out/1.txt'
    )
  return cases


def _pair(path: pathlib.Path, candidates: list[pathlib.Path]) -> Case:
  answer = next((each for each in candidates if each.is_file()), None)
  if answer is None:
    raise UserError(f'{path} has no answer beside it; expected {" or ".join(each.name for each in candidates[:2])}')
  return Case(path.stem, path, answer)


def natural_order(path: pathlib.Path) -> list[tuple[int, str]]:
  """2.in before 10.in."""
  return [(int(part), '') if part.isdigit() else (-1, part) for part in re.split(r'(\d+)', path.stem)]
