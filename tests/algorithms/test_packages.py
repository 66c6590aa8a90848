"""Cases from folders and packages; contest problems; two programs against each other."""

import textwrap

import pytest

from mlsd_jax.algorithms import contest_folder, packages, practice, stress
from mlsd_jax.algorithms.judge import judge
from mlsd_jax.algorithms.languages import build
from mlsd_jax.algorithms.limits import MEBIBYTE, Limits
from mlsd_jax.errors import UserError

LIMITS = Limits(time=5)


def write(folder, **texts):
  for name, text in texts.items():
    path = folder / name.replace('__', '/').replace('_dot_', '.')
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))


@pytest.mark.parametrize('name', practice.contest_problems())
def test_contest_problem(pool, tmp_path, name):
  path = practice.contest_problems()[name]
  program = build(path, tmp_path, pool)
  cases = packages.sample_cases(path.parent, path.stem)
  check = practice.contest_check(path, tmp_path / 'check', pool)
  assert judge(program, cases, pool=pool, limits=LIMITS, check=check).verdict == 'AC'


def test_samples_of_a_folder(tmp_path):
  for name in ('A.in', 'A.out', 'A2.in', 'A2.ans', 'A10.in', 'A10.out', 'B.in', 'B.out', 'input1.txt', 'output1.txt'):
    (tmp_path / name).write_text(name)
  names = lambda cases: [case.name for case in cases]
  assert names(packages.sample_cases(tmp_path, 'A')) == ['A', 'A2', 'A10']
  assert names(packages.sample_cases(tmp_path)) == ['A', 'A2', 'A10', 'B', 'input1']
  (tmp_path / 'A2.py').touch()
  assert names(packages.sample_cases(tmp_path, 'A')) == ['A', 'A10']
  (tmp_path / 'C.in').touch()
  with pytest.raises(UserError, match=r'C\.in has no answer beside it; expected C\.ans or C\.out'):
    packages.sample_cases(tmp_path)
  with pytest.raises(UserError, match='has no cases'):
    packages.sample_cases(tmp_path / 'nowhere')


def test_package_in_the_legacy_form(pool, tmp_path):
  write(
    tmp_path,
    problem_dot_yaml="""
      name: Halves
      validator_flags: float_tolerance 1e-3
      limits: {memory: 64, output: 1}
      """,
    data__sample__1_dot_in='1\n',
    data__sample__1_dot_ans='0.5\n',
    data__secret__10_dot_in='3\n',
    data__secret__10_dot_ans='1.5\n',
    data__secret__2_dot_in='2\n',
    data__secret__2_dot_ans='1\n',
    submissions__accepted__right_dot_py='print(int(input()) / 2 + 1e-4)',
    submissions__wrong_answer__floor_dot_py='print(int(input()) // 2)',
    submissions__accepted__notes_dot_txt='',
  )
  package = packages.load(tmp_path, tmp_path / 'build', pool)
  assert [case.name for case in package.cases] == ['sample/1', 'secret/10', 'secret/2']
  assert (package.name, package.limits.memory, package.time_is_given) == ('Halves', 64 * MEBIBYTE, False)
  submitted = [(each.kind, each.path) for each in package.submissions]
  found = [(kind, path.name) for kind, path in submitted]
  assert found == [('accepted', 'right.py'), ('wrong_answer', 'floor.py')]
  for number, (kind, path) in enumerate(submitted):
    program = build(path, tmp_path / f'b{number}', pool)
    report = judge(program, package.cases, pool=pool, limits=package.limits, check=package.check)
    assert report.verdict in packages.EXPECTED[kind]


def test_package_with_groups_and_a_validator(pool, tmp_path):
  validator = """
    import sys
    wanted = open(sys.argv[2]).read().split()
    sys.exit(42 if sorted(sys.stdin.read().split()) == sorted(wanted) and sys.argv[4:] == ['any'] else 43)
    """
  write(
    tmp_path,
    problem_dot_yaml='name: {en: Any order}\ntype: scoring\nlimits: {time_limit: 3}',
    data__secret__test_group_dot_yaml='output_validator_args: [any]',
    data__secret__a__test_group_dot_yaml='max_score: 30',
    data__secret__a__1_dot_in='1 2',
    data__secret__a__1_dot_ans='1 2',
    data__secret__b__test_group_dot_yaml='max_score: 70',
    data__secret__b__1_dot_in='1 2 3',
    data__secret__b__1_dot_ans='1 2 3',
    output_validator__validate_dot_py=validator,
    part_dot_py='print(*input().split()[:2][::-1])',
  )
  package = packages.load(tmp_path, tmp_path / 'build', pool)
  assert (package.name, package.limits.time, package.stops) == ('Any order', 3.0, False)
  program = build(tmp_path / 'part.py', tmp_path / 'b', pool)
  report = judge(
    program, package.cases, pool=pool, limits=package.limits, check=package.check, stop_at_first=package.stops
  )
  assert [result.verdict for result in report.results] == ['AC', 'WA']
  assert package.score(report).points == 30
  assert package.score(report).groups == {'secret/a': 30, 'secret/b': 0}


def test_a_validator_may_be_two_scripts(pool, tmp_path):
  write(
    tmp_path,
    problem_dot_yaml='type: pass-fail',
    data__secret__1_dot_in='7\n',
    data__secret__1_dot_ans='7\n',
    output_validator__build='#!/bin/sh\ncc twice.c -o twice\n',
    output_validator__run='#!/bin/sh\n"$(dirname "$0")/twice" "$2"\n',
    output_validator__twice_dot_c="""
      #include <stdio.h>
      int main(int count, char **arguments) {
        int wanted, given;
        FILE *answer = fopen(arguments[1], "r");
        return fscanf(answer, "%d", &wanted) == 1 && scanf("%d", &given) == 1 && given == 2 * wanted ? 42 : 43;
      }
      """,
    double_dot_py='print(2 * int(input()))',
    same_dot_py='print(input())',
  )
  for name in ('build', 'run'):
    (tmp_path / 'output_validator' / name).chmod(0o755)
  package = packages.load(tmp_path, tmp_path / 'made', pool)
  verdicts = [
    judge(build(tmp_path / f'{name}.py', tmp_path / name, pool), package.cases, pool=pool, check=package.check).verdict
    for name in ('double', 'same')
  ]
  assert verdicts == ['AC', 'WA']


def test_groups_of_domjudge_earn_what_is_right_and_say_what_is_meant(pool, tmp_path):
  """Kattis's default grader would give a group that fails nothing, and the sample, of no group here, a point."""
  write(
    tmp_path,
    problem_dot_yaml='type: scoring',
    data__testdata_dot_yaml='on_reject: continue\ngrader_flags: sum',
    data__secret__testdata_dot_yaml='on_reject: continue\ngrader_flags: sum',
    data__secret__small__testdata_dot_yaml='accept_score: 10',
    data__secret__large__testdata_dot_yaml='grader_flags: avg',
    data__secret__large__a__testdata_dot_yaml='accept_score: 30',
    data__secret__large__b__testdata_dot_yaml='accept_score: 60',
    submissions__accepted__all_dot_py='# @EXPECTED_SCORE@: 55\nprint(input())',
    submissions__partial__odd_dot_py='# @EXPECTED_SCORE@: 40\nn = input()\nprint(n * (n != "4"))',
    submissions__partial__less_dot_py='# @EXPECTED_SCORE@: CORRECT\nn = input()\nprint(n * (n < "3"))',
  )
  (tmp_path / '.timelimit').write_text('2')
  for case in ('sample/1', 'secret/small/1', 'secret/small/2', 'secret/large/a/3', 'secret/large/b/4'):
    for suffix in ('in', 'ans'):
      path = tmp_path / 'data' / f'{case}.{suffix}'
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_text(case[-1])
  package = packages.load(tmp_path, tmp_path / 'build', pool)
  earned = {}
  for number, each in enumerate(package.submissions):
    program = build(each.path, tmp_path / f'b{number}', pool)
    report = judge(
      program, package.cases, pool=pool, limits=package.limits, check=package.check, stop_at_first=package.stops
    )
    earned[each.path.stem] = (report.verdict, package.score(report).points, each.score)
  assert earned == {'all': ('AC', 55, 55), 'odd': ('WA', 25, 40), 'less': ('WA', 10, None)}


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    (None, 'it has no problem.yaml'),
    ('validation: custom multi', "validation 'multi' is not judged here"),
    ('type: guess', "type 'guess' is not judged here"),
    ('validaton: custom', "a key that is not known here: 'validaton'"),
    ('validation: custom', 'asks for an output validator'),
    ('validator_flags: float_tolerance nan', 'finite number that is not negative'),
    ('name: [', 'is not YAML'),
    ('name: x', 'has no cases'),
    ('limits: {memory: much}', 'limits needs numbers'),
    ('validator_flags: sloppy', "no validator flag 'sloppy'"),
  ],
)
def test_a_package_that_cannot_be_read(pool, tmp_path, text, message):
  if text is not None:
    (tmp_path / 'problem.yaml').write_text(text)
  if text != 'name: x':
    write(tmp_path, data__secret__1_dot_in='', data__secret__1_dot_ans='')
  with pytest.raises(UserError, match=message):
    packages.load(tmp_path, tmp_path / 'build', pool)


def test_stress_finds_and_shrinks(pool, tmp_path):
  """The suspect forgets that numbers may be below zero; one such number is all it takes."""
  write(
    tmp_path,
    gen_dot_py="""
      import random, sys
      rng = random.Random(int(sys.argv[1]))
      n = rng.randint(5, 20)
      print(n)
      print(*(rng.randint(-5, 50) for _ in range(n)))
      """,
    slow_dot_py='n = int(input())\na = list(map(int, input().split()))\nassert len(a) == n > 0\nprint(max(a) - min(a))',
    fast_dot_py='n = int(input())\na = [abs(int(x)) for x in input().split()]\nprint(max(a) - min(a))',
  )
  fast, slow, gen = (build(tmp_path / f'{name}.py', tmp_path / name, pool) for name in ('fast', 'slow', 'gen'))
  found = stress.stress(fast, slow, gen, pool=pool, limits=LIMITS, rounds=30)
  assert found.verdict == 'WA'
  count, numbers = found.input.decode().strip().split('\n')
  assert int(count) == len(numbers.split()) == 2
  assert any(int(number) < 0 for number in numbers.split())
  assert found.expected != found.actual
  assert stress.stress(slow, slow, gen, pool=pool, limits=LIMITS, rounds=3) is None
  with pytest.raises(UserError, match=r'the trusted program gen\.py failed on seed 0'):
    stress.stress(fast, gen, gen, pool=pool, limits=LIMITS, rounds=1)


def test_shrink_leaves_nothing_that_is_not_needed():
  assert stress.shrink(range(100), lambda items: {7, 50, 93} <= set(items)) == [7, 50, 93]
  assert stress.shrink(range(100), lambda items: True) == []


def test_a_contest_is_laid_out_once(tmp_path):
  names = contest_folder.letters('A-C,E1')
  assert names == ['A', 'B', 'C', 'E1']
  assert len(contest_folder.new_contest(tmp_path / '2044', names)) == 12
  (tmp_path / '2044' / 'A.py').write_text('mine')
  (tmp_path / '2044' / 'B.in').unlink()
  assert [path.name for path in contest_folder.new_contest(tmp_path / '2044', names)] == ['B.in']
  assert (tmp_path / '2044' / 'A.py').read_text() == 'mine'
  assert contest_folder.letters('a-c,D1-D3') == ['A', 'B', 'C', 'D1', 'D2', 'D3']
  for text, message in (
    ('F-A', 'is no range'),
    ('A1-B2', 'is no range'),
    ('A-3', 'not like A-D'),
    ('AA', 'not like A-D'),
  ):
    with pytest.raises(UserError, match=message):
      contest_folder.letters(text)
