"""What came of a run: metrics a user and stage, the funnel's table, segments, comparisons."""

from collections.abc import Mapping

import numpy as np
import polars as pl

from mlsd_jax import resampling
from mlsd_jax.recsys.judging import measures
from mlsd_jax.recsys.judging.measures import METRICS
from mlsd_jax.recsys.judging.rankings import Ranked
from mlsd_jax.recsys.purchases.weeks import Targets
from mlsd_jax.resampling import Estimate

SEGMENTS = ('cold', 'light', 'heavy')


def measure_per_user(ranked: Ranked, targets: Targets, num_items: int, segments: np.ndarray) -> pl.DataFrame:
  """One row a user and stage: stage, user, segment and every metric."""
  tables = []
  for stage, ranking in ranked.rankings.items():
    values = measures.evaluate(ranked.users, ranking, targets, num_items)
    described = {'user': ranked.users, 'segment': segments[ranked.users]}
    tables.append(pl.DataFrame(described | values).with_columns(pl.lit(stage).alias('stage')))
  return pl.concat(tables)


def estimate_means(table: pl.DataFrame) -> dict[str, dict[str, Estimate]]:
  """Stage -> metric -> mean with its interval."""
  return {
    str(stage): {metric: resampling.bootstrap(rows[metric].to_numpy()) for metric in METRICS}
    for (stage,), rows in table.group_by('stage', maintain_order=True)
  }


def format_funnel(estimates: Mapping[str, Mapping[str, Estimate]]) -> str:
  """The funnel as text: a line a stage."""
  metrics = ('map@12', 'recall@100', 'recall@1000')
  lines = [f'{"":<22}' + ''.join(f'{metric:>26}' for metric in metrics)]
  lines += [f'{stage:<22}' + ''.join(f'{estimates[stage][metric]!s:>26}' for metric in metrics) for stage in estimates]
  return '\n'.join(lines)


def format_segments(table: pl.DataFrame, stages: tuple[str, ...]) -> str:
  """MAP@12 and recall@100 by segment; an empty segment says so."""
  lines = [f'{"segment":<9}{"users":>7}  {"stage":<22}{"map@12":>26}{"recall@100":>26}']
  for segment in SEGMENTS:
    rows = table.filter(pl.col('segment') == segment)
    for number, stage in enumerate(stages):
      of_stage = rows.filter(pl.col('stage') == stage)
      if not of_stage.height:
        lines += [f'{segment:<9}{0:>7}  no such user bought in the week'] if not number else []
        continue
      cells = [str(resampling.bootstrap(of_stage[metric].to_numpy())) for metric in ('map@12', 'recall@100')]
      head = f'{segment:<9}{of_stage.height:>7,}' if not number else ' ' * 16
      lines.append(f'{head}  {stage:<22}' + ''.join(f'{cell:>26}' for cell in cells))
  return '\n'.join(lines)


def format_comparison(table: pl.DataFrame, first: str, second: str, metric: str = 'map@12') -> str:
  """One line: by how much `first` is better than `second` over the same users."""
  by_user = lambda stage: table.filter(pl.col('stage') == stage).sort('user')[metric].to_numpy()
  paired = measures.compare(by_user(first), by_user(second))
  return f'{metric}, {first} - {second}: {paired.difference}, p = {paired.p:.4f}'
