"""submissions.yaml of the 2025-09 package format: which verdicts the cases of a submission may and must have.

An entry is named by a pattern of paths below submissions/, or one of those folders; in it, a pattern of cases has rules
of its own. `permitted` are verdicts that every case may have, `required` those that one case at least must have.
"""

import dataclasses
import itertools
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from mlsd_jax.algorithms.verdicts import Report
from mlsd_jax.errors import UserError

_VERDICTS = {'AC': {'AC'}, 'WA': {'WA'}, 'TLE': {'TLE'}, 'RTE': {'RE', 'MLE', 'OLE'}}
# What only tells of a submission, and `message`, of whose words each judge has its own.
_OTHER_KEYS = {'message', 'score', 'use_for_time_limit', 'language', 'entrypoint', 'authors', 'model_solution'}
_FOLDERS: dict[str, dict[str, Any]] = {
  'accepted': {'permitted': ['AC']},
  'rejected': {'required': ['RTE', 'TLE', 'WA']},
  'wrong_answer': {'permitted': ['AC', 'WA'], 'required': ['WA']},
  'time_limit_exceeded': {'permitted': ['AC', 'TLE'], 'required': ['TLE']},
  'run_time_error': {'permitted': ['AC', 'RTE'], 'required': ['RTE']},
  'brute_force': {'permitted': ['AC', 'RTE', 'TLE'], 'required': ['RTE', 'TLE']},
}


@dataclasses.dataclass(frozen=True)
class Rule:
  """What the cases that match `cases` must come to; None says nothing."""

  cases: re.Pattern[str]
  permitted: frozenset[str] | None
  required: frozenset[str] | None


def rules_for(path: str, given: Mapping[str, Any]) -> tuple[Rule, ...]:
  """The rules of a submission.

  Args:
    path: below submissions/, such as 'accepted/a.py'.
    given: what submissions.yaml says; an entry of a usual folder takes the place of what that folder means.

  Raises:
    UserError: a verdict or a key that is not known.
  """
  found: list[Rule] = []
  for pattern, settings in (_FOLDERS | dict(given)).items():
    if _matches(_regex(str(pattern)), path):
      found += _rules(str(pattern), settings)
  return tuple(found)


def entry_of(path: str, given: Mapping[str, Any]) -> str:
  """The file of a folder that is to be started, '' where none is named."""
  settings = [value for pattern, value in given.items() if _matches(_regex(str(pattern)), path)]
  return next(
    (str(value['entrypoint']) for value in settings if isinstance(value, Mapping) and value.get('entrypoint')), ''
  )


def _rules(where: str, settings: Any, cases: str = '') -> Iterator[Rule]:
  if not isinstance(settings, Mapping):
    raise UserError(f'submissions.yaml: {where!r} is to hold names with values')
  sets: dict[str, frozenset[str] | None] = {}
  for name in ('permitted', 'required'):
    words = settings.get(name)
    unknown = [word for word in words or () if word not in _VERDICTS]
    if unknown:
      raise UserError(f'submissions.yaml: {where!r}: no verdict {unknown[0]!r}; there are {", ".join(_VERDICTS)}')
    sets[name] = None if words is None else frozenset(itertools.chain.from_iterable(_VERDICTS[w] for w in words))
  if sets['permitted'] is not None or sets['required'] is not None:
    yield Rule(_regex(cases) if cases else re.compile('.*'), sets['permitted'], sets['required'])
  for name, value in settings.items():
    if name in ('permitted', 'required') or name in _OTHER_KEYS:
      continue
    if cases or not re.match(r'sample|secret|\*|\{', str(name)):
      raise UserError(f'submissions.yaml: {where!r} has a key that is not known here: {name!r}')
    yield from _rules(where, value, str(name))


def unmet(rules: tuple[Rule, ...], report: Report) -> str | None:
  """What a report on all cases breaks, in words; None if nothing."""
  for rule in rules:
    verdicts = {result.case.name: result.verdict for result in report.results if _matches(rule.cases, result.case.name)}
    if report.compile_error is not None:
      verdicts = {'the compiler': 'CE'}
    wrong = next((name for name, verdict in verdicts.items() if rule.permitted and verdict not in rule.permitted), None)
    if wrong is not None:
      return f'{wrong} is {verdicts[wrong]}, which is not permitted'
    if rule.required and not rule.required & set(verdicts.values()):
      return f'no case is {" or ".join(sorted(rule.required))}, as is required'
  return None


def _matches(pattern: re.Pattern[str], path: str) -> bool:
  """Whether a pattern is of the path or of a folder above it."""
  return any(pattern.fullmatch(str(each)) for each in (path, *pathlib.PurePosixPath(path).parents))


def _regex(pattern: str) -> re.Pattern[str]:
  """`*` stands for anything but '/', {a,b} for a or b."""
  parts = re.split(r'(\{[^{}]*\}|\*)', pattern)
  made = ''
  for part in parts:
    if part == '*':
      made += '[^/]*'
    elif part.startswith('{'):
      made += '(' + '|'.join(re.escape(word.strip()) for word in part[1:-1].split(',')) + ')'
    else:
      made += re.escape(part)
  return re.compile(made)
