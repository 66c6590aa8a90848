"""A corpus on disk, ready to be searched: pages, chunks, BM25 and vector index, in one folder that changes at once.

    folder/generation-000003/             pages.arrow, chunks.arrow, bm25-pages/, bm25-chunks/, vectors/
    folder/generation-000003.sha256.json  what it was built with, and its checksums
    folder/current.json                   the generation that counts
    folder/embeddings/                    see embeddings.py; shared by the generations

Generations are versions (mlsd_jax/sealed/versions.py): a reader sees the old one or the new one, and a build that is
killed or finds the disk full leaves the old one as it was.
"""

import logging
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mlsd_jax.ann import Index
from mlsd_jax.encoder.encoder import Encoder
from mlsd_jax.errors import UserError
from mlsd_jax.retrieval.bm25 import BM25
from mlsd_jax.retrieval.chunking import Chunk, chunk_text
from mlsd_jax.retrieval.pages import Page
from mlsd_jax.sealed import Versions

_logger = logging.getLogger(__name__)
VERSION = 5  # of the files below, and of how texts become chunks and terms
PAGE_COLUMNS = ('id', 'title', 'text', 'folder', 'format', 'context')  # the fields of Page
VECTORS = 'vectors'  # an index, which checks its own files, and may be tuned where it is
TABLES = ('pages.arrow', 'chunks.arrow')


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

  def __init__(self, folder: pathlib.Path, manifest: Mapping[str, Any]):
    self.folder, self.manifest = folder, manifest
    pages, chunks = (_open_table(folder / name) for name in TABLES)
    self._pages, self._chunks = pages, chunks
    self.page_ids: list[str] = pages['id'].to_pylist()
    self.titles: list[str] = pages['title'].to_pylist()
    self.folders: list[str] = pages['folder'].to_pylist()
    self.groups = pages['group'].to_numpy()
    self.owner = chunks['page'].to_numpy()
    self.starts = np.searchsorted(self.owner, np.arange(len(self.page_ids)))
    self.bm25_pages = BM25.open(folder / 'bm25-pages')
    several = (folder / 'bm25-chunks').is_dir()
    self.bm25_chunks = BM25.open(folder / 'bm25-chunks') if several else None
    self.vectors = Index.open(folder / VECTORS, verify=False)  # `open_store` has
    self.vectors.load()  # two updates later the files are gone
    self.ids = chunks['id'].to_numpy()
    self._by_id = np.argsort(self.ids)

  def page(self, row: int) -> Page:
    """The page of a row, text and all."""
    return Page(*(self._pages[name][row].as_py() for name in PAGE_COLUMNS))

  def chunk(self, row: int) -> Chunk:
    """The chunk of a row."""
    start, end, headings = (self._chunks[name][row].as_py() for name in ('start', 'end', 'headings'))
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
    return self._pages['digest'].to_pylist()

  def chunks(self) -> list[list[Chunk]]:
    """The chunks of each page."""
    rows = [Chunk(row['start'], row['end'], tuple(row['headings'])) for row in self._chunks.to_pylist()]
    return [rows[start:end] for start, end in zip(self.starts, [*self.starts[1:], len(rows)], strict=True)]

  @property
  def num_chunks(self) -> int:
    return len(self.owner)


def is_built(folder: pathlib.Path) -> bool:
  """Whether an index that this release reads is there; its files are compared by `open_store`."""
  return (Versions(folder).current_note() or {}).get('version') == VERSION


def open_store(
  folder: pathlib.Path,
  encoder: Encoder | None = None,
  *,
  older: bool = True,
  warn: Callable[[str], None] = _logger.warning,
) -> Store:
  """The generation that counts, every file of it as it was written.

  Args:
    older: if a file is damaged, opens the generation before; False refuses.
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
    return Store(generation, manifest)

  vectors_damage = lambda generation: Index.damage(generation / VECTORS)
  return versions.open(checked, remedy='build again', older=older, besides=vectors_damage, warn=warn)


def _open_table(path: pathlib.Path) -> Any:
  import pyarrow.feather

  return pyarrow.feather.read_table(str(path), memory_map=True).combine_chunks()
