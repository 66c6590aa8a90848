"""The whole path from the command line, without JAX."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

from experiments import algorithms

WRONG = """
  class LRUCache:
    def __init__(self, capacity):
      self.capacity, self.values = capacity, {}
    def get(self, key):
      return self.values.get(key, -1)
    def put(self, key, value):
      self.values[key] = value
  """


FEWER = ['--config.operations=200']


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)

  def call(*arguments):
    fewer = [] if {'growth', 'new', 'stress'} & {each.removeprefix('--mode=') for each in arguments} else FEWER
    code = algorithms.main(['--config=configs/algorithms/quickstart.py', *fewer, *arguments])
    out, err = capsys.readouterr()
    return code, out, err

  return call


def test_list_judges_everything_and_then_reports(call, tmp_path):
  code, out, _ = call()
  result = json.loads((tmp_path / 'runs/algorithms/quickstart/result.json').read_text())
  assert code == 0
  assert result['problems'] == result['passed'] >= 50
  assert result['failed'] == 0
  assert 'get O(1), put O(1)' in out
  code, again, _ = call()
  assert 'is finished' in again
  assert 'get O(1), put O(1)' in again


def test_a_wrong_class_is_shown_its_smallest_failing_input(call, tmp_path):
  (tmp_path / 'mine.py').write_text(textwrap.dedent(WRONG))
  code, out, _ = call('--mode=test', '--problem=lru_cache', '--solution=mine.py', '--config.sizes=(3,)')
  assert code == 1
  assert 'mine.py: WA' in out
  assert 'smallest failing input: 6 calls' in out  # the constructor, four puts, a get
  report = json.loads((tmp_path / 'runs/algorithms/quickstart/reports/lru_cache.json').read_text())
  assert report['verdict'] == 'WA'


def test_the_reference_is_right(call):
  code, out, _ = call('--mode=test', '--problem=lfu_cache')
  assert code == 0
  assert 'AC (accepted)' in out


def test_growth_is_measured_and_drawn(call, tmp_path):
  code, out, _ = call('--mode=growth', '--problem=min_stack', '--config.growth_seconds=False')
  assert code == 0
  assert '4 operations, 0 with an exponent by steps not within 0.15' in out
  assert (tmp_path / 'runs/algorithms/quickstart/plots/growth_steps.png').stat().st_size > 5000


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (['--mode=test'], '--mode=test needs --problem=NAME'),
    (['--mode=test', '--problem=nothing'], "no problem 'nothing'"),
    (['--mode=test', '--problem=lru_cache', '--checker=mine.cc'], '--checker has no effect on lru_cache: a'),
    (['--mode=test', '--problem=lru_cache', '--solution=none.py'], 'no such file'),
    (['--mode=test', '--problem=lru_cache', '--solution=folder.py'], 'by a class, in one file of Python'),
    (['--mode=test', '--problem=lru_cache', '--solution=mine.cc'], 'by a class, in one file of Python'),
    (['--mode=test', '--problem=lru_cache', '--solution=pipe.py'], 'neither a file nor a folder'),
    (['--mode=test', '--problem=2044/A', '--solution=mine.py', '--interactor=none.py'], 'no such file'),
    (['--mode=stress', '--solution=mine.py', '--trusted=mine.py', '--generator=none.py'], 'no such file'),
    (['--mode=new'], '--mode=new needs --contest=NAME'),
    (['--mode=stress'], '--mode=stress needs --solution=FILE'),
    (['--mode=growth', '--problem=nothing'], "no design problem 'nothing'"),
    (['--config.limits.time=0'], '--config.limits.time must be above 0, got 0.0'),
  ],
)
def test_a_mistake_is_one_line(call, tmp_path, arguments, message):
  (tmp_path / 'folder.py').mkdir()
  for name in ('mine.py', 'mine.cc', 'folder.py/a.py'):
    (tmp_path / name).write_text('')
  os.mkfifo(tmp_path / 'pipe.py')
  code, out, err = call(*arguments)
  assert (code, out) == (2, '')
  assert message in err
  assert err.count('\n') == 1


_ADD, _ECHO = 'print(sum(map(int, input().split())))', 'print(input())'


@pytest.mark.parametrize(
  ('sources', 'verdict', 'told'),
  [
    ({'b.py': _ADD, 'a.py': _ECHO}, 'WA', 'mine holds 2 source files, a.py, b.py: a.py is started'),
    ({'main.py': _ADD, 'a.py': _ECHO}, 'AC', 'mine holds 2 source files, a.py, main.py: main.py is started'),
    ({'z.cpp': _ECHO, 'a.py': _ADD}, 'AC', 'mine holds 2 source files, a.py, z.cpp: a.py is started'),
    ({'a.py': _ADD}, 'AC', ''),
    ({'a.py': _ADD, 'notes.txt': ''}, 'AC', ''),
  ],
)
def test_of_a_folder_of_several_programs_the_one_that_runs_is_named(
  tmp_path, monkeypatch, capsys, sources, verdict, told
):
  monkeypatch.chdir(tmp_path)
  for folder, written in (('mine', sources), ('samples', {'1.in': '1 2\n', '1.out': '3\n'})):
    (tmp_path / folder).mkdir()
    for name, text in written.items():
      (tmp_path / folder / name).write_text(text)
  code = algorithms.main(['--mode=test', '--problem=samples', '--solution=mine'])
  said = [line for line in capsys.readouterr().out.splitlines() if line.startswith('--solution')]
  assert code == (verdict != 'AC')
  assert said == ([f'--solution: {told}'] if told else [])
  algorithms.main(['--mode=test', '--problem=samples', '--solution=mine/a.py'])
  assert '--solution' not in capsys.readouterr().out


@pytest.mark.parametrize('flag', ['checker', 'interactor'])
def test_a_package_has_its_own_referees(flag, tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'package').mkdir()
  (tmp_path / 'package' / 'problem.yaml').write_text('name: a')
  assert algorithms.main(['--mode=test', '--problem=package', f'--{flag}=mine.py']) == 2
  assert f'--{flag} has no effect on package: a problem package says itself' in capsys.readouterr().err


def test_jax_is_not_imported():
  code = 'import sys, experiments.algorithms; sys.exit("jax" in sys.modules)'
  assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0
