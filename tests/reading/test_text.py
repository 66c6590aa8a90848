"""Text in every encoding, lines of any length, and what is packed: read in bounded memory, or named."""

import codecs
import gzip
import tracemalloc
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsd_jax import reading
from mlsd_jax.errors import UserError

ENCODINGS = {
  'utf-8': b'',
  'utf-8-sig': b'',
  'utf-16-le': codecs.BOM_UTF16_LE,
  'utf-16-be': codecs.BOM_UTF16_BE,
  'utf-32-le': codecs.BOM_UTF32_LE,
  'utf-32-be': codecs.BOM_UTF32_BE,
}
TEXTS = st.text(st.characters(codec='utf-8', exclude_characters='\0\r\ufeff'), min_size=1)


@given(st.lists(TEXTS), st.sampled_from(list(ENCODINGS)), st.sampled_from(['\n', '\r\n', '\r']))
def test_lines_are_the_same_in_every_encoding_and_with_every_line_end(tmp_path_factory, parts, encoding, end):
  path = tmp_path_factory.mktemp('lines') / 'a.txt'
  path.write_bytes(ENCODINGS[encoding] + end.join(part.replace('\n', end) for part in parts).encode(encoding))
  wanted = '\n'.join(parts).split('\n') if parts else []
  wanted = wanted[:-1] if wanted and not wanted[-1] else wanted
  assert [line.decode() for _, line in reading.lines(path)] == wanted
  assert reading.read_text(path) == '\n'.join(parts)


@pytest.mark.parametrize('name', ['a.jsonl', 'a.jsonl.gz', 'utf16.jsonl'])
def test_a_line_without_end_is_passed_over_and_not_held(tmp_path, name):
  long = b'{"text": "' + b'x' * 8_000_000 + b'"}'
  content = b'{"a": 1}\n' + long + b'\r\n{"b": 2}\n'
  content = '\ufeff'.encode('utf-16-le') + content.decode().encode('utf-16-le') if 'utf16' in name else content
  (tmp_path / name).write_bytes(gzip.compress(content, 1) if name.endswith('.gz') else content)
  del long, content
  tracemalloc.start()
  first, second, third = reading.lines(tmp_path / name, most=2**18)
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert (first, third) == ((1, b'{"a": 1}'), (3, b'{"b": 2}'))
  assert 'line 2: longer than' in str(second[1])
  assert peak < 6 * 2**20


@pytest.mark.parametrize('length', [9, 10, 11, 12, 13, 25])
@pytest.mark.parametrize('end', [b'\n', b'\r\n', b''])
def test_the_longest_line_that_is_read(tmp_path, length, end):
  (tmp_path / 'a').write_bytes(b'x' * length + end)
  ((number, line),) = reading.lines(tmp_path / 'a', most=10)
  assert number == 1
  assert (line == b'x' * length) == (length <= 10)
  assert isinstance(line, UserError) == (length > 10)


@pytest.mark.parametrize('encoding', ['utf-16-le', 'utf-16-be'])
def test_utf16_without_a_mark_is_told_from_a_binary_file(encoding):
  with pytest.raises(UserError, match=f'looks like {encoding.upper()} without a byte-order mark'):
    reading.decode('some words'.encode(encoding), 'a.txt')
  with pytest.raises(UserError, match=r'a\.txt is a binary file'):
    reading.decode(bytes(range(256)), 'a.txt')


@pytest.mark.parametrize(
  ('name', 'content', 'why'),
  [
    ('none', None, 'no such file'),
    ('a.gz', b'not packed', 'is damaged'),
    ('a.gz', gzip.compress(b'x' * 99, mtime=0)[:-9], 'is damaged'),
    ('a.txt', b'\xff\xfe' + b'x' * 9, 'is not UTF-16-LE text'),
    ('a.txt', b'x\xff', 'is not UTF-8 text \\(byte 0xff at 1\\)'),
    ('a.txt', b'x' * 1001, 'is too long'),
  ],
)
def test_what_cannot_be_read_is_one_line(tmp_path, name, content, why):
  if content is not None:
    (tmp_path / name).write_bytes(content)
  with pytest.raises(UserError, match=why):
    reading.read_text(tmp_path / name, most=1000)
  with pytest.raises(UserError, match='cannot read'):
    reading.read_text(tmp_path)


@pytest.mark.parametrize('size', [0, 999, 1000, 1001, 10_000_000])
def test_what_is_unpacked_is_held_up_to_a_limit(tmp_path, size):
  packed = gzip.compress(bytes(size))
  (tmp_path / 'a.gz').write_bytes(packed)
  for source in (packed, tmp_path / 'a.gz'):
    if size <= 1000:
      assert reading.unpack(source, 'a.gz', 1000) == bytes(size)
    else:
      with pytest.raises(UserError, match=r'a\.gz \(.* bytes\) unpacks to more than'):
        reading.unpack(source, 'a.gz', 1000)
  for damaged in (packed[:-5], b'words'):
    with pytest.raises(UserError, match=r'a\.gz is damaged'):
      reading.unpack(damaged, 'a.gz', 10**8)


def test_what_an_archive_says_that_it_unpacks_to(tmp_path):
  with zipfile.ZipFile(tmp_path / 'a.zip', 'w', zipfile.ZIP_DEFLATED) as archive:
    for name in 'ab':
      archive.writestr(name, bytes(600_000))
  for source in (tmp_path / 'a.zip', (tmp_path / 'a.zip').read_bytes()):
    reading.check_archive(source, 'a.zip', 1_200_000)
    reading.check_archive(source, 'a.zip', None)
    with pytest.raises(UserError, match=r'a\.zip \(.* bytes\) unpacks to 1 MB'):
      reading.check_archive(source, 'a.zip', 1_199_999)
