"""Environments of the peers, made once and kept in the cache folder."""

import hashlib
import pathlib
import shutil
import subprocess

from mlsd_jax import files
from mlsd_jax.errors import UserError
from mlsd_jax.folders import cache_folder

ENVIRONMENTS = {
  'torch': ('torch==2.13.0', 'transformers>=5.20', 'sentence-transformers>=5'),
  'search': ('torch==2.13.0', 'sentence-transformers>=5', 'bm25s', 'PyStemmer'),
}
WHOLE = 'whole'  # a file that stands in an environment once everything is installed


def environment(name: str, print_line) -> pathlib.Path:
  """The interpreter of a peer's environment, which is made if it is not there.

  Raises:
    UserError: uv is not there, or a package cannot be had.
  """
  packages = ENVIRONMENTS[name]
  key = hashlib.sha256(' '.join(packages).encode()).hexdigest()[:8]
  folder = cache_folder() / 'peers' / f'{name}-{key}'
  python = folder / 'bin' / 'python'
  if (folder / WHOLE).exists():
    return python
  uv = require_uv()
  print_line(f'making the environment of {name}: {", ".join(packages)}')
  shutil.rmtree(folder, ignore_errors=True)  # one whose making was cut off
  _run([uv, 'venv', '--quiet', str(folder)], name)
  _run([uv, 'pip', 'install', '--quiet', '--python', str(python), *packages], name)
  files.write_text(folder / WHOLE, '\n'.join(packages) + '\n')
  return python


def require_uv() -> str:
  """Where uv is.

  Raises:
    UserError: it is not on PATH.
  """
  uv = shutil.which('uv')
  if uv is None:
    raise UserError('uv is not on PATH: pip install uv, or give --peer_python, an interpreter with the packages')
  return uv


def _run(command: list[str], name: str) -> None:
  ended = subprocess.run(command, capture_output=True, text=True)
  if ended.returncode:
    last = (ended.stderr.strip() or ended.stdout.strip() or f'exit code {ended.returncode}').splitlines()[-1]
    raise UserError(f'the environment of {name} could not be made: {last.strip()}')
