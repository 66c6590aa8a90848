"""Zero-shot retrieval: a corpus of documents, asked in plain words, answered with citations.

python -m experiments.retrieval                                             # builds and evaluates the Python docs
python -m experiments.retrieval --mode=ask --query="how do I copy a folder and keep its timestamps"
python -m experiments.retrieval --mode=ask                                   # asks for queries
python -m experiments.retrieval --config.data.source=FOLDER --workdir=runs/mine   # your own: Markdown, PDF, JSONL, ...
python -m experiments.retrieval --mode=update --workdir=runs/mine            # the folder has changed
"""

import contextlib
import dataclasses
import pathlib
import random
import sys
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from absl import flags

from experiments import contract, sections
from experiments.retrieval_ask import ask, open_encoder, open_generator, open_searcher, search_config
from experiments.retrieval_parts import collections, embedding_of, shards
from mlsd_jax import files, sealed
from mlsd_jax.ann import tuning
from mlsd_jax.data.reading_progress import progress_bar
from mlsd_jax.encoder import tensorboard as encoder_tensorboard
from mlsd_jax.encoder.encoder import Encoder
from mlsd_jax.errors import UserError
from mlsd_jax.executor import ExecutorConfig
from mlsd_jax.printable import printable
from mlsd_jax.retrieval import (
  answer_charts,
  expansion,
  judged_collections,
  regression,
  relevance_judge,
  stage_charts,
  stage_table,
  store,
)
from mlsd_jax.retrieval.answer_judge import AnswerConfig, AnswerReport
from mlsd_jax.retrieval.bm25 import BM25Config
from mlsd_jax.retrieval.build import BuildConfig, Difference, Progress, build_store
from mlsd_jax.retrieval.chunking import ChunkConfig
from mlsd_jax.retrieval.pages import Page
from mlsd_jax.retrieval.search import SearchConfig, Searcher
from mlsd_jax.schema import Place, Positive, Source, between, from_mapping

type Collection = tuple[list[Page], judged_collections.Judged | None]

FREE = (
  'search',
  'cross_encoder',
  'generator',
  'evaluate',
  'answer',
  'tune',
  'shard_size',
  'shards',
  *sections.EXECUTOR,
)


def build(run: contract.Run) -> None:
  """Reads, cuts, embeds and indexes the corpus (or goes on), then evaluates."""
  finished = run.result() or {}
  if 'ndcg@10' in finished and store.is_built(run.workdir / 'index'):
    run.check(FREE)
    return run.print_finished(f'{_summary(finished)}; --mode=update reads the corpus again')
  _check(run)
  encoder = open_encoder(run)
  pages, judged = _pages(run)
  run.claim(FREE)
  _index(run, pages, encoder, 'index')
  return _evaluate(run, (encoder, (pages, judged)))


def update(run: contract.Run) -> None:
  """Reads the corpus again and embeds only what has changed."""
  run.check(FREE)
  _build_config(run)
  encoder = open_encoder(run)
  pages, _ = _pages(run)
  run.claim(FREE)
  _index(run, pages, encoder, 'index')


def evaluate(run: contract.Run) -> None:
  """Every stage on judged queries, or on queries made of titles or first sentences."""
  _evaluate(run, (open_encoder(run), None))


def tune(run: contract.Run) -> None:
  """The fastest index setting of a wanted recall, and how much dense search should count beside BM25."""
  encoder = open_encoder(run)
  opened, asked = _evaluated(run, encoder)
  queries = asked.queries
  config = run.config.tune
  vectors = encoder.encode(list(queries.values()), 'query')
  plots = run.workdir / 'plots'
  index = store.open_store(run.workdir / 'index', encoder).stored_vectors()
  if all(part['kind'] == 'exact' for part in index.describe()):
    run.print(f'{len(index):,} chunks are searched exactly: nothing to tune in the index')
  else:
    curve = tuning.tune(index, vectors, config.k, wanted=config.recall)
    index.save()
    tuning.plot(curve, plots / 'recall_speed.png', run.config.data.source)
    run.print(curve.table())
  searcher = Searcher(opened, encoder, SearchConfig(pages=run.config.search.pages))
  weights, measured = stage_table.fusion_sweep(searcher, queries, asked.judgements)
  run.print('\nnDCG@10 by weight of the dense ranking\n' + ' ' * 10 + ''.join(f'{weight:>8.1f}' for weight in weights))
  for name, values in measured.items():
    run.print(f'{name:<10}' + ''.join(f'{value:8.4f}' for value in values))
  stage_charts.fusion(weights, measured, plots / 'fusion.png', run.config.data.source)


def tensorboard(run: contract.Run) -> None:
  """Writes WORKDIR/tensorboard: the encoder's blocks as a graph, and the pages for the projector."""
  encoder = open_encoder(run)
  opened = store.open_store(run.workdir / 'index', encoder)
  folder = run.workdir / 'tensorboard'
  columns = {'page': opened.titles, 'folder': opened.folders}
  count = encoder_tensorboard.write(encoder, opened.page_vectors(), columns, folder)
  blocks = encoder.model.config.num_layers
  run.print(
    f'{folder} has {blocks} blocks of the encoder as a graph of {count:,} nodes, and {len(opened.titles):,} pages for '
    f'the projector; uvx --with setuptools tensorboard --logdir={folder} shows them'
  )


def _index(run: contract.Run, pages: Sequence[Page], encoder: Encoder, name: str, **options: Any) -> Difference:
  began = time.perf_counter()
  with contextlib.ExitStack() as stack:
    bar = lambda chunks: stack.enter_context(progress_bar('embedding', chunks, unit='chunks'))
    progress = Progress(warn=_warn, embedding=bar)
    difference = build_store(
      pages, run.workdir / name, encoder, _build_config(run), progress, embedding=embedding_of(run), **options
    )
  seconds = time.perf_counter() - began
  run.print(
    f'{len(pages):,} pages ({difference.added:,} new, {difference.changed:,} changed, {difference.removed:,} gone), '
    f'{difference.chunks:,} chunks, {difference.embedded:,} texts embedded, {seconds:.1f} s'
  )
  if name == 'index':
    run.write_result({'num_pages': len(pages), 'num_chunks': difference.chunks, 'build_seconds': seconds})
  return difference


def _evaluated(
  run: contract.Run, encoder: Encoder, collection: Collection | None = None
) -> tuple[store.Store, judged_collections.Judged]:
  """An index to be judged, queries with their right pages and answers; the collection is read if it is not given."""
  config = run.config.evaluate
  own = _own_queries(run)
  if own is not None:
    return _judged(run, encoder, own, config.qrels)
  pages, asked = collection or _pages(run)
  if asked is not None:
    return _judged(run, encoder, asked, run.config.data.source)
  hidden, asked = judged_collections.known_items(pages, config.known_items)
  queries = _sample(asked.queries, config.max_queries, config.seed)
  drawn = f', {len(queries):,} of them drawn' if len(queries) < len(asked.queries) else ''
  run.print(f'\n{len(asked.queries):,} pages can be asked for by what is then hidden from their text{drawn}')
  _index(run, hidden, encoder, 'evaluation', borrow=run.workdir / 'index')
  opened = store.open_store(run.workdir / 'evaluation', encoder)
  return opened, dataclasses.replace(asked, queries=queries)


def _judged(
  run: contract.Run, encoder: Encoder, asked: judged_collections.Judged, name: str
) -> tuple[store.Store, judged_collections.Judged]:
  opened = store.open_store(run.workdir / 'index', encoder)
  judged_collections.check_judged(asked.judgements, opened.page_ids, _warn, name)
  return opened, asked


def _evaluate(run: contract.Run, subject: tuple[Encoder, Collection | None]) -> None:
  """Measures every stage; of a collection that was just built, and is not fit for it, only says so."""
  encoder, collection = subject
  if collection is not None and collection[1] is None and not run.config.evaluate.queries:
    try:
      judged_collections.known_items(collection[0], run.config.evaluate.known_items)
    except UserError as error:  # of a corpus that is too small or has no titles: it can be searched all the same
      run.print(
        f'not evaluated: {error}; your own queries are named by --config.evaluate.queries and --config.evaluate.qrels'
      )
      return
  baseline = _baseline(run)
  opened, asked = _evaluated(run, encoder, collection)
  queries = asked.queries
  searcher = open_searcher(run, opened, encoder)
  write = open_generator(run)
  kind = run.config.search.expansion
  made = stage_table.evaluate(
    searcher,
    queries,
    asked.judgements,
    ask=relevance_judge.command(run.config.evaluate.judge) if run.config.evaluate.judge else None,
    rewrite=lambda query: expansion.rewrites(query, kind, write),
    others={path.name: judged_collections.read_run(path) for path in map(pathlib.Path, run.config.evaluate.runs)},
    texts=asked.answers,
    calibrated=not asked.made,
    answering=from_mapping(
      AnswerConfig, {field.name: run.config.answer[field.name] for field in dataclasses.fields(AnswerConfig)}, 'answer'
    ),
  )
  run.print('\n' + made.table())
  for stage in made.found:
    files.write_text(run.workdir / 'runs' / f'{stage}.trec', made.trec(stage))
  plots = run.workdir / 'plots'
  if made.answers is not None:
    _show_answers(run, made.answers, plots)
  stage_charts.stages(made.estimates, plots / 'stages.png', f'{run.config.data.source}: {len(queries):,} queries')
  stage_charts.latency(made.milliseconds, plots / 'latency.png')
  stage_charts.embedding_map(
    opened.page_vectors(),
    opened.folders,
    plots / 'map.png',
    f'{len(opened.page_ids):,} pages of {run.config.data.source}',
  )
  changes = regression.compare(baseline, made.by_query()) if baseline is not None else []
  worse = [each.measure for each in changes if each.is_worse]
  again = bool(worse) and pathlib.Path(run.flags['baseline']).resolve() == run.workdir.resolve()
  if not again:  # else what was measured before stays to be met
    sealed.write_json(run.workdir / 'runs' / regression.QUERIES, made.by_query())
  run.write_result(made.result())  # last: by this `build` knows that nothing is left to do
  run.print(f'\n{run.workdir}: {_summary(run.result() or {})}')
  if changes:
    run.print('\n' + regression.table(changes))
  if worse:
    raise UserError(f'worse than {run.flags["baseline"]} by more than chance: {", ".join(worse)}')


def _baseline(run: contract.Run) -> regression.ByQuery | None:
  """The measures by query of the run that --baseline names."""
  folder = run.flags.get('baseline')
  return regression.read_by_query(pathlib.Path(folder, 'runs', regression.QUERIES)) if folder else None


def _show_answers(run: contract.Run, judged: AnswerReport, plots: pathlib.Path) -> None:
  sealed.write_json(run.workdir / 'calibration.json', dataclasses.asdict(judged.calibration))
  name = run.config.data.source.rpartition('/')[2]
  first = judged.right[:, 0] if judged.right is not None and len(judged.right) == len(judged.known) else None
  answer_charts.reliability(judged.known, judged.hidden, plots / 'reliability.png', f'Is the page there? {name}')
  answer_charts.risk_coverage(
    judged.known, judged.hidden, first, judged.min_confidence, plots / 'risk_coverage.png', name
  )


def _check(run: contract.Run) -> None:
  """All of the config that building and evaluating depend on, before either."""
  run.check(FREE)
  config = run.config
  search = search_config(run.config.search)
  _build_config(run)
  _own_queries(run, warn=lambda _: None)  # which is told where they are asked
  if search.rerank and not config.cross_encoder:
    raise UserError('search.rerank requires a cross-encoder; name its folder with --config.cross_encoder')
  if config.evaluate.known_items not in judged_collections.KNOWN_ITEMS:
    kinds = ', '.join(judged_collections.KNOWN_ITEMS)
    raise UserError(f'evaluate.known_items={config.evaluate.known_items!r} is not one of {kinds}')
  if config.search.expansion not in expansion.KINDS:
    kinds = ', '.join(expansion.KINDS)
    raise UserError(f'search.expansion={config.search.expansion!r} is not one of {kinds}')
  if config.search.expansion != 'none' and not config.generator:
    raise UserError('search.expansion requires a language model; name one with --config.generator')


def _own_queries(run: contract.Run, warn: Callable[[str], None] | None = None) -> judged_collections.Judged | None:
  config = run.config.evaluate
  if bool(config.queries) != bool(config.qrels):
    raise UserError('evaluate.queries and evaluate.qrels need each other: queries by id, and what is right for them')
  if not config.queries:
    return None
  return judged_collections.read_judged(pathlib.Path(config.queries), pathlib.Path(config.qrels), warn or _warn)


def _pages(run: contract.Run) -> Collection:
  pages, asked = judged_collections.open_collection(run.config.data.source, _warn, run.config.data.split)
  return list(pages), asked


def _warn(line: str) -> None:
  print(printable(line), file=sys.stderr)


def _sample(queries: Any, most: int, seed: int) -> dict[str, str]:
  ids = sorted(queries)
  chosen = random.Random(seed).sample(ids, most) if 0 < most < len(ids) else ids
  return {id_: queries[id_] for id_ in chosen}


def _build_config(run: contract.Run) -> BuildConfig:
  config = run.config
  return BuildConfig(
    from_mapping(ChunkConfig, config.chunk, 'chunk'),
    from_mapping(BM25Config, config.bm25, 'bm25'),
    config.shard_size,
    config.near_duplicate,
  )


def _summary(result: dict[str, Any]) -> str:
  best = lambda name: ', '.join(f'{stage} {value:.3f}' for stage, value in result.get(name, {}).items())
  return f'nDCG@10 {best("ndcg@10")}; recall@5 {best("recall@5")}'


def _define_flags(values: flags.FlagValues) -> None:
  flags.DEFINE_string('query', None, 'for --mode=ask; asked for if it is not given', flag_values=values)
  flags.DEFINE_string(
    'baseline', '', "for --mode=evaluate: another run's workdir; fails if a measure is worse", flag_values=values
  )
  flags.DEFINE_list(
    'collections', [], 'for --mode=collections: judged ones, by name, folder or file, with commas', flag_values=values
  )
  flags.DEFINE_string('folder', '', 'for --mode=ask: only pages filed under it', flag_values=values)


def _idle(run: contract.Run) -> dict[str, str]:
  config = run.config
  idle = sections.idle_cluster(config)
  if not config.search.rerank:
    idle |= dict.fromkeys(('cross_encoder', 'search.rerank_weight'), 'config.search.rerank is 0')
  if config.search.expansion == 'none' and run.flags['mode'] != 'ask':
    idle['generator'] = "config.search.expansion is 'none'"
  if config.search.fusion == 'rrf':
    idle['search.dense_weight'] = "config.search.fusion is 'rrf'"
  if config.evaluate.queries:
    idle |= {f'evaluate.{name}': 'config.evaluate.queries are asked' for name in ('known_items', 'max_queries', 'seed')}
  return idle


_INDEX = ('encoder', 'chunk', 'bm25', 'shard_size', 'near_duplicate')  # what an index is made with
_SEARCH = ('search', 'cross_encoder', 'generator')
_ANSWER = tuple(f'answer.{name}' for name in ('sentences', 'pages', 'min_confidence'))  # of what is judged
_ASKED = tuple(f'evaluate.{name}' for name in ('known_items', 'max_queries', 'queries', 'qrels', 'seed'))
MODES = {
  'build': contract.Mode(build, ('data', *_INDEX, *_SEARCH, 'evaluate', *_ANSWER, *sections.EXECUTOR)),
  'ask': contract.Mode(ask, (*_SEARCH, 'answer'), kept=('encoder',), flags=('query', 'folder')),
  'evaluate': contract.Mode(
    evaluate,
    (*_SEARCH, 'evaluate', *_ANSWER, *sections.EXECUTOR),
    kept=('data', *_INDEX),
    flags=('baseline',),
  ),
  'tune': contract.Mode(tune, ('search.pages', *_ASKED, 'tune', *sections.EXECUTOR), kept=('data', *_INDEX)),
  'update': contract.Mode(update, ('data', *_INDEX, *sections.EXECUTOR)),
  'shards': contract.Mode(shards, ('data.source', 'data.path', 'encoder', 'chunk', 'shards', *sections.EXECUTOR)),
  'collections': contract.Mode(
    collections, ('encoder', 'bm25', 'search.pages', *sections.EXECUTOR), flags=('collections',)
  ),
  'tensorboard': contract.Mode(tensorboard, kept=('encoder',)),
}
SECTIONS: dict[str, sections.Section] = {
  '': sections.keys(
    shard_size=Positive,
    near_duplicate=Annotated[float, between(0, 1)],
    cross_encoder=Source,
    generator=Source,
    executor=sections.EXECUTOR_KIND,
  ),
  'data': sections.Judged,
  'encoder': sections.OfEncoder,
  'chunk': ChunkConfig,
  'bm25': BM25Config,
  'search': lambda values, name: from_mapping(
    SearchConfig, {k: v for k, v in values.items() if k != 'expansion'}, name
  ),
  'evaluate': sections.QueryEvaluation,
  'answer': sections.Answers,
  'tune': sections.Tuning,
  'shards': sections.keys(number=Positive, output=Place),
  'cluster': sections.CLUSTER,
}
RENAMED = {
  '--config.corpus': '--config.data.source',
  '--config.pairs.workdirs': 'python -m experiments.encoder --config.data.source',
  '--config.pairs': 'python -m experiments.encoder --config.pairs',
  '--config.train.kind': 'python -m experiments.encoder --config.kind',
  '--config.train.temperature': 'python -m experiments.encoder --config.contrastive.temperature',
  '--config.train.chunks': 'python -m experiments.encoder --config.contrastive.chunks',
  '--config.train.length': 'python -m experiments.encoder --config.cross_encoder.length',
  '--config.train': 'python -m experiments.encoder --config.train',
  '--mode=train': 'python -m experiments.encoder',
}

CLASSES = (('search', SearchConfig), ('chunk', ChunkConfig), ('bm25', BM25Config), ('cluster', ExecutorConfig))


def main(argv: Sequence[str] | None = None) -> int:
  return contract.launch(
    'retrieval',
    MODES,
    'quickstart',
    define_flags=_define_flags,
    renamed=RENAMED,
    idle=_idle,
    sections=SECTIONS,
    classes=CLASSES,
    argv=argv,
  )


if __name__ == '__main__':
  sys.exit(main())
