"""Pages made into a store (store.py): cut, embedded, indexed; what an earlier build did is not done again."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import numpy as np

from mlsd_jax.encoder.encoder import Encoder
from mlsd_jax.errors import UserError
from mlsd_jax.executor import ExecutorConfig
from mlsd_jax.retrieval import changes, generation_files
from mlsd_jax.retrieval.chunking import Chunk, ChunkConfig, Count, chunk_ids
from mlsd_jax.retrieval.embeddings import EmbeddingStore, Encode
from mlsd_jax.retrieval.generation_files import BuildConfig, cut_page, sign_pages
from mlsd_jax.retrieval.pages import Page
from mlsd_jax.retrieval.store import Store, open_store
from mlsd_jax.sealed import Versions, lock

_LOGGED = 0.02  # share of the pages that a log may hold; each is read again whenever the index is opened


@dataclasses.dataclass(frozen=True)
class Progress:
  """What a build tells while it runs; the defaults tell nothing."""

  warn: Callable[[str], None] = lambda _: None
  embedding: Callable[[int], Callable[[int], None]] = lambda _: lambda _: None  # number of chunks -> called as they go


@dataclasses.dataclass(frozen=True)
class Embedding:
  """Where texts are embedded; the default is by the encoder at hand.

  Attributes:
    executor: who does it.
    make_encoder: the same encoder again, for processes that have it not; importable there.
    setup: called in each of them before.
  """

  executor: ExecutorConfig = dataclasses.field(default_factory=ExecutorConfig)
  make_encoder: Callable[[], Encoder] | None = None
  setup: Callable[[], object] | None = None

  def make_encode(self, encoder: Encoder) -> Callable[[], Encode]:
    """What gives a worker its function from texts to vectors.

    Raises:
      UserError: the executor starts processes, and nothing says how they make the encoder.
    """
    if self.executor.kind in ('here', 'threads'):
      return lambda: functools.partial(_encode, encoder)
    if self.make_encoder is None:
      raise UserError(f'executor {self.executor.kind!r} needs an encoder that other processes can make')
    return functools.partial(_remade, self.make_encoder, encoder.fingerprint)


def _encode(encoder: Encoder, texts: Sequence[str]) -> np.ndarray:
  return encoder.encode(texts, 'passage')


def _remade(make_encoder: Callable[[], Encoder], fingerprint: str) -> Encode:
  encoder = make_encoder()
  if encoder.fingerprint != fingerprint:
    raise UserError(f'the encoder {encoder.name} that a worker has is not the one here: give all the same files')
  return functools.partial(_encode, encoder)


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
  embedding: Embedding | None = None,
) -> Difference:
  """Makes `folder` hold these pages; what an earlier build of them did is not done again.

  Pages that are as they were keep their chunks, texts that were embedded are not embedded again, and if nothing at all
  has changed, nothing is written.

  Args:
    borrow: another such folder, whose embeddings are taken where it has them.
    embedding: who embeds (but what goes into a log, which is little); by default this process does.

  Raises:
    UserError: there are no pages, another process, named by its id, builds there, or something cannot be written; what
      was there before stays in use.
  """
  with lock(folder):
    return _build(pages, folder, encoder, config, progress or Progress(), borrow, embedding or Embedding())


def _build(
  pages: Iterable[Page],
  folder: pathlib.Path,
  encoder: Encoder,
  config: BuildConfig,
  progress: Progress,
  borrow: pathlib.Path | None,
  embedding: Embedding,
) -> Difference:
  pages = list(pages)
  if not pages:
    raise UserError('no page to index')
  before = _earlier(folder, progress.warn)
  digests = [page.digest for page in pages]
  old = {} if before is None else dict(zip(before.page_ids, before.page_digests(), strict=True))
  new = dict(zip((page.id for page in pages), digests, strict=True))
  place = pathlib.Path('embeddings', encoder.fingerprint[:16])
  lender = EmbeddingStore(borrow / place, progress.warn) if borrow else None
  same_encoder = before is not None and before.manifest['encoder'] == encoder.fingerprint
  if before is not None and same_encoder and before.manifest['config'] == dataclasses.asdict(config):
    differ = [page for page, digest in zip(pages, digests, strict=True) if old.get(page.id) != digest]
    logged = _log(before, differ, old.keys() - new.keys(), encoder, config, progress, lender)
    if logged is not None:
      return logged
  known = _known_chunks(before, config.chunk) if same_encoder else {}
  count: Count = lambda texts: [encoder.count_tokens(text) for text in texts]
  cuts = [cut_page(page, known.get(digest), config.chunk, count) for page, digest in zip(pages, digests, strict=True)]
  texts = [text for each in cuts for text in each.texts]
  store = EmbeddingStore(folder / place, progress.warn)
  for other in (_Logged(before.logged_vectors()) if before is not None and same_encoder else None, lender):
    _take_over(store, other, texts)
  encoded = store.embed(
    texts, embedding.make_encode(encoder), shard_size=config.shard_size, on_texts=progress.embedding(len(texts)),
    config=embedding.executor, setup=embedding.setup,
  )  # fmt: skip
  difference = Difference(
    added=len(new.keys() - old.keys()),
    changed=sum(old[id_] != digest for id_, digest in new.items() if id_ in old),
    removed=len(old.keys() - new.keys()),
    embedded=encoded,
    chunks=len(texts),
  )
  generation_files.write(folder, pages, digests, cuts, texts, store, encoder, config, before)
  store.sweep(texts)
  return difference


def update_store(
  folder: pathlib.Path,
  pages: Iterable[Page],
  removed: Iterable[str],
  encoder: Encoder,
  config: BuildConfig,
  progress: Progress | None = None,
) -> Difference:
  """Changes some pages of what `build_store` made; the rest of the corpus is not read.

  Args:
    pages: that are new, or have changed.
    removed: ids of pages that are gone.

  Raises:
    UserError: as `build_store`; nothing was built there with this encoder and config, or an id is not there.
  """
  progress = progress or Progress()
  with lock(folder):
    before = open_store(folder, encoder, older=False, search=False, warn=progress.warn)
    if before.manifest['config'] != dataclasses.asdict(config):
      raise UserError(f'the index in {folder} was built with other settings: {before.manifest["config"]}')
    changed, gone = {page.id: page for page in pages}, set(removed)
    digests = dict(zip(before.page_ids, before.page_digests(), strict=True))
    unknown = next((id_ for id_ in sorted(gone) if id_ not in digests or id_ in changed), None)
    if unknown is not None:
      raise UserError(
        f'page {unknown!r} cannot be removed: ' + ('it is changed too' if unknown in changed else 'no such')
      )
    differ = [page for page in changed.values() if digests.get(page.id) != page.digest]
    logged = _log(before, differ, gone, encoder, config, progress, None)
    if logged is not None:
      return logged
    kept = [page for page in before.pages() if page.id not in gone and page.id not in changed]
    return _build([*kept, *changed.values()], folder, encoder, config, progress, None, Embedding())


def _log(
  before: Store,
  differ: Sequence[Page],
  gone: Collection[str],
  encoder: Encoder,
  config: BuildConfig,
  progress: Progress,
  lender: EmbeddingStore | None,
) -> Difference | None:
  """Notes new, changed and removed pages in the generation's log; None if they are too many for that."""
  there = set(before.page_ids)
  old = [page.id for page in differ if page.id in there]
  rest = len(there) - len(gone) + len(differ) - len(old)
  if before.num_logged + len(gone) + len(old) + len(differ) > _LOGGED * len(there) and (gone or differ):
    return None
  if not rest:
    raise UserError('no page to index')
  count: Count = lambda texts: [encoder.count_tokens(text) for text in texts]
  cuts = [cut_page(page, None, config.chunk, count) for page in differ]
  texts = [text for each in cuts for text in each.texts]
  dead = {*gone, *old}
  chunks = before.num_chunks - sum(before.chunks_of(row) for row, id_ in enumerate(before.page_ids) if id_ in dead)
  chunks += len(texts)
  if (chunks > rest) != before.several:  # then BM25 has an index of chunks, or none
    return None
  encoded = 0
  ids = chunk_ids(differ, [each.texts for each in cuts])
  vectors = np.zeros((len(texts), encoder.dim), np.float32)
  stay = np.isin(ids, before.ids)  # chunks of pages that have changed elsewhere
  if stay.any():
    vectors[stay] = before.vectors_of(ids[stay])
  on_texts = progress.embedding(len(texts))
  on_texts(int(stay.sum()))

  def encode(some: Sequence[str]) -> np.ndarray:
    nonlocal encoded
    encoded += len(some)
    return encoder.encode(some, 'passage')

  if not stay.all():
    vectors[~stay] = _borrowing(encode, lender)([texts[row] for row in np.flatnonzero(~stay)])
    on_texts(int((~stay).sum()))
  if dead or differ:
    changes.append(
      before.folder,
      changes.Changes(
        removed=[id_ for id_ in before.page_ids if id_ in dead],
        pages=differ,
        digests=[page.digest for page in differ],
        chunks=[each.chunks for each in cuts],
        ids=ids,
        vectors=vectors,
        signatures=sign_pages(differ),
      ),
    )
  return Difference(len(differ) - len(old), len(old), len(gone), encoded, chunks)


class _Logged:
  """Vectors of a log, by text."""

  def __init__(self, vectors: Mapping[str, np.ndarray]):
    self._vectors = vectors

  def __contains__(self, text: str) -> bool:
    return text in self._vectors

  def vectors(self, texts: Sequence[str]) -> np.ndarray:
    return np.array([self._vectors[text] for text in texts])


def _take_over(store: EmbeddingStore, lender: EmbeddingStore | _Logged | None, texts: Sequence[str]) -> None:
  """Copies the vectors that the lender has and the store has not."""
  known = [text for text in dict.fromkeys(texts) if lender is not None and text in lender and text not in store]
  if known and lender is not None:
    store.put(known, lender.vectors(known))


def _borrowing(encode: Encode, lender: EmbeddingStore | _Logged | None) -> Encode:
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
    return open_store(folder, older=False, search=False)
  except UserError as error:
    warn(f'the earlier index is not used: {error}')
    return None


def _known_chunks(before: Store | None, config: ChunkConfig) -> dict[str, list[Chunk]]:
  """By a page's digest its chunks, if they were cut with the same settings (and the tokens of the same encoder)."""
  if before is None or before.manifest['config']['chunk'] != dataclasses.asdict(config):
    return {}
  return dict(zip(before.page_digests(), before.chunks(), strict=True))
