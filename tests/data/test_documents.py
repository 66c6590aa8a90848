import gzip
import io
import json
import tarfile

import polars
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsd_jax.data import documents
from mlsd_jax.data.documents import Document, pieces, read_files, read_tar
from mlsd_jax.errors import UserError


@given(text=st.text('aé🙂\n\r ', max_size=200), size=st.integers(1, 50))
def test_pieces_join_to_the_text_with_newlines_and_only_the_first_opens_it(text: str, size: int):
  before = documents.PIECE_CHARACTERS
  documents.PIECE_CHARACTERS = size
  try:
    parts = list(pieces('title', io.BytesIO(text.encode()), 'file'))
  finally:
    documents.PIECE_CHARACTERS = before
  assert ''.join(part.text for part in parts) == text.replace('\r\n', '\n').replace('\r', '\n')
  assert [part.continued for part in parts] == [i > 0 for i in range(len(parts))]
  assert all(part.text for part in parts)
  assert all(len(part.text) <= 3 * size + 3 for part in parts)


def test_a_byte_order_mark_goes(tmp_path):
  (tmp_path / 'a.txt').write_bytes('\ufeffone\r\ntwo'.encode())
  assert list(read_files([tmp_path / 'a.txt'], '')) == [Document('a', 'one\ntwo')]


@pytest.mark.parametrize('size', [1, 3, 4, 5, 100])
@pytest.mark.parametrize(('data', 'position'), [(b'ab\xffcd', 2), ('é漢'.encode() + b'\xe6\xbc', 5), (b'\x80', 0)])
def test_bytes_that_are_not_utf8_are_named_with_their_position(size: int, data: bytes, position: int, monkeypatch):
  monkeypatch.setattr(documents, 'PIECE_CHARACTERS', size)
  with pytest.raises(UserError, match=rf'old\.txt is not UTF-8 text \(byte 0x{data[position]:02x} at {position}\)'):
    list(pieces('t', io.BytesIO(data), 'old.txt'))


def test_rows_of_all_formats_are_documents_in_order(tmp_path):
  rows = [{'text': 'one', 'title': 'first'}, {'text': 'zwei é', 'id': 7}, {'text': 'drei\ud83d'}]
  lines = '\n\n'.join(map(json.dumps, rows)).encode()
  (tmp_path / 'a.jsonl').write_bytes(lines)
  (tmp_path / 'b.jsonl.gz').write_bytes(gzip.compress(lines))
  polars.DataFrame({'text': ['one', None, 'zwei é'], 'other': [1, 2, 3]}).write_parquet(tmp_path / 'c.parquet')
  (tmp_path / 'd.md').write_text('')
  found = list(read_files(sorted(tmp_path.iterdir()), 'text'))
  titles = ['first', '7', 'a.jsonl:5', 'first', '7', 'b.jsonl.gz:5', 'c:0', 'c:2']
  assert [document.title for document in found] == titles
  assert [document.text for document in found[:3]] == [row['text'] for row in rows]
  assert found[3:6] == [Document(title, document.text) for title, document in zip(titles[3:6], found[:3], strict=True)]
  assert [document.text for document in found[6:]] == ['one', 'zwei é']


@pytest.mark.parametrize(
  ('name', 'data', 'message'),
  [
    ('a.jsonl', b'{"text": "x"}\n{"body": "y"}', "a.jsonl, line 2: no text under 'text' \\(the row has 'body'\\)"),
    ('a.jsonl', b'{"text": 3}', "line 1: no text under 'text'"),
    ('a.jsonl', b'{"text": "x"}\n{"text"', 'line 2: not JSON'),
    ('a.jsonl', b'{"text": "x"}\n["text"]', 'line 2: a JSON list, not an object'),
    ('a.jsonl', b'{"text": "\xff"}', 'line 1: not UTF-8'),
    ('a.jsonl.gz', gzip.compress(b'{"text": "x"}', mtime=0)[:-4], 'a.jsonl.gz is damaged'),
    ('a.jsonl.gz', b'{"text": "x"}', 'a.jsonl.gz is damaged'),
    ('a.parquet', b'PAR1 no PAR1', 'a.parquet is damaged'),
  ],
)
def test_a_bad_row_or_file_is_named(name: str, data: bytes, message: str, tmp_path):
  (tmp_path / name).write_bytes(data)
  with pytest.raises(UserError, match=message):
    list(read_files([tmp_path / name], 'text'))


@pytest.mark.parametrize('name', ['a.txt', 'a.jsonl', 'a.parquet'])
def test_a_missing_file_is_named(name: str, tmp_path):
  with pytest.raises(UserError, match=name):
    list(read_files([tmp_path / name], 'text'))


def test_a_row_group_that_unpacks_to_too_much_is_named(tmp_path, monkeypatch):
  polars.DataFrame({'text': ['x' * 5000]}).write_parquet(tmp_path / 'a.parquet')
  monkeypatch.setattr(documents, '_GROUP_BYTES', 5000)
  with pytest.raises(UserError, match='row group 0 is too large'):
    list(read_files([tmp_path / 'a.parquet'], 'text'))


ENCODINGS = ['utf-8-sig', 'utf-16', 'utf-32']


@pytest.mark.parametrize('encoding', ENCODINGS)
def test_text_and_rows_in_every_encoding_with_a_mark(tmp_path, encoding):
  (tmp_path / 'a.txt').write_bytes('wié\r\ngeht'.encode(encoding))
  (tmp_path / 'b.jsonl').write_bytes('{"text": "wié"}\r\n\r\n{"text": null}\r\n'.encode(encoding))
  found = list(read_files(sorted(tmp_path.iterdir()), 'text'))
  assert found == [Document('a', 'wié\ngeht'), Document('b.jsonl:1', 'wié')]


def test_utf16_without_a_mark_is_named(tmp_path):
  (tmp_path / 'a.txt').write_bytes('some words'.encode('utf-16-le'))
  with pytest.raises(UserError, match='UTF-16-LE without a byte-order mark'):
    list(read_files([tmp_path / 'a.txt'], 'text'))


def test_a_column_that_is_absent_or_no_text_is_named(tmp_path):
  polars.DataFrame({'content': ['x'], 'number': [1]}).write_parquet(tmp_path / 'a.parquet')
  with pytest.raises(UserError, match="no column 'text' \\(it has 'content', 'number'\\)"):
    list(read_files([tmp_path / 'a.parquet'], 'text'))
  with pytest.raises(UserError, match="'number' holds int, not text"):
    list(read_files([tmp_path / 'a.parquet'], 'number'))


@pytest.mark.parametrize('mode', ['w:xz', 'w:gz'])
def test_wanted_members_of_an_archive_are_read(mode: str, tmp_path):
  path = tmp_path / 'a.tar'
  with tarfile.open(path, mode) as archive:
    for name, text in (('in/b.txt', 'B\r\n'), ('in/a.txt', 'Ä'), ('out/c.txt', 'C')):
      member = tarfile.TarInfo(name)
      member.size = len(text.encode())
      archive.addfile(member, io.BytesIO(text.encode()))
  wanted = lambda name: name.startswith('in/')
  assert list(read_tar(path, wanted)) == [Document('b', 'B\n'), Document('a', 'Ä')]
  path.write_bytes(path.read_bytes()[:60])
  with pytest.raises(UserError, match=r'a\.tar is damaged'):
    list(read_tar(path, wanted))
