"""What a mean over users hides: what lists are like by segment of users, and what becomes of items that few bought."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from mlsd_jax import resampling
from mlsd_jax.ranking_measures import recall
from mlsd_jax.recsys.judging import measures
from mlsd_jax.recsys.judging.rankings import Ranked
from mlsd_jax.recsys.judging.tables import SEGMENTS
from mlsd_jax.recsys.known.snapshot import Snapshot
from mlsd_jax.recsys.purchases.weeks import Targets

STAGES = ('repurchase + popular', 'category', 'tower', 'blend', 'ranker')
RARE = ((0, 0), (1, 4), (5, 19))  # sales before the cut, from and to
_K, _DEPTH = 12, 100


def describe_lists(ranked: Ranked, targets: Targets, snapshot: Snapshot, segments: np.ndarray) -> pl.DataFrame:
  """A row a stage and segment: users, coverage@12, novelty_bits, diversity@12, popularity_lift.

  Args:
    segments: [num_users] name of each user's segment.
  """
  counts, codes = snapshot.column('item', 'n'), snapshot['category'][-1]
  of_users = segments[ranked.users]
  rows = []
  for stage in _those_of(ranked):
    for segment in ('all', *SEGMENTS):
      chosen = np.full(len(of_users), True) if segment == 'all' else of_users == segment
      if not chosen.any():
        continue
      lists, users = ranked.rankings[stage][chosen], ranked.users[chosen]
      rows.append(
        {
          'stage': stage,
          'segment': segment,
          'users': int(chosen.sum()),
          'coverage@12': measures.coverage(lists, snapshot.num_items, _K),
          'novelty_bits': measures.novelty(lists, counts, _K),
          'diversity@12': measures.diversity(lists, codes, _K),
          'popularity_lift': measures.popularity_lift(users, lists, targets, counts, _K),
        }
      )
  return pl.DataFrame(rows)


def judge_rare_items(ranked: Ranked, targets: Targets, snapshot: Snapshot) -> pl.DataFrame:
  """A row a stage and class of RARE: sales, users who bought such an item, their purchases of them, and the share of
  those among the first 100 (mean over the users, with its interval)."""
  counts = snapshot.column('item', 'n')
  rows = []
  for least, most in RARE:
    rare = (counts >= least) & (counts <= most)
    keep = rare[targets.item]
    wanted = Targets(targets.cut, targets.user[keep], targets.item[keep], targets.days[keep], targets.quantity[keep])
    for stage in _those_of(ranked):
      hits, relevant = measures.relevance(ranked.users, ranked.rankings[stage][:, :_DEPTH], wanted, snapshot.num_items)
      bought = relevant > 0
      share = resampling.bootstrap(recall(hits[bought], relevant[bought], _DEPTH)) if bought.any() else None
      rows.append(
        {
          'stage': stage,
          'sales': f'{least} to {most}' if most > least else f'{least}',
          'users': int(bought.sum()),
          'purchases': int(relevant.sum()),
          'recall@100': share.mean if share else None,
          'low': share.low if share else None,
          'high': share.high if share else None,
        }
      )
  return pl.DataFrame(rows, infer_schema_length=None)


def format_lists(table: pl.DataFrame) -> str:
  """The lists' table as text."""
  names = ('coverage@12', 'novelty_bits', 'diversity@12', 'popularity_lift')
  lines = [f'{"lists":<9}{"users":>7}  {"stage":<22}' + ''.join(f'{name:>17}' for name in names)]
  for segment in table['segment'].unique(maintain_order=True):
    for number, row in enumerate(table.filter(pl.col('segment') == segment).to_dicts()):
      head = f'{segment:<9}{row["users"]:>7,}' if not number else ' ' * 16
      lines.append(f'{head}  {row["stage"]:<22}' + ''.join(f'{row[name]:>17.3f}' for name in names))
  return '\n'.join(lines)


def format_rare_items(table: pl.DataFrame) -> str:
  """The table of rare items as text."""
  lines = [f'{"sold before":<13}{"purchases":>9}  {"stage":<22}{"recall@100":>26}']
  for sales in table['sales'].unique(maintain_order=True):
    for number, row in enumerate(table.filter(pl.col('sales') == sales).to_dicts()):
      head = f'{sales:<13}{row["purchases"]:>9,}' if not number else ' ' * 22
      if not row['purchases']:
        lines += [f'{head}  no such item was bought in the week'] if not number else []
        continue
      cell = f'{row["recall@100"]:.4f} [{row["low"]:.4f}, {row["high"]:.4f}]'
      lines.append(f'{head}  {row["stage"]:<22}{cell:>26}')
  return '\n'.join(lines)


def _those_of(ranked: Ranked) -> Sequence[str]:
  return [stage for stage in STAGES if stage in ranked.rankings]
