"""README and docs: commands are understood, code runs, links lead somewhere, pages keep to their size."""

import dataclasses
import importlib
import os
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

from experiments import contract

REPOSITORY = pathlib.Path(__file__).parents[1]
DOCS = REPOSITORY / 'docs'
README = REPOSITORY / 'README.md'
PAGES = [*sorted(REPOSITORY.glob('*.md')), *sorted(DOCS.rglob('*.md'))]
CONFIGS = sorted(path for path in (REPOSITORY / 'configs').rglob('*.py') if not path.stem.startswith('_'))
YOUR_OWN_SYSTEM = DOCS / 'how-to' / 'your_own_system.md'


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
  for name_of_mode, mode in experiment.MODES.items():
    monkeypatch.setitem(experiment.MODES, name_of_mode, dataclasses.replace(mode, function=lambda run: None))
  monkeypatch.setattr(contract, '_set_up_jax', lambda *_: None)
  monkeypatch.chdir(tmp_path)
  code = experiment.main(arguments)
  assert code == 0, capsys.readouterr().err


def test_programs_of_the_docs_are_there():
  named = {name for page in PAGES for name in re.findall(r'python (benchmarks/\w+\.py)', page.read_text())}
  assert len(named) > 15
  assert not [name for name in named if not (REPOSITORY / name).exists()]


def _without_code(text):
  return re.sub(r'^(?:```.*?^```|    .*?$)', '', text, flags=re.MULTILINE | re.DOTALL)


def _anchors(page):
  """As GitHub and MkDocs make them of headings."""
  headings = re.findall(r'^#+ (.*)$', _without_code(page.read_text()), re.MULTILINE)
  return {re.sub(r'[^\w\- ]', '', heading.lower()).strip().replace(' ', '-') for heading in headings}


@pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_and_pictures_are_there(page):
  text = _without_code(page.read_text())
  targets = re.findall(r'\]\(([^)\s]+)\)', text) + re.findall(r'^\[[^\]]+\]: (\S+)$', text, re.MULTILINE)
  for target in targets:
    path, _, anchor = target.partition('#')
    if target.startswith('http'):
      continue
    found = page.parent / path if path else page
    assert found.exists(), target
    assert not anchor or anchor in _anchors(found), target


def test_every_page_can_be_reached_from_the_index():
  seen, waiting = set(), [DOCS / 'index.md']
  while waiting:
    page = waiting.pop().resolve()
    if page not in seen:
      seen.add(page)
      links = re.findall(r'\]\(([^)#\s]+\.md)', page.read_text())
      waiting += [page.parent / link for link in links if not link.startswith('http')]
  assert set(DOCS.rglob('*.md')) <= seen


def test_every_package_has_a_page_of_its_docstrings():
  packages = {path.parent.name for path in (REPOSITORY / 'mlsd_jax').glob('*/__init__.py')}
  modules = {path.stem for path in (REPOSITORY / 'mlsd_jax').glob('[!_]*.py')}
  described = {
    name
    for page in (DOCS / 'reference' / 'api').glob('*.md')
    for name in re.findall(r'::: mlsd_jax\.(\w+)', page.read_text())
  }
  assert described == packages | modules


def test_pages_keep_to_their_size():
  lines = README.read_text().splitlines()
  assert len(lines) <= 150
  assert max(map(len, lines)) <= 120
  too_long = [
    f'{page.name}, line {number}' for page in PAGES for number, line in enumerate(page.read_text().splitlines(), 1)
    if len(line) > 160
  ]  # fmt: skip
  assert not too_long
  recommender = [DOCS / shelf / 'recsys.md' for shelf in ('tutorials', 'explanation')]
  assert sum(len(page.read_text().split()) for page in recommender) <= 1500


@pytest.fixture
def parity(tmp_path):
  """Runs the system of your_own_system.md with more flags, on as many CPU devices as asked for."""
  experiment, config = re.findall(r'```python\n(.*?)```', YOUR_OWN_SYSTEM.read_text(), re.DOTALL)
  for name, code in (('experiments/parity.py', experiment), ('configs/parity/quickstart.py', config)):
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_text(code)
  command = [sys.executable, tmp_path / 'experiments' / 'parity.py', f'--workdir={tmp_path / "run"}']

  def run(*more, devices=1):
    environment = {
      'PYTHONPATH': str(REPOSITORY),
      'PATH': '',
      'HOME': str(tmp_path),
      'JAX_NUM_CPU_DEVICES': str(devices),
    }
    # Compiled programs and sources are those of the run of tests: making them anew is most of a process's time.
    shared = ('MLSD_CACHE_DIR', 'PYTHONPYCACHEPREFIX')
    environment |= {name: os.environ[name] for name in shared if name in os.environ}
    return subprocess.run([*command, *more], cwd=tmp_path, env=environment, capture_output=True, text=True)

  return run


def test_the_system_of_the_docs_runs(parity):
  done = parity()
  assert done.returncode == 0, done.stderr
  assert '% of all bytes right' in done.stdout
  refused = parity('--config.train.steps=0')
  assert refused.returncode == 2
  assert refused.stderr.startswith('error: ')


@pytest.mark.slow
def test_every_trainer_flag_that_the_page_names_is_taken(parity, tmp_path):
  flags = sorted(set(re.findall(r'--config\.train\.[\w.]+=\w+', YOUR_OWN_SYSTEM.read_text())))
  assert len(flags) >= 5
  by_key: dict[str, list[str]] = {}
  for flag in flags:
    by_key.setdefault(flag.split('=')[0], []).append(flag)
  for turn in range(max(map(len, by_key.values()))):  # all keys at once, each with its next value
    chosen = [values[turn % len(values)] for values in by_key.values()]
    steps = ('--config.train.steps=20', '--config.train.optimizer.warmup_steps=5')
    done = parity(*chosen, *steps, f'--workdir={tmp_path / str(turn)}', devices=8)
    assert done.returncode == 0, (chosen, done.stderr)
