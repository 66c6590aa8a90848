"""Imports run downward only, every package has its place, and the map in the docs is drawn from the rules."""

import pathlib
import runpy
import shutil
import subprocess
import sys
import xml.etree.ElementTree

REPOSITORY = pathlib.Path(__file__).parent.parent
MAP = runpy.run_path(str(REPOSITORY / 'docs' / 'draw_architecture.py'))


def lint(folder):
  """In a process of its own: the linter takes over the standard streams."""
  command = [sys.executable, '-c', 'import importlinter.cli as cli; raise SystemExit(cli.lint_imports(no_cache=True))']
  return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_import_contracts_hold():
  done = lint(REPOSITORY)
  assert done.returncode == 0, done.stdout + done.stderr
  assert f'{len(MAP["import_rules"]())} kept, 0 broken' in done.stdout


def test_a_package_that_no_layer_names_breaks_them(tmp_path):
  all_but_python = lambda folder, names: [
    name for name in names if pathlib.Path(folder, name).is_file() and not name.endswith('.py')
  ]
  for name in ('mlsd_jax', 'experiments', 'configs'):
    shutil.copytree(REPOSITORY / name, tmp_path / name, ignore=all_but_python)
  shutil.copy(REPOSITORY / 'pyproject.toml', tmp_path)
  assert lint(tmp_path).returncode == 0
  newcomer = tmp_path / 'mlsd_jax' / 'newcomer'
  newcomer.mkdir()
  (newcomer / '__init__.py').write_text('from mlsd_jax.makemore import task\nfrom mlsd_jax.retrieval import store\n')
  done = lint(tmp_path)
  assert done.returncode == 1
  assert 'newcomer' in done.stdout


def test_the_map_is_drawn_from_the_rules_of_today():
  drawn = MAP['draw'](MAP['import_rules']())
  assert MAP['PICTURE'].read_text() == drawn, 'out of date: run python docs/draw_architecture.py'


def test_the_map_shows_every_package_once_and_above_what_it_may_import():
  rules = MAP['import_rules']()
  texts = xml.etree.ElementTree.fromstring(MAP['draw'](rules)).iter('{http://www.w3.org/2000/svg}text')
  heights = [(text.text, float(text.attrib['y'])) for text in texts]
  titles = [name for name, _ in heights]
  packages = {path.parent.name for path in (REPOSITORY / 'mlsd_jax').glob('*/__init__.py')}
  modules = {path.stem for path in (REPOSITORY / 'mlsd_jax').glob('*.py')} - {'__init__'}
  rooms = {path.parent.name for path in (REPOSITORY / 'mlsd_jax' / 'recsys').glob('*/__init__.py')}
  for name in packages | modules | rooms | {'experiments', 'configs'}:
    assert titles.count(name) == 1 + (name in ('training', 'serving'))  # which are modules of recsys too
  height = dict(heights)  # of the lower one
  assert height['experiments'] < height['recsys'] < height['stages'] < height['purchases'] < height['training']
  assert height['training'] < height['models'] < height['errors']


def test_a_layer_may_be_written_in_all_ways_that_the_linter_reads():
  layers = ['top', 'mlsd_jax.a | (mlsd_jax.b)', 'mlsd_jax.c : mlsd_jax.d']
  names = [['top'], ['mlsd_jax.a', 'mlsd_jax.b'], ['mlsd_jax.c', 'mlsd_jax.d']]
  assert MAP['layers_of']({'layers': layers}) == names
