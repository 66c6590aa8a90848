"""Pages made into a store (store.py): cut, embedded, indexed; what an earlier build did is not done again."""

import collections
import dataclasses
import hashlib
import pathlib
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import numpy as np

from mlsd_jax.ann import Index
from mlsd_jax.encoder.encoder import Encoder
from mlsd_jax.errors import UserError
from mlsd_jax.retrieval import near_duplicates
from mlsd_jax.retrieval.bm25 import BM25, BM25Config
from mlsd_jax.retrieval.chunking import Chunk, ChunkConfig, Count, chunk_text, cut
from mlsd_jax.retrieval.embeddings import EmbeddingStore, Encode
from mlsd_jax.retrieval.pages import Page
from mlsd_jax.retrieval.store import PAGE_COLUMNS, VECTORS, VERSION, Store, open_store
from mlsd_jax.schema import Positive, between
from mlsd_jax.sealed import Versions, lock


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


@dataclasses.dataclass(frozen=True)
class Progress:
  """What a build tells while it runs; the defaults tell nothing."""

  warn: Callable[[str], None] = lambda _: None
  embedding: Callable[[int], Callable[[int], None]] = lambda _: lambda _: None  # number of chunks -> called as they go


@dataclasses.dataclass(frozen=True)
class Difference:
  """What a build changed: numbers of pages; how many texts of chunks were new, and how many chunks there are."""

  added: int
  changed: int
  removed: int
  embedded: int
  chunks: int


def build_store(
  pages: Iterable[Page],
  folder: pathlib.Path,
  encoder: Encoder,
  config: BuildConfig,
  progress: Progress | None = None,
  *,
  borrow: pathlib.Path | None = None,
) -> Difference:
  """Makes `folder` hold these pages; what an earlier build of them did is not done again.

  Pages that are as they were keep their chunks, texts that were embedded are not embedded again, and if nothing at all
  has changed, nothing is written.

  Args:
    borrow: another such folder, whose embeddings are taken where it has them.

  Raises:
    UserError: there are no pages, another process, named by its id, builds there, or something cannot be written; what
      was there before stays in use.
  """
  with lock(folder):
    return _build(pages, folder, encoder, config, progress or Progress(), borrow)


def _build(
  pages: Iterable[Page],
  folder: pathlib.Path,
  encoder: Encoder,
  config: BuildConfig,
  progress: Progress,
  borrow: pathlib.Path | None,
) -> Difference:
  pages = list(pages)
  if not pages:
    raise UserError('no page to index')
  before = _earlier(folder, progress.warn)
  same_encoder = before is not None and before.manifest['encoder'] == encoder.fingerprint
  same_config = before is not None and before.manifest['config'] == dataclasses.asdict(config)
  known = _known_chunks(before, config.chunk) if same_encoder else {}
  digests = [page.digest for page in pages]
  old = {} if before is None else dict(zip(before.page_ids, before.page_digests(), strict=True))
  new = dict(zip((page.id for page in pages), digests, strict=True))
  count: Count = lambda texts: [encoder.count_tokens(text) for text in texts]
  cuts = [_cut(page, known.get(digest), config.chunk, count) for page, digest in zip(pages, digests, strict=True)]
  texts = [text for each in cuts for text in each.texts]
  place = pathlib.Path('embeddings', encoder.fingerprint[:16])
  store = EmbeddingStore(folder / place, progress.warn)
  lender = EmbeddingStore(borrow / place, progress.warn) if borrow else None
  encoded = 0

  def encode(some: Sequence[str]) -> np.ndarray:
    nonlocal encoded
    encoded += len(some)
    return encoder.encode(some, 'passage')

  on_texts = progress.embedding(len(texts))
  store.embed(texts, _borrowing(encode, lender), shard_size=config.shard_size, on_texts=on_texts)
  difference = Difference(
    added=len(new.keys() - old.keys()),
    changed=sum(old[id_] != digest for id_, digest in new.items() if id_ in old),
    removed=len(old.keys() - new.keys()),
    embedded=encoded,
    chunks=len(texts),
  )
  if not (same_encoder and same_config and list(old.items()) == list(new.items())):
    _write(folder, pages, digests, cuts, texts, store, encoder, config, before)
    store.sweep(texts)
  return difference


class _Cut(NamedTuple):
  """A page's chunks, what of them is embedded, what BM25 counts of them, and of the page as a whole."""

  chunks: Sequence[Chunk]
  texts: Sequence[str]
  lexical: Sequence[str]
  whole: str


def _cut(page: Page, known: Sequence[Chunk] | None, config: ChunkConfig, count: Count) -> _Cut:
  """All at once, so that a page is read once."""
  chunks = known or cut(page, config, count)
  texts = [chunk_text(page, chunk) for chunk in chunks]
  lexical = [chunk_text(page, chunk, heading=True) for chunk in chunks]
  shared = [text if text == other else other for text, other in zip(texts, lexical, strict=True)]  # one copy in memory
  return _Cut(chunks, texts, shared, chunk_text(page, Chunk(0, len(page.text)), heading=True))


def _borrowing(encode: Encode, lender: EmbeddingStore | None) -> Encode:
  if lender is None:
    return encode

  def found_or_encoded(texts: Sequence[str]) -> np.ndarray:
    known = np.array([text in lender for text in texts])
    parts = [lender.vectors([t for t, k in zip(texts, known, strict=True) if k])] if known.any() else []
    parts += [] if known.all() else [encode([t for t, k in zip(texts, known, strict=True) if not k])]
    return np.concatenate(parts)[np.argsort(np.argsort(~known, kind='stable'), kind='stable')]

  return found_or_encoded


def _earlier(folder: pathlib.Path, warn: Callable[[str], None]) -> Store | None:
  if not Versions(folder).has_current():
    return None
  try:
    return open_store(folder, older=False)
  except UserError as error:
    warn(f'the earlier index is not used: {error}')
    return None


def _known_chunks(before: Store | None, config: ChunkConfig) -> dict[str, list[Chunk]]:
  """By a page's digest its chunks, if they were cut with the same settings (and the tokens of the same encoder)."""
  if before is None or before.manifest['config']['chunk'] != dataclasses.asdict(config):
    return {}
  return dict(zip(before.page_digests(), before.chunks(), strict=True))


def _write(
  folder: pathlib.Path,
  pages: Sequence[Page],
  digests: Sequence[str],
  cuts: Sequence[_Cut],
  texts: Sequence[str],
  store: EmbeddingStore,
  encoder: Encoder,
  config: BuildConfig,
  before: Store | None,
) -> None:
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
      ids = _chunk_ids(pages, cuts)
      groups = _groups(pages, config.near_duplicate)
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


def _chunk_ids(pages: Sequence[Page], cuts: Sequence[_Cut]) -> np.ndarray:
  """int64 [chunks], from page, folder and text: a chunk that stays keeps its id, whatever its row."""
  digests: list[bytes] = []
  for page, own in zip(pages, cuts, strict=True):
    times: collections.Counter[str] = collections.Counter()  # of each text on this page
    for text in own.texts:
      times[text] += 1
      whole = f'{page.id}\0{page.folder}\0{times[text]}\0{text}'.encode('utf-8', 'surrogatepass')
      digests.append(hashlib.blake2b(whole, digest_size=8).digest())
  return (np.frombuffer(b''.join(digests), np.uint64) >> np.uint64(1)).astype(np.int64)


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
    gone = np.setdiff1d(before.ids, ids, assume_unique=True)
    new = np.flatnonzero(~np.isin(ids, before.ids))
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


def _groups(pages: Sequence[Page], threshold: float) -> np.ndarray:
  if not threshold:
    return np.arange(len(pages), dtype=np.int32)
  return near_duplicates.groups(
    near_duplicates.signatures(page.text if page.text.strip() else page.title for page in pages), threshold=threshold
  )


def _write_table(path: pathlib.Path, columns: Mapping[str, Any]) -> None:
  import pyarrow
  import pyarrow.feather

  arrays = {name: pyarrow.array(values) for name, values in columns.items()}
  if 'headings' in arrays:
    arrays['headings'] = pyarrow.array(columns['headings'], pyarrow.list_(pyarrow.string()))
  pyarrow.feather.write_feather(pyarrow.table(arrays), str(path), compression='uncompressed', chunksize=2**31 - 1)
