"""Weeks that a trained funnel has not seen, one after the other: how far a figure of one week can be trusted."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import polars as pl

from mlsd_jax import resampling
from mlsd_jax.recsys import preparation
from mlsd_jax.recsys.funnel import FunnelConfig
from mlsd_jax.recsys.judging import rankings, tables
from mlsd_jax.recsys.purchases import weeks
from mlsd_jax.recsys.purchases.events import Dataset
from mlsd_jax.recsys.purchases.histories import Histories
from mlsd_jax.recsys.serving import State


def judge_weeks(
  data: Dataset, cuts: Sequence[int], state: State, config: FunnelConfig, tell: Callable[[str], None] = print
) -> pl.DataFrame:
  """One row a week, user and stage, see `tables.measure_per_user`; a line is told of each week.

  Before each week counts, factors and the index are taken anew, as a shop does every day; what was learnt stays.

  Args:
    cuts: of the weeks, none of which `state` has learnt from.
  """
  histories = Histories.from_events(data.events, data.num_users)
  parts = []
  for cut in cuts:
    retriever = state.funnel.retriever.renewed(histories, cut)
    week = preparation.week_at(data, cut, retriever, histories, config)
    if not len(week.targets.users):
      tell(f'{weeks.first_day(cut)}: nothing was bought')
      continue
    ranked = rankings.rank(week, dataclasses.replace(state.funnel, retriever=retriever), histories)
    segments = weeks.segment_users(data.before(cut), data.num_users)
    table = tables.measure_per_user(ranked, week.targets, data.num_items, segments)
    parts.append(table.select(pl.lit(str(weeks.first_day(cut))).alias('week'), pl.all()))
    means = table.group_by('stage', maintain_order=True).agg(pl.col('map@12').mean())
    said = ', '.join(f'{stage} {mean:.4f}' for stage, mean in means.iter_rows())
    tell(f'{weeks.first_day(cut)}: {len(ranked.users):,} users, map@12 {said}')
    del week, ranked
    preparation.release_memory()
  return pl.concat(parts)


def format_weeks(table: pl.DataFrame, metrics: Sequence[str] = ('map@12', 'recall@100', 'recall@1000')) -> str:
  """Mean and standard deviation over weeks of each stage's mean over users, and in how many weeks the ranker is ahead
  of the best of the sources and baselines of all weeks."""
  by_week = table.group_by('stage', 'week', maintain_order=True).agg(pl.col(*metrics).mean())
  stages, number = by_week['stage'].unique(maintain_order=True).to_list(), by_week['week'].n_unique()
  of = lambda stage, metric: by_week.filter(pl.col('stage') == stage).sort('week')[metric].to_numpy()
  lines = [f'{number} weeks' + f'{"":<14}' + ''.join(f'{metric:>22}' for metric in metrics)]
  for stage in stages:
    cells = [f'{of(stage, metric).mean():.4f} +- {_deviation(of(stage, metric)):.4f}' for metric in metrics]
    lines.append(f'{stage:<22}' + ''.join(f'{cell:>22}' for cell in cells))
  others = [stage for stage in stages if stage not in ('blend', 'ranker')]
  if 'ranker' in stages and others:
    best = max(others, key=lambda stage: of(stage, 'map@12').mean())
    apart = of('ranker', 'map@12') - of(best, 'map@12')
    lines.append(
      f'map@12, ranker - {best}: {apart.mean():.4f} +- {_deviation(apart):.4f} over weeks, '
      f'ahead in {(apart > 0).sum()} of {number}'
    )
  return '\n'.join(lines)


def format_segments(table: pl.DataFrame, stages: Sequence[str]) -> str:
  """MAP@12 of all weeks' users by segment, beside the source or baseline that is the best for the segment."""
  lines = [f'{"segment":<9}{"users":>8}  {"stage":<22}{"map@12":>26}']
  for segment in tables.SEGMENTS:
    rows = table.filter(pl.col('segment') == segment)
    if not rows.height:
      continue
    means = rows.group_by('stage').agg(pl.col('map@12').mean()).sort('map@12', 'stage', descending=[True, False])
    best = next(stage for stage in means['stage'] if stage not in ('blend', 'ranker'))
    for number, stage in enumerate(dict.fromkeys([best, *stages])):
      values = rows.filter(pl.col('stage') == stage)['map@12'].to_numpy()
      head = f'{segment:<9}{len(values):>8,}' if not number else ' ' * 17
      lines.append(f'{head}  {stage:<22}{resampling.bootstrap(values)!s:>26}')
  return '\n'.join(lines)


def _deviation(values: np.ndarray) -> float:
  return float(values.std(ddof=1)) if len(values) > 1 else 0.0
