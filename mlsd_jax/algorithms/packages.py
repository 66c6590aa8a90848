"""Where cases come from: a folder of samples, a Kattis or ICPC problem package."""

import dataclasses
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from mlsd_jax import reading
from mlsd_jax.algorithms.comparison import Comparison
from mlsd_jax.algorithms.judge import Case, Checker, Report
from mlsd_jax.algorithms.languages import build, language_of
from mlsd_jax.algorithms.limits import MEBIBYTE, Limits
from mlsd_jax.algorithms.pool import Pool
from mlsd_jax.errors import UserError

_ANSWERS = ('.ans', '.out', '.a', '.output')
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


@dataclasses.dataclass(frozen=True)
class Group:
  """Cases of a scoring package that earn points together."""

  name: str
  cases: tuple[str, ...]
  points: float


@dataclasses.dataclass(frozen=True)
class Package:
  """A problem package, ready to be judged by.

  Attributes:
    time_is_given: whether the package states a time limit; otherwise it is to be had from the accepted submissions.
    stops: whether the first failing case ends the judging.
    groups: of a scoring package; empty for others.
  """

  name: str
  folder: pathlib.Path
  cases: tuple[Case, ...]
  limits: Limits
  check: Comparison | Checker
  interactor: Checker | None
  time_is_given: bool
  stops: bool
  groups: tuple[Group, ...]

  def submissions(self) -> Iterator[tuple[str, pathlib.Path]]:
    """(folder such as 'wrong_answer', path) of each submission in a language known here."""
    for kind in sorted((self.folder / 'submissions').glob('*')):
      for path in sorted(kind.iterdir()) if kind.is_dir() else ():
        files = [each for each in path.rglob('*') if each.is_file()] if path.is_dir() else [path]
        if any(language_of(each) for each in files):
          yield kind.name, path

  def score(self, report: Report) -> float:
    """Points earned: those of every group all of whose cases were accepted."""
    good = {result.case.name for result in report.results if result.verdict == 'AC'}
    return sum(group.points for group in self.groups if good.issuperset(group.cases))


def has_samples(program: pathlib.Path) -> bool:
  """Whether A.in, A1.in, A-2.in or the like stand beside A.py."""
  return any(_is_of(path, program.stem) for path in program.parent.glob(f'{program.stem}*.in'))


def _is_of(path: pathlib.Path, stem: str) -> bool:
  """A, A1, A-1, A_1, A.1 are samples of A; AB is not, nor is A1 when there is a program A1."""
  if path.stem != stem and path.with_suffix('.py').exists():
    return False
  return re.fullmatch(rf'{re.escape(stem)}[-_.]?\d*', path.stem) is not None


def sample_cases(folder: pathlib.Path, stem: str | None = None) -> list[Case]:
  """Pairs such as 1.in and 1.out (or .ans), A.in and A.out, input1.txt and output1.txt, in natural order.

  Args:
    stem: of the program whose samples they are, in a folder of several programs; None takes all.

  Raises:
    UserError: there is none, or an input lacks its answer.
  """
  cases = []
  for path in sorted(folder.iterdir(), key=natural_order) if folder.is_dir() else []:
    if path.suffix == '.in':
      candidates = [path.with_suffix(suffix) for suffix in _ANSWERS]
    elif path.name.startswith('input') and path.suffix in ('.txt', ''):
      candidates = [path.with_name(path.name.replace('input', 'output', 1))]
    else:
      continue
    if stem is not None and not _is_of(path, stem):
      continue
    answer = next((each for each in candidates if each.exists()), None)
    if answer is None:
      raise UserError(f'{path} has no answer beside it; expected {" or ".join(each.name for each in candidates[:2])}')
    cases.append(Case(path.stem, path, answer))
  if not cases:
    raise UserError(f'{folder} has no cases; they look like 1.in with 1.out or 1.ans')
  return cases


def natural_order(path: pathlib.Path) -> list[tuple[int, str]]:
  """2.in before 10.in."""
  return [(int(part), '') if part.isdigit() else (-1, part) for part in re.split(r'(\d+)', path.stem)]


def load(folder: pathlib.Path, build_folder: pathlib.Path, pool: Pool) -> Package:
  """Reads a package in the legacy, ICPC or 2023-07 form, and compiles its output validator.

  Raises:
    UserError: no problem.yaml, a value in it that cannot be used, no cases, a validator that does not compile.
  """
  folder = folder.absolute()
  if not (folder / 'problem.yaml').is_file():
    raise UserError(f'{folder} is no problem package: it has no problem.yaml')
  values = _yaml(folder / 'problem.yaml')
  cases = [case for part in ('sample', 'secret') for case in _read_cases(folder / 'data', part)]
  if not cases:
    raise UserError(f'{folder}/data has no cases in sample/ or secret/')
  kinds = values.get('type', '')
  validation = str(values.get('validation', ''))
  interactive = 'interactive' in validation or 'interactive' in kinds
  flags = tuple(str(values.get('validator_flags') or '').split())
  validators = [path for name in ('output_validator', 'output_validators') for path in (folder / name).glob('*')]
  validators = [path for path in validators if path.is_dir() or language_of(path)]
  if (folder / 'output_validator').is_dir() and not any(path.is_dir() for path in validators):
    validators = [folder / 'output_validator']
  custom = bool(validators) and ('custom' in validation or 'validation' not in values)
  checker = None
  if custom:
    program = build(validators[0], build_folder / 'validator', pool)
    if program.compile_error:
      raise UserError(f'the output validator {validators[0]} does not compile: {program.compile_error}')
    checker = Checker(program, 'kattis', flags)
  limits, given = _limits(folder, values)
  return Package(
    name=_title(values, folder),
    folder=folder,
    cases=tuple(cases),
    limits=limits,
    check=checker or Comparison.from_flags(flags),
    interactor=checker if interactive else None,
    time_is_given=given,
    stops='scoring' not in kinds,
    groups=tuple(_groups(folder / 'data', cases)) if 'scoring' in kinds else (),
  )


def _read_cases(data: pathlib.Path, part: str) -> Iterator[Case]:
  """Cases below data/sample or data/secret, groups and their files in the order of their names."""
  for path in sorted((data / part).rglob('*.in'), key=lambda path: path.relative_to(data).parts):
    answer = next((each for suffix in _ANSWERS if (each := path.with_suffix(suffix)).exists()), None)
    flags = _setting(path.parent, data, ('output_validator_flags', 'output_validator_args'))
    flags = flags.split() if isinstance(flags, str) else flags
    name = path.relative_to(data).with_suffix('').as_posix()
    yield Case(name, path, answer, tuple(map(str, flags)) if flags else None)


def _setting(folder: pathlib.Path, top: pathlib.Path, names: tuple[str, ...]) -> Any:
  """A setting of the nearest testdata.yaml or test_group.yaml from a case's folder upward."""
  while True:
    values = _group_settings(folder)
    for name in names:
      if values.get(name) is not None:
        return values[name]
    if folder == top:
      return None
    folder = folder.parent


def _group_settings(folder: pathlib.Path) -> Mapping[str, Any]:
  for name in ('testdata.yaml', 'test_group.yaml'):
    if (folder / name).exists():
      return _yaml(folder / name)
  return {}


def _yaml(path: pathlib.Path) -> Mapping[str, Any]:
  try:
    values = yaml.safe_load(reading.read_text(path)) or {}
  except (yaml.YAMLError, RecursionError) as error:
    raise UserError(f'{path} is not YAML: {" ".join(str(error).split())[:200]}') from error
  if not isinstance(values, Mapping):
    raise UserError(f'{path} is to hold names with values, not a {type(values).__name__}')
  return values


def _groups(data: pathlib.Path, cases: list[Case]) -> Iterator[Group]:
  for folder in sorted((data / 'secret').iterdir()):
    if folder.is_dir():
      values = _group_settings(folder)
      points = values.get('accept_score', values.get('max_score', 1))
      name = folder.relative_to(data).as_posix()
      yield Group(name, tuple(case.name for case in cases if case.name.startswith(name + '/')), float(points))


def _limits(folder: pathlib.Path, values: Mapping[str, Any]) -> tuple[Limits, bool]:
  given = values.get('limits') or {}
  try:
    time = given.get('time_limit')
    if time is None and (folder / '.timelimit').exists():
      time = (folder / '.timelimit').read_text()
    limits = Limits(
      time=float(time) if time is not None else Limits.time,
      memory=int(given.get('memory', 2048)) * MEBIBYTE,
      output=int(given.get('output', 8)) * MEBIBYTE,
    )
  except (TypeError, ValueError) as error:
    raise UserError(f'{folder}/problem.yaml: limits needs numbers: {error}') from error
  return limits, time is not None


def _title(values: Mapping[str, Any], folder: pathlib.Path) -> str:
  name = values.get('name') or folder.name
  return str(next(iter(name.values()))) if isinstance(name, Mapping) else str(name)
