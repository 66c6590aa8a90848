"""What experiments.retrieval has made in parts by whoever is free: embeddings, shards of an index, evaluations."""

import functools
import time
from collections.abc import Callable

from experiments import contract, sections
from mlsd_jax.data.reading_progress import progress_bar
from mlsd_jax.encoder.encoder import Encoder, load_encoder
from mlsd_jax.errors import UserError
from mlsd_jax.printable import printable
from mlsd_jax.retrieval import collection_parts, index_shards
from mlsd_jax.retrieval.bm25 import BM25Config
from mlsd_jax.retrieval.build import Embedding
from mlsd_jax.retrieval.chunking import ChunkConfig
from mlsd_jax.retrieval.search import SearchConfig
from mlsd_jax.schema import from_mapping
from mlsd_jax.training import devices


def embedding_of(run: contract.Run) -> Embedding:
  """Who embeds, and how those who have not the encoder make it."""
  return Embedding(sections.read_executor(run.config), _make_encoder(run), _setup(run))


def shards(run: contract.Run) -> None:
  """Cuts, embeds and indexes the corpus as shards, each by whoever is free; experiments.shard_search serves them."""
  settings = run.config.shards
  output = settings.output or run.workdir / 'shards'
  began = time.perf_counter()
  parts = index_shards.build_shards(
    run.config.data.source,
    output,
    _make_encoder(run),
    number=settings.number,
    chunk=from_mapping(ChunkConfig, run.config.chunk, 'chunk'),
    config=sections.read_executor(run.config),
    setup=_setup(run),
    on_part=lambda chunks: run.print(f'a shard of {chunks:,} chunks is made'),
    warn=run.print,
  )
  for line in index_shards.left_out(parts):
    run.print(printable(line))
  chunks = sum(note['chunks'] for note in parts.notes.values())
  pages = sum(note['pages'] for note in parts.notes.values())
  run.print(
    f'{parts.path}: {len(parts.seals)} shards, {pages:,} pages, {chunks:,} chunks; {parts.made} made now, '
    f'{time.perf_counter() - began:.1f} s'
  )


def collections(run: contract.Run) -> None:
  """nDCG@10 and recall@100 of BM25, dense and hybrid search on each of --collections, as parts."""
  names = [name.strip() for name in run.flags['collections'] if name.strip()]
  if not names:
    raise UserError(
      '--mode=collections needs --collections=NAME,NAME: scifact, cranfield, folders of BEIR, SQuAD files'
    )
  with progress_bar('evaluating', len(names), unit='collections') as advance:
    parts = collection_parts.evaluate(
      names,
      run.workdir / 'collections',
      _make_encoder(run),
      search=SearchConfig(pages=run.config.search.pages),
      bm25=from_mapping(BM25Config, run.config.bm25, 'bm25'),
      config=sections.read_executor(run.config),
      setup=_setup(run),
      on_part=lambda _: advance(1),
    )
  run.print(collection_parts.table(parts))


def _make_encoder(run: contract.Run) -> Callable[[], Encoder]:
  config = run.config.encoder
  return functools.partial(load_encoder, config.name, dtype=config.dtype, max_length=config.max_length)


def _setup(run: contract.Run) -> Callable[[], None]:
  return functools.partial(devices.configure_backend, bfloat16=run.config.encoder.dtype == 'bfloat16')
