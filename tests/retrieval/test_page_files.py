"""Files of kinds that others made: their title, their text, and what a citation points at."""

import io
import json
import zipfile

import pypdf
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

from mlsd_jax.errors import UserError
from mlsd_jax.retrieval import page_files
from mlsd_jax.retrieval.chunking import plain_text
from mlsd_jax.retrieval.page import MARKDOWN, PLAIN
from mlsd_jax.retrieval.rst_text import rst_to_markdown


def read(path, name=''):
  lines = []
  return list(page_files.read_file(path, name or path.name, lines.append)), lines


def pdf(texts, title='', password=''):
  writer = pypdf.PdfWriter()
  named = lambda **entries: DictionaryObject({NameObject(f'/{name}'): value for name, value in entries.items()})
  for text in texts:
    page = writer.add_blank_page(200, 200)
    font = named(Type=NameObject('/Font'), Subtype=NameObject('/Type1'), BaseFont=NameObject('/Helvetica'))
    page[NameObject('/Resources')] = named(Font=named(F1=font))
    stream = DecodedStreamObject()
    stream.set_data(f'BT /F1 12 Tf 10 100 Td ({text}) Tj ET'.encode() if text else b'')
    page[NameObject('/Contents')] = writer._add_object(stream)
  if title:
    writer.add_metadata({'/Title': title})
  if password:
    writer.encrypt(password, algorithm='RC4-128')
  held = io.BytesIO()
  writer.write(held)
  return held.getvalue()


WORD = 'http://schemas.openxmlformats.org/wordprocessingml/2006/main'
CORE = (
  '<cp:coreProperties xmlns:cp="http://schemas.openxmlformats.org/package/2006/metadata/core-properties" '
  'xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>{}</dc:title></cp:coreProperties>'
)


def docx(path, paragraphs, title='', more=()):
  """A document of (style, text) paragraphs."""
  styled = lambda style: f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ''
  body = ''.join(f'<w:p>{styled(style)}<w:r><w:t>{text}</w:t></w:r></w:p>' for style, text in paragraphs)
  with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
    archive.writestr('word/document.xml', f'<w:document xmlns:w="{WORD}"><w:body>{body}</w:body></w:document>')
    if title:
      archive.writestr('docProps/core.xml', CORE.format(title))
    for name, content in more:
      archive.writestr(name, content)


def test_a_pdf_is_cited_by_page(tmp_path):
  path = tmp_path / 'guide.pdf'
  path.write_bytes(pdf(['First words', '', 'Last words'], 'The  Guide'))
  pages, lines = read(path, 'in/guide.pdf')
  assert [(page.id, page.title, page.text, page.folder, page.format) for page in pages] == [
    ('in/guide.pdf#page=1', 'The Guide', 'First words', 'in', PLAIN),
    ('in/guide.pdf#page=3', 'The Guide', 'Last words', 'in', PLAIN),
  ]
  assert len(lines) == 1
  assert 'no text on 1 of its 3 pages (2)' in lines[0]
  path.write_bytes(pdf(['Only words']))
  assert [(page.id, page.title) for page in read(path)[0]] == [('guide.pdf', 'guide')]


@pytest.mark.parametrize(
  ('content', 'why'),
  [
    (pdf(['', '']), 'has no text'),
    (pdf(['x'], password='secret'), 'asks for a password'),
    (pdf(['x'])[:200], 'cannot be read as PDF'),
    (b'', 'cannot be read as PDF'),
  ],
)
def test_a_pdf_that_cannot_be_read_is_one_line(tmp_path, content, why):
  (tmp_path / 'a.pdf').write_bytes(content)
  with pytest.raises(UserError, match=why) as caught:
    read(tmp_path / 'a.pdf')
  assert '\n' not in str(caught.value)


def test_a_document_of_words_headings_and_a_title(tmp_path):
  path = tmp_path / 'a.docx'
  docx(path, [('Heading1', 'Top'), ('', 'Some words.'), ('Heading2', 'Below')])
  ((page,), lines) = read(path)
  assert (page.id, page.title, page.format) == ('a.docx', 'Top', MARKDOWN)
  assert page.text == '# Top\n\nSome words.\n\n## Below\n'
  assert not lines
  docx(path, [('', 'Some words.')], title='Of its properties')
  assert read(path)[0][0].title == 'Of its properties'
  docx(path, [])
  with pytest.raises(page_files.NoTextError, match='has no text'):
    read(path)


def test_a_document_that_unpacks_to_too_much_is_not_unpacked(tmp_path, monkeypatch):
  docx(tmp_path / 'a.docx', [('', 'x')], more=[('word/media/bomb.bin', bytes(2_000_000))])
  monkeypatch.setattr('mlsd_jax.reading.text.check_archive.__defaults__', (1_000_000,))
  monkeypatch.setattr(zipfile.ZipFile, 'read', lambda *_: pytest.fail('it was unpacked'))
  with pytest.raises(UserError, match='unpacks to 2 MB; at most 1 are read'):
    read(tmp_path / 'a.docx')
  (tmp_path / 'a.docx').write_bytes((tmp_path / 'a.docx').read_bytes()[:-30])
  with pytest.raises(UserError, match='cannot be unpacked'):
    read(tmp_path / 'a.docx')


CELLS = [
  {'cell_type': 'markdown', 'source': ['# A note\n', 'Words.']},
  {'cell_type': 'code', 'source': 'x = 1  # ```', 'outputs': [{'text': 'hidden'}]},
  {'cell_type': 'raw', 'source': 'As it is'},
  {'cell_type': 'code', 'source': []},
]
WRITTEN = '# A note\nWords.\n\n````R\nx = 1  # ```\n````\n\nAs it is\n'


def test_a_notebook_is_its_cells(tmp_path):
  path = tmp_path / 'a.ipynb'
  about = {'kernelspec': {'name': 'ir', 'language': 'R'}}
  path.write_text(json.dumps({'nbformat': 4, 'metadata': about, 'cells': CELLS}))
  ((page,), _) = read(path)
  assert (page.title, page.text, page.format) == ('A note', WRITTEN, MARKDOWN)
  old = [dict(cell) for cell in CELLS]
  old[0] = {'cell_type': 'heading', 'level': 2, 'source': 'Below'}
  old[1]['input'] = old[1].pop('source')
  path.write_text(json.dumps({'nbformat': 3, 'metadata': {'name': ''}, 'worksheets': [{'cells': old}]}))
  ((page,), _) = read(path)
  assert page.text == '## Below\n\n````python\nx = 1  # ```\n````\n\nAs it is\n'
  assert page.title == 'a'


RST = """
.. _start:

The *Title*
===========

See :func:`~os.path.join`, :ref:`the start <start>` and ``code < here``.

.. function:: copy(src, dst)
   :noindex:

   Copies *things*, :pep:`8`.

   .. versionadded:: 3.2

      With an option.

.. code-block:: python
   :emphasize-lines: 1
   :caption: A caption

   def f():
       return 1

.. include:: /etc/passwd

.. toctree::

   hidden/page

Below
-----

+---+
| a |
+--+

A `broken
"""


def test_restructured_text_keeps_the_words_of_what_only_sphinx_knows(tmp_path):
  (tmp_path / 'a.rst').write_text(RST)
  ((page,), lines) = read(tmp_path / 'a.rst')
  assert (page.id, page.title, page.format) == ('a.rst', 'The Title', MARKDOWN)
  for words in ('os.path.join, the start and code', 'copy(src, dst)', 'Copies things', '3.2', 'With an option.'):
    assert words in page.text
  for words in ('```\ndef f():\n    return 1\n```', '## Below', '| a |'):
    assert words in page.text
  assert 'A `broken' in plain_text(page.text, page.format)  # the text has it escaped, so that it opens no code
  for words in ('root:', 'System Message', 'No directive', 'hidden/page', ':func:'):
    assert words not in page.text
  assert not lines


@given(st.text('.:`*_=-|+\\\n abc<>[]', max_size=80))
def test_any_text_is_restructured_text(text):
  title, body = rst_to_markdown(text, 'a.rst')
  assert isinstance(title, str)
  assert 'System Message' not in body


def test_asciidoc_is_text_with_a_title(tmp_path):
  (tmp_path / 'a.adoc').write_text('= The Title\n\nWords.\n')
  ((page,), _) = read(tmp_path / 'a.adoc')
  assert (page.title, page.text, page.format) == ('The Title', '= The Title\n\nWords.\n', PLAIN)


@pytest.mark.parametrize(
  ('front', 'called'),
  [
    ('title: First\nother: x\ntitle: Last\n', 'Last'),
    ('Title: First\n"title": Last\n', 'First'),
    ('title: Part 1: begin\ntitle: Last\n', 'Last'),
  ],
)
def test_a_second_title_in_the_front_matter_is_told(tmp_path, front, called):
  path = tmp_path / 'a.md'
  path.write_text(f'---\n{front}---\nBody\n')
  (page,), lines = read(path)
  assert page.title == called
  assert lines == [f'{path}: the front matter has 2 titles; the page is called {called!r}']


@pytest.mark.parametrize(
  'text',
  [
    '---\ntitle: One\nimage:\n  title: Of the image\n---\ntitle: two\ntitle: three\n',
    '+++\ntitle = "One"\n[image]\ntitle = "Of the image"\n+++\nBody\n',
    'title: One\ntitle: Two\n',
  ],
)
def test_titles_of_other_things_are_none_of_the_page(tmp_path, text):
  (tmp_path / 'a.md').write_text(text)
  assert read(tmp_path / 'a.md')[1] == []
