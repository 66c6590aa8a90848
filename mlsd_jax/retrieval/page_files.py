"""Pages out of files: Markdown, HTML, text, reStructuredText, notebooks, DOCX, PDF, and rows of JSONL or tables."""

import pathlib
import re
from collections.abc import Callable, Iterator

from mlsd_jax import reading
from mlsd_jax.errors import UserError
from mlsd_jax.retrieval import foreign_text, rows, rst_text
from mlsd_jax.retrieval.html_text import html_to_markdown
from mlsd_jax.retrieval.markdown import read_markdown
from mlsd_jax.retrieval.page import MARKDOWN, MAX_BYTES, PLAIN, Page

_PLAIN = ('.txt', '.text', '.adoc', '.asciidoc')
_MARKDOWN = ('.md', '.markdown', '.mdx', '.erb')
_HTML = ('.html', '.htm', '.xhtml')
SUFFIXES = (*_MARKDOWN, *_HTML, *_PLAIN, '.rst', '.ipynb', '.docx', '.pdf', *rows.SUFFIXES)
# Of files that are named as text and are none, though they may hold no byte that is not of text.
_FOREIGN = {b'%PDF-': '.pdf', b'PK\x03\x04': '.docx or the like', b'{\\rtf': '.rtf'}
_ARCHIVES = ('.zip', '.tar', '.tar.gz', '.tgz', '.tar.xz', '.tar.bz2', '.7z', '.rar')


class NoTextError(UserError):
  """A file that says nothing: neither a title nor a text."""


def read_file(path: pathlib.Path, name: str, warn: Callable[[str], None]) -> Iterator[Page]:
  """The page of a file, or the pages: of rows, and of a PDF, which is cited by page.

  Args:
    name: of the file below the corpus; the page's id, or what it begins with.
    warn: gets a line for what of it is left out.

  Raises:
    NoTextError: there is nothing in it.
    UserError: it cannot be read, is damaged, is of a kind that is not read, or is too long.
  """
  lower = path.name.lower()
  suffix = path.suffix.lower()
  if lower.endswith(rows.SUFFIXES):
    yield from rows.read_rows(path, name, warn)
  elif suffix == '.pdf':
    yield from _pdf(path, name, warn)
  elif suffix in SUFFIXES:
    title, text, kind = _read(path, suffix, warn)
    if len(text) > MAX_BYTES:
      raise UserError(f'{path} is too long for a page ({reading.megabytes(len(text), MAX_BYTES)})')
    if not text.strip() and not title.strip():
      raise NoTextError(f'{path} has no text')
    yield Page(name, title or path.stem, text, name.rpartition('/')[0], kind)
  else:
    kinds = ', '.join(suffix for suffix in SUFFIXES if not suffix.endswith('.gz'))
    if lower.endswith(_ARCHIVES):
      raise UserError(f'{path} is an archive: unpack it and name the folder')
    raise UserError(f'{path} is of a kind that is not read; its name must end in one of {kinds} (.txt: as it is)')


def _read(path: pathlib.Path, suffix: str, warn: Callable[[str], None]) -> tuple[str, str, str]:
  """Title ('' if it has none), text and format."""
  if suffix == '.docx':
    return *foreign_text.docx(path), MARKDOWN
  text = read_text(path)
  if suffix in _HTML:
    return *html_to_markdown(text), MARKDOWN
  if suffix == '.ipynb':
    return *foreign_text.notebook(text, str(path), markdown_title), MARKDOWN
  if suffix == '.rst':
    return *rst_text.rst_to_markdown(text, str(path)), MARKDOWN
  if suffix in _MARKDOWN:
    read = read_markdown(text)
    if read.front_titles > 1:
      warn(f'{path}: the front matter has {read.front_titles} titles; the page is called {read.title!r}')
    return read.title, text, MARKDOWN
  heading = re.match(r'\s*= (\S.*)', text) if suffix in ('.adoc', '.asciidoc') else None
  return heading[1].strip() if heading else '', text, PLAIN


def _pdf(path: pathlib.Path, name: str, warn: Callable[[str], None]) -> Iterator[Page]:
  """A page for each page, of the document's title; '#page=3' is how a browser is told to open the third."""
  title, texts = foreign_text.pdf(path)
  empty = [number for number, text in enumerate(texts, start=1) if not text.strip()]
  if len(empty) == len(texts):
    raise UserError(f'{path} has no text, only pictures of it at best; text recognition would have to write it first')
  if empty:
    some = ', '.join(map(str, empty[:8])) + (', ...' if len(empty) > 8 else '')
    warn(f'left out: {path} has no text on {len(empty):,} of its {len(texts):,} pages ({some})')
  for number, text in enumerate(texts, start=1):
    if text.strip():
      id_ = name if len(texts) == 1 else f'{name}#page={number}'
      yield Page(id_, title or path.stem, text, name.rpartition('/')[0])


def read_text(path: pathlib.Path) -> str:
  """A text file, in UTF-8 or as its byte-order mark says, with line ends as newlines.

  Raises:
    UserError: it cannot be read, is no text, is in another encoding, or is larger than MAX_BYTES.
  """
  with reading.opened(path) as file:
    content = file.read(MAX_BYTES + 1)
  if len(content) > MAX_BYTES:
    raise UserError(f'{path} is too long for a page ({reading.megabytes(path.stat().st_size, MAX_BYTES)})')
  foreign = next((suffix for mark, suffix in _FOREIGN.items() if content.startswith(mark)), None)
  if foreign:
    raise UserError(f'{path} is not the text that its name says, but {foreign}; name it so')
  return reading.decode(content, str(path))


def markdown_title(text: str) -> str:
  """The title of a Markdown text: of its front matter, else its first heading of level 1; '' if it has neither."""
  return read_markdown(text).title
