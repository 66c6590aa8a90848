"""What came of a run: metrics a user and stage, the funnel's table, segments, reasons for a recommendation."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import polars as pl

from mlsd_jax import resampling
from mlsd_jax.recsys.funnel import Ranked, Week
from mlsd_jax.recsys.judging import measures
from mlsd_jax.recsys.judging.measures import METRICS
from mlsd_jax.recsys.known.snapshot import AFFINITY, PAIR
from mlsd_jax.recsys.purchases.weeks import Targets
from mlsd_jax.recsys.serving import State
from mlsd_jax.recsys.stages import candidates as sources
from mlsd_jax.recsys.stages.ranker import label
from mlsd_jax.resampling import Estimate

SEGMENTS = ('cold', 'light', 'heavy')


def per_user(ranked: Ranked, targets: Targets, num_items: int, segments: np.ndarray) -> pl.DataFrame:
  """One row a user and stage: stage, user, segment and every metric."""
  tables = []
  for stage, ranking in ranked.rankings.items():
    values = measures.evaluate(ranked.users, ranking, targets, num_items)
    described = {'user': ranked.users, 'segment': segments[ranked.users]}
    tables.append(pl.DataFrame(described | values).with_columns(pl.lit(stage).alias('stage')))
  return pl.concat(tables)


def union_recall(week: Week) -> np.ndarray:
  """[U] what share of each user's purchases is among its candidates."""
  union, targets = week.candidates, week.targets
  known = label(union, targets, week.snapshot.num_items).bought
  found = np.bincount(union.row, known, minlength=len(union.users))
  return found / np.bincount(np.searchsorted(union.users, targets.user), minlength=len(union.users))


def union_line(week: Week) -> str:
  """How many candidates the users of a week have, and what share of each one's purchases is among them."""
  users, each = len(week.candidates.users), len(week.candidates.item) / len(week.candidates.users)
  return f'{users:,} users, {each:,.0f} candidates each, {union_recall(week).mean():.1%} of what is bought'


def estimates(table: pl.DataFrame) -> dict[str, dict[str, Estimate]]:
  """Stage -> metric -> mean with its interval."""
  return {
    str(stage): {metric: resampling.bootstrap(rows[metric].to_numpy()) for metric in METRICS}
    for (stage,), rows in table.group_by('stage', maintain_order=True)
  }


def funnel_table(found: Mapping[str, Mapping[str, Estimate]]) -> str:
  """The funnel as text: a line a stage."""
  metrics = ('map@12', 'recall@100', 'recall@1000')
  lines = [f'{"":<22}' + ''.join(f'{metric:>26}' for metric in metrics)]
  lines += [f'{stage:<22}' + ''.join(f'{found[stage][metric]!s:>26}' for metric in metrics) for stage in found]
  return '\n'.join(lines)


def segment_table(table: pl.DataFrame, stages: tuple[str, ...]) -> str:
  """MAP@12 and recall@100 by segment; an empty segment says so."""
  lines = [f'{"segment":<9}{"users":>7}  {"stage":<22}{"map@12":>26}{"recall@100":>26}']
  for segment in SEGMENTS:
    rows = table.filter(pl.col('segment') == segment)
    for number, stage in enumerate(stages):
      some = rows.filter(pl.col('stage') == stage)
      if not some.height:
        lines += [f'{segment:<9}{0:>7}  no such user bought in the week'] if not number else []
        continue
      cells = [str(resampling.bootstrap(some[metric].to_numpy())) for metric in ('map@12', 'recall@100')]
      head = f'{segment:<9}{some.height:>7,}' if not number else ' ' * 16
      lines.append(f'{head}  {stage:<22}' + ''.join(f'{cell:>26}' for cell in cells))
  return '\n'.join(lines)


def comparison(table: pl.DataFrame, first: str, second: str, metric: str = 'map@12') -> str:
  """One line: by how much `first` is better than `second` over the same users."""
  of = lambda stage: table.filter(pl.col('stage') == stage).sort('user')[metric].to_numpy()
  found = measures.paired(of(first), of(second))
  return f'{metric}, {first} - {second}: {found.difference}, p = {found.p:.4f}'


@dataclasses.dataclass(frozen=True)
class Reason:
  """Why an item was recommended: the sources that named it, with its rank in each, and a sentence."""

  sources: str
  why: str


def reason(state: State, user: int, item: int, rank: np.ndarray, names: tuple[str, ...]) -> Reason:
  """Why `item` was among the candidates of `user`.

  Args:
    rank: [S] its rank in each source, 0 where it was not named.
  """
  named = {name: int(place) for name, place in zip(names, rank, strict=True) if place}
  told = ', '.join(f'{name} {place}' for name, place in sorted(named.items(), key=lambda each: each[1]))
  snapshot = state.snapshot
  asked = np.array([user]), np.array([item])
  pair = snapshot.pair_rows(*asked)[0]
  days, since, first = (pair[PAIR.index(name)] for name in ('days', 'since', 'first'))
  if days > 1:
    every = (first - since) / (days - 1)
    return Reason(told, f'bought on {days:.0f} days, about every {max(every, 1):.0f}, last {since:.0f} days ago')
  if days == 1:
    return Reason(told, f'bought once, {since:.0f} days ago')
  if 'covisit' in named and named['covisit'] == min(named.values()):
    with_ = _companion(state, user, item)
    if with_:
      return Reason(told, f'often in one basket with {with_}, bought lately')
  known = snapshot.affinity_rows(len(snapshot.categories) - 1, *asked)[0]
  category, count = state.items['category'][item], known[AFFINITY.index('n')]
  if 'category' in named and count and category:
    return Reason(told, f'popular in {category}, of which {count:.0f} were bought')
  week = snapshot.column('item', 'n7')[item]
  if 'place' in named or 'popular' in named:
    return Reason(told, f'popular: {week:.0f} bought this week')
  return Reason(told, 'near to what was bought before')


def _companion(state: State, user: int, item: int) -> str:
  """The recent item of the user that speaks most for `item`."""
  recent = state.snapshot['recent'][user]
  recent = recent[recent >= 0]
  if not len(recent):
    return ''
  weights = sources.together(state.snapshot)[recent, item].toarray().ravel()
  return str(state.items['name'][int(recent[weights.argmax()])]) if weights.max() > 0 else ''
