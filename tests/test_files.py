"""A folder that is replaced is there before and after, whatever happens in between."""

import math
import pathlib
import subprocess
import sys

import pytest

from mlsd_jax import files, sealed
from mlsd_jax.data import hub
from mlsd_jax.errors import UserError

KILLED = """
import os, pathlib, sys
from mlsd_jax import files, sealed
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


@pytest.mark.parametrize('bad', [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_never_written_as_json(tmp_path, bad):
  path = tmp_path / 'x.json'
  for write in (files.write_json, sealed.write_json, lambda path, value: files.write_json_lines(path, [{}, value])):
    with pytest.raises(UserError, match=rf'x.json is not written: losses.1.val is {bad}, and JSON has no such number'):
      write(path, {'losses': [1.0, {'val': bad}]})
    assert not path.exists()


def test_all_json_that_is_kept_comes_from_one_writer():
  """Elsewhere JSON is hashed, or passes between processes or over the network."""
  root = pathlib.Path(__file__).parents[1]
  hashed = {'bpe.py', 'wordpiece.py', 'unigram.py', 'json_files.py', 'named_tokenizer.py', 'prepared_dataset.py'}
  hashed |= {'python_docs.py', 'sources.py', 'prepare.py', 'tokenizer.py', 'distributed.py', 'journal.py', 'files.py'}
  hashed |= {'completions.py', 'chat_template.py', 'parts.py', 'sentencepiece.py', 'tokens.py', 'tuning.py'}
  paths = [*(root / 'mlsd_jax').rglob('*.py'), *(root / 'experiments').rglob('*.py')]
  found = {path.name for path in paths if 'algorithms' not in path.parts and 'json.dump' in path.read_text()}
  assert found <= hashed
