"""The files of a generation of a store (store.py): pages cut into chunks, and all that is made of them, written."""

import dataclasses
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import numpy as np

from mlsd_jax.ann import Index
from mlsd_jax.encoder.encoder import Encoder
from mlsd_jax.errors import UserError
from mlsd_jax.retrieval import near_duplicates
from mlsd_jax.retrieval.bm25 import BM25, BM25Config
from mlsd_jax.retrieval.chunking import Chunk, ChunkConfig, Count, chunk_ids, chunk_text, cut, whole_text
from mlsd_jax.retrieval.embeddings import EmbeddingStore
from mlsd_jax.retrieval.page import Page
from mlsd_jax.retrieval.store import PAGE_COLUMNS, SIGNATURES, VECTORS, VERSION, Store
from mlsd_jax.schema import Positive, between
from mlsd_jax.sealed import Versions


@dataclasses.dataclass(frozen=True)
class BuildConfig:
  """How pages become an index.

  Attributes:
    shard_size: chunks embedded between two writes; a killed build loses at most these.
    near_duplicate: pages whose runs of five words agree to this share are shown as one; 0 turns it off.
  """

  chunk: ChunkConfig = dataclasses.field(default_factory=ChunkConfig)
  bm25: BM25Config = dataclasses.field(default_factory=BM25Config)
  shard_size: Positive = 2048
  near_duplicate: Annotated[float, between(0, 1)] = 0.85


class Cut(NamedTuple):
  """A page's chunks, what of them is embedded, what BM25 counts of them, and of the page as a whole."""

  chunks: Sequence[Chunk]
  texts: Sequence[str]
  lexical: Sequence[str]
  whole: str


def cut_page(page: Page, known: Sequence[Chunk] | None, config: ChunkConfig, count: Count) -> Cut:
  """All at once, so that a page is read once."""
  chunks = known or cut(page, config, count)
  texts = [chunk_text(page, chunk) for chunk in chunks]
  lexical = [chunk_text(page, chunk, heading=True) for chunk in chunks]
  shared = [text if text == other else other for text, other in zip(texts, lexical, strict=True)]  # one copy in memory
  return Cut(chunks, texts, shared, whole_text(page))


def write(
  folder: pathlib.Path,
  pages: Sequence[Page],
  digests: Sequence[str],
  cuts: Sequence[Cut],
  texts: Sequence[str],
  store: EmbeddingStore,
  encoder: Encoder,
  config: BuildConfig,
  before: Store | None,
) -> None:
  """The next generation of the store in `folder`, whole or not at all; those that do not count are swept away.

  Args:
    digests: of the pages. cuts: of the pages. texts: of all their chunks in order, whose vectors `store` has.
    before: the store that counts until then.

  Raises:
    UserError: it cannot be written.
  """
  versions = Versions(folder)
  numbers = [int(path.name.removeprefix('generation-')) for path in folder.glob('generation-??????')]
  note = {
    'version': VERSION,
    'config': dataclasses.asdict(config),
    'encoder': encoder.fingerprint,
    'encoder_name': encoder.name,
  }
  try:
    with versions.write(f'generation-{max(numbers, default=0) + 1:06d}', note, leave_out=[VECTORS]) as unfinished:
      flat = [(row, chunk) for row, each in enumerate(cuts) for chunk in each.chunks]
      ids = chunk_ids(pages, [each.texts for each in cuts])
      groups = np.arange(len(pages), dtype=np.int32)
      if config.near_duplicate:
        signatures = sign_pages(pages)
        np.save(unfinished / SIGNATURES, signatures)
        groups = near_duplicates.groups(signatures, threshold=config.near_duplicate)
      _write_table(
        unfinished / 'pages.arrow',
        {name: [getattr(page, name) for page in pages] for name in PAGE_COLUMNS} | {'digest': digests, 'group': groups},
      )
      _write_table(
        unfinished / 'chunks.arrow',
        {
          'id': ids,
          'page': np.array([row for row, _ in flat], np.int32),
          'start': np.array([chunk.start for _, chunk in flat], np.int64),
          'end': np.array([chunk.end for _, chunk in flat], np.int64),
          'headings': [list(chunk.headings) for _, chunk in flat],
        },
      )
      BM25.build((each.whole for each in cuts), config.bm25).save(unfinished / 'bm25-pages')
      if len(flat) > len(pages):
        words = (text for each in cuts for text in each.lexical)
        BM25.build(words, config.bm25).save(unfinished / 'bm25-chunks')
      _write_vectors(
        unfinished / VECTORS, ids, texts, store, before, encoder, {'folder': [pages[row].folder for row, _ in flat]}
      )
  except OSError as error:
    raise UserError(f'cannot write the index in {folder}: {error.strerror}; the one before is untouched') from error
  for path in folder.glob('generation-??????'):  # of a build that was killed, or of an earlier release
    if not versions.seal_path(path.name).exists():
      shutil.rmtree(path, ignore_errors=True)


def _write_vectors(
  folder: pathlib.Path,
  ids: np.ndarray,
  texts: Sequence[str],
  store: EmbeddingStore,
  before: Store | None,
  encoder: Encoder,
  metadata: Mapping[str, Sequence[str]],
) -> None:
  """The index anew; or where at most a tenth has changed, a copy of the one before with the changes made to it."""
  if before is not None and before.manifest['encoder'] == encoder.fingerprint:
    had = before.stored_ids()  # of the files that are copied, in which the log's changes are not
    gone = np.setdiff1d(had, ids, assume_unique=True)
    new = np.flatnonzero(~np.isin(ids, had))
    if len(gone) + len(new) <= 0.1 * len(ids):
      shutil.copytree(before.folder / VECTORS, folder)
      index = Index.open(folder, verify=False)
      if len(gone):
        index.delete(gone)
      if len(new):
        index.add(
          store.vectors([texts[row] for row in new.tolist()]),
          ids[new],
          metadata={name: [v[row] for row in new.tolist()] for name, v in metadata.items()},
        )
      return
  Index.build(store.vectors(texts), ids, metric='dot', made_by=encoder.fingerprint, metadata=metadata).save(folder)


def sign_pages(pages: Sequence[Page]) -> np.ndarray:
  """What near duplicates are found by; of a page without a text, its title's."""
  return near_duplicates.signatures(page.text if page.text.strip() else page.title for page in pages)


def _write_table(path: pathlib.Path, columns: Mapping[str, Any]) -> None:
  import pyarrow
  import pyarrow.feather

  arrays = {name: pyarrow.array(values) for name, values in columns.items()}
  if 'headings' in arrays:
    arrays['headings'] = pyarrow.array(columns['headings'], pyarrow.list_(pyarrow.string()))
  pyarrow.feather.write_feather(pyarrow.table(arrays), str(path), compression='uncompressed', chunksize=2**31 - 1)
