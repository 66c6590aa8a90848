"""README and docs: every command in them is one that the experiments take, and the code in them runs."""

import importlib
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

from experiments import contract

REPOSITORY = pathlib.Path(__file__).parents[1]
PAGES = [REPOSITORY / 'README.md', REPOSITORY / 'CONTRIBUTING.md', *sorted((REPOSITORY / 'docs').rglob('*.md'))]
CONFIGS = sorted(path for path in (REPOSITORY / 'configs').rglob('*.py') if not path.stem.startswith('_'))


def _commands(path):
  text = path.read_text().replace('\\\n', ' ')
  for line in re.findall(r'^ *(?:\$ )?(?:uv run )?(?:--extra \w+ )?python -m experiments\.(.*)$', text, re.MULTILINE):
    command = tuple(shlex.split(line, comments=True))
    is_usage = any(word.startswith('[') or word == '...' for word in command)
    if not is_usage and command[0] != 'parity':  # which your_own_system.md makes
      yield command


COMMANDS = sorted({command for path in (*PAGES, *CONFIGS) for command in _commands(path)})


def test_there_are_commands():
  assert len(COMMANDS) > 60
  assert {command[0] for command in COMMANDS} >= {'gpt2', 'recsys', 'retrieval', 'algorithms'}


@pytest.mark.parametrize('command', COMMANDS, ids=' '.join)
def test_a_command_of_the_docs_is_understood(command, tmp_path, monkeypatch, capsys):
  name, *arguments = command
  experiment = importlib.import_module(f'experiments.{name}')
  for mode in experiment.MODES:
    monkeypatch.setitem(experiment.MODES, mode, lambda run: None)
  monkeypatch.setattr(contract, '_set_up_jax', lambda *_: None)
  monkeypatch.chdir(tmp_path)
  code = experiment.main(arguments)
  assert code == 0, capsys.readouterr().err


def test_links_and_pictures_are_there():
  for page in PAGES:
    for target in re.findall(r'\]\(([^)#]+)[^)]*\)', page.read_text()):
      assert target.startswith('http') or (page.parent / target).exists(), f'{page.name}: {target}'


def test_the_system_of_the_docs_runs(tmp_path):
  text = (REPOSITORY / 'docs' / 'how-to' / 'your_own_system.md').read_text()
  experiment, config = re.findall(r'```python\n(.*?)```', text, re.DOTALL)
  for name, code in (('experiments/parity.py', experiment), ('configs/parity/quickstart.py', config)):
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_text(code)
  command = [sys.executable, tmp_path / 'experiments' / 'parity.py', f'--workdir={tmp_path / "run"}']
  environment = {'PYTHONPATH': str(REPOSITORY), 'PATH': '', 'HOME': str(tmp_path), 'JAX_NUM_CPU_DEVICES': '1'}
  run = lambda *more: subprocess.run([*command, *more], cwd=tmp_path, env=environment, capture_output=True, text=True)
  done = run()
  assert done.returncode == 0, done.stderr
  assert '% of all bytes right' in done.stdout
  refused = run('--config.train.steps=0')
  assert refused.returncode == 2
  assert refused.stderr.startswith('error: ')
