"""Pages: the documents of a corpus, read from Markdown, HTML, text and JSONL files or from a built-in collection."""

import dataclasses
import gzip
import hashlib
import json
import pathlib
import re
import zlib
from collections.abc import Callable, Iterator

from mlsd_jax.data import fetch, python_docs
from mlsd_jax.errors import UserError
from mlsd_jax.retrieval.html_text import html_to_markdown
from mlsd_jax.tokenizers.base import well_formed

MARKDOWN, PLAIN = 'markdown', 'plain'
_FORMATS = {
  '.md': MARKDOWN,
  '.markdown': MARKDOWN,
  '.mdx': MARKDOWN,
  '.erb': MARKDOWN,
  '.txt': PLAIN,
  '.text': PLAIN,
  '.rst': PLAIN,
  '.html': 'html',
  '.htm': 'html',
  '.xhtml': 'html',
}
_ROWS = ('.jsonl', '.jsonl.gz')
SUFFIXES = (*_FORMATS, *_ROWS)

MAX_BYTES = 16 * 2**20  # of a page: what is longer is no page but a log or a dump


@dataclasses.dataclass(frozen=True)
class Page:
  """A document.

  Attributes:
    id: unique in its corpus; for a file its path below the folder.
    title: what a reader would call it.
    text: as it was written; of HTML, the text in it as Markdown. Character spans refer to this.
    folder: what it is filed under, for filters and colours.
    format: MARKDOWN or PLAIN.
    context: what the page is part of, in a sentence; embedded with each of its chunks.
  """

  id: str
  title: str
  text: str
  folder: str = ''
  format: str = PLAIN
  context: str = ''

  @property
  def digest(self) -> str:
    """Changes when anything of the page does."""
    fields = '\0'.join((self.id, self.title, self.folder, self.format, self.context, self.text))
    return hashlib.sha256(fields.encode('utf-8', 'surrogatepass')).hexdigest()


_VMWARE = fetch.RemoteFile(
  'vmware_docs.jsonl.gz', '', 'ff6176caf166b753d3439deb06cacb9fc0167ff3610f2bea26ac2e0d46756812'
)


def read_pages(spec: str, warn: Callable[[str], None]) -> Iterator[Page]:
  """The pages of a corpus, in the same order each time, each id once; a lone surrogate in them becomes U+FFFD.

  Args:
    spec: 'python_docs', 'vmware_docs', a file, or a folder (read recursively, hidden files left out).
    warn: gets one line for every file that cannot be read as text and is left out.

  Raises:
    UserError: there is no such corpus, it holds no page, two pages share an id, or a given file cannot be read.
  """
  seen: set[str] = set()
  for read in _read(spec, warn):
    page = Page(*map(well_formed, dataclasses.astuple(read)))
    if page.id in seen:
      raise UserError(f'{spec}: two pages have the id {page.id!r}; ids must be unique')
    if page.text.strip():
      seen.add(page.id)
      yield page
  if not seen:
    raise UserError(f'{spec} holds no page with text; files ending in {", ".join(SUFFIXES)} are read')


def _read(spec: str, warn: Callable[[str], None]) -> Iterator[Page]:
  if spec == 'python_docs':
    yield from _python_docs()
  elif spec == 'vmware_docs':
    yield from _vmware_docs()
  else:
    path = pathlib.Path(spec)
    if path.is_dir():
      yield from _folder(path, warn)
    elif path.is_file():
      yield from _file(path, path.name)
    else:
      raise UserError(f'no corpus {spec!r}: neither python_docs, vmware_docs, nor a file or folder here')


def _python_docs() -> Iterator[Page]:
  """Functions and classes with what their module or class is for: `shutil.copy2` says nothing of files by itself."""
  documents = list(python_docs.documents())
  purposes = {document.title: _first_sentence(document.title, document.text) for document in documents}
  for document in documents:
    title = document.title
    folder = 'help' if title.startswith('help(') else title.split('.')[0]
    parent = title.rpartition('.')[0]
    while parent and parent not in purposes:
      parent = parent.rpartition('.')[0]
    yield Page(title, title, document.text, folder, context=purposes.get(parent, ''))


def _first_sentence(title: str, text: str) -> str:
  head, _, rest = text.partition('\n\n')
  body = rest if head.startswith(title) else text
  return ' '.join(re.split(r'(?<=[.!?])\s|\n\s*\n', body.strip(), maxsplit=1)[0].split())[:200]


def _vmware_docs() -> Iterator[Page]:
  path = fetch.locate('vmware_docs', _VMWARE.name)
  if path is None:
    raise UserError(
      "corpus vmware_docs is not on this machine: put its rows, collected from each row's repository, into "
      f'$MLSD_DATA_DIR/vmware_docs/{_VMWARE.name}'
    )
  fetch.check(path, _VMWARE)
  yield from _rows(path)


def _folder(root: pathlib.Path, warn: Callable[[str], None]) -> Iterator[Page]:
  for path in sorted(root.rglob('*')):
    name = path.relative_to(root).as_posix()
    if (
      not path.is_file() or not path.name.lower().endswith(SUFFIXES) or any(p.startswith('.') for p in name.split('/'))
    ):
      continue
    try:
      yield from _file(path, name)
    except UserError as error:
      warn(f'left out: {error}')


def _file(path: pathlib.Path, name: str) -> Iterator[Page]:
  if path.name.lower().endswith(_ROWS):
    yield from _rows(path)
    return
  text = read_text(path)
  kind = _FORMATS.get(path.suffix.lower(), PLAIN)
  folder = name.rpartition('/')[0]
  if kind == 'html':
    title, text = html_to_markdown(text)
    yield Page(name, title or path.stem, text, folder, MARKDOWN)
  else:
    title = markdown_title(text) if kind == MARKDOWN else ''
    yield Page(name, title or path.stem, text, folder, kind)


def read_text(path: pathlib.Path) -> str:
  """A UTF-8 text file with line ends as newlines, without a byte-order mark.

  Raises:
    UserError: it cannot be read, is no text, is not UTF-8, or is larger than MAX_BYTES.
  """
  try:
    if path.stat().st_size > MAX_BYTES:
      raise UserError(f'{path} is too long for a page ({_megabytes(path.stat().st_size)})')
    content = path.read_bytes()
  except OSError as error:
    raise UserError(f'cannot read {path}: {error.strerror}') from error
  if b'\0' in content[:8192]:
    raise UserError(f'{path} is a binary file, not text')
  try:
    text = content.decode('utf-8-sig')
  except UnicodeDecodeError as error:
    raise UserError(
      f'{path} is not UTF-8 text (byte 0x{content[error.start]:02x} at {error.start}); convert it to UTF-8'
    ) from error
  return text.replace('\r\n', '\n').replace('\r', '\n')


def _megabytes(size: int) -> str:
  return f'{size / 2**20:.0f} MB; at most {MAX_BYTES / 2**20:.0f} are read'


def markdown_title(text: str) -> str:
  """The title of a Markdown text: of its front matter, else its first heading; '' if it has neither."""
  head = text[:4000]
  front = re.match(r'---\s*\n(.*?)\n---\s*\n', head, re.DOTALL)
  found = re.search(r'^title:\s*(.+)$', front[1], re.MULTILINE) if front else None
  found = found or re.search(r'^#\s+(.+?)[ #]*$', head, re.MULTILINE)
  return found[1].strip().strip('"\'') if found else ''


def _rows(path: pathlib.Path) -> Iterator[Page]:
  """One JSON object a line: `text` or `contents` (BEIR's and Pyserini's names), and what there is of id and title."""
  opener = gzip.open if path.suffix == '.gz' else open
  try:
    with opener(path, 'rt', encoding='utf-8') as lines:
      for number, line in enumerate(lines, start=1):
        if line.strip():
          yield _row(line, f'{path}, line {number}', f'{path.name}:{number}')
  except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
    raise UserError(f'{path} cannot be read: {error}') from error


def _row(line: str, where: str, default_id: str) -> Page:
  try:
    row = json.loads(line)
  except json.JSONDecodeError as error:
    raise UserError(f'{where}: not JSON ({error.msg})') from error
  if not isinstance(row, dict):
    raise UserError(f'{where}: a JSON {type(row).__name__}, not an object')
  text = next((row[key] for key in ('text', 'contents', 'body') if isinstance(row.get(key), str)), None)
  if text is None:
    raise UserError(f"{where}: no text under 'text', 'contents' or 'body' (the row has {', '.join(map(repr, row))})")
  if len(text) > MAX_BYTES:
    raise UserError(f'{where}: the text is too long for a page ({_megabytes(len(text))})')
  id_ = next((str(row[key]) for key in ('_id', 'id', 'docid') if row.get(key) not in (None, '')), default_id)
  path = row.get('path')
  folder = str(row.get('repo') or row.get('folder') or '')
  format_ = MARKDOWN if isinstance(path, str) and _FORMATS.get(pathlib.PurePath(path).suffix) == MARKDOWN else PLAIN
  return Page(id_, str(row.get('title') or ''), text, folder, format_)
