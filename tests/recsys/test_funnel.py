"""Requests, training weeks and the week held out go through one funnel."""

import chex
import numpy as np
import pytest

from mlsd_jax.recsys import funnel, preparation, serving
from mlsd_jax.recsys.funnel import Week
from mlsd_jax.recsys.judging import rankings
from mlsd_jax.recsys.purchases import weeks
from mlsd_jax.recsys.stages import user_slices


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
