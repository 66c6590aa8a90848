"""Recommender in stages: from transactions to ranked articles.

python -m experiments.recsys                                            # the funnel on a year of real purchases
python -m experiments.recsys --mode=recommend --user=900                # what a household gets, from where, and why
python -m experiments.recsys --mode=evaluate                            # by segment; paired tests, calibration
python -m experiments.recsys --mode=backtest --workdir=DIR              # weeks left out by funnel.skip, with spread
python -m experiments.recsys --mode=submit                              # every user's twelve as submission.csv
python -m experiments.recsys --mode=simulate                            # known truth: recovery, off-policy estimates
python -m experiments.recsys --mode=ratings --config.data.path=FILE     # how many stars: RMSE beside a bias baseline
python -m experiments.recsys --config=configs/recsys/hm.py --config.data.path=FOLDER
"""

import dataclasses
import math
import pathlib
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from absl import flags

from experiments import compile_mode, contract, sections
from mlsd_jax import sealed
from mlsd_jax.compilation import Program
from mlsd_jax.data.reading_progress import progress_bar
from mlsd_jax.errors import UserError
from mlsd_jax.executor import ExecutorConfig
from mlsd_jax.models.sequential import SequentialConfig
from mlsd_jax.models.sparsenn import SparseNNConfig
from mlsd_jax.models.two_tower import TwoTowerConfig
from mlsd_jax.recsys import backtest as backtest_weeks
from mlsd_jax.recsys import batches, preparation, ratings, reasons, saved_state, serving, settings, training
from mlsd_jax.recsys.funnel import Funnel, FunnelConfig
from mlsd_jax.recsys.judging import breakdown, judge, rankings, simulation, tables
from mlsd_jax.recsys.known import snapshot
from mlsd_jax.recsys.purchases import readers, weeks
from mlsd_jax.recsys.purchases.generator import SyntheticConfig
from mlsd_jax.recsys.ratings import RatingsConfig
from mlsd_jax.recsys.sequence_training import SequenceConfig
from mlsd_jax.recsys.stages import trees
from mlsd_jax.recsys.stages.ranker import LossConfig
from mlsd_jax.recsys.stages.tower_data import code_items, code_users
from mlsd_jax.recsys.stages.trees import TreesConfig
from mlsd_jax.recsys.training import RankerConfig, TowerConfig
from mlsd_jax.schema import from_mapping
from mlsd_jax.training.config import free_keys
from mlsd_jax.training.loop import check_settings

FREE = ('serve', 'ratings', *sections.EXECUTOR, *free_keys('tower.train', 'ranker.train', 'sequence.train'))


def train(run: contract.Run) -> None:
  """Trains the funnel (or goes on), prints its table on the week held out, saves what serves."""
  config, began = run.config, time.perf_counter()
  recommender = settings.read_recommender(config)
  trainers = [recommender.tower.train, recommender.ranker.train]
  for trainer in [*trainers, recommender.sequence.train] if recommender.sequence else trainers:
    check_settings(trainer)
  if recommender.ranker.grows_trees:
    trees.check_installed()
  run.check(FREE)
  data, number = settings.read_dataset(config), recommender.funnel.weeks
  # What was trained on other purchases, whose users and items have other numbers, must not go on with these; nor is
  # what came of others the result of these.
  described = {'name': data.name, 'fingerprint': data.fingerprint}
  finished = run.result()
  if finished and 'map@12' in finished:
    run.check(FREE, data=described)
    return run.print_finished(_summary(finished))
  cuts = weeks.choose_cuts(data, number)
  run.claim(FREE, data=described)
  run.print(settings.describe(data, cuts))
  if len(cuts) <= number:
    run.print(f'trains on {len(cuts) - 1} weeks, not {number}: the others are empty or have too little before them')
  prepared = preparation.prepare(data, cuts, recommender, run.workdir / 'tower', tell=run.print)
  if prepared is None:
    return None
  groups, ready = prepared
  run.print(f'\nranker: {len(groups):,} users and weeks, {int(groups.arrays["weights"].sum()):,} candidates')
  found = training.train_rankers(
    groups, ready.samples, code_items(data), code_users(data), recommender.ranker, run.workdir / 'ranker', run.print
  )
  if found is None:
    return None
  scorer, of_ranker = found
  del groups, prepared, found
  trained = Funnel(
    recommender.funnel.per_source,
    recommender.funnel.keep,
    ready.retriever,
    ready.blend,
    scorer,
    preparation.fit_guard(ready, scorer, recommender.funnel.newcomers),
  )
  if not ready.week.union.snapshot.buys_again:
    run.print('nobody buys a thing twice here: sources and baselines leave out what a user has')
  ranked = rankings.rank(ready.week, trained, ready.histories)
  plots = run.workdir / 'plots'
  values = judge.judge(data, ready.week, ranked, run.workdir, run.print)
  judge.draw_items(data, ready.week, trained.retriever.items, plots)
  judge.draw_training(run.workdir / 'tower' / str(cuts[-1]), plots)
  now, histories = int(data.events['time'][-1]) + 1, ready.histories
  values |= {**ready.origin, **of_ranker}
  del ready, ranked  # at full size what serves needs their room
  preparation.release_memory()  # the first figure leaves a cycle behind, through whose frames all of it would stay
  trained = dataclasses.replace(trained, retriever=trained.retriever.renewed(histories, now))
  state = serving.State(trained, snapshot.take(data, now), histories, *serving.name_tables(data), purchases=data)
  version = saved_state.save(state, run.workdir / 'state', {'data': data.name})
  latency = serving.measure_latency(saved_state.load(run.workdir / 'state'), config.serve.requests)
  values |= {'recommend_p50_ms': latency[0], 'recommend_p99_ms': latency[1]}
  values['train_seconds'] = time.perf_counter() - began
  most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in KiB, on macOS in bytes
  values['peak_memory_mb'] = most / (1 << 20 if sys.platform == 'darwin' else 1 << 10)
  for name in ('normalized_entropy', 'calibration_error_share'):  # null where no candidate was bought, or all were
    values[name] = None if math.isnan(values[name]) else values[name]
  run.write_result(values)
  run.print(f'\nstate {version}: a request takes {latency[0]:.1f} ms, 99 of 100 at most {latency[1]:.1f} ms')
  return run.print(f'{run.workdir}: {_summary(values)}')


def prepare(run: contract.Run) -> None:
  """Reads the data (for H&M: streams it to Parquet) and says what is in it."""
  data = settings.read_dataset(run.config)
  run.print(settings.describe(data, weeks.choose_cuts(data, run.config.funnel.weeks)))


def evaluate(run: contract.Run) -> None:
  """Segments, paired tests, what lists are like, rare items and calibration of a finished run."""
  path = run.workdir / 'evaluation.parquet'
  if not path.exists():
    raise UserError(f'{run.workdir} holds no evaluation; run --mode=train first')
  sealed.check_file(path)
  table, result = pl.read_parquet(path), run.result() or {}
  run.print(tables.format_funnel(tables.estimate_means(table)))
  run.print('\n' + tables.format_segments(table, ('repurchase + popular', 'blend', 'ranker')))
  run.print()
  for first, second in (('ranker', 'repurchase + popular'), ('ranker', 'blend'), ('tower', 'popular')):
    if {first, second} <= set(table['stage']):
      for metric in ('map@12', 'recall@1000'):
        run.print(tables.format_comparison(table, first, second, metric))
  for name, form in (('lists', breakdown.format_lists), ('rare_items', breakdown.format_rare_items)):
    part = run.workdir / f'{name}.parquet'
    if part.exists():  # a run of before there were such tables has none
      sealed.check_file(part)
      run.print('\n' + form(pl.read_parquet(part)))
  names = ('normalized_entropy', 'calibration_error_share', 'base_rate', 'coverage@12', 'novelty_bits')
  run.print('\n' + '\n'.join(f'{name:<24} {result[name]:.4f}' for name in names if result.get(name) is not None))


def backtest(run: contract.Run) -> None:
  """The weeks that a finished run left out (config.funnel.skip), each judged on its own, with their spread."""
  skip = run.config.funnel.skip
  if not skip:
    raise UserError(
      f'{run.workdir} learnt from all of its purchases; train with --config.funnel.skip=4 in a --workdir of its own, '
      'so that there are weeks to judge'
    )
  state, config = saved_state.load(run.workdir / 'state'), settings.read_funnel(run.config)
  with run.config.unlocked():
    run.config.funnel.skip = 0
  data = settings.read_dataset(run.config)
  cuts = weeks.list_cuts(data, skip)[::-1]
  if len(state.users) != data.num_users or state.snapshot.cut != int(data.before(cuts[0])['time'][-1]) + 1:
    raise UserError(f'{run.workdir} was trained on other purchases than {data.name} has now')
  table = backtest_weeks.judge_weeks(data, cuts, state, config, run.print)
  sealed.write_file(run.workdir / 'backtest.parquet', table.write_parquet)
  run.print('\n' + backtest_weeks.format_weeks(table))
  run.print('\n' + backtest_weeks.format_segments(table, ('blend', 'ranker')))


def recommend(run: contract.Run) -> None:
  """What --user bought lately, what is recommended to it, which sources named it, and why."""
  state = saved_state.load(run.workdir / 'state')
  user_id = run.flags['user']
  if not user_id:
    raise UserError(f'--mode=recommend requires --user=ID, such as {state.users["id"][0]}')
  place = (state.users['id'] == user_id).arg_max()
  known = place is not None and state.users['id'][place] == user_id
  user = int(place) if known and place is not None else len(state.users)
  recent = state.snapshot['recent'][user][:10]
  if known:
    run.print(f'{user_id} bought lately')
    for item, age in zip(recent[recent >= 0], state.snapshot['recent_age'][user], strict=False):
      run.print(f'  {age:5.0f} days ago   {_name(state, int(item))}')
  else:
    run.print(f'{user_id} is not known: what is popular, ranked for somebody without a history')
  answer = serving.recommend(
    state, np.array([user]), run.config.serve.number, exclude_bought=run.flags['exclude_bought']
  )
  run.print(f'\n{"":>3} {"chance":>7}  {"":<44} {"from (rank there)":<44} why')
  for number, (item, chance) in enumerate(zip(answer.items[0], answer.probability[0], strict=True), 1):
    if item < 0:
      break
    row = int(np.searchsorted(answer.candidates.item, item))
    found = answer.candidates
    why = reasons.explain(state, user, int(item), found.rank[row], found.sources, found.score[row])
    run.print(f'{number:3d} {chance:7.1%}  {_name(state, int(item)):<44.44} {why.sources:<44.44} {why.why}')


def submit(run: contract.Run) -> None:
  """Twelve items for every user: Parquet by parts (a killed run goes on), then submission.csv as Kaggle requires it."""
  users = saved_state.load(run.workdir / 'state').users['id']
  settings_, executor = run.config.serve, sections.read_executor(run.config)
  began = time.perf_counter()
  with progress_bar('recommending', len(users), unit='users') as advance:
    parts = batches.recommend_all(
      run.workdir / 'state', settings_.output or run.workdir / 'recommendations', part=settings_.part, config=executor,
      on_part=advance,
    )  # fmt: skip
  seconds = time.perf_counter() - began
  written = readers.write_submission(batches.paths(parts), users, run.workdir / 'submission.csv')
  run.print(f'{parts.made} parts made in {seconds:.0f} s; {run.workdir / "submission.csv"}: {written:,} users')


def rate(run: contract.Run) -> None:
  """Each user's latest ratings, predicted by biases alone and by biases with factors."""
  config = from_mapping(RatingsConfig, run.config.ratings.to_dict(), 'ratings')
  data = settings.read_ratings(run.config)
  judged = ratings.judge(data, config)
  run.print('\n'.join(data.notes))
  run.print(
    f'{data.name}: {data.num_users:,} users, {data.num_items:,} items, {judged.known:,} ratings learnt, the latest '
    f'{judged.latest:,} judged; penalty {judged.penalty:g}\n'
  )
  run.print(ratings.format_table(judged))


def simulate(run: contract.Run) -> None:
  """Purchases with a known cause: how much of it the funnel finds, and whether off-policy estimates are right."""
  shop = from_mapping(SyntheticConfig, run.config.data.synthetic.to_dict(), 'data.synthetic')
  for line in simulation.run_study(shop):
    run.print(line)


def programs(config: Any, flags_: Mapping[str, Any]) -> list[Program]:
  """What --mode=compile compiles: the training of both models, user vectors, ranking; of sizes read or given."""
  from mlsd_jax.recsys import sized_programs  # which a training does not need

  recommender = settings.read_recommender(config)
  if flags_['num_items']:
    sizes = sized_programs.Sizes(flags_['num_items'], flags_['num_users'])
  else:
    data = settings.read_dataset(config)
    sizes = sized_programs.Sizes.of(code_items(data), code_users(data))
  return sized_programs.list_programs(recommender, sizes)


def _name(state: serving.State, item: int) -> str:
  name, item_id = state.items['name'][item], state.items['id'][item]
  return f'{name} ({item_id})' if name != item_id else f'{name}'


def _summary(result: Mapping[str, Any]) -> str:
  stage = result['map@12']
  return (
    f'MAP@12 {stage["ranker"]:.4f}, candidates recall@100 {result["recall@100"]["blend"]:.3f} and '
    f'@1000 {result["recall@1000"]["blend"]:.3f}, normalised entropy {result["normalized_entropy"]:.3f}, '
    f'{result["recommend_p99_ms"]:.1f} ms a request (p99)'
    if result['normalized_entropy'] is not None
    else f'MAP@12 {stage["ranker"]:.4f}'
  )


def _settle(run: contract.Run) -> None:
  """A path given alone, as data.path or as data.source, is a table of the user's own.

  Raises:
    UserError: the command line gives a path to a source that has none.
  """
  data = run.config.data
  if data.source and data.source not in settings.SOURCES and not data.path and pathlib.Path(data.source).exists():
    data.source, data.path = 'table', data.source
  if not data.path or data.source in settings.NEED_PATH:
    return
  if 'data.source' in run.given:
    raise UserError(
      f'--config.data.source={data.source} has no path; with --config.data.path it is one of '
      f'{", ".join(settings.NEED_PATH)}, or left out for a table'
    )
  data.source = 'table'


def _define_flags(values: flags.FlagValues) -> None:
  flags.DEFINE_string('user', '', 'id of a user (--mode=recommend)', flag_values=values)
  flags.DEFINE_bool('exclude_bought', False, 'leave out what the user bought before', flag_values=values)
  flags.DEFINE_integer('num_items', 0, '--mode=compile: articles; 0 reads the purchases', flag_values=values)
  flags.DEFINE_integer(
    'num_users', 0, '--mode=compile: users that have a row of their own; 0 is none', flag_values=values
  )
  compile_mode.define_flags(values)


def _idle(run: contract.Run) -> dict[str, str]:
  """What belongs to another source of purchases or ranker, or to a sequence model where there is none."""
  source = run.config.data.source
  of_table = dict.fromkeys(('columns', 'categories', 'decimal', 'date_order', 'min_rating'), 'table')
  of_source = {'promotions': 'completejourney', 'synthetic': 'synthetic', **of_table}
  if run.flags['mode'] == 'simulate':
    return {}
  if run.flags['mode'] == 'ratings':
    return {'data.min_rating': '--mode=ratings takes every rating as it is'}
  idle = {f'data.{key}': f'config.data.source is {source!r}' for key, of in of_source.items() if source != of}
  kind = run.config.ranker.kind
  idle |= _idle_of_sequence(run.config)
  others = {'sparsenn': ('trees',), 'lightgbm': ('losses', 'epochs')}.get(kind, ())
  if others == ('trees',) and run.config.ranker.losses.teacher:  # whose scores SparseNN learns from
    others = ()
  idle |= {f'ranker.{key}': f'config.ranker.kind is {kind!r}' for key in others}
  return idle | sections.idle_cluster(run.config)


def _idle_of_sequence(config: Any) -> dict[str, str]:
  if 'sequence' not in config:  # a run of before there was such a model
    return {}
  sequence = config.sequence
  if not sequence.kind:
    others = (*(f'sequence.{key}' for key in sequence if key != 'kind'), 'funnel.per_source.sequence')
    return dict.fromkeys(others, "config.sequence.kind is ''")
  of_loss = {'sampled_softmax': ('calibration',), 'softmax': ('negatives', 'popular', 'calibration')}
  idle = {f'sequence.{key}': f'config.sequence.loss is {sequence.loss!r}' for key in of_loss.get(sequence.loss, ())}
  return idle | ({'sequence.model.block': "config.sequence.kind is 'hstu'"} if sequence.kind == 'hstu' else {})


MODES = {
  'train': contract.Mode(train, ('seed', 'data', 'funnel', 'tower', 'sequence', 'ranker', 'serve.requests')),
  'prepare': contract.Mode(prepare, ('data', 'funnel.weeks', 'funnel.skip')),
  'evaluate': contract.Mode(evaluate),
  'backtest': contract.Mode(backtest, kept=('data', 'funnel', 'sequence.kind')),
  'recommend': contract.Mode(recommend, ('serve.number',), flags=('user', 'exclude_bought')),
  'submit': contract.Mode(submit, ('serve.part', 'serve.output', *sections.EXECUTOR)),
  'ratings': contract.Mode(rate, ('data', 'ratings')),
  'simulate': contract.Mode(simulate, ('data.synthetic',)),
  'compile': compile_mode.mode(
    programs, ('seed', 'data', 'funnel', 'tower', 'sequence', 'ranker'), flags=('num_items', 'num_users')
  ),
}

CLASSES = (
  ('funnel', FunnelConfig),
  ('tower', TowerConfig),
  ('tower.model', TwoTowerConfig),
  ('sequence', SequenceConfig),
  ('sequence.model', SequentialConfig),
  ('ranker', RankerConfig),
  ('ranker.model', SparseNNConfig),
  ('ranker.losses', LossConfig),
  ('ranker.trees', TreesConfig),
  ('data.synthetic', SyntheticConfig),
  ('ratings', RatingsConfig),
  ('cluster', ExecutorConfig),
)


def _seeded(cls: type) -> sections.Section:
  return lambda values, name: from_mapping(cls, {**values, 'train': {**values['train'], 'seed': 0}}, name)


SECTIONS: dict[str, sections.Section] = {
  '': sections.keys(seed=int, executor=sections.EXECUTOR_KIND),
  'data': settings.DataConfig,
  'data.synthetic': SyntheticConfig,
  'funnel': FunnelConfig,
  'tower': _seeded(TowerConfig),
  'sequence': _seeded(SequenceConfig),
  'ranker': _seeded(RankerConfig),
  'ratings': RatingsConfig,
  'serve': sections.Serving,
  'cluster': sections.CLUSTER,
}


def main(argv: Sequence[str] | None = None) -> int:
  return contract.launch(
    'recsys',
    MODES,
    'quickstart',
    define_flags=_define_flags,
    settle=_settle,
    idle=_idle,
    sections=SECTIONS,
    classes=CLASSES,
    argv=argv,
  )


if __name__ == '__main__':
  sys.exit(main())
