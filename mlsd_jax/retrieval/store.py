"""A corpus on disk, ready to be searched: pages, chunks, BM25 and vector index, in one folder that changes at once.

    folder/generation-000003/             pages.arrow, chunks.arrow, bm25-pages/, bm25-chunks/, vectors/, signatures.npy
    folder/generation-000003/changes.log  what has changed since (changes.py)
    folder/generation-000003.sha256.json  what it was built with, and its checksums
    folder/current.json                   the generation that counts
    folder/embeddings/                    see embeddings.py; shared by the generations

Generations are versions (mlsd_jax/sealed/versions.py): a reader sees the old one or the new one, and a build that is
killed or finds the disk full leaves the old one as it was. A reader puts a generation and its log together.
"""

import dataclasses
import logging
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mlsd_jax.ann import Index
from mlsd_jax.encoder.encoder import Encoder
from mlsd_jax.errors import UserError
from mlsd_jax.retrieval import changes, near_duplicates
from mlsd_jax.retrieval.bm25 import BM25
from mlsd_jax.retrieval.chunking import Chunk, chunk_text, whole_text
from mlsd_jax.retrieval.page import Page
from mlsd_jax.sealed import Versions

_logger = logging.getLogger(__name__)
VERSION = 6  # of the files below, and of how texts become chunks and terms
PAGE_COLUMNS = ('id', 'title', 'text', 'folder', 'format', 'context')  # the fields of Page
VECTORS = 'vectors'  # an index, which checks its own files, and may be tuned where it is
TABLES = ('pages.arrow', 'chunks.arrow')
SIGNATURES = 'signatures.npy'  # of near duplicates, where they are grouped


@dataclasses.dataclass(frozen=True)
class _Added:
  """A page of the log that is there."""

  page: Page
  digest: str
  chunks: Sequence[Chunk]
  ids: np.ndarray
  vectors: np.ndarray
  signature: np.ndarray


class Store:
  """An opened generation. Chunks are known by their rows; those of a page lie side by side.

  Attributes:
    page_ids, titles, folders: of the pages, by row.
    starts: int64 [pages]: the row of each page's first chunk.
    owner: int32 [chunks]: the row of each chunk's page.
    groups: int32 [pages]: the first page of those that are nearly the same.
    bm25_pages, bm25_chunks: None for the second where every page is one chunk.
    vectors: the index over the chunks.
    manifest: what it was built with.
  """

  def __init__(self, folder: pathlib.Path, manifest: Mapping[str, Any], *, search: bool = True):
    """`search`: opens the indexes too, which one who only changes the corpus has no need of."""
    self.folder, self.manifest = folder, manifest
    self._pages, self._chunks = (_open_table(folder / name) for name in TABLES)
    before: list[str] = self._pages['id'].to_pylist()
    owner, ids = self._chunks['page'].to_numpy(), self._chunks['id'].to_numpy()
    self.log = changes.read(folder)
    there, self._added = _together(before, self.log)
    added = self._added
    self._kept = np.flatnonzero(there)  # rows of the generation's pages
    places = np.where(there, np.cumsum(there) - 1, -1)
    self._kept_chunks = np.flatnonzero(there[owner])
    of_kept = lambda name: [value for value, stays in zip(self._pages[name].to_pylist(), there, strict=True) if stays]
    self.page_ids: list[str] = [*of_kept('id'), *(each.page.id for each in added)]
    self.titles: list[str] = [*of_kept('title'), *(each.page.title for each in added)]
    self.folders: list[str] = [*of_kept('folder'), *(each.page.folder for each in added)]
    counts = [len(each.chunks) for each in added]
    more = np.repeat(np.arange(len(added)) + len(self._kept), np.array(counts, np.int64))
    self.owner = np.concatenate([places[owner[self._kept_chunks]], more]).astype(np.int32)
    self.starts = np.searchsorted(self.owner, np.arange(len(self.page_ids)))
    self.ids = np.concatenate([ids[self._kept_chunks], *(each.ids for each in added)])
    self._by_id = np.argsort(self.ids)
    self.groups = self._pages['group'].to_numpy() if not self.log else self._grouped()
    self.several = (folder / 'bm25-chunks').is_dir()
    if search:
      self._open_indexes(places, ids[~there[owner]])

  def _open_indexes(self, places: np.ndarray, gone: np.ndarray) -> None:
    added = self._added
    self.bm25_pages = BM25.open(self.folder / 'bm25-pages')
    self.bm25_chunks = BM25.open(self.folder / 'bm25-chunks') if self.several else None
    self.vectors = self.stored_vectors()
    self.vectors.load()  # two updates later the files are gone
    if not self.log:
      return
    self.bm25_pages = self.bm25_pages.changed(places, (whole_text(each.page) for each in added))
    if self.bm25_chunks is not None:
      owner = self._chunks['page'].to_numpy()
      kept = places[owner] >= 0
      lexical = (chunk_text(each.page, chunk, heading=True) for each in added for chunk in each.chunks)
      self.bm25_chunks = self.bm25_chunks.changed(np.where(kept, np.cumsum(kept) - 1, -1), lexical)
    self.vectors.detach()
    if len(gone):
      self.vectors.delete(gone)
    folders = [each.page.folder for each in added for _ in each.chunks]
    if folders:
      vectors, ids = (np.concatenate([getattr(each, name) for each in added]) for name in ('vectors', 'ids'))
      self.vectors.add(vectors, ids, metadata={'folder': folders})

  def _grouped(self) -> np.ndarray:
    if not (self.folder / SIGNATURES).exists():
      return np.arange(len(self.page_ids), dtype=np.int32)
    kept = np.load(self.folder / SIGNATURES, mmap_mode='r')[self._kept]
    signatures = np.concatenate([kept, *(each.signature[None] for each in self._added)])
    return near_duplicates.groups(signatures, threshold=self.manifest['config']['near_duplicate'])

  def stored_vectors(self) -> Index:
    """The index of the generation, which the log's changes are not made to; what is tuned is saved there."""
    return Index.open(self.folder / VECTORS, verify=False)  # `open_store` has

  def page(self, row: int) -> Page:
    """The page of a row, text and all."""
    if row >= len(self._kept):
      return self._added[row - len(self._kept)].page
    return Page(*(self._pages[name][int(self._kept[row])].as_py() for name in PAGE_COLUMNS))

  def chunk(self, row: int) -> Chunk:
    """The chunk of a row."""
    if row >= len(self._kept_chunks):
      page = int(self.owner[row])
      return self._added[page - len(self._kept)].chunks[row - int(self.starts[page])]
    kept = int(self._kept_chunks[row])
    start, end, headings = (self._chunks[name][kept].as_py() for name in ('start', 'end', 'headings'))
    return Chunk(start, end, tuple(headings))

  def chunk_text(self, row: int) -> str:
    """What was embedded of a chunk."""
    return chunk_text(self.page(int(self.owner[row])), self.chunk(row))

  def rows(self, ids: np.ndarray) -> np.ndarray:
    """The rows of chunks by their ids in the vector index."""
    return self._by_id[np.searchsorted(self.ids, ids, sorter=self._by_id)]

  def pages(self) -> list[Page]:
    """All pages."""
    return [self.page(row) for row in range(len(self.page_ids))]

  def page_vectors(self) -> np.ndarray:
    """float32 [pages, D]: the vector of each page's first chunk."""
    return self.vectors.vectors(self.ids[self.starts])

  def page_digests(self) -> list[str]:
    """Of each page what its `digest` was."""
    of_all = self._pages['digest'].to_pylist()
    return [*(of_all[row] for row in self._kept.tolist()), *(each.digest for each in self._added)]

  def chunks(self) -> list[list[Chunk]]:
    """The chunks of each page."""
    of_all = self._chunks.to_pylist()
    rows = [
      Chunk(row['start'], row['end'], tuple(row['headings'])) for row in map(of_all.__getitem__, self._kept_chunks)
    ]
    rows += [chunk for each in self._added for chunk in each.chunks]
    return [rows[start:end] for start, end in zip(self.starts, [*self.starts[1:], len(rows)], strict=True)]

  def stored_ids(self) -> np.ndarray:
    """int64: the chunks of the generation, whatever the log says."""
    return self._chunks['id'].to_numpy()

  def vectors_of(self, ids: np.ndarray) -> np.ndarray:
    """float32 [N, D]: the vectors of chunks, without the indexes being open."""
    logged = {id_: each.vectors[place] for each in self._added for place, id_ in enumerate(each.ids.tolist())}
    stored = [id_ for id_ in ids.tolist() if id_ not in logged]
    found = dict(zip(stored, self.stored_vectors().vectors(np.array(stored, np.int64)), strict=True)) if stored else {}
    return np.array([logged[id_] if id_ in logged else found[id_] for id_ in ids.tolist()])

  def chunks_of(self, row: int) -> int:
    """How many chunks a page has."""
    end = self.starts[row + 1] if row + 1 < len(self.starts) else len(self.owner)
    return int(end - self.starts[row])

  def logged_vectors(self) -> dict[str, np.ndarray]:
    """By what was embedded the vectors of the log."""
    return {
      chunk_text(each.page, chunk): vector
      for each in self._added
      for chunk, vector in zip(each.chunks, each.vectors, strict=True)
    }

  @property
  def num_logged(self) -> int:
    """Pages that the log removes and adds, all its updates together."""
    return sum(len(each.removed) + len(each.pages) for each in self.log)

  @property
  def num_chunks(self) -> int:
    return len(self.owner)


def _together(before: Sequence[str], log: Sequence[changes.Changes]) -> tuple[np.ndarray, list[_Added]]:
  """Which of the generation's pages are there, bool [pages], and those that the log adds, in its order."""
  there = np.ones(len(before), bool)
  added: dict[str, _Added] = {}
  row_of = {id_: row for row, id_ in enumerate(before)} if log else {}
  for update in log:
    for id_ in update.removed:
      if added.pop(id_, None) is None:
        there[row_of[id_]] = False
    ends = np.cumsum([len(own) for own in update.chunks])[:-1]
    parts = (np.split(array, ends) if len(update.pages) else [] for array in (update.ids, update.vectors))
    for each in zip(update.pages, update.digests, update.chunks, *parts, update.signatures, strict=True):
      added[each[0].id] = _Added(*each)
  return there, list(added.values())


def is_built(folder: pathlib.Path) -> bool:
  """Whether an index that this release reads is there; its files are compared by `open_store`."""
  return (Versions(folder).current_note() or {}).get('version') == VERSION


def open_store(
  folder: pathlib.Path,
  encoder: Encoder | None = None,
  *,
  older: bool = True,
  search: bool = True,
  warn: Callable[[str], None] = _logger.warning,
) -> Store:
  """The generation that counts, every file of it as it was written.

  Args:
    older: if a file is damaged, opens the generation before; False refuses.
    search: as in `Store`.
    warn: gets one line, naming the file, if that happens.

  Raises:
    UserError: nothing was built there, a file is damaged and nothing older whole, or another encoder made the vectors.
  """
  versions = Versions(folder)
  if not versions.has_current():
    raise UserError(f'{folder} holds no index; build it first with --mode=build')

  def checked(generation: pathlib.Path, manifest: Mapping[str, Any]) -> Store:
    if manifest.get('version') != VERSION:
      raise UserError(
        f'the index in {folder} is of version {manifest.get("version")}, not {VERSION}: chunks and terms are made '
        'otherwise by now; index again with --mode=update'
      )
    if encoder is not None and manifest['encoder'] != encoder.fingerprint:
      raise UserError(
        f'the index in {folder} was made by the encoder {manifest["encoder_name"]}, not by this {encoder.name}; '
        'name that one, or build again'
      )
    return Store(generation, manifest, search=search)

  others = lambda generation: changes.damage(generation) or Index.damage(generation / VECTORS)
  return versions.open(checked, remedy='build again', older=older, besides=others, warn=warn)


def _open_table(path: pathlib.Path) -> Any:
  import pyarrow.feather

  return pyarrow.feather.read_table(str(path), memory_map=True).combine_chunks()
