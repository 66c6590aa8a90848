"""Tables behind the means, against plain loops; weeks one after the other, against each alone."""

import dataclasses

import numpy as np
import polars as pl
import pytest

from mlsd_jax.recsys import backtest, preparation
from mlsd_jax.recsys.funnel import FunnelConfig
from mlsd_jax.recsys.judging import breakdown, rankings
from mlsd_jax.recsys.purchases import weeks


@pytest.fixture(scope='module')
def judged(state, made):
  """The week after the state's cut and what each stage ranks in it."""
  data = made.dataset
  config = FunnelConfig(state.funnel.per_source, keep=state.funnel.keep)
  week = preparation.week_at(data, state.snapshot.cut, state.funnel.retriever, state.histories, config)
  ranked = rankings.rank(week, state.funnel, state.histories)
  return data, config, week, ranked


def test_rare_items_are_judged_alone(judged):
  _, _, week, ranked = judged
  snapshot, targets = week.union.snapshot, week.targets
  table = breakdown.judge_rare_items(ranked, targets, snapshot)
  counts = snapshot.column('item', 'n')
  bought = {user: set(targets.item[targets.user == user].tolist()) for user in ranked.users.tolist()}
  seen = 0
  for row in table.to_dicts():
    least, most = (int(bound) for bound in (row['sales'].split(' to ') * 2)[:2])
    rare = {user: {item for item in items if least <= counts[item] <= most} for user, items in bought.items()}
    shares = []
    for user, first in zip(ranked.users.tolist(), ranked.rankings[row['stage']][:, :100], strict=True):
      if rare[user]:
        shares.append(len(rare[user] & set(first.tolist())) / len(rare[user]))
    assert row['purchases'] == sum(map(len, rare.values()))
    assert row['users'] == len(shares)
    if shares:
      seen += 1
      assert row['recall@100'] == pytest.approx(np.mean(shares))
  assert seen >= 5
  assert 'sold before' in breakdown.format_rare_items(table)


def test_lists_are_described_by_segment(judged, made):
  data, _, week, ranked = judged
  segments = weeks.segment_users(data.before(week.targets.cut), data.num_users)
  table = breakdown.describe_lists(ranked, week.targets, week.union.snapshot, segments)
  of_all = table.filter(segment='all', stage='ranker').to_dicts()[0]
  by_segment = table.filter(stage='ranker').filter(table.filter(stage='ranker')['segment'] != 'all')
  assert of_all['users'] == by_segment['users'].sum() == len(ranked.users)
  assert 0 < of_all['coverage@12'] <= 1
  assert of_all['coverage@12'] >= by_segment['coverage@12'].max()
  text = breakdown.format_lists(table)
  assert text.count('ranker') == table.filter(stage='ranker').height


def test_weeks_are_judged_as_each_alone(judged, state):
  data, config, week, ranked = judged
  earlier = week.targets.cut - weeks.WEEK
  table = backtest.judge_weeks(data, [earlier, week.targets.cut], state, config, tell=lambda line: None)
  assert table['week'].n_unique() == 2
  retriever = state.funnel.retriever.renewed(state.histories, week.targets.cut)
  again = preparation.week_at(data, week.targets.cut, retriever, state.histories, config)
  ranked = rankings.rank(again, dataclasses.replace(state.funnel, retriever=retriever), state.histories)
  latest = table.filter(week=str(weeks.first_day(week.targets.cut)), stage='ranker')
  np.testing.assert_array_equal(latest['user'], ranked.users)
  alone = backtest.judge_weeks(data, [week.targets.cut], state, config, tell=lambda line: None)
  np.testing.assert_array_equal(latest['map@12'], alone.filter(stage='ranker')['map@12'])
  means = table.filter(stage='ranker').group_by('week').agg(pl.col('map@12').mean())['map@12'].to_numpy()
  line = next(line for line in backtest.format_weeks(table).splitlines() if line.startswith('ranker'))
  assert f'{means.mean():.4f} +- {means.std(ddof=1):.4f}' in line
  assert 'heavy' in backtest.format_segments(table, ('blend', 'ranker'))
