"""What the built packages hold, and what an import of the library or a call for --help loads."""

import email
import importlib.metadata
import pathlib
import subprocess
import sys
import tarfile
import tomllib
import zipfile

import pytest

import mlsd_jax

REPOSITORY = pathlib.Path(__file__).parents[1]
PROJECT = tomllib.loads((REPOSITORY / 'pyproject.toml').read_text())


@pytest.fixture(scope='module')
def built(tmp_path_factory):
  """(wheel, sdist), built as `uv build` does, without a network."""
  folder = tmp_path_factory.mktemp('dist')
  command = [sys.executable, '-m', 'hatchling', 'build', '-d', folder]
  done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
  assert done.returncode == 0, done.stderr
  (wheel,), (sdist,) = folder.glob('*.whl'), folder.glob('*.tar.gz')
  return wheel, sdist


def _files_of(*folders):
  """Files under folders of the repository that are no by-product of running them."""
  paths = (path for folder in folders for path in (REPOSITORY / folder).rglob('*') if path.is_file())
  return {str(path.relative_to(REPOSITORY)) for path in paths if '__pycache__' not in path.parts}


def test_the_wheel_holds_the_library_alone(built):
  names = set(zipfile.ZipFile(built[0]).namelist())
  information = f'mlsd_jax-{mlsd_jax.__version__}.dist-info'
  assert {name for name in names if not name.startswith(f'{information}/')} == _files_of('mlsd_jax')
  assert {'mlsd_jax/py.typed', f'{information}/licenses/LICENSE'} <= names


def test_what_the_wheel_says_of_itself(built):
  with zipfile.ZipFile(built[0]) as wheel:
    text = wheel.read(f'mlsd_jax-{mlsd_jax.__version__}.dist-info/METADATA').decode()
  metadata = email.message_from_string(text)
  assert metadata['Version'] == mlsd_jax.__version__ == importlib.metadata.version('mlsd-jax')
  assert metadata['License-Expression'] == 'Apache-2.0'
  assert set(metadata['Requires-Python'].split(',')) == {'>=3.12', '<3.14'}
  samples = [line for line in metadata.get_all('Requires-Dist') if "extra == 'samples'" in line]
  assert len(samples) == len(PROJECT['project']['optional-dependencies']['samples']) == 3


def test_experiments_can_be_run_from_an_unpacked_sdist(built, tmp_path):
  with tarfile.open(built[1]) as archive:
    archive.extractall(tmp_path, filter='data')
  (root,) = tmp_path.iterdir()
  there = {str(path.relative_to(root)) for path in root.rglob('*') if path.is_file()}
  assert _files_of('mlsd_jax', 'experiments', 'configs', 'tests', 'benchmarks', 'docs', '.ci') <= there
  assert {'LICENSE', 'README.md', 'CHANGELOG.md', 'CONTRIBUTING.md', 'pyproject.toml'} <= there
  command = [sys.executable, '-P', '-c', 'import experiments.algorithms as a; print(a.__file__); a.main(["--help"])']
  done = subprocess.run(command, cwd=root, env={'PYTHONPATH': str(root)}, capture_output=True, text=True, check=True)
  assert done.stdout.startswith(str(root))
  assert 'configs: quickstart' in done.stdout


def _heavy_modules_after(code):
  """Which of the slow libraries a fresh interpreter has loaded once `code` has run."""
  heavy = ('jax', 'flax', 'optax', 'orbax', 'grain', 'tensorflow', 'tensorflow_datasets', 'matplotlib')
  code = f'import sys\n{code}\nprint([name for name in {heavy} if name in sys.modules])'
  done = subprocess.run([sys.executable, '-c', code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
  assert done.returncode == 0, done.stderr
  return done.stdout.splitlines()[-1]


@pytest.mark.parametrize('module', ['mlsd_jax', 'mlsd_jax.tokenizers', 'mlsd_jax.autograd', 'mlsd_jax.algorithms'])
def test_an_import_of_what_needs_no_jax_loads_none(module):
  assert _heavy_modules_after(f'import {module}') == '[]'


@pytest.mark.parametrize('name', ['algorithms', 'micrograd', 'tokenizer'])
def test_help_and_a_mistake_are_shown_without_jax(name):
  calls = 'assert main(["--help"]) == 0; assert main(["--config.no_such_key=1"]) == 2'
  assert _heavy_modules_after(f'from experiments.{name} import main; {calls}') == '[]'


def test_a_tokenizer_is_trained_without_jax(tmp_path):
  (tmp_path / 'text.txt').write_text('the cat sat on the mat, the rat sat on the cat. ' * 20)
  arguments = [
    f'--config.data.source={tmp_path / "text.txt"}',
    '--config.vocab_size=270',
    '--config.data.workers=1',
    f'--workdir={tmp_path / "run"}',
  ]
  loaded = _heavy_modules_after(f'from experiments.tokenizer import main; assert main({arguments!r}) == 0')
  assert loaded in ('[]', "['matplotlib']")  # which draws the curve


def test_several_processes_are_refused_where_there_is_one(tmp_path, capsys):
  from experiments import tokenizer

  assert tokenizer.main(['--num_processes=2', f'--workdir={tmp_path}']) == 2
  assert 'leave --num_processes out' in capsys.readouterr().err
