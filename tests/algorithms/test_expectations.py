"""submissions.yaml: what the cases of a submission may and must come to."""

from typing import Any

import pytest

from mlsd_jax.algorithms.expectations import rules_for, unmet
from mlsd_jax.algorithms.verdicts import Case, CaseResult, Report
from mlsd_jax.errors import UserError

OUTCOME: Any = None


def report(**verdicts):
  cases = {name.replace('__', '/'): verdict for name, verdict in verdicts.items()}
  return Report('a.py', tuple(CaseResult(Case(name, b''), verdict, '', OUTCOME) for name, verdict in cases.items()))


@pytest.mark.parametrize(
  ('path', 'verdicts', 'broken'),
  [
    ('accepted/a.py', ('AC', 'AC'), None),
    ('accepted/a.py', ('AC', 'WA'), 'secret/12 is WA, which is not permitted'),
    ('wrong_answer/a.py', ('AC', 'WA'), None),
    ('wrong_answer/a.py', ('AC', 'AC'), 'no case is WA, as is required'),
    ('wrong_answer/a.py', ('TLE', 'WA'), 'sample/1 is TLE, which is not permitted'),
    ('run_time_error/a.py', ('AC', 'MLE'), None),
    ('rejected/a.py', ('TLE', 'AC'), None),
    ('of_nobody/a.py', ('TLE', 'WA'), None),
  ],
)
def test_the_usual_folders(path, verdicts, broken):
  assert unmet(rules_for(path, {}), report(sample__1=verdicts[0], secret__12=verdicts[1])) == broken


def test_entries_take_the_place_of_folders_and_add_to_each_other():
  given = {
    'accepted': {'permitted': ['WA'], 'required': ['WA']},
    'odd': {'permitted': ['AC', 'WA']},
    'odd/a.{py,cpp}': {'permitted': ['AC']},
  }
  wrong, right = report(sample__1='WA'), report(sample__1='AC')
  assert unmet(rules_for('accepted/a.py', given), wrong) is None
  assert unmet(rules_for('accepted/a.py', given), right) == 'sample/1 is AC, which is not permitted'
  assert unmet(rules_for('odd/a.cpp', given), wrong) is not None
  assert unmet(rules_for('odd/a.rs', given), wrong) is None


def test_patterns_of_cases_and_of_paths():
  given = {'wa/even.py': {'secret/*{,0,1}{ 0 ,2}': {'required': ['AC']}}, '*/nested.py': {'required': ['WA']}}
  (rule,) = rules_for('wa/even.py', given)
  assert [bool(rule.cases.fullmatch(f'secret/{name}')) for name in ('2', '12', '10', '13', 'a/2')] == [
    True, True, True, False, False,
  ]  # fmt: skip
  assert rules_for('wa/nested.py', given)
  assert not rules_for('wa/deep/nested.py', given)
  assert not rules_for('wa/even', given)


@pytest.mark.parametrize(
  ('settings', 'said'),
  [
    ({'permitted': ['OK']}, "no verdict 'OK'"),
    ({'permited': ['AC']}, "key that is not known here: 'permited'"),
    (3, 'is to hold'),
  ],
)
def test_what_is_not_known_is_an_error(settings, said):
  with pytest.raises(UserError, match=said):
    rules_for('mine/a.py', {'mine': settings})
