"""Requests, training weeks and the week held out go through one funnel."""

import dataclasses

import chex
import numpy as np
import polars as pl
import pytest

from mlsd_jax.recsys import funnel, preparation, serving
from mlsd_jax.recsys.funnel import Week
from mlsd_jax.recsys.judging import rankings
from mlsd_jax.recsys.known import snapshot
from mlsd_jax.recsys.purchases import weeks
from mlsd_jax.recsys.purchases.events import make_dataset
from mlsd_jax.recsys.purchases.histories import Histories
from mlsd_jax.recsys.stages import guard, user_slices


def _gather(state, users):
  stages = state.funnel
  return funnel.gather(state.snapshot, state.histories, users, stages.per_source, stages.retriever)


def test_a_request_is_scored_as_a_judged_week_is(made, state):
  targets = weeks.find_targets(made.dataset, state.snapshot.cut)
  ranked = rankings.rank(Week(targets, _gather(state, targets.users)), state.funnel, state.histories)
  for name in state.funnel.per_source:
    assert ranked.rankings[name].shape == (len(targets.users), 1000)
  answer = serving.recommend(state, targets.users)
  np.testing.assert_array_equal(answer.items, ranked.rankings['ranker'][:, :12])
  best = 1 / (1 + np.exp(-np.maximum.reduceat(ranked.scored.logits[:, 0], ranked.scored.candidates.start[:-1])))
  np.testing.assert_allclose(answer.probability[:, 0], best, rtol=1e-6)


def test_what_the_ranker_learns_from_is_what_it_sees_when_it_serves(state):
  union = _gather(state, np.arange(30))
  scored = funnel.score(state.funnel, union)
  best, dense = funnel.select(union, state.funnel.blend, state.funnel.keep)
  scorer = state.funnel.scorer
  inputs = preparation.ranker_inputs(state.snapshot, best, dense, scorer.user_codes, scorer.config.bag_length)
  chex.assert_trees_all_equal(vars(scored.inputs), vars(inputs))
  chex.assert_tree_all_finite(vars(inputs))
  chex.assert_shape(inputs.dense, (len(best.item), scorer.config.num_dense))
  chex.assert_shape(scored.logits, (len(best.item), 3))


def test_candidates_and_features_are_the_same_however_many_users_go_together(state, monkeypatch):
  users = np.arange(40)

  def gather_and_select(together):
    monkeypatch.setattr(user_slices, '_TOGETHER', together)
    union = _gather(state, users)
    best, dense = funnel.select(union, state.funnel.blend, 20)
    return vars(union.candidates), union.signals, vars(best), dense

  few, many = gather_and_select(3), gather_and_select(10_000)
  names = few[0].pop('sources'), many[0].pop('sources')
  assert names[0] == names[1] == (*few[2].pop('sources'),) == (*many[2].pop('sources'),)
  # Products of the towers are made for 64 users at once or for one: they differ in the last digits.
  chex.assert_trees_all_close(few, many, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('masked', [0.0, 0.5])
def test_a_union_that_is_masked_keeps_its_rows_together(state, masked):
  union = _gather(state, np.arange(20))
  mask = np.random.default_rng(0).random(len(union.candidates.item)) >= masked
  kept = union.keep(mask)
  chex.assert_equal_shape_prefix([kept.candidates.item, kept.candidates.score, kept.signals], 1)
  np.testing.assert_array_equal(kept.candidates.item, union.candidates.item[mask])
  np.testing.assert_array_equal(kept.candidates.row, union.candidates.row[mask])
  np.testing.assert_array_equal(kept.signals, union.signals[mask])


def test_where_nobody_buys_twice_sources_and_baselines_leave_out_what_a_user_has():
  """Popularity is then as strong as it should be; where people buy again it stays as it was."""
  rng = np.random.default_rng(0)
  pairs = np.unique(rng.integers(0, [60, 40], (900, 2)), axis=0)
  times = rng.integers(0, 60 * 86_400, len(pairs))
  events = pl.DataFrame({'user_id': pairs[:, 0], 'item_id': pairs[:, 1], 'time': times})
  for again, table in ((False, events), (True, pl.concat([events, events.with_columns(pl.col('time') + 86_400)]))):
    data = make_dataset('ratings', table)
    cut = weeks.list_cuts(data, 1)[0]
    taken, targets = snapshot.take(data, cut), weeks.find_targets(data, cut)
    assert taken.buys_again == again
    histories = Histories.from_events(data.events, data.num_users)
    union = funnel.gather(taken, histories, targets.users, {'repurchase': 9, 'popular': 9, 'category': 9}, None)
    week = Week(targets, union)
    ranked = rankings.rank_sources(week, preparation.fit_blend(week), None, histories)
    for name in ('popular', 'category', 'repurchase + popular'):
      items = ranked[name]
      bought = taken.bought(np.repeat(targets.users, items.shape[1]), np.maximum(items.ravel(), 0)) & (
        items.ravel() >= 0
      )
      assert bought.any() == again
    if not again:
      np.testing.assert_array_equal(ranked['repurchase + popular'], ranked['popular'])


def test_who_is_new_gets_the_order_of_the_blend_and_as_much_is_predicted(state):
  users = np.append(np.arange(5), len(state.users))  # the last is nobody we know
  gathered = (state.snapshot, state.histories, users, state.funnel.per_source, state.funnel.retriever)
  union = funnel.gather(*gathered)
  plain = funnel.score(dataclasses.replace(state.funnel, guard=guard.start('ranker')), union)
  scored = funnel.score(state.funnel, union)
  new = plain.candidates.row == 5
  np.testing.assert_array_equal(plain.logits[~new], scored.logits[~new])
  np.testing.assert_array_equal(np.sort(plain.logits[new], 0), np.sort(scored.logits[new], 0))
  by_blend = union.candidates.ranked(state.funnel.blend.score(union.signals), state.funnel.keep)[5]
  by_logits = scored.candidates.ranked(scored.logits[:, 0], state.funnel.keep)[5]
  np.testing.assert_array_equal(by_blend, by_logits)
  assert (plain.candidates.ranked(plain.logits[:, 0], state.funnel.keep)[5] != by_blend).any()
