"""Problem packages of Polygon: problem.xml, tests or the generators that make them, checker, interactor, solutions."""

import pathlib
import shlex
import xml.etree.ElementTree as ET

from mlsd_jax import reading
from mlsd_jax.algorithms.checking import Checker, convention_of
from mlsd_jax.algorithms.comparison import Comparison
from mlsd_jax.algorithms.languages import Program, build
from mlsd_jax.algorithms.limits import MEBIBYTE, Limits
from mlsd_jax.algorithms.packages import Package, Submission
from mlsd_jax.algorithms.pool import Pool
from mlsd_jax.algorithms.scoring import Score
from mlsd_jax.algorithms.verdicts import Case, Report, verdict_of
from mlsd_jax.errors import UserError

_MAKING = Limits(time=60, wall=120, memory=1024 * MEBIBYTE, output=256 * MEBIBYTE)
_BAD = {'WA', 'TLE', 'MLE', 'OLE', 'RE'}
_TAGS = {
  'main': {'AC'},
  'accepted': {'AC'},
  'wrong-answer': {'WA'},
  'presentation-error': {'WA'},
  'time-limit-exceeded': {'TLE'},
  'time-limit-exceeded-or-accepted': {'AC', 'TLE'},
  'time-limit-exceeded-or-memory-limit-exceeded': {'TLE', 'MLE'},
  'memory-limit-exceeded': {'MLE'},
  'failed': {'RE', 'CE'},
  'rejected': _BAD | {'CE'},
}


def load(folder: pathlib.Path, build_folder: pathlib.Path, pool: Pool) -> Package:
  """See `packages.load`."""
  try:
    root = ET.fromstring(reading.read_text(folder / 'problem.xml'))
  except ET.ParseError as error:
    raise UserError(f'{folder}/problem.xml is not XML: {error}') from error
  tests = root.find('./judging/testset[@name="tests"]')
  tests = root.find('./judging/testset') if tests is None else tests
  if tests is None:
    raise UserError(f'{folder}/problem.xml has no testset')
  workshop = _Workshop(folder, build_folder, pool, root)
  try:
    limits = Limits(
      time=float(tests.findtext('time-limit', '2000')) / 1000,
      memory=int(tests.findtext('memory-limit', str(256 * MEBIBYTE))),
    )
  except ValueError as error:
    raise UserError(f'{folder}/problem.xml: a limit is no number: {error}') from error
  checker, interactor = (workshop.checker(each) for each in ('checker', 'interactor'))
  name = root.find('./names/name')
  return Package(
    name=name.get('value', folder.name) if name is not None else folder.name,
    folder=folder,
    cases=tuple(workshop.cases(tests, answers=interactor is None)),
    limits=limits,
    check=checker or Comparison(),
    interactor=interactor,
    submissions=tuple(workshop.solutions()),
    stops=not any(test.get('points') for test in tests.iter('test')),
    score=_scorer(tests),
  )


class _Workshop:
  """The programs of a package, compiled when first wanted."""

  def __init__(self, folder: pathlib.Path, build_folder: pathlib.Path, pool: Pool, root: ET.Element):
    self.folder, self.build_folder, self.pool, self.root = folder, build_folder, pool, root
    self.built: dict[str, Program] = {}

  def program(self, path: str) -> Program:
    if path not in self.built:
      where = (self.folder / path).resolve()
      if not where.is_relative_to(self.folder.resolve()):
        raise UserError(f'{self.folder}/problem.xml names {path}, which is not in the package')
      program = build(where, self.build_folder / f'tool{len(self.built)}', self.pool)
      if program.compile_error:
        raise UserError(f'{path} does not compile: {program.compile_error}')
      self.built[path] = program
    return self.built[path]

  def checker(self, kind: str) -> Checker | None:
    source = self.root.find(f'./assets/{kind}/source')
    if source is None:
      return None
    path = source.get('path', '')
    return Checker(self.program(path), convention_of(self.folder / path) if kind == 'checker' else 'testlib')

  def cases(self, tests: ET.Element, answers: bool) -> list[Case]:
    patterns = [tests.findtext(f'{kind}-path-pattern', kind) for kind in ('input', 'answer')]
    listed = list(tests.iter('test')) or [ET.Element('test')] * int(tests.findtext('test-count', '0'))
    cases = []
    for number, test in enumerate(listed, 1):
      try:
        given, answer = (self.folder / (pattern % number) for pattern in patterns)
      except (TypeError, ValueError) as error:
        raise UserError(f'{self.folder}/problem.xml: a path pattern is no pattern: {error}') from error
      content = given if given.is_file() else self._made(number, test.get('cmd'))
      self._validate(number, content)
      right: pathlib.Path | bytes | None = answer if answer.is_file() else None
      if right is None and answers:
        right = self._run(self.program(self._main()), content, (), f'the main solution on test {number}')
      cases.append(Case(f'{number:02d}', content, right))
    if not cases:
      raise UserError(f'{self.folder}/problem.xml has no tests')
    return cases

  def _made(self, number: int, command: str | None) -> bytes:
    """A test that a generator prints."""
    words = shlex.split(command or '')
    sources = {
      pathlib.Path(each.get('path', '')).stem: each.get('path', '')
      for each in self.root.findall('./files/executables/executable/source')
    }
    if not words or words[0] not in sources:
      raise UserError(f'{self.folder}: test {number} is not there, and no generator is named that makes it')
    return self._run(self.program(sources[words[0]]), None, tuple(words[1:]), f'the generator of test {number}')

  def _validate(self, number: int, content: pathlib.Path | bytes) -> None:
    for source in self.root.findall('./assets/validators/validator/source'):
      self._run(self.program(source.get('path', '')), content, (), f'test {number} is not valid: the validator')

  def _main(self) -> str:
    for solution in self.root.findall('./assets/solutions/solution'):
      source = solution.find('source')
      if solution.get('tag') == 'main' and source is not None:
        return source.get('path', '')
    raise UserError(f'{self.folder}: answers are not there, and no solution is the main one')

  def _run(self, program: Program, given: pathlib.Path | bytes | None, args: tuple[str, ...], what: str) -> bytes:
    outcome = self.pool.run(program.process(_MAKING, given, args))[0]
    trouble = ': '.join(part for part in verdict_of(outcome, _MAKING) if part)
    if trouble:
      raise UserError(f'{self.folder}: {what} failed: {trouble}')
    return outcome.output

  def solutions(self) -> list[Submission]:
    found = []
    for solution in self.root.findall('./assets/solutions/solution'):
      source, tag = solution.find('source'), solution.get('tag', '')
      if source is not None and tag in _TAGS:
        kind = 'accepted' if tag == 'main' else tag
        found.append(Submission(kind, self.folder / source.get('path', ''), frozenset(_TAGS[tag])))
    return found


def _scorer(tests: ET.Element):
  """Points of single tests, and of groups that count whole or not at all and may need others; None without points."""
  points = [float(test.get('points', 0)) for test in tests.iter('test')]
  if not any(points):
    return None
  group_of = [test.get('group', '') for test in tests.iter('test')]
  whole = {each.get('name') for each in tests.iter('group') if each.get('points-policy') == 'complete-group'}
  needs = {each.get('name', ''): {d.get('group', '') for d in each.iter('dependency')} for each in tests.iter('group')}

  def score(report: Report) -> Score:
    good = [result.verdict == 'AC' for result in report.results]
    complete = {group: all(g for g, own in zip(good, group_of, strict=True) if own == group) for group in group_of}
    earned = dict.fromkeys(group_of, 0.0)
    for value, fine, group, result in zip(points, good, group_of, report.results, strict=True):
      if (
        fine and (group not in whole or complete[group]) and all(complete.get(other) for other in needs.get(group, ()))
      ):
        earned[group] += value if result.score is None else result.score
    return Score(sum(earned.values()), earned)

  return score
