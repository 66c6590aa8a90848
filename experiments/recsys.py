"""Recommender in stages: from transactions to ranked articles.

python -m experiments.recsys                                            # the funnel on a year of real purchases
python -m experiments.recsys --mode=recommend --user=900                # what a household gets, from where, and why
python -m experiments.recsys --mode=evaluate                            # by segment; paired tests, calibration
python -m experiments.recsys --mode=submit                              # every user's twelve as submission.csv
python -m experiments.recsys --mode=simulate                            # known truth: recovery, off-policy estimates
python -m experiments.recsys --config=configs/recsys/hm.py --config.data.path=FOLDER
"""

import math
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from absl import flags

from experiments import contract
from mlsd_jax import files
from mlsd_jax.errors import UserError
from mlsd_jax.recsys import (
  calibration,
  charts,
  evaluation,
  funnel,
  memory,
  readers,
  report,
  serving,
  snapshot,
  splits,
  stages,
  tables,
  training,
)
from mlsd_jax.recsys.events import Dataset
from mlsd_jax.recsys.ranking import Losses
from mlsd_jax.recsys.tower_examples import item_codes, user_codes
from mlsd_jax.training.config import TrainConfig, from_mapping
from mlsd_jax.training.metrics import read_metrics

FREE = ('serve',)


def train(run: contract.Run) -> None:
  """Trains the funnel (or goes on), prints its table on the week held out, saves what serves."""
  finished = run.result()
  if finished and 'map@12' in finished:
    run.claim(FREE)
    return run.print(f'{run.workdir} is finished: {_summary(finished)}')
  config, began = run.config, time.perf_counter()
  settings = _funnel(config)
  ranker_train, losses = _train(config, 'ranker'), from_mapping(Losses, config.ranker.losses.to_dict(), 'ranker.losses')
  data = _dataset(config)
  cuts = funnel.weeks_of(data, settings.weeks)
  run.claim(FREE)  # not before all of this was found good: the mended command is to find the workdir free
  run.print(_described(data, cuts))
  if len(cuts) <= settings.weeks:
    run.print(
      f'trains on {len(cuts) - 1} weeks, not {settings.weeks}: the others are empty or have too little before them'
    )
  tower, tower_train = _tower(config)
  bag = config.ranker.model.bag_length
  prepared = stages.prepare(
    data, cuts, settings, tower, tower_train, bag, run.workdir / 'tower', tell=run.print, seed=config.seed
  )
  if prepared is None:
    return None
  groups, ready = prepared
  week, codes, of_users = ready.week, item_codes(data), user_codes(data)
  run.print(f'\nranker: {len(groups):,} users and weeks, {int(groups.arrays["weights"].sum()):,} candidates')
  scorer, fitted = training.train_ranker(
    groups,
    codes,
    of_users,
    config.ranker.model.to_dict(),
    losses,
    ranker_train,
    run.workdir / 'ranker',
    config.ranker.epochs,
  )
  if fitted.interrupted:
    return None
  del groups, prepared
  scorer = funnel.calibrated(scorer, ready.latest, of_users)
  ranked = funnel.rank(week, ready.blend, scorer, of_users, settings.keep, ready.retriever, ready.histories)
  values = _report(run, data, week, ranked)
  charts.embedding_map(
    ready.retriever.items[_common(week)],
    [data.items[(data.categories or ('id',))[:2][-1]][int(i)] or '-' for i in _common(week)],
    run.workdir / 'plots' / 'embedding_map.png',
  )
  _training_chart(run, cuts[-1])
  now = int(data.events['time'][-1]) + 1
  histories, retriever, blend = ready.histories, ready.retriever, ready.blend
  del ready, week, ranked  # at full size what serves needs their room
  memory.give_back()  # the first figure leaves a cycle behind, through whose frames all of it would stay
  users, items = serving.tables(data)
  state = serving.State(
    snapshot.take(data, now),
    histories,
    retriever.renewed(histories, now),
    blend,
    scorer,
    codes,
    scorer.edges,
    of_users,
    users,
    items,
    settings.per_source,
    settings.keep,
  )
  version = serving.save(state, run.workdir / 'state', {'data': data.name})
  latency = serving.latency(serving.load(run.workdir / 'state'), config.serve.requests)
  values |= {'recommend_p50_ms': latency[0], 'recommend_p99_ms': latency[1]}
  values['train_seconds'] = time.perf_counter() - began
  run.write_result(values)
  run.print(f'\nstate {version}: a request takes {latency[0]:.1f} ms, 99 of 100 at most {latency[1]:.1f} ms')
  return run.print(f'{run.workdir}: {_summary(values)}')


def prepare(run: contract.Run) -> None:
  """Reads the data (for H&M: streams it to Parquet) and says what is in it."""
  data = _dataset(run.config)
  run.print(_described(data, funnel.weeks_of(data, run.config.funnel.weeks)))


def evaluate(run: contract.Run) -> None:
  """Segments, paired tests, coverage, novelty and calibration of a finished run."""
  path = run.workdir / 'evaluation.parquet'
  if not path.exists():
    raise UserError(f'{run.workdir} holds no evaluation; run --mode=train first')
  table, result = pl.read_parquet(path), run.result() or {}
  run.print(report.funnel_table(report.estimates(table)))
  run.print('\n' + report.segment_table(table, ('repurchase + popular', 'blend', 'ranker')))
  run.print()
  for first, second in (('ranker', 'repurchase + popular'), ('ranker', 'blend'), ('tower', 'popular')):
    if {first, second} <= set(table['stage']):
      for metric in ('map@12', 'recall@1000'):
        run.print(report.comparison(table, first, second, metric))
  names = ('normalized_entropy', 'calibration_error_share', 'base_rate', 'coverage@12', 'novelty_bits')
  run.print('\n' + '\n'.join(f'{name:<24} {result[name]:.4f}' for name in names if name in result))


def recommend(run: contract.Run) -> None:
  """What --user bought lately, what is recommended to it, which sources named it, and why."""
  state = serving.load(run.workdir / 'state')
  asked = run.flags['user']
  if not asked:
    raise UserError(f'--mode=recommend wants --user=ID, such as {state.users["id"][0]}')
  place = (state.users['id'] == asked).arg_max()
  known = place is not None and state.users['id'][place] == asked
  user = int(place) if known and place is not None else len(state.users)
  recent = state.snapshot['recent'][user][:10]
  if known:
    run.print(f'{asked} bought lately')
    for item, age in zip(recent[recent >= 0], state.snapshot['recent_age'][user], strict=False):
      run.print(f'  {age:5.0f} days ago   {_name(state, int(item))}')
  else:
    run.print(f'{asked} is not known: what is popular, ranked for somebody without a history')
  answer = serving.recommend(
    state, np.array([user]), run.config.serve.number, exclude_bought=run.flags['exclude_bought']
  )
  run.print(f'\n{"":>3} {"chance":>7}  {"":<44} {"from (rank there)":<44} why')
  for number, (item, chance) in enumerate(zip(answer.items[0], answer.probability[0], strict=True), 1):
    if item < 0:
      break
    row = int(np.searchsorted(answer.candidates.item, item))
    why = report.reason(state, user, int(item), answer.candidates.rank[row], answer.candidates.sources)
    run.print(f'{number:3d} {chance:7.1%}  {_name(state, int(item)):<44.44} {why.sources:<44.44} {why.why}')


def submit(run: contract.Run) -> None:
  """Twelve items for every user: Parquet by parts (a killed run goes on), then submission.csv as Kaggle wants it."""
  state = serving.load(run.workdir / 'state')
  folder = run.workdir / 'recommendations'
  began = time.perf_counter()
  made = serving.batch(state, np.arange(len(state.users)), folder, part=run.config.serve.part)
  seconds = time.perf_counter() - began
  written = readers.write_submission(folder, state.users['id'], run.workdir / 'submission.csv')
  run.print(f'{made} parts made in {seconds:.0f} s; {run.workdir / "submission.csv"}: {written:,} users')


def simulate(run: contract.Run) -> None:
  """Purchases with a known cause: how much of it the funnel finds, and whether off-policy estimates are right."""
  from mlsd_jax.recsys import simulation

  for line in simulation.study(_synthetic(run.config)):
    run.print(line)


def _synthetic(config: Any) -> Any:
  from mlsd_jax.recsys.generator import Synthetic

  return from_mapping(Synthetic, config.data.synthetic.to_dict(), 'data.synthetic')


def _dataset(config: Any) -> Dataset:
  data, skip = _read(config), config.funnel.skip
  return data.until(int(data.events['time'][-1]) + 1 - skip * splits.WEEK) if skip else data


def _read(config: Any) -> Dataset:
  source, path = config.data.source, config.data.path
  if source == 'completejourney':
    return readers.completejourney(config.data.promotions)
  if source == 'synthetic':
    from mlsd_jax.recsys.generator import generate

    return generate(_synthetic(config)).dataset
  if source not in ('hm', 'online_retail', 'table'):
    raise UserError(f'config.data.source={source!r} is not one of completejourney, hm, online_retail, synthetic, table')
  if not path:
    raise UserError(f'config.data.source={source!r} wants --config.data.path=')
  if source == 'hm':
    return readers.hm(path)
  if source == 'online_retail':
    return readers.online_retail(path)
  categories = config.data.categories  # a tuple in a config, names with commas between on the command line
  names = [name.strip() for name in categories.split(',')] if isinstance(categories, str) else categories
  return tables.table(path, config.data.columns.to_dict(), tuple(filter(None, names)))


def _funnel(config: Any) -> funnel.FunnelConfig:
  values = config.funnel.to_dict()
  known = (*funnel.SOURCES, funnel.NAME)
  unknown = [name for name in values['per_source'] if name not in known]
  if unknown:
    raise UserError(f'config.funnel.per_source.{unknown[0]} is not one of {", ".join(known)}')
  return from_mapping(funnel.FunnelConfig, values, 'funnel')


def _tower(config: Any) -> tuple[training.TowerSettings, TrainConfig]:
  values = config.tower.to_dict()
  values.pop('train')
  return from_mapping(training.TowerSettings, values, 'tower'), _train(config, 'tower')


def _train(config: Any, section: str) -> TrainConfig:
  return from_mapping(TrainConfig, config[section].train.to_dict() | {'seed': config.seed}, f'{section}.train')


def _described(data: Dataset, cuts: Sequence[int]) -> str:
  held_out = splits.targets(data, cuts[0])
  history = data.before(cuts[0])
  cold_users = len(np.setdiff1d(held_out.users, history['user'].unique().to_numpy()))
  cold_items = len(np.setdiff1d(held_out.item, history['item'].unique().to_numpy()))
  return (
    f'{data.name}: {data.events.height:,} purchases of {data.num_users:,} users, {data.num_items:,} items, '
    f'{stages.day(data.events["time"][0])} to {stages.day(data.events["time"][-1])}\n'
    f'held out: the week from {stages.day(cuts[0])} on, {len(held_out.users):,} users, '
    f'{len(held_out.user):,} purchases; '
    f'{cold_users:,} users and {cold_items:,} of the items were never seen before'
    + ''.join(f'\n{note}' for note in data.notes)
  )


def _common(week: funnel.Week) -> np.ndarray:
  return np.flatnonzero(week.snapshot.column('item', 'n90') >= 20)


def _report(run: contract.Run, data: Dataset, week: funnel.Week, ranked: funnel.Ranked) -> dict[str, Any]:
  """Prints the funnel's table, draws its pictures, and gives the numbers of result.json."""
  segments = splits.segments(data.before(week.targets.cut), data.num_users)
  table = report.per_user(ranked, week.targets, data.num_items, segments)
  with files.atomic_path(run.workdir / 'evaluation.parquet') as temporary:
    table.write_parquet(temporary)
  found = report.estimates(table)
  everyone = len(splits.targets(data, week.targets.cut).users)
  if len(ranked.users) < everyone:
    run.print(f'\njudged on {len(ranked.users):,} of the {everyone:,} users of that week, drawn at random')
  run.print('\n' + report.funnel_table(found))
  probability = 1 / (1 + np.exp(-ranked.logits[:, 0].astype(np.float64)))
  bought, base = ranked.labels.bought, float(ranked.labels.bought.mean())
  counts = week.snapshot.column('item', 'n')
  entropy = calibration.normalized_entropy(probability, bought)
  error = calibration.calibration_error(probability, bought) / base
  run.print(
    f'\nof the {len(bought):,} candidates ranked {base:.2%} were bought, {probability.mean():.2%} foretold: '
    f'normalised entropy {entropy:.4f}, calibration error {error:.1%} of the base rate'
  )
  plots = run.workdir / 'plots'
  curves = {}
  for stage, ranking in ranked.rankings.items():
    hits, relevant = evaluation.relevance(ranked.users, ranking, week.targets, data.num_items)
    curves[stage] = [float(evaluation.recall(hits, relevant, depth).mean()) for depth in charts.DEPTHS]
  charts.recall_curves(curves, plots / 'recall.png')
  charts.funnel(found, plots / 'funnel.png')
  charts.reliability(probability, bought, plots / 'reliability.png')
  metrics = ('map@12', 'ndcg@12', 'recall@12', 'recall@100', 'recall@1000')
  return {metric: {stage: found[stage][metric].mean for stage in found} for metric in metrics} | {
    'normalized_entropy': entropy,
    'calibration_error_share': error,
    'base_rate': base,
    'coverage@12': evaluation.coverage(ranked.rankings['ranker'], data.num_items),
    'novelty_bits': evaluation.novelty(ranked.rankings['ranker'], counts),
    'candidates_per_user': len(week.candidates.item) / len(ranked.users),
    'union_recall': _union_recall(week, data.num_items),
  }


def _union_recall(week: funnel.Week, num_items: int) -> float:
  union = week.candidates
  bought = np.isin(
    union.user.astype(np.int64) * num_items + union.item,
    week.targets.user.astype(np.int64) * num_items + week.targets.item,
  )
  hits = np.bincount(union.row, bought, minlength=len(union.users))
  relevant = np.bincount(np.searchsorted(union.users, week.targets.user), minlength=len(union.users))
  return float((hits / np.maximum(relevant, 1)).mean())


def _training_chart(run: contract.Run, first: int) -> None:
  records = read_metrics(run.workdir / 'tower' / str(first))
  pick = lambda name: [(r['step'], r[name]) for r in records if r.get(name) is not None]
  if pick('loss') and pick('val_recall@1000'):
    charts.loss_and_recall(
      pick('loss'),
      pick('val_recall@1000'),
      run.workdir / 'plots' / 'towers.png',
      'Two towers: loss and recall over training',
    )


def _name(state: serving.State, item: int) -> str:
  name, of = state.items['name'][item], state.items['id'][item]
  return f'{name} ({of})' if name != of else f'{name}'


def _summary(result: Mapping[str, Any]) -> str:
  stage = result['map@12']
  return (
    f'MAP@12 {stage["ranker"]:.4f}, candidates recall@100 {result["recall@100"]["blend"]:.3f} and '
    f'@1000 {result["recall@1000"]["blend"]:.3f}, normalised entropy {result["normalized_entropy"]:.3f}, '
    f'{result["recommend_p99_ms"]:.1f} ms a request (p99)'
    if not math.isnan(result['normalized_entropy'])
    else f'MAP@12 {stage["ranker"]:.4f}'
  )


def _define_flags(values: flags.FlagValues) -> None:
  flags.DEFINE_string('user', '', 'id of a user (--mode=recommend)', flag_values=values)
  flags.DEFINE_bool('exclude_bought', False, 'leave out what the user bought before', flag_values=values)


MODES = {
  'train': train,
  'prepare': prepare,
  'evaluate': evaluate,
  'recommend': recommend,
  'submit': submit,
  'simulate': simulate,
}


def main(argv: Sequence[str] | None = None) -> int:
  return contract.launch('recsys', MODES, 'quickstart', define_flags=_define_flags, argv=argv)


if __name__ == '__main__':
  sys.exit(main())
