"""Opening an index of experiments.retrieval with all that searches it, and asking it from a terminal."""

import sys
import time
from collections.abc import Mapping
from typing import Any

from experiments import contract, process
from mlsd_jax import sealed
from mlsd_jax.encoder import model_folder
from mlsd_jax.encoder.encoder import Encoder, PairScorer, load_cross_encoder, load_encoder
from mlsd_jax.errors import UserError
from mlsd_jax.printable import printable
from mlsd_jax.retrieval import answers, calibration, expansion, store, terminal
from mlsd_jax.retrieval.search import SearchConfig, Searcher
from mlsd_jax.schema import from_mapping


def ask(run: contract.Run) -> None:
  """Answers --query, or what is typed, with citations."""
  if run.flags['query'] is not None and not run.flags['query'].strip():
    raise UserError('the query is empty')
  started = time.perf_counter()
  encoder = open_encoder(run)
  searcher = open_searcher(run, store.open_store(run.workdir / 'index', encoder), encoder)
  titles = searcher.store.titles
  for title in titles[:: max(len(titles) // 4, 1)]:  # compiles the shapes that answers mostly need
    answers.answer(searcher, title or 'title', searcher.search(title or 'title'), pages=run.config.answer.pages)
  sure = read_calibration(run)
  write = open_generator(run)
  run.print(
    f'{len(searcher.store.page_ids):,} pages, {searcher.store.num_chunks:,} chunks, ready in '
    f'{time.perf_counter() - started:.1f} s'
  )

  def tell(sentence: str) -> None:
    print(printable(sentence), flush=True)

  def respond(query: str) -> None:
    began = time.perf_counter()
    found = searcher.search(
      query, rewrites=expansion.rewrites(query, run.config.search.expansion, write), folder=run.flags['folder']
    )
    settings = run.config.answer
    said = answers.answer(
      searcher,
      query,
      found,
      calibration=sure,
      min_confidence=settings.min_confidence,
      sentences=settings.sentences,
      pages=settings.pages,
      write=write,
      on_sentence=tell if write and sys.stdout.isatty() else None,
    )
    seconds = time.perf_counter() - began
    terminal.show(searcher, query, found, said, shown=settings.shown, seconds=seconds)

  if run.flags['query'] is not None:
    return respond(run.flags['query'])
  while True:
    try:
      process.answer_at_once()
      query = input('\nquery (empty to leave): ')
    except (EOFError, RuntimeError):  # the end of what is typed, or no standard input at all
      return None
    if not query.strip():
      return None
    respond(query)


def open_encoder(run: contract.Run) -> Encoder:
  """The encoder that the config names."""
  config = run.config.encoder
  return load_encoder(config.name, dtype=config.dtype, max_length=config.max_length)


def open_searcher(run: contract.Run, opened: store.Store, encoder: Encoder) -> Searcher:
  """The index with the models that search it."""
  folder = run.config.cross_encoder
  scorer = _open_scorer(folder, run.config.encoder.dtype) if folder and run.config.search.rerank else None
  return Searcher(opened, encoder, search_config(run.config.search), scorer)


def _open_scorer(folder: str, dtype: str) -> PairScorer:
  """A cross-encoder, or a decoder that is asked for yes or no."""
  from mlsd_jax.language_model import relevance

  if relevance.is_decoder(model_folder.source_folder(folder)):
    return relevance.load_reranker(folder, dtype=dtype)
  return load_cross_encoder(folder, dtype=dtype)


def search_config(section: Mapping[str, Any]) -> SearchConfig:
  """config.search without how queries are rewritten."""
  return from_mapping(SearchConfig, {name: value for name, value in section.items() if name != 'expansion'}, 'search')


def read_calibration(run: contract.Run) -> calibration.Calibration:
  """How sure an answer is: as the last evaluation of the index found, else as elsewhere."""
  path = run.workdir / 'calibration.json'
  written = sealed.read_json(path) if path.exists() else {}
  if len(written.get('weights', ())) != len(calibration.PRIOR.weights):  # never evaluated, or by an earlier release
    return calibration.PRIOR
  return calibration.Calibration(tuple(written['weights']), written['offset'])


def open_generator(run: contract.Run) -> Any:
  """The language model that the config names, a pretrained.Writer, or None."""
  if not run.config.generator:
    return None
  from mlsd_jax.language_model import pretrained

  return pretrained.writer(run.config.generator)
