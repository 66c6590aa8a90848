"""Problem packages in Kattis's forms: legacy with the ICPC's part of it and DOMjudge's additions, 2023-07, 2025-09.

https://www.kattis.com/problem-package-format
"""

import configparser
import pathlib
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from mlsd_jax import reading
from mlsd_jax.algorithms import scoring
from mlsd_jax.algorithms.checking import Checker
from mlsd_jax.algorithms.comparison import Comparison
from mlsd_jax.algorithms.languages import build, language_of
from mlsd_jax.algorithms.limits import MEBIBYTE, Limits
from mlsd_jax.algorithms.packages import ANSWERS, Package, submissions_below
from mlsd_jax.algorithms.pool import Pool
from mlsd_jax.algorithms.verdicts import Case
from mlsd_jax.errors import UserError

_KEYS = {
  *('problem_format_version', 'type', 'name', 'uuid', 'author', 'source', 'source_url', 'license', 'rights_owner'),
  *('limits', 'validation', 'validator_flags', 'grading', 'keywords', 'libraries'),
  *('version', 'credits', 'embargo_until', 'languages', 'allow_file_writing', 'constants', 'scoring'),
  *('external_id', 'short-name', 'color', 'label', 'timelimit'),  # DOMjudge's
}
_TYPES = {'pass-fail', 'scoring', 'interactive', 'multi-pass'}
_VALIDATION = {'default', 'custom', 'score', 'interactive', 'multi-pass'}


def load(folder: pathlib.Path, build_folder: pathlib.Path, pool: Pool) -> Package:
  """See `packages.load`."""
  values = read_yaml(folder / 'problem.yaml') if (folder / 'problem.yaml').is_file() else {}
  unknown = sorted(set(map(str, values)) - _KEYS)
  if unknown:
    raise UserError(f'{folder}/problem.yaml has a key that is not known here: {unknown[0]!r}')
  types = _words(values, 'type', _TYPES, folder)
  validation = _words(values, 'validation', _VALIDATION, folder)
  interactive, scores = 'interactive' in types | validation, 'scoring' in types
  repeated = 'multi-pass' in types | validation
  cases = [case for part in ('sample', 'secret') for case in _read_cases(folder / 'data', part)]
  if not cases and not (folder / 'data').exists():  # DOMjudge's older folders keep them at the top
    cases = list(_read_cases(folder, '.'))
  if not cases:
    raise UserError(f'{folder}/data has no cases in sample/ or secret/')
  flags = tuple(shlex.split(str(values.get('validator_flags') or '')))
  checker = None
  validator = _validator(folder)
  if validator and ('custom' in validation or 'validation' not in values):
    program = build(validator, build_folder / 'validator', pool)
    if program.compile_error:
      raise UserError(f'the output validator {validator} does not compile: {program.compile_error}')
    passes = _number(folder, values, 'validation_passes', 2) if repeated else 1
    checker = Checker(program, 'kattis', flags, passes)
  elif 'custom' in validation or interactive or repeated:
    raise UserError(f'{folder}: problem.yaml asks for an output validator, and there is none in output_validator/')
  limits, given = _limits(folder, values)
  expectations = folder / 'submissions' / 'submissions.yaml'
  expected = read_yaml(expectations) if expectations.is_file() else None
  submissions = tuple(submissions_below(folder / 'submissions', expected))
  # DOMjudge reads the legacy form's groups in a way of its own; what tells its packages are its files and tags.
  domjudge = any((folder / name).is_file() for name in ('domjudge-problem.ini', '.timelimit'))
  domjudge = domjudge or any(each.score is not None for each in submissions)
  names = [case.name for case in cases]
  return Package(
    name=_title(values, folder),
    folder=folder,
    cases=tuple(cases),
    limits=limits,
    check=checker or Comparison.from_flags(flags),
    interactor=checker if interactive else None,
    time_is_given=given,
    stops=not scores,
    submissions=submissions,
    score=scoring.scorer(folder / 'data', names, _group_settings, domjudge=domjudge) if scores else None,
  )


def _words(values: Mapping[str, Any], key: str, known: set[str], folder: pathlib.Path) -> set[str]:
  """The words of `type` or `validation`, a text or a list. A word left out would change every verdict."""
  value = values.get(key) or ''
  words = value.split() if isinstance(value, str) else [str(each) for each in value]
  for word in words:
    if word not in known:
      raise UserError(f'{folder}/problem.yaml: {key} {word!r} is not judged here; there are {", ".join(sorted(known))}')
  return set(words)


def _validator(folder: pathlib.Path) -> pathlib.Path | None:
  found = [path for name in ('output_validator', 'output_validators') for path in sorted((folder / name).glob('*'))]
  found = [path for path in found if path.is_dir() or language_of(path)]
  if (folder / 'output_validator').is_dir() and found and not any(path.is_dir() for path in found):
    return folder / 'output_validator'
  return found[0] if found else None


def _read_cases(data: pathlib.Path, part: str) -> Iterator[Case]:
  """Cases below data/sample or data/secret, groups and their files in the order of their names."""
  for path in sorted((data / part).rglob('*.in'), key=lambda path: path.relative_to(data).parts):
    answer = next((each for suffix in ANSWERS if (each := path.with_suffix(suffix)).exists()), None)
    flags = _setting(path.parent, data, ('output_validator_flags', 'output_validator_args'))
    flags = shlex.split(flags) if isinstance(flags, str) else flags
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
      return read_yaml(folder / name)
  return {}


def read_yaml(path: pathlib.Path) -> Mapping[str, Any]:
  values = reading.parse_yaml(reading.read_text(path), str(path)) or {}
  if not isinstance(values, Mapping):
    raise UserError(f'{path} is to hold names with values, not a {type(values).__name__}')
  return values


def _number(folder: pathlib.Path, values: Mapping[str, Any], name: str, default: int) -> int:
  given = (values.get('limits') or {}).get(name, default)
  if not isinstance(given, int) or given < 1:
    raise UserError(f'{folder}/problem.yaml: limits.{name} needs a whole number, not {given!r}')
  return given


def _limits(folder: pathlib.Path, values: Mapping[str, Any]) -> tuple[Limits, bool]:
  given = values.get('limits') or {}
  try:
    time = given.get('time_limit')
    if time is None and (folder / '.timelimit').exists():
      time = (folder / '.timelimit').read_text()
    if time is None and (folder / 'domjudge-problem.ini').exists():
      time = _domjudge(folder).get('timelimit')
    limits = Limits(
      time=float(time) if time is not None else Limits.time,
      memory=int(given.get('memory', 2048)) * MEBIBYTE,
      output=int(given.get('output', 8)) * MEBIBYTE,
    )
  except (TypeError, ValueError) as error:
    raise UserError(f'{folder}/problem.yaml: limits needs numbers: {error}') from error
  return limits, time is not None


def _domjudge(folder: pathlib.Path) -> Mapping[str, str]:
  """The settings of domjudge-problem.ini, which has no sections."""
  parser = configparser.ConfigParser(interpolation=None)
  try:
    parser.read_string('[problem]\n' + reading.read_text(folder / 'domjudge-problem.ini'))
  except configparser.Error as error:
    raise UserError(f'{folder}/domjudge-problem.ini cannot be read: {" ".join(str(error).split())}') from error
  return {name: value.strip('"\'') for name, value in parser['problem'].items()}


def _title(values: Mapping[str, Any], folder: pathlib.Path) -> str:
  named = _domjudge(folder) if (folder / 'domjudge-problem.ini').exists() else {}
  name = values.get('name') or named.get('name') or folder.name
  return str(next(iter(name.values()))) if isinstance(name, Mapping) else str(name)
