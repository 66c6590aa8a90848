"""Packages of Kattis, DOMjudge and Polygon: passes, points, programs that judge programs."""

import os
import shutil
import textwrap

import pytest

from mlsd_jax.algorithms import packages
from mlsd_jax.algorithms.checking import Checker, Desk, convention_of
from mlsd_jax.algorithms.judge import judge
from mlsd_jax.algorithms.kattis import read_yaml
from mlsd_jax.algorithms.languages import build
from mlsd_jax.algorithms.limits import Limits, Outcome
from mlsd_jax.algorithms.scoring import scorer
from mlsd_jax.algorithms.verdicts import Case, CaseResult, Report
from mlsd_jax.errors import UserError


def write(folder, texts):
  for name, text in texts.items():
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))


def judged(package, path, folder, pool):
  return judge(
    build(path, folder, pool),
    package.cases,
    pool=pool,
    limits=package.limits,
    check=package.check,
    interactor=package.interactor,
    stop_at_first=package.stops,
  )


COUNTDOWN = """
  import pathlib, sys
  feedback = pathlib.Path(sys.argv[3])
  given, said = int(open(sys.argv[1]).read()), sys.stdin.read().split()
  passes = int((feedback / 'passes').read_text()) + 1 if (feedback / 'passes').exists() else 1
  (feedback / 'passes').write_text(str(passes))
  if said != [str(given - 1)]: sys.exit(43)
  if given > 1: (feedback / 'nextpass.in').write_text(said[0])
  else: (feedback / 'judgemessage.txt').write_text(f'{passes} passes' + ' with argument' * (sys.argv[4:] == ['a b']))
  sys.exit(42)
  """
PASSES = {
  'right': ('AC', 'print(int(input()) - 1)', 3),
  'wrong in the second pass': ('WA', 'n = int(input())\nprint(n - 1 if n != 2 else 0)', 3),
  'crashes in the third pass': ('RE', 'n = int(input())\nassert n > 1\nprint(n - 1)', 3),
  'too many': ('JE', 'print(int(input()) - 1)', 2),
}


@pytest.mark.parametrize('name', PASSES)
def test_multi_pass(pool, tmp_path, name):
  """The program gets what the validator wrote; other files of the validator stay."""
  verdict, code, most = PASSES[name]
  write(
    tmp_path,
    {
      'problem.yaml': f"""
        validation: custom multi-pass
        validator_flags: "'a b'"
        limits: {{validation_passes: {most}}}
        """,
      'data/secret/1.in': '3',
      'data/secret/1.ans': '',
      'output_validator/v.py': COUNTDOWN,
      'player.py': code,
    },
  )
  package = packages.load(tmp_path, tmp_path / 'build', pool)
  report = judged(package, tmp_path / 'player.py', tmp_path / 'b', pool)
  assert report.verdict == verdict
  assert verdict != 'AC' or report.results[0].message == '3 passes with argument'


def test_folders_as_others_lay_them_out(tmp_path):
  write(tmp_path, {'a/in/2.txt': '2', 'a/out/2.txt': 'b', 'a/in/10.txt': '10', 'a/out/10.txt': 'j'})
  write(tmp_path, {'b/01': '1', 'b/01.a': 'x', 'b/02': '2', 'b/02.a': 'y', 'b/problem.txt': ''})
  read = lambda name: [
    (c.name, Case.read(c.input), Case.read(c.answer)) for c in packages.sample_cases(tmp_path / name)
  ]
  assert read('a') == [('2', b'2', b'b'), ('10', b'10', b'j')]
  assert read('b') == [('01', b'1', b'x'), ('02', b'2', b'y')]
  (tmp_path / 'a/out/2.txt').unlink()
  with pytest.raises(UserError, match=r'2\.txt has no answer beside it'):
    read('a')


def test_a_folder_of_domjudge(pool, tmp_path):
  write(
    tmp_path,
    {
      'domjudge-problem.ini': "name='Twice'\ntimelimit=7\n",
      '1.in': '3',
      '1.ans': '6',
      'submissions/mixed/sub.py': '# @EXPECTED_RESULTS@: WRONG-ANSWER, RUN-ERROR\nprint(7)',
    },
  )
  package = packages.load(tmp_path, tmp_path / 'build', pool)
  assert (package.name, package.limits.time, len(package.cases)) == ('Twice', 7.0, 1)
  (submission,) = package.submissions
  assert submission.expected == {'WA', 'RE', 'MLE'}  # memory that ran out is a run-time error to DOMjudge


def points(folder, files, results):
  """What a report with these verdicts and scores earns."""
  write(folder, files)
  names = ('testdata.yaml', 'test_group.yaml')
  settings = lambda path: next((read_yaml(path / name) for name in names if (path / name).exists()), {})
  score = scorer(folder, list(results), settings)
  made = [
    CaseResult(Case(name, b''), verdict, '', Outcome(), score=value, multiplies=share)
    for name, (verdict, value, share) in results.items()
  ]
  found = score(Report('', tuple(made)))
  return found.points, dict(found.groups)


def test_points_by_the_default_grader(tmp_path):
  files = {
    'testdata.yaml': 'grader_flags: ignore_sample\non_reject: continue',
    'secret/testdata.yaml': 'grader_flags: always_accept sum',
    'secret/a/testdata.yaml': 'grader_flags: min\naccept_score: 20\non_reject: break',
    'secret/b/testdata.yaml': 'grader_flags: max always_accept',
    'secret/c/testdata.yaml': 'grader_flags: avg',
  }
  good, bad = ('AC', None, False), ('WA', None, False)
  results = {
    'sample/1': bad,
    'secret/a/1': good,
    'secret/a/2': good,
    'secret/b/1': bad,
    'secret/b/2': ('AC', 7.5, False),
    'secret/c/1': ('AC', 1.0, False),
    'secret/c/2': ('AC', 4.0, False),
  }
  total, groups = points(tmp_path, files, results)
  assert total == 20 + 7.5 + 2.5
  assert (groups['secret/a'], groups['secret/b'], groups['secret/c']) == (20, 7.5, 2.5)
  assert points(tmp_path, files, {**results, 'secret/a/2': bad})[0] == 10
  with pytest.raises(UserError, match="no grader flag 'most'"):
    points(tmp_path, {'secret/c/testdata.yaml': 'grader_flags: most'}, results)


def test_points_by_aggregation(tmp_path):
  files = {
    'secret/test_group.yaml': 'max_score: 100',
    'secret/a/test_group.yaml': 'max_score: 40',
    'secret/b/test_group.yaml': 'max_score: 60\nscore_aggregation: sum\nrequire_pass: a',
  }
  good, bad = ('AC', None, False), ('TLE', None, False)
  results = {'secret/a/1': good, 'secret/b/1': ('AC', 0.5, True), 'secret/b/2': bad, 'secret/b/3': ('AC', 12.0, False)}
  assert points(tmp_path, files, results) == (62.0, {'secret/a': 40, 'secret/b': 22})
  assert points(tmp_path, files, {**results, 'secret/a/1': bad})[0] == 0


# One source in four roles, as compiling it is what costs here.
TESTLIB = """
  #include "testlib.h"
  int main(int argc, char* argv[]) {
    std::string name = argv[0];
    if (argc == 1) {
      registerValidation();
      int n = inf.readInt(1, 9, "n");
      inf.readEoln();
      inf.readInts(n, -50, 50, "a");
      inf.readEoln();
      inf.readEof();
      return 0;
    }
    if (std::string(argv[1]) == "make") {
      setName("generator of %d", 1);
      registerGen(argc, argv, 1);
      int n = opt<int>(2);
      ensure(join(split(" ab  b", ' '), '.') == ".ab..b" && tokenize(" a, b", " ,").size() == 2);
      ensure(pattern("[^0-9]* x").matches("??x") && !pattern("a.b").matches("acb"));
      ensure(pattern("No\\\\ way").matches("No way"));
      InStream in(inf, "one 12\\r\\n 7 \\n");
      std::string word;
      in.readWordTo(word, "[a-z]{3}", "word");
      ensure(word == "one" && !in.eoln() && in.readInts(1, 1, 12, "a")[0] == 12);
      ensure(in.eoln() && !in.eof());
      ensure(stringToLongLong(in, "-7") == -(long long)in.readUnsignedLong() && in.seekEof());
      ensure(optionFrom<int>("3e2") == 300);
      auto parts = rnd.partition(4, 20, 3);
      ensure(std::accumulate(parts.begin(), parts.end(), 0) == 20);
      ensure(*std::min_element(parts.begin(), parts.end()) >= 3);
      std::set<int> some{4, 5, 6};
      ensure(some.count(rnd.wany(some, 5)) && some.count(rnd.any(some.begin(), some.end())));
      auto a = rnd.perm(n, opt<int>("first", 1));
      shuffle(a.begin(), a.end());
      println(n);
      println(a);
      return 0;
    }
    registerTestlibCmd(argc, argv);
    inf.readInt();
    double mine = ouf.readDouble(-1e9, 1e9, "sum"), right = ans.readDouble();
    if (!doubleCompare(right, mine, 1e-6)) quitf(_wa, "sum %.3f, expected %.3f", mine, right);
    quitf(_ok, "fine");
  }
  """
PROBLEM = """
  <problem short-name="sum"><names><name language="english" value="Sum"/></names>
  <judging><testset name="tests"><time-limit>1500</time-limit><memory-limit>67108864</memory-limit>
  <input-path-pattern>tests/%02d</input-path-pattern><answer-path-pattern>tests/%02d.a</answer-path-pattern>
  <tests><test method="manual" points="30" group="1"/>
  <test method="generated" cmd="all make 5 -first 3" points="70"/></tests>
  <groups><group name="1" points-policy="complete-group"/></groups></testset></judging>
  <files><executables><executable><source path="files/all.cpp" type="cpp.g++17"/></executable></executables></files>
  <assets><checker><source path="files/all.cpp"/></checker>
  <validators><validator><source path="files/all.cpp"/></validator></validators>
  <solutions><solution tag="main"><source path="solutions/main.py"/></solution>
  <solution tag="wrong-answer"><source path="solutions/wrong.py"/></solution></solutions></assets></problem>
  """


@pytest.mark.skipif(shutil.which('g++') is None, reason='no g++ here')
def test_a_package_of_polygon(pool, tmp_path):
  """A test that is there and one that its generator makes; answers by the main solution; a checker with testlib."""
  write(
    tmp_path,
    {
      'problem.xml': PROBLEM,
      'tests/01': '2\n1 2\n',
      'files/all.cpp': TESTLIB,
      'solutions/main.py': 'input()\nprint(sum(map(int, input().split())) + 1e-9)',
      'solutions/wrong.py': 'input()\nprint(3)',
      'more.py': 'input()\nprint(sum(map(int, input().split())), 1)',
      'text.py': 'print("none")',
    },
  )
  package = packages.load(tmp_path, tmp_path / 'build', pool)
  assert (package.name, package.limits.time, package.stops) == ('Sum', 1.5, False)
  made = Case.read(package.cases[1].input).decode().split()
  assert made[0] == '5'
  assert sorted(map(int, made[1:])) == [3, 4, 5, 6, 7]
  verdicts = lambda name: [each.verdict for each in judged(package, tmp_path / name, tmp_path / name[:5], pool).results]
  assert verdicts('solutions/main.py') == ['AC', 'AC']
  assert verdicts('more.py') == verdicts('text.py') == ['WA', 'WA']
  report = judged(package, tmp_path / 'solutions/wrong.py', tmp_path / 'wrong', pool)
  assert [each.verdict for each in report.results] == ['AC', 'WA']
  assert report.results[1].message == 'wrong answer sum 3.000, expected 25.000'
  assert package.score(report).points == 30
  assert {each.kind: each.expected for each in package.submissions} == {'accepted': {'AC'}, 'wrong-answer': {'WA'}}
  write(tmp_path, {'tests/01': '2\n1 99\n'})
  with pytest.raises(UserError, match=r'test 1 is not valid: the validator failed: RE: .*99 violates the range'):
    packages.load(tmp_path, tmp_path / 'again', pool)


def test_an_interactor_by_the_convention_of_testlib(pool, tmp_path):
  """It writes an output that a checker then judges."""
  write(
    tmp_path,
    {
      'interactor.py': """
        import sys
        secret = int(open(sys.argv[1]).read())
        print(secret % 10, flush=True)
        open(sys.argv[2], 'w').write(input())
        """,
      'checker.py': 'import sys\nsys.exit(open(sys.argv[1]).read().strip() != open(sys.argv[2]).read().strip())',
      'good.py': 'print(70 + int(input()))',
      'bad.py': 'print(50 + int(input()))',
    },
  )
  checker, interactor = (
    Checker(build(tmp_path / f'{name}.py', tmp_path / name, pool), 'testlib') for name in ('checker', 'interactor')
  )
  for name, expected in (('good', 'AC'), ('bad', 'WA')):
    program = build(tmp_path / f'{name}.py', tmp_path / name, pool)
    report = judge(
      program, [Case('1', b'77\n')], pool=pool, limits=Limits(time=5), check=checker, interactor=interactor
    )
    assert report.verdict == expected
  (tmp_path / 'x.cpp').write_text('#include "testlib.h"\n')
  assert [convention_of(tmp_path / name) for name in ('x.cpp', 'checker.py')] == ['testlib', 'kattis']


@pytest.mark.parametrize(
  ('files', 'code', 'expected'),
  [
    ({'score.txt': '2.5'}, 42, ('AC', 2.5)),
    ({'score.txt': 'many'}, 42, ('JE', None)),
    ({'score.txt': '1', 'score_multiplier.txt': '1'}, 42, ('JE', None)),
    ({'nextpass.in': '1'}, 43, ('JE', None)),
    ({}, 7, ('JE', None)),
  ],
)
def test_what_a_checker_says(tmp_path, files, code, expected):
  (tmp_path / 'desk').mkdir()
  desk = Desk.lay(tmp_path / 'desk', Checker(None), Case('1', b''))
  write(desk.feedback, files)
  found = desk.judgement(Outcome(exit_code=code))
  assert (found.verdict, found.score) == expected


def test_what_a_checker_writes_is_not_followed(tmp_path):
  """A message that is a link, a pipe or a folder is none."""
  (tmp_path / 'desk').mkdir()
  desk = Desk.lay(tmp_path / 'desk', Checker(None), Case('1', b''))
  (tmp_path / 'secret').write_text('hidden')
  message = desk.feedback / 'judgemessage.txt'
  for make in (lambda: message.symlink_to(tmp_path / 'secret'), lambda: os.mkfifo(message), message.mkdir):
    make()
    assert desk.judgement(Outcome(exit_code=42, stderr='said')).message == 'said'
    message.rmdir() if message.is_dir() and not message.is_symlink() else message.unlink()


@pytest.mark.skipif(shutil.which('javac') is None, reason='no javac here')
def test_java_with_a_package_line(pool, tmp_path):
  main = 'public static void main(String[] x) { System.out.print(6); }'
  code = f'/* package no; */\npackage a.b;\npublic class Main {{ {main} }}'
  (tmp_path / 'Main.java').write_text(code)
  program = build(tmp_path / 'Main.java', tmp_path / 'build', pool)
  assert judge(program, [Case('1', b'', b'6')], pool=pool, limits=Limits(time=5)).verdict == 'AC'


@pytest.mark.parametrize('name', ['problem.yaml', 'submissions/submissions.yaml', 'data/secret/testdata.yaml'])
def test_a_key_that_a_package_has_twice_is_told_with_its_file(pool, tmp_path, name):
  write(tmp_path, {'problem.yaml': 'name: x', 'data/secret/1.in': '3', 'data/secret/1.ans': '3'})
  write(tmp_path, {name: 'name: 1\nlimits: {}\nname: 2'})
  with pytest.raises(UserError, match=rf"{name} is not YAML: the key 'name' is there twice .*line 3"):
    packages.load(tmp_path, tmp_path / 'build', pool)
