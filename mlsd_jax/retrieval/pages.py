"""The pages of a corpus: a built-in collection, a file, or a folder (page_files.py reads the files)."""

import dataclasses
import pathlib
import re
from collections.abc import Callable, Iterator

from mlsd_jax import reading
from mlsd_jax.data import fetch, python_docs
from mlsd_jax.errors import UserError
from mlsd_jax.printable import printable
from mlsd_jax.retrieval.page import MARKDOWN, MAX_BYTES, PLAIN, Page
from mlsd_jax.retrieval.page_files import SUFFIXES, NoTextError, markdown_title, read_file, read_text
from mlsd_jax.retrieval.rows import read_rows
from mlsd_jax.tokenizers.base import well_formed

__all__ = ['MARKDOWN', 'MAX_BYTES', 'PLAIN', 'SUFFIXES', 'Page', 'markdown_title', 'read_pages', 'read_text']

_VMWARE = fetch.RemoteFile(
  'vmware_docs.jsonl.gz', '', 'ff6176caf166b753d3439deb06cacb9fc0167ff3610f2bea26ac2e0d46756812'
)


def read_pages(spec: str, warn: Callable[[str], None]) -> Iterator[Page]:
  """The pages of a corpus, in the same order each time, each id once; a lone surrogate in them becomes U+FFFD.

  Args:
    spec: 'python_docs', 'vmware_docs', a file, or a folder (read recursively; what begins with a dot is left out).
    warn: gets a line for every file and link that is left out, one for the rows of a file that are, and one that counts
      by suffix the files of other kinds.

  Raises:
    UserError: there is no such corpus, it holds no page, two pages share an id, or a given file cannot be read.
  """
  seen: dict[str, int] = {}
  for number, read in enumerate(_read(spec, warn), 1):
    page = Page(*map(well_formed, dataclasses.astuple(read)))
    if page.id in seen:
      raise UserError(
        f'{spec}: two pages have the id {page.id!r}, the page {number} ({page.title[:60]!r}) and the page '
        f'{seen[page.id]} before it; ids must be unique'
      )
    seen[page.id] = number
    yield page
  if not seen:
    raise UserError(f'{spec} holds no page; files ending in {", ".join(SUFFIXES)} are read')


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
      yield from read_file(path, path.name, warn)
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
  yield from read_rows(path, path.name, print)


def _folder(root: pathlib.Path, warn: Callable[[str], None]) -> Iterator[Page]:
  others: list[str] = []
  empty: list[str] = []
  for path, name in reading.files_below(root, warn):
    if not path.name.lower().endswith(SUFFIXES):
      others.append(name)
      continue
    try:
      yield from read_file(path, name, warn)
    except NoTextError:
      empty.append(printable(name))
    except UserError as error:
      warn(f'left out: {printable(str(error))}')
  if empty:
    some = ', '.join(empty[:5]) + (', ...' if len(empty) > 5 else '')
    warn(f'left out, as they have no text: {len(empty):,} ({some})')
  if others:
    warn(f'left out, as their kind is not read: {reading.by_suffix(others)}')
