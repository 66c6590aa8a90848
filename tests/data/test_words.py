"""Lists of words and their batches."""

import random

import pytest

from mlsd_jax.data import words
from mlsd_jax.errors import UserError

LIST = words.WordList.split('few', ['ab', 'abc', 'b', 'ca', 'cab', 'bac', 'a', 'bb', 'cc', 'aa'])


def test_a_word_is_its_characters_between_boundaries():
  encoded = LIST.encode(['b', 'cab'])
  assert encoded['tokens'].tolist() == [[0, 2, 0, 0, 0], [0, 3, 1, 2, 0]]
  assert encoded['weights'].tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]
  assert [LIST.decode(row[1:].tolist()) for row in encoded['tokens']] == ['b', 'cab']


def test_splits_are_those_of_the_lectures():
  """Shuffled by random.seed(42), then cut at 80 and 90 percent."""
  listed = [f'w{i}' for i in range(1003)]
  shuffled = listed.copy()
  random.seed(42)
  random.shuffle(shuffled)
  split = words.WordList.split('x', listed)
  assert (list(split.train), list(split.val), list(split.test)) == (shuffled[:802], shuffled[802:902], shuffled[902:])
  tiny = words.WordList.split('x', ['a', 'b', 'c'])
  assert [len(part) for part in (tiny.train, tiny.val, tiny.test)] == [1, 1, 1]


def test_from_a_file(tmp_path):
  path = tmp_path / 'rivers.txt'
  path.write_text('\ufeff seine\n\nloire \r\nrhône\n', encoding='utf-8')
  assert words.load_words(str(path)) == ('rivers', ['seine', 'loire', 'rhône'])


def test_names_without_data_come_from_the_package(monkeypatch, tmp_path):
  def absent(*_):
    raise UserError('offline')

  monkeypatch.setattr(words.fetch, '_download', absent)
  monkeypatch.delenv('MLSD_DATA_DIR', raising=False)
  monkeypatch.setenv('MLSD_CACHE_DIR', str(tmp_path))
  name, listed = words.load_words('names')
  assert name == 'babynames'
  assert listed[:2] == ['emma', 'liam']
  assert len(set(listed)) == len(listed) > 20_000


def test_damaged_names_are_told_of(monkeypatch, tmp_path):
  (tmp_path / 'names').mkdir()
  (tmp_path / 'names' / 'names.txt').write_text('emma\n')
  monkeypatch.setenv('MLSD_DATA_DIR', str(tmp_path))
  with pytest.raises(UserError, match='damaged'):
    words.load_words('names')


def test_bad_lists_and_words(tmp_path):
  (tmp_path / 'empty.txt').write_text('\n \n')
  (tmp_path / 'bytes.txt').write_bytes(b'\xff\xfe\x00')
  for name, message in [('empty', 'holds no word'), ('bytes', 'cannot read'), ('absent', 'no list of words')]:
    with pytest.raises(UserError, match=message):
      words.load_words(str(tmp_path / f'{name}.txt'))
  with pytest.raises(UserError, match='one character'):
    words.WordList.split('x', ['a', 'aa', 'aaa'])
  with pytest.raises(UserError, match='at least three'):
    words.WordList.split('x', ['ab'])
  with pytest.raises(UserError, match="character 'z'"):
    LIST.encode(['az'])
  with pytest.raises(UserError, match='at most 3'):
    LIST.encode(['abca'])
