"""What has changed since a generation of a corpus was built: a log beside it, of pages that came, changed and went.

A record is one update, whole or not at all (sealed/append_log.py): the ids of pages that are gone or no longer as they
were, and what is there instead, cut, with its vectors. A reader puts them together (store.py); a build that has too
much to log, or that finds the log grown long, writes a new generation.
"""

import dataclasses
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from mlsd_jax.ann.journal import Journal
from mlsd_jax.errors import UserError
from mlsd_jax.retrieval.chunking import Chunk
from mlsd_jax.retrieval.page import Page

LOG = 'changes.log'


@dataclasses.dataclass(frozen=True)
class Changes:
  """Pages that are removed, and pages that are added; a page that was changed is both.

  Attributes:
    removed: ids.
    pages, digests: those that are added, in this order behind all that are kept.
    chunks: of each of them.
    ids: int64 [C] of their chunks, one page's after another's.
    vectors: float32 [C, D].
    signatures: uint32 [pages, hashes], for near duplicates.
  """

  removed: Sequence[str]
  pages: Sequence[Page]
  digests: Sequence[str]
  chunks: Sequence[Sequence[Chunk]]
  ids: np.ndarray
  vectors: np.ndarray
  signatures: np.ndarray


def append(generation: pathlib.Path, changes: Changes) -> None:
  """Writes one update to the disk, whole or not at all.

  Raises:
    UserError: the disk is full, or the folder cannot be written.
  """
  path = generation / LOG
  log = Journal(path) if path.exists() else Journal.create(path)
  for _ in log.records():  # so that what a killed process left behind the last whole record is cut off
    pass
  note = {
    'removed': list(changes.removed),
    'pages': [dataclasses.astuple(page) for page in changes.pages],
    'digests': list(changes.digests),
    'chunks': [[dataclasses.astuple(chunk) for chunk in own] for own in changes.chunks],
  }
  log.append(note, {'ids': changes.ids, 'vectors': changes.vectors, 'signatures': changes.signatures})


def read(generation: pathlib.Path) -> list[Changes]:
  """All updates, in their order.

  Raises:
    UserError: a record is damaged, named by its place.
  """
  return [_parsed(*record) for record in _records(generation / LOG)]


def damage(generation: pathlib.Path) -> str | None:
  """What is wrong with the log, naming the place; None if it is whole or there is none."""
  try:
    for _ in _records(generation / LOG):
      pass
  except UserError as error:
    return str(error)
  return None


def size(generation: pathlib.Path) -> int:
  """Bytes of the log: another number after each update."""
  return _size(generation / LOG)


def _records(path: pathlib.Path) -> Iterator[Any]:
  return Journal(path).records() if _size(path) else iter(())


def _size(path: pathlib.Path) -> int:
  return path.stat().st_size if path.exists() else 0


def _parsed(note: dict[str, Any], arrays: dict[str, np.ndarray]) -> Changes:
  return Changes(
    note['removed'],
    [Page(*fields) for fields in note['pages']],
    note['digests'],
    [[Chunk(start, end, tuple(headings)) for start, end, headings in own] for own in note['chunks']],
    arrays['ids'],
    arrays['vectors'],
    arrays['signatures'],
  )
