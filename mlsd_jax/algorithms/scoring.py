"""Points of a scoring package: groups of cases, and how the scores in one make its own.

The legacy form's default grader (testdata.yaml: grader_flags, on_reject, accept_score, reject_score), DOMjudge's way
with the same files, and the 2025-09 form's aggregation (test_group.yaml: max_score, score_aggregation, require_pass).
"""

import dataclasses
import math
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mlsd_jax.algorithms.verdicts import CaseResult, Report
from mlsd_jax.errors import UserError

type Settings = Callable[[pathlib.Path], Mapping[str, Any]]
_MODES: dict[str, Callable[[Sequence[float]], float]] = {
  'sum': sum,
  'min': min,
  'max': max,
  'avg': lambda values: sum(values) / len(values),
}
_VERDICT_FLAGS = ('worst_error', 'first_error', 'always_accept', 'ignore_sample', 'accept_if_any_accepted')


@dataclasses.dataclass(frozen=True)
class Score:
  """Points in all, and of each group by its name."""

  points: float
  groups: Mapping[str, float]


def scorer(
  data: pathlib.Path, names: Sequence[str], settings: Settings, *, domjudge: bool = False
) -> Callable[[Report], Score]:
  """How a report on these cases is scored.

  Args:
    names: of the cases, such as 'secret/a/1'.
    settings: folder -> what its testdata.yaml or test_group.yaml says; nothing where there is none.
    domjudge: the package is of DOMjudge, whose groups are those with a testdata.yaml.

  Raises:
    UserError: a setting that is not known here.
  """
  folders = sorted({str(parent) for name in names for parent in pathlib.PurePosixPath(name).parents})
  given = {folder: settings(data / folder) for folder in folders}
  newer = any((data / folder / 'test_group.yaml').exists() for folder in folders)
  tree = {folder: _members(folder, names, folders) for folder in folders}
  if newer:
    return lambda report: _aggregate(tree, given, _by_name(report))
  for folder in folders:
    _legacy_flags(folder, given)
  if domjudge:
    return lambda report: _domjudge(tree, given, _by_name(report))
  return lambda report: _grade(tree, given, _by_name(report))


def _by_name(report: Report) -> dict[str, CaseResult]:
  return {result.case.name: result for result in report.results}


def _members(folder: str, names: Sequence[str], folders: Sequence[str]) -> list[str]:
  parent = lambda name: str(pathlib.PurePosixPath(name).parent)
  return sorted(each for each in (*names, *folders) if each != '.' and parent(each) == folder)


def _inherited(folder: str, given: Mapping[str, Mapping[str, Any]], name: str, default: Any) -> Any:
  path = pathlib.PurePosixPath(folder)
  for each in (path, *path.parents):
    if given.get(str(each), {}).get(name) is not None:
      return given[str(each)][name]
  return default


def _legacy_flags(folder: str, given: Mapping[str, Mapping[str, Any]]) -> list[str]:
  flags = str(_inherited(folder, given, 'grader_flags', '')).split()
  for flag in flags:
    if flag not in _MODES and flag not in _VERDICT_FLAGS:
      raise UserError(f'data/{folder}: no grader flag {flag!r}; there are {", ".join((*_MODES, *_VERDICT_FLAGS))}')
  if _inherited(folder, given, 'grading', 'default') != 'default':
    raise UserError(f'data/{folder}: a grader of the package itself is not run here, only the default one')
  return flags


def _grade(tree, given, results) -> Score:
  """The default grader, from the leaves up. A group that is not accepted earns nothing."""
  points: dict[str, float] = {}

  def grade(folder: str) -> tuple[bool, float]:
    flags = _legacy_flags(folder, given)
    breaks = _inherited(folder, given, 'on_reject', 'break') == 'break'
    accepted, scores = [], []
    for member in tree[folder]:
      if folder == '.' and member == 'sample' and 'ignore_sample' in flags:
        continue
      good, score = grade(member) if member in tree else _case(member, folder)
      accepted.append(good)
      scores.append(score)
      if not good and breaks:
        break
    good = all(accepted)
    if 'always_accept' in flags or ('accept_if_any_accepted' in flags and any(accepted)):
      good = True
    mode = next((flag for flag in reversed(flags) if flag in _MODES), 'sum')
    points[folder] = float(_MODES[mode](scores)) if good and scores else 0.0
    return good, points[folder]

  def _case(name: str, folder: str) -> tuple[bool, float]:
    result = results[name]
    good = result.verdict == 'AC'
    if good and result.score is not None:
      return good, result.score
    return good, float(_inherited(folder, given, 'accept_score' if good else 'reject_score', 1 if good else 0))

  _, total = grade('.')
  return Score(total, {folder: points.get(folder, 0.0) for folder in tree if folder != '.'})


def _domjudge(tree, given, results) -> Score:
  """As DOMjudge does it (SubmissionService, maybeSetScoringResult): nothing is inherited, and what fails takes no other
  points along. A group without groups has its accept_score where all of its cases are accepted, or the validator's
  scores, of wrong answers too; another has those of its groups, added or by the least, greatest or mean."""
  points: dict[str, float] = {}

  def score(folder: str) -> float:
    own = given[folder]
    flags = str(own.get('grader_flags') or '').split()
    groups = [each for each in tree[folder] if each in tree and given[each]]
    if groups:
      earned = [score(each) for each in groups if not (each == 'sample' and 'ignore_sample' in flags)]
    else:
      cases = [result for name, result in results.items() if str(pathlib.PurePosixPath(name).parent) == folder]
      earned = [result.score or 0.0 for result in cases if result.verdict in ('AC', 'WA') and result.score is not None]
      if not earned and cases and own.get('accept_score') is not None:
        earned = [float(own['accept_score']) if all(result.verdict == 'AC' for result in cases) else 0.0]
    mode = next((flag for flag in reversed(flags) if flag in _MODES), 'sum')
    points[folder] = float(_MODES[mode](earned)) if earned else 0.0
    return points[folder]

  total = score('.')
  return Score(total, {folder: points[folder] for folder in sorted(points) if folder != '.'})


def _aggregate(tree, given, results) -> Score:
  """Aggregation of the 2025-09 form, of secret/ and the groups in it."""
  points: dict[str, float] = {}
  all_accepted = lambda folder: all(
    result.verdict == 'AC' for name, result in results.items() if name.startswith(f'{folder}/')
  )

  def score(folder: str, most: float) -> float:
    settings = given[folder]
    needed = settings.get('require_pass') or ()
    for other in [needed] if isinstance(needed, str) else needed:
      if not all_accepted(other if other == 'sample' or other.startswith('secret') else f'secret/{other}'):
        return 0.0
    how = settings.get('score_aggregation', 'sum' if folder == 'secret' else 'pass-fail')
    if how == 'pass-fail':
      return most if all_accepted(folder) else 0.0
    if how not in ('sum', 'min'):
      raise UserError(f'data/{folder}: score_aggregation is pass-fail, sum or min, not {how!r}')
    members = tree[folder]
    share = most / len(members) if how == 'sum' else most
    scores = []
    for member in members:
      if member in tree:
        points[member] = score(member, _most(given[member], math.inf))
        scores.append(points[member])
      else:
        scores.append(_points(results[member], share))
    return float(sum(scores) if how == 'sum' else min(scores))

  total = score('secret', _most(given['secret'], 100.0))
  return Score(total, points)


def _most(settings: Mapping[str, Any], default: float) -> float:
  value = settings.get('max_score', default)
  return math.inf if value == 'unbounded' else float(value)


def _points(result: CaseResult, most: float) -> float:
  if result.verdict != 'AC':
    return 0.0
  if result.score is None:
    return most
  return most * result.score if result.multiplies else result.score
