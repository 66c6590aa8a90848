"""A folder with a little data of every kind, for runs that end in seconds (tiny_runs.py)."""

import pathlib

import pytest

from mlsd_jax.encoder.training import fresh_encoder
from mlsd_jax.models import bert
from mlsd_jax.tokenizers.wordpiece import WordPieceTokenizer
from mlsd_jax.training import devices


@pytest.fixture
def folder(tmp_path, monkeypatch):
  monkeypatch.setattr(devices, 'configure_backend', lambda **_: None)
  monkeypatch.chdir(tmp_path)
  lines = [f'{i} green bottles hanging on the wall, and if {i % 7} should fall.' for i in range(300)]
  pathlib.Path('song.txt').write_text('\n'.join(lines))
  syllables = ['ma', 'lo', 'ri', 'ten']
  pathlib.Path('rivers.txt').write_text('\n'.join(a + b + c for a in syllables for b in syllables for c in syllables))
  same = 'import sys\nprint(*sys.argv[1:], sys.stdin.read() if len(sys.argv) < 2 else "")\n'
  pathlib.Path('same.py').write_text(same)
  pathlib.Path('samples').mkdir()
  pathlib.Path('samples', '1.in').write_text('2\n')
  pathlib.Path('samples', '1.out').write_text('2\n')
  return tmp_path


@pytest.fixture
def pages(folder):
  docs = folder / 'docs'
  docs.mkdir()
  subjects = ['copy all the files of a folder', 'unpack compressed archives', 'send mail', 'parse dates', 'sort a list']
  for subject in subjects:
    text = f'How to {subject} is what this page says, in a few words and with some examples of it. '
    parts = [f'\n## Part {i} on how to {subject}\n\n{text * 2} This is part {i}.\n' for i in range(5)]
    (docs / f'{subject.split()[0]}.md').write_text(f'# How to {subject}\n' + ''.join(parts))
  pieces = WordPieceTokenizer.train([path.read_text() for path in docs.iterdir()], 200)
  small = bert.BertConfig(
    vocab_size=pieces.vocab_size, context_length=64, num_layers=1, num_heads=1, embed_dim=8, mlp_dim=8
  )
  fresh_encoder('small', small, pieces).save(folder / 'small')
