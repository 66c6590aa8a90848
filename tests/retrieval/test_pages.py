"""Files of every kind become pages; bad ones are named in one line and cost nothing else."""

import gzip
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsd_jax.errors import UserError
from mlsd_jax.retrieval.html_text import html_to_markdown
from mlsd_jax.retrieval.pages import MARKDOWN, MAX_BYTES, markdown_title, read_pages, read_text


def read(folder):
  warnings = []
  return list(read_pages(str(folder), warnings.append)), warnings


def test_a_folder_of_all_formats(tmp_path):
  (tmp_path / 'guide').mkdir()
  (tmp_path / 'guide' / 'start.md').write_text('---\ntitle: "Start here"\n---\n\nFirst steps.\n')
  (tmp_path / 'guide' / 'more.md').write_text('# More of it #\n\nSecond steps.\n')
  (tmp_path / 'page.html').write_text('<html><head><title>A page</title></head><body><h1>Top</h1><p>Text.</p></body>')
  (tmp_path / 'note.txt').write_bytes(b'\xef\xbb\xbfA note.\r\nTwo lines.\r\n')
  with gzip.open(tmp_path / 'rows.jsonl.gz', 'wt') as file:
    file.write(json.dumps({'_id': 7, 'title': 'Row', 'text': 'Body'}) + '\n\n' + json.dumps({'contents': 'Other'}))
  (tmp_path / 'picture.png').write_bytes(b'\x89PNG')
  (tmp_path / '.hidden.md').write_text('not this')
  pages, warnings = read(tmp_path)
  assert warnings == ['left out, as their kind is not read: 1 .png']
  found = {page.id: page for page in pages}
  assert set(found) == {'guide/start.md', 'guide/more.md', 'page.html', 'note.txt', '7', 'rows.jsonl.gz:3'}
  assert found['guide/start.md'].title == 'Start here'
  assert found['guide/start.md'].folder == 'guide'
  assert found['guide/more.md'].title == 'More of it'
  assert found['page.html'].title == 'A page'
  assert found['page.html'].text == '# Top\n\nText.\n'
  assert found['page.html'].format == MARKDOWN
  assert found['note.txt'].text == 'A note.\nTwo lines.\n'
  assert found['7'].text == 'Body'


@pytest.mark.parametrize(
  ('name', 'content', 'why'),
  [
    ('a.txt', b'\0\1\2binary', 'binary'),
    ('a.md', 'zażółć'.encode('iso-8859-2'), 'not UTF-8'),
    ('a.txt', b'x' * (MAX_BYTES + 1), 'too long for a page'),
    ('a.jsonl', b'\n{"title": "x"}\n', "line 2: no text under 'text'"),
    ('a.jsonl', b'{"id": [1], "text": "x"}\n', "line 1: 'id' is a JSON list"),
    ('a.jsonl', b'{"id": 1.5, "text": "x"}\n', "line 1: 'id' is a JSON float"),
    ('a.jsonl', b'{"id": true, "text": "x"}\n', "line 1: 'id' is a JSON bool"),
    ('a.jsonl', b'{"title": {}, "text": "x"}\n', "line 1: 'title' is a JSON dict"),
    ('a.jsonl', b'{"folder": [], "text": "x"}\n', "line 1: 'folder' is a JSON list"),
    ('a.jsonl', b'{"text": ["x"]}\n', "line 1: 'text' is a JSON list"),
    ('a.jsonl', b'{"text": null}\n', 'line 1: neither a title nor a text'),
    ('a.jsonl', b'{"text": "x", "text": "y"}\n', "line 1: the key 'text' is there twice"),
    ('a.jsonl', b'[' * 200_000, 'line 1: nested more than'),
    ('a.csv', b'a,b\n1,2\n', "its first line names no column 'text'"),
    ('a.csv', b'text,text\n1,2\n', "names the column 'text' twice"),
    ('a.csv', b'id,text\n1,2,3\n', 'line 2: 3 fields, and the first line has 2'),
    ('a.csv', b'id,text\n1,"x\n', 'cannot be read as a table'),
    ('a.md', 'words'.encode('utf-16-le'), 'UTF-16-LE without a byte-order mark'),
    ('a.txt', b'%PDF-1.4 words', 'is not the text that its name says, but .pdf'),
    ('a.pdf', b'%PDF-1.4 words', 'cannot be read as PDF'),
    ('a.docx', b'words', 'cannot be unpacked'),
    ('a.ipynb', b'{"a": 1}', 'is no notebook'),
    ('a.ipynb', b'{"cells": [3]}', 'is no notebook'),
    ('a.ipynb', b'{"cells": {"a": 1}}', 'is no notebook'),
    ('a.ipynb', b'{"cells": [{"source": 3}]}', 'is no notebook'),
    ('a.ipynb', b'{"worksheets": 7}', 'is no notebook'),
    ('a.ipynb', b'# words', 'not JSON'),
    ('a.jsonl', b'{"text": \n', 'line 1: not JSON'),
    ('a.jsonl', b'[1]\n', 'line 1: a JSON list'),
    ('a.jsonl.gz', b'not gzip', 'is damaged'),
    ('a.jsonl', b'{"text": "' + b'x' * (MAX_BYTES + 1) + b'"}', 'too long for a page'),
  ],
)
def test_a_bad_file_is_left_out_of_a_folder_and_an_error_by_itself(tmp_path, name, content, why):
  (tmp_path / name).write_bytes(content)
  (tmp_path / 'good.txt').write_text('good words')
  pages, warnings = read(tmp_path)
  assert 'good.txt' in [page.id for page in pages]
  assert len(warnings) == 1
  assert why in warnings[0]
  assert '\n' not in warnings[0]
  with pytest.raises(UserError, match=why):
    list(read_pages(str(tmp_path / name), print))


def test_a_corpus_without_a_page_is_an_error(tmp_path):
  with pytest.raises(UserError, match='holds no page'):
    read(tmp_path)
  for name in ('empty.md', 'none.txt', 'bare.html'):
    (tmp_path / name).write_text(' \n')
  lines = []
  with pytest.raises(UserError, match='holds no page'):
    list(read_pages(str(tmp_path), lines.append))
  assert lines == ['left out, as they have no text: 3 (bare.html, empty.md, none.txt)']
  with pytest.raises(UserError, match='has no text'):
    read(tmp_path / 'empty.md')
  with pytest.raises(UserError, match='no corpus'):
    read(tmp_path / 'missing')


def test_ids_that_collide_are_an_error(tmp_path):
  (tmp_path / 'rows.jsonl').write_text('{"id": "a", "text": "x"}\n{"id": "a", "text": "y"}\n')
  with pytest.raises(UserError, match=r"two pages have the id 'a', the page 2 \(.*\) and the page 1"):
    read(tmp_path)


ROWS = [{'_id': 'a', 'text': 'words'}, {'_id': 7, 'title': 'T', 'text': None}, {'_id': 'c c', 'title': 'T', 'text': ''}]


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16', 'utf-32'])
@pytest.mark.parametrize('end', ['\n', '\r\n', '\n\n'])
@pytest.mark.parametrize('name', ['rows.jsonl', 'rows.jsonl.gz', 'ROWS.JSONL'])
def test_rows_of_any_encoding_and_pages_of_a_title_alone(tmp_path, encoding, end, name):
  content = (end.join(map(json.dumps, ROWS)) + end).encode(encoding)
  (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith('.gz') else content)
  for place in (tmp_path, tmp_path / name):
    pages, warnings = read(place)
    assert [(page.id, page.title, page.text) for page in pages] == [
      ('a', '', 'words'),
      ('7', 'T', ''),
      ('c c', 'T', ''),
    ]
    assert not warnings


@given(st.lists(st.sampled_from(['{"id": %d, "text": "x"}', '{', '[]', '{"text": 3}', '"\xff"', '']), max_size=9))
def test_good_rows_are_read_whatever_stands_between_them(tmp_path_factory, lines):
  path = tmp_path_factory.mktemp('rows') / 'rows.jsonl'
  path.write_bytes('\n'.join(line % i if '%' in line else line for i, line in enumerate(lines)).encode('latin-1'))
  good = [str(i) for i, line in enumerate(lines) if '%' in line]
  bad = [i for i, line in enumerate(lines, start=1) if line and '%' not in line]
  if not good:
    with pytest.raises(UserError, match=f'line {bad[0]}:' if bad else 'holds no page'):
      read(path)
    return
  pages, warnings = read(path)
  assert [page.id for page in pages] == good
  assert len(warnings) == bool(bad)
  if bad:
    assert all(f'line {number}: ' in warnings[0] for number in bad[:3])
    assert (f'; {len(bad) - 3} more rows' in warnings[0]) == (len(bad) > 3)


def test_a_line_that_unpacks_to_too_much_costs_only_itself(tmp_path, monkeypatch):
  monkeypatch.setattr('mlsd_jax.reading.text.LINE_BYTES', 1000)
  monkeypatch.setattr('mlsd_jax.reading.text.lines.__defaults__', (1000,))
  rows = b'{"id": 1, "text": "x"}\n{"text": "' + b' ' * 10_000_000 + b'"}\n{"id": 3, "text": "x"}\n'
  (tmp_path / 'rows.jsonl.gz').write_bytes(gzip.compress(rows))
  pages, warnings = read(tmp_path)
  assert [page.id for page in pages] == ['1', '3']
  assert 'line 2: longer than' in warnings[0]


def test_ids_of_rows_without_one_are_of_their_file_and_line(tmp_path):
  for folder in ('one', 'two'):
    (tmp_path / folder).mkdir()
    (tmp_path / folder / 'rows.jsonl').write_text('{"text": "x"}\n{"text": "y", "folder": "own"}\n')
  pages, _ = read(tmp_path)
  assert [page.id for page in pages] == ['one/rows.jsonl:1', 'one/rows.jsonl:2', 'two/rows.jsonl:1', 'two/rows.jsonl:2']
  assert [page.folder for page in pages] == ['one', 'own', 'two', 'own']


@pytest.mark.parametrize(
  ('name', 'content'),
  [
    ('a.csv', 'id,title,text\n1,T,"a, ""b""\nc"\n\n2,U,\n'),
    ('a.csv', 'id;title;text\n1;T;"a, ""b""\nc"\n2;U;\n'),
    ('a.csv.gz', 'text,id,title\n"a, ""b""\nc",1,T\n,2,U\n'),
    ('a.tsv', 'id\ttitle\ttext\n1\tT\ta, "b"\n2\tU\t\n'),
  ],
)
def test_tables_of_pages(tmp_path, name, content):
  content = content.replace('\n', '\r\n').encode('utf-8-sig')
  (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith('.gz') else content)
  pages, warnings = read(tmp_path)
  wanted = 'a, "b"' if 'tsv' in name else 'a, "b"\nc'
  assert [(page.id, page.title, page.text) for page in pages] == [('1', 'T', wanted), ('2', 'U', '')]
  assert not warnings


def test_what_is_left_out_is_told(tmp_path):
  for name in ('a.py', 'b.py', 'c.ts', 'Makefile', 'd.PNG', 'good.md'):
    (tmp_path / name).write_text('words')
  (tmp_path / 'out.md').symlink_to('/etc/passwd')
  pages, warnings = read(tmp_path)
  assert [page.id for page in pages] == ['good.md']
  assert len(warnings) == 2
  assert 'out.md is a link that leads out' in warnings[0]
  assert warnings[1] == 'left out, as their kind is not read: 2 .py, 1 without a suffix, 1 .ts, 1 .png'
  for name in ('a.py', 'Makefile', 'd.PNG'):
    with pytest.raises(UserError, match='is of a kind that is not read'):
      read(tmp_path / name)


def test_python_docs_are_pages():
  pages, _ = read('python_docs')
  found = {page.id: page for page in pages}
  assert found['shutil.copy2'].folder == 'shutil'
  assert 'metadata' in found['shutil.copy2'].text
  assert len(pages) > 3000


def test_html_keeps_what_is_read_and_drops_the_rest():
  title, text = html_to_markdown(
    '<!doctype html><title> The\n title </title><style>p{}</style><nav>menu</nav><h2>Head &amp; more</h2>'
    '<p>One <b>bold</b>\n word.<p>Two<br>lines<ul><li>a<li>b</ul><pre>def f():\n    return 1</pre>'
    '<script>var x = "<p>no</p>";</script><table><tr><td>1<td>2</table>'
  )
  assert title == 'The title'
  words = '## Head & more One bold word. Two lines - a - b ``` def f(): return 1 ``` 1 2'
  assert ' '.join(text.split()) == words
  assert '    return 1' in text


def test_the_title_of_a_picture_is_not_the_pages():
  picture = '<svg><title>icon</title><text>x</text></svg>'
  assert html_to_markdown(f'<p>{picture}</p><h1>Real</h1>')[0] == 'Real'
  assert html_to_markdown(f'{picture}<title>Page</title>')[0] == 'Page'


BOMBS = ('<div>', '<svg>', '</x>', '<p', '<!--', '&lt;', '<a title="', '<a ">', '<script>', '<pre>', '<', '<![CDATA[')


class Watched(str):
  """Text that counts the characters which searches in it look at."""

  looked_at = 0

  def find(self, part, start=0, end=None):
    found = super().find(part, start, end)
    self.looked_at += self._until(end) - start if found < 0 else found - start
    return found

  def count(self, part, start=0, end=None):
    self.looked_at += self._until(end) - start
    return super().count(part, start, end)

  def _until(self, end):
    return len(self) if end is None else min(end, len(self))


class WatchedPattern:
  """A pattern whose searches count the same way."""

  def __init__(self, pattern):
    self.pattern = pattern

  def search(self, text, start):
    found = self.pattern.search(text, start)
    text.looked_at += (found.start() if found else len(text)) - start
    return found


@pytest.mark.parametrize('bomb', BOMBS)
def test_html_bombs_are_read_in_linear_time_and_without_recursion(bomb, monkeypatch):
  compiled = re.compile
  pages = [Watched(f'<title>t</title>{bomb * number}') for number in (10_000, 40_000)]
  with monkeypatch.context() as patch:
    patch.setattr(re, 'compile', lambda *arguments: WatchedPattern(compiled(*arguments)))
    titles = [html_to_markdown(page)[0] for page in pages]
  assert titles == ['t', 't']
  short, long = (page.looked_at for page in pages)
  assert short > 0
  assert long < 6 * short  # where each mark is searched from to the end of the page it is 16 times


@given(st.text('<>/!-"= \nabp&;', max_size=60))
def test_any_text_is_html(text):
  title, body = html_to_markdown(f'<p>{text}')
  assert isinstance(title, str)
  assert body.endswith('\n')


def test_titles_of_markdown():
  assert markdown_title('no heading') == ''
  assert markdown_title('text\n\n# One\n\n# Two') == 'One'
  assert markdown_title("---\nlayout: x\ntitle:   'Quoted'\n---\n# Other") == 'Quoted'


def test_a_missing_file_is_one_line(tmp_path):
  with pytest.raises(UserError, match='cannot read'):
    read_text(tmp_path / 'none.txt')
