"""Imports run downward only, and the map of them in the docs is drawn from the rules that hold it."""

import pathlib
import runpy
import subprocess
import sys
import xml.etree.ElementTree

REPOSITORY = pathlib.Path(__file__).parent.parent


def test_import_contracts_hold():
  """In a process of its own: the linter takes over the standard streams."""
  command = [sys.executable, '-c', 'import importlinter.cli as cli; raise SystemExit(cli.lint_imports(no_cache=True))']
  done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
  assert done.returncode == 0, done.stdout + done.stderr
  assert '5 kept, 0 broken' in done.stdout


MAP = runpy.run_path(str(REPOSITORY / 'docs' / 'draw_architecture.py'))


def test_the_map_is_drawn_from_the_rules_of_today():
  drawn = MAP['draw'](MAP['import_rules']())
  assert MAP['PICTURE'].read_text() == drawn, 'out of date: run python docs/draw_architecture.py'


def test_the_map_shows_every_package_once_and_above_what_it_may_import():
  rules = MAP['import_rules']()
  texts = xml.etree.ElementTree.fromstring(MAP['draw'](rules)).iter('{http://www.w3.org/2000/svg}text')
  heights = [(text.text, float(text.attrib['y'])) for text in texts]
  shown = dict(heights)
  assert len(shown) == len(heights)
  packages = {path.parent.name for path in (REPOSITORY / 'mlsd_jax').glob('*/__init__.py')}
  modules = {path.stem for path in (REPOSITORY / 'mlsd_jax').glob('*.py')} - {'__init__'}
  assert packages | modules | {'experiments', 'configs'} <= set(shown)
  assert (
    shown['experiments'] < shown['recsys'] < shown['stages'] < shown['purchases'] < shown['training'] < shown['errors']
  )


def test_a_layer_may_be_written_in_all_ways_that_the_linter_reads():
  layers = ['top', 'mlsd_jax.a | (mlsd_jax.b)', 'mlsd_jax.c : mlsd_jax.d']
  names = [['top'], ['mlsd_jax.a', 'mlsd_jax.b'], ['mlsd_jax.c', 'mlsd_jax.d']]
  assert MAP['layers_of']({'layers': layers}) == names
