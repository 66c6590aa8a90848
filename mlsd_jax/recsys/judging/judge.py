"""How good each stage of a funnel was in the week held out: the table, the pictures, the numbers."""

import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from mlsd_jax import ranking_measures, sealed
from mlsd_jax.recsys.funnel import Week
from mlsd_jax.recsys.judging import breakdown, charts, measures, tables
from mlsd_jax.recsys.judging.rankings import Ranked
from mlsd_jax.recsys.purchases import weeks
from mlsd_jax.recsys.purchases.events import Dataset
from mlsd_jax.recsys.stages import calibration, labels
from mlsd_jax.training.metrics import read_metrics

METRICS = ('map@12', 'ndcg@12', 'recall@12', 'recall@100', 'recall@1000')
_SOLD = 20  # in 90 days: what an item on the map has at least


def judge(
  data: Dataset, week: Week, ranked: Ranked, workdir: pathlib.Path, tell: Callable[[str], None]
) -> dict[str, Any]:
  """Tells the funnel's table, writes its parts as Parquet and plots/, returns the numbers of result.json."""
  segments = weeks.segment_users(data.before(week.targets.cut), data.num_users)
  table = tables.measure_per_user(ranked, week.targets, data.num_items, segments)
  snapshot = week.union.snapshot
  written = {
    'lists': breakdown.describe_lists(ranked, week.targets, snapshot, segments),
    'rare_items': breakdown.judge_rare_items(ranked, week.targets, snapshot),
    'evaluation': table,
  }
  for name, each in written.items():
    sealed.write_file(workdir / f'{name}.parquet', each.write_parquet)
  estimates = tables.estimate_means(table)
  everyone = len(weeks.find_targets(data, week.targets.cut).users)
  if len(ranked.users) < everyone:
    tell(f'\njudged on {len(ranked.users):,} of the {everyone:,} users of that week, drawn at random')
  tell('\n' + tables.format_funnel(estimates))
  probability = 1 / (1 + np.exp(-ranked.scored.logits[:, 0].astype(np.float64)))
  bought = ranked.labels.bought
  base = float(bought.mean())
  entropy = calibration.normalized_entropy(probability, bought)
  error = calibration.calibration_error(probability, bought) / base if base else float('nan')
  tell(
    f'\nof the {len(bought):,} candidates ranked {base:.2%} were bought, {probability.mean():.2%} predicted: '
    f'normalised entropy {entropy:.4f}, calibration error {error:.1%} of the base rate'
  )
  plots = workdir / 'plots'
  charts.draw_recall_curves(_curves(ranked, week, data.num_items), plots / 'recall.png')
  charts.draw_funnel(estimates, plots / 'funnel.png')
  charts.draw_reliability(probability, bought, plots / 'reliability.png')
  return {metric: {stage: estimates[stage][metric].mean for stage in estimates} for metric in METRICS} | {
    'normalized_entropy': entropy,
    'calibration_error_share': error,
    'base_rate': base,
    'coverage@12': measures.coverage(ranked.rankings['ranker'], data.num_items),
    'novelty_bits': measures.novelty(ranked.rankings['ranker'], week.union.snapshot.column('item', 'n')),
    'candidates_per_user': len(week.union.candidates.item) / len(ranked.users),
    'union_recall': float(labels.recall(week.union.candidates, week.targets, data.num_items).mean()),
  }


def _curves(ranked: Ranked, week: Week, num_items: int) -> dict[str, list[float]]:
  curves = {}
  for stage, ranking in ranked.rankings.items():
    hits, relevant = measures.relevance(ranked.users, ranking, week.targets, num_items)
    curves[stage] = [float(ranking_measures.recall(hits, relevant, depth).mean()) for depth in charts.DEPTHS]
  return curves


def draw_items(data: Dataset, week: Week, vectors: np.ndarray, plots: pathlib.Path) -> None:
  """The map of what sells, by the second coarsest category; nothing if too little sells.

  Args:
    vectors: [num_items, W] of every item.
  """
  common = np.flatnonzero(week.union.snapshot.column('item', 'n90') >= _SOLD)
  if len(common) < 3:  # no map of two points
    return
  groups = data.items[(data.categories or ('id',))[:2][-1]]
  charts.draw_embedding_map(vectors[common], [groups[int(i)] or '-' for i in common], plots / 'embedding_map.png')


def draw_training(folder: pathlib.Path, plots: pathlib.Path) -> None:
  """Loss and recall over the training of the first towers, whose run lies in `folder`; nothing if it has no recall."""
  records = read_metrics(folder)
  pick = lambda name: [(r['step'], r[name]) for r in records if r.get(name) is not None]
  losses, recalls = pick('loss'), pick('val_recall@1000')
  if losses and recalls:
    title = 'Two towers: loss and recall over training'
    charts.draw_loss_and_recall(losses, recalls, plots / 'towers.png', title)
