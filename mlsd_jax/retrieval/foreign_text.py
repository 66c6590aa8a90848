"""The text in files that hold more than text: PDF (through pypdf), DOCX (through mammoth), Jupyter's notebooks."""

import contextlib
import itertools
import logging
import pathlib
import re
import xml.etree.ElementTree
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

from mlsd_jax import reading
from mlsd_jax.errors import UserError
from mlsd_jax.retrieval.html_text import html_to_markdown

_STYLES = "p[style-name='Title'] => h1:fresh\np[style-name='Subtitle'] => p:fresh"
_CORE_TITLE = '{http://purl.org/dc/elements/1.1/}title'


def pdf(path: pathlib.Path) -> tuple[str, list[str]]:
  """(title, or '', and the text of each page).

  Raises:
    UserError: it is damaged, asks for a password, or is too large.
  """
  import pypdf

  if path.stat().st_size > reading.FILE_BYTES:
    raise UserError(f'{path} is too long: {reading.megabytes(path.stat().st_size, reading.FILE_BYTES)}')
  with _one_line(path, 'PDF'), _quiet('pypdf'):
    reader = pypdf.PdfReader(path)
    if reader.is_encrypted and not reader.decrypt(''):
      raise UserError(f'{path} asks for a password')
    title = str((reader.metadata and reader.metadata.title) or '').strip()
    return ' '.join(title.split()), [reading.newlines(page.extract_text()) for page in reader.pages]


def docx(path: pathlib.Path) -> tuple[str, str]:
  """(title, or '', and the text as Markdown). Pictures are left out.

  Raises:
    UserError: it is damaged, or unpacks to too much.
  """
  import mammoth

  no_picture = mammoth.images.img_element(lambda _: {})
  with _one_line(path, 'DOCX'):
    reading.check_archive(path, str(path))
    with zipfile.ZipFile(path) as archive:
      names = set(archive.namelist())
      core = archive.read('docProps/core.xml') if 'docProps/core.xml' in names else b'<none/>'
    with path.open('rb') as file:
      page = mammoth.convert_to_html(file, convert_image=no_picture, style_map=_STYLES).value
    heading, text = html_to_markdown(page)
    named = xml.etree.ElementTree.fromstring(core).findtext(_CORE_TITLE) or ''
    return ' '.join(named.split()) or heading, text


def notebook(content: str, what: str, title_of: Callable[[str], str]) -> tuple[str, str]:
  """(title, or '', and the cells as Markdown, code in fences). What the code had printed is left out.

  Args:
    content: of a file of Jupyter's format 3 or 4.
    title_of: the title of a Markdown text.

  Raises:
    UserError: it is no notebook.
  """
  made = reading.parse_json(content, what, unique=True)
  sheets = made.get('worksheets', [made]) if isinstance(made, dict) else []
  found = (
    [sheet.get('cells') if isinstance(sheet, dict) else None for sheet in sheets] if isinstance(sheets, list) else []
  )
  if not found or not all(isinstance(cells, list) for cells in found):
    raise UserError(f'{what} is no notebook: it has no list of cells')
  cells = itertools.chain.from_iterable(part for part in found if part is not None)
  about = told if isinstance(told := made.get('metadata'), dict) else {}
  kernel, info = (part if isinstance(part := about.get(name), dict) else {} for name in ('kernelspec', 'language_info'))
  language = re.sub(r'[^\w+#-]', '', str(info.get('name') or kernel.get('language') or 'python'))
  parts = [part for cell in cells if (part := _cell(cell, language, what)).strip()]
  text = '\n\n'.join(parts) + '\n' if parts else ''
  return str(about.get('title') or '') or title_of(text), text


def _cell(cell: Any, language: str, what: str) -> str:
  source = (cell.get('source', cell.get('input')) or '') if isinstance(cell, dict) else None
  source = ''.join(map(str, source)) if isinstance(source, list) else source
  if not isinstance(source, str):
    raise UserError(f'{what} is no notebook: a cell is no object with a text')
  source = reading.newlines(source).strip('\n')
  if cell.get('cell_type') == 'heading':  # of format 3
    level = cell.get('level')
    return f'{"#" * (level if level in range(1, 7) else 1)} {source}'
  if cell.get('cell_type') != 'code' or not source.strip():
    return source
  fence = '`' * max(3, 1 + max((len(run) for run in re.findall('`+', source)), default=0))
  return f'{fence}{language}\n{source}\n{fence}'


@contextlib.contextmanager
def _one_line(path: pathlib.Path, kind: str) -> Iterator[None]:
  """Whatever a library raises about a damaged file, and each has its own, becomes the one error that names it."""
  try:
    yield
  except UserError:
    raise
  except Exception as error:
    said = ' '.join(str(error).split())[:200] or type(error).__name__
    raise UserError(f'{path} cannot be read as {kind}: {said}') from error


@contextlib.contextmanager
def _quiet(name: str) -> Iterator[None]:
  """Without a library's remarks on each oddity of a file."""
  logger = logging.getLogger(name)
  level = logger.level
  logger.setLevel(logging.CRITICAL)
  try:
    yield
  finally:
    logger.setLevel(level)
