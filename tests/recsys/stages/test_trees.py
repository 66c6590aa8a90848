"""Trees as the ranker: LightGBM's own scores, at the natural rate, served and saved as SparseNN is."""

import dataclasses

import lightgbm
import numpy as np
import pytest

from mlsd_jax.recsys import funnel, saved_state, serving
from mlsd_jax.recsys.stages import calibration
from mlsd_jax.recsys.stages.calibration import CalibrationSample
from mlsd_jax.recsys.stages.labels import Labels
from mlsd_jax.recsys.stages.ranker_examples import make_groups
from mlsd_jax.recsys.stages.trees import AverageScorer, TreesConfig, TreeScorer

FEW = TreesConfig(rounds=30, learning_rate=0.1, min_data_in_leaf=5)


@pytest.fixture(scope='module')
def asked(state):
  """What the ranker sees of all users' candidates, and what is bought of them: by the first feature that varies."""
  users = np.arange(len(state.users))
  union = funnel.gather(state.snapshot, state.histories, users, state.funnel.per_source, state.funnel.retriever)
  scored = funnel.score(state.funnel, union)
  column = scored.inputs.dense[:, int(scored.inputs.dense.std(0).argmax())]
  chance = 1 / (1 + np.exp(3 - 2 * (column - column.mean()) / column.std()))
  bought = np.random.default_rng(0).random(len(column)) < chance
  labels = Labels(bought, bought, bought.astype(np.float32))
  return scored.candidates, scored.inputs, labels, chance


@pytest.fixture(scope='module')
def trees(state, asked):
  candidates, inputs, labels, _ = asked
  groups = make_groups(candidates, inputs, labels, size=12)
  scorer = TreeScorer.fit(groups, state.funnel.scorer.codes, state.funnel.scorer.user_codes, FEW)
  return calibration.calibrate(scorer, [CalibrationSample.draw(inputs, labels.bought)])


def test_scores_are_those_of_the_library_on_a_line(trees, asked):
  _, inputs, labels, chance = asked
  known = np.concatenate([inputs.dense, trees.codes[inputs.item]], 1)
  plain = lightgbm.Booster(model_str=trees.text).predict(known, raw_score=True)
  logits = trees(inputs)
  np.testing.assert_allclose(logits[:, 0], trees.line[0] * plain + trees.line[1] + inputs.open_log, rtol=1e-5)
  assert trees(inputs.take(np.zeros(0, np.int64))).shape == (0, logits.shape[1])
  probability = 1 / (1 + np.exp(-logits[:, 0]))
  assert probability.mean() == pytest.approx(labels.bought.mean(), rel=0.05)
  assert np.corrcoef(logits[:, 0], np.log(chance / (1 - chance)))[0, 1] > 0.8
  again = trees.calibrated(2.0, -0.5)(inputs)
  np.testing.assert_allclose(again[:, 0] - inputs.open_log, 2 * (logits[:, 0] - inputs.open_log) - 0.5, atol=1e-4)


def test_groups_are_scored_as_their_candidates_are(trees, asked):
  candidates, inputs, labels, _ = asked
  groups = make_groups(candidates, inputs, labels, size=12)
  scores, there = trees.score_groups(groups), groups.arrays['weights'] > 0
  assert scores.shape == there.shape
  assert not scores[~there].any()
  alone = np.round(trees(inputs)[:, 0] - inputs.open_log, 4)
  assert set(np.round(scores[there], 4).tolist()) <= set(alone.tolist())


def test_the_average_is_the_mean_of_its_parts(state, trees, asked):
  inputs = asked[1]
  both = AverageScorer([state.funnel.scorer, trees])
  mean = (state.funnel.scorer(inputs) + trees(inputs))[:, 0] / 2
  np.testing.assert_allclose(both(inputs)[:, 0], mean, rtol=1e-4, atol=1e-5)
  np.testing.assert_array_equal(both(inputs)[:, 1:], state.funnel.scorer(inputs)[:, 1:])


@pytest.mark.parametrize('averaged', [False, True])
def test_served_from_disk_as_from_memory(state, trees, averaged, tmp_path):
  scorer = AverageScorer([state.funnel.scorer, trees], (0.9, 0.1)) if averaged else trees
  served = dataclasses.replace(state, funnel=dataclasses.replace(state.funnel, scorer=scorer))
  users = np.arange(len(state.users) - 8, len(state.users) + 1)
  before = serving.recommend(served, users)
  saved_state.save(served, tmp_path, {})
  after = serving.recommend(saved_state.load(tmp_path), users)
  np.testing.assert_array_equal(before.items, after.items)
  np.testing.assert_allclose(before.probability, after.probability, rtol=1e-5)
  for row, user in enumerate(users):
    np.testing.assert_array_equal(serving.recommend(served, np.array([user])).items[0], before.items[row])


def test_new_items_and_users_have_rows(state, trees, asked):
  inputs = asked[1]
  codes = np.pad(trees.codes, ((0, 5), (0, 0)))
  both = AverageScorer([state.funnel.scorer, trees])
  grown = both.with_items(codes).with_users(np.pad(trees.user_codes, ((0, 3), (0, 0))))
  assert len(grown.codes) == len(codes)
  assert len(grown.user_codes) == len(trees.user_codes) + 3
  np.testing.assert_allclose(grown(inputs), both(inputs), rtol=1e-5, atol=1e-6)
  new = dataclasses.replace(inputs.take(np.arange(5)), item=np.arange(len(codes) - 5, len(codes), dtype=np.int32))
  assert np.isfinite(grown(new)).all()
