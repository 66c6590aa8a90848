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
