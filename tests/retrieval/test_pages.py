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
  assert not warnings
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
    ('a.jsonl', b'{"text": "fine"}\n{"title": "x"}\n', "line 2: no text under 'text'"),
    ('a.jsonl', b'{"text": \n', 'line 1: not JSON'),
    ('a.jsonl', b'[1]\n', 'line 1: a JSON list'),
    ('a.jsonl.gz', b'not gzip', 'cannot be read'),
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
  (tmp_path / 'empty.md').write_text(' \n')
  with pytest.raises(UserError, match='holds no page'):
    read(tmp_path)
  with pytest.raises(UserError, match='no corpus'):
    read(tmp_path / 'missing')


def test_ids_that_collide_are_an_error(tmp_path):
  (tmp_path / 'rows.jsonl').write_text('{"id": "a", "text": "x"}\n{"id": "a", "text": "y"}\n')
  with pytest.raises(UserError, match="two pages have the id 'a'"):
    read(tmp_path)


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
