"""A folder that is replaced is there before and after, whatever happens in between."""

import pathlib
import subprocess
import sys

import pytest

from mlsd_jax import files
from mlsd_jax.data import hub
from mlsd_jax.errors import UserError

KILLED = """
import os, pathlib, sys
from mlsd_jax import files
rename = pathlib.Path.rename
pathlib.Path.rename = lambda self, target: os._exit(9) if self.name == 'new' else rename(self, target)
with files.atomic_folder(sys.argv[1]) as temporary:
  (temporary / 'text').write_text('new')
"""


@pytest.fixture
def folder(tmp_path) -> pathlib.Path:
  path = tmp_path / 'made'
  write(path, 'old')
  return path


def write(folder, text):
  with files.atomic_folder(folder) as temporary:
    (temporary / 'text').write_text(text)


def holds(folder, text):
  """Whether that is in `folder`, and nothing is left beside it."""
  return (folder / 'text').read_text() == text and list(folder.parent.iterdir()) == [folder]


def test_a_folder_takes_the_place_of_another(folder):
  assert holds(folder, 'old')
  write(folder, 'new')
  assert holds(folder, 'new')


@pytest.mark.parametrize('error', [OSError(28, 'No space left on device'), KeyboardInterrupt()])
def test_if_it_cannot_take_the_place_the_old_one_is_put_back(folder, monkeypatch, error):
  rename = pathlib.Path.rename

  def fails(self, target):
    if self.name == 'new':
      raise error
    return rename(self, target)

  with monkeypatch.context() as patch:
    patch.setattr(pathlib.Path, 'rename', fails)
    with pytest.raises((UserError, KeyboardInterrupt)):
      write(folder, 'new')
  assert holds(folder, 'old')


@pytest.mark.parametrize('then', ['written', 'read', 'failed'])
def test_what_a_killed_process_set_aside_comes_back(folder, then):
  assert subprocess.run([sys.executable, '-c', KILLED, folder]).returncode == 9
  assert not folder.exists()
  if then == 'read':
    assert (hub.model_folder(folder) / 'text').read_text() == 'old'
  elif then == 'written':
    write(folder, 'newer')
    assert (folder / 'text').read_text() == 'newer'
  else:
    with pytest.raises(ZeroDivisionError), files.atomic_folder(folder):
      raise ZeroDivisionError
    assert (folder / 'text').read_text() == 'old'
  assert not (folder.parent / '.made.old').exists()


def test_what_was_set_aside_never_replaces_what_stands_there(folder):
  (folder.parent / '.made.old').mkdir()  # as of a process killed just before it removed this
  files.restore_folder(folder)
  assert (folder / 'text').read_text() == 'old'
  write(folder, 'new')
  assert holds(folder, 'new')
