"""Markdown as CommonMark has it: code as it was written, prose without markup, titles that are titles."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from mlsd_jax.retrieval.chunking import ChunkConfig, chunk_text, cut
from mlsd_jax.retrieval.html_text import html_to_markdown
from mlsd_jax.retrieval.markdown import read_markdown
from mlsd_jax.retrieval.pages import MARKDOWN, Page

CODE = (
  '#include <stdio.h>',
  '# no title',
  'if (count<limit && limit>zero) return __init__;',
  'a = *b ** c  # [x](y) &lt; <!-- c -->',
  '<% erb %> {% raw %} | pipe |',
  '  indented  twice',
  '',
  '-----',
  '> quoted',
  '- item',
)
WRAPPED = {
  'backticks': lambda lines: ['```c', *lines, '```'],
  'tildes': lambda lines: ['~~~~ python title="x"', *lines, '```', '~~~', '~~~~'],
  'longer': lambda lines: ['`````', *lines, '```', '`````'],
  'indented': lambda lines: [f'    {line}'.rstrip() for line in lines],
  'unclosed': lambda lines: ['```', *lines],
  'in a list': lambda lines: ['- item', '', *(f'  {line}'.rstrip() for line in ['```', *lines, '```'])],
  'in a numbered list': lambda lines: ['1. item', '', *(f'   {line}'.rstrip() for line in ['~~~', *lines, '~~~'])],
  'in a quote': lambda lines: [f'> {line}' for line in ['```', *lines, '```']],
  'in a quoted list': lambda lines: ['> - item', '>', *(f'>   {line}' for line in ['```', *lines, '```'])],
}


@pytest.mark.parametrize('kind', WRAPPED)
def test_code_is_verbatim_for_all_who_read_it(kind):
  page = Page('id', 'Title', '\n'.join(['# Title', '', 'Words.', '', *WRAPPED[kind](CODE)]) + '\n', format=MARKDOWN)
  read = read_markdown(page.text)
  code = '\n'.join(CODE)
  assert read.title == 'Title'
  assert code in read.plain()
  for heading in (False, True):  # what is embedded, what BM25 counts
    assert code in chunk_text(
      page, cut(page, ChunkConfig(), lambda texts: [len(text) // 4 for text in texts])[0], heading=heading
    )
  ((start, end),) = read.code_spans()
  assert code in read.plain(start, end)


@pytest.mark.parametrize('kind', WRAPPED)
def test_every_line_of_code_is_verbatim_by_itself(kind):
  text = '\n'.join(WRAPPED[kind](CODE)) + '\n'
  read, at = read_markdown(text), 0
  for line in CODE:
    if line:
      start = text.index(line, at)
      assert read.plain(start, start + len(line)) == line
      at = start


@pytest.mark.parametrize(
  ('text', 'title'),
  [
    ('```sh\n# comment\n```\n\n# Real\n', 'Real'),
    ('~~~\n# comment\n~~~\n', ''),
    ('    # indented\n', ''),
    ('<!--\n# commented out\n-->\n\nReal\n====\n', 'Real'),
    ('<!-- # no --> text\n\n# Real #\n', 'Real'),
    ('<div>\n# within HTML\n</div>\n', ''),
    ('- ```\n  # in a list\n  ```\n', ''),
    ('# C#\n', 'C#'),
    ('# `__init__` and *more* [of](it) &amp; <b>x</b>\n', '__init__ and more of & x'),
    ('Two\nlines\n===\n', 'Two lines'),
    ('## Second level\n', ''),
    ('<h1 align="center">From <em>HTML</em> &amp; more</h1>\n', 'From HTML & more'),
    ('---\ntitle: >\n  Folded over\n  two lines\nlayout: x\n---\n# Other\n', 'Folded over two lines'),
    ('---\ntitle: >-\n  Folded\n---\n', 'Folded'),
    ('---\ntitle: |\n  Literal\n---\n', 'Literal'),
    ('---\ntitle: |+\n  Literal\n\n---\n', 'Literal'),
    ('---\ntitle: "Quoted: \\"so\\""\n---\n', 'Quoted: "so"'),
    ("---\ntitle: 'It''s'  # a comment\n---\n", "It's"),
    ('---\ntitle: plain # comment\n---\n', 'plain'),
    ('---\ntitle: 1.10\n---\n', '1.10'),
    ('---\ntitle: Part 1: the beginning\nx: y\n---\n', 'Part 1: the beginning'),
    ('---\nx: {{ broken\ntitle: >\n  Folded\n---\n', 'Folded'),
    ('---\r\ntitle: CRLF\r\n---\r\n', 'CRLF'),
    ('---\n# title: in a comment\nlayout: x\n---\n# Real\n', 'Real'),
    ('---\nouter:\n  title: of something else\n---\n# Real\n', 'Real'),
    ('---\ntitle: ends with dots\n...\n', 'ends with dots'),
    ('+++\ntitle = "TOML"\n+++\n', 'TOML'),
    ('---\n\nA paragraph between rules.\n\n---\n\n# Real\n', 'Real'),
    ('no heading', ''),
  ],
)
def test_titles(text, title):
  assert read_markdown(text).title == title


def test_front_matter_is_hidden_and_a_rule_is_not_front_matter():
  assert read_markdown('---\ntitle: T\n---\nBody').plain() == 'Body'
  assert read_markdown('---\n\nBetween rules.\n\n---\n\nBody').plain() == 'Between rules. Body'


INLINE = st.sampled_from(
  [
    'word', 'two words', '`code *a* <b> [x](y)`', '``a`b``', '**bold**', '*it*', '_it_', 'snake_case_name', '2 * 3',
    '[link](http://x/a_b "t")', '[a `]` b](u)', '![alt *x*](p.png)', '<http://auto.link/a_b>', '<b class="x">', '</b>',
    '&lt;', '&amp;amp;', '\\*kept\\*', '\\`', '[no link]', 'a[0][1]', 'x < y > z', '`open', '**open', '(', '__init__',
    '<!-- hidden -->', '&nosuch;', 'a*b*c', 'f(*args, **kwargs)', '*a **b** c*',
  ]
)  # fmt: skip
LINE = st.lists(INLINE, min_size=1, max_size=5).map(' '.join)
PREFIX = st.sampled_from(['', '', '> ', '- ', '# ', '## ', '    ', '> > ', '* ', '| '])
TEXT = st.lists(st.tuples(PREFIX, LINE).map(''.join) | st.sampled_from(['', '```', '~~~', '===', '---']), max_size=12)


def reference(text):
  """What markdown-it shows, without white space."""
  shown = []

  def walk(tokens):
    for token in tokens:
      if token.type in ('text', 'code_inline', 'fence', 'code_block', 'text_special'):
        shown.append(token.content)
      elif token.type == 'image' or (token.type == 'inline' and token.children):
        walk(token.children or [])
      elif token.type == 'html_block':
        shown.append(re.sub(r'<!--.*?-->|</?b[^>]*>', '', token.content).replace('&lt;', '<').replace('&amp;', '&'))

  walk(MarkdownIt('commonmark').enable('table').parse(text))
  return ''.join(''.join(shown).split())


@given(TEXT.map('\n'.join))
def test_prose_is_what_commonmark_shows(text):
  assert ''.join(read_markdown(text).plain().split()) == reference(text)


@given(TEXT.map('\n'.join), st.data())
def test_spans_of_blocks_make_up_the_whole(text, data):
  read = read_markdown(text)
  parts = [read.plain(block.start, block.end) for block in read.blocks]
  assert ''.join(''.join(parts).split()) == ''.join(read.plain().split())
  start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(text))] * 2)))
  read.plain(start, end)


@pytest.mark.parametrize(
  'bomb', ['<!--', '`', '[', '](', '*a_', '<a b="', '{%', '&', '> ', '- ', '``', '![', '\\', '|', '<a ']
)
def test_any_repetition_is_read(bomb):
  assert isinstance(read_markdown(f'{bomb * 5000}\n\n{f"{bomb}\n" * 500}').plain(), str)


def test_html_becomes_markdown_that_says_the_same():
  page = (
    '<p>a &lt;b&gt; <code>__init__</code> of <code>x`y</code>: __x__, 2*3*4, snake_case, &amp;lt; \\*'
    '<p># no heading<p>- no item<pre>\n# comment\n\n\n\n```\n  if a &lt; b:\n</pre>'
  )
  title, text = html_to_markdown(page)
  prose = 'a <b> __init__ of x`y: __x__, 2*3*4, snake_case, &lt; \\* # no heading - no item'
  assert title == ''
  assert read_markdown(text).plain() == f'{prose}\n# comment\n\n\n\n```\n  if a < b:'


def test_a_page_in_a_form_keeps_its_text():
  page = '<form><h1>Fares</h1><p>Two euros.<select><option>Afghanistan</select><input value=x></form><p>Free on Sunday.'
  title, text = html_to_markdown(page)
  assert title == 'Fares'
  assert read_markdown(text).plain().split() == ['Fares', 'Two', 'euros.', 'Free', 'on', 'Sunday.']
