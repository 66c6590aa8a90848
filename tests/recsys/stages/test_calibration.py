"""Calibration measures on probabilities whose quality is known."""

import math

import numpy as np
import pytest

from mlsd_jax.recsys import funnel
from mlsd_jax.recsys.stages import calibration
from mlsd_jax.recsys.stages.candidates import Candidates
from mlsd_jax.recsys.stages.features import Features
from mlsd_jax.recsys.stages.ranker import Labels


def _drawn(number=200_000):
  rng = np.random.default_rng(0)
  probability = rng.beta(1, 20, number)
  return probability, rng.random(number) < probability


def test_right_probabilities_are_calibrated():
  probability, bought = _drawn()
  assert calibration.normalized_entropy(probability, bought) < 1
  assert calibration.calibration_error(probability, bought) / bought.mean() < 0.05


def test_the_base_rate_has_entropy_one():
  _, bought = _drawn()
  base = np.full(len(bought), bought.mean())
  assert calibration.normalized_entropy(base, bought) == pytest.approx(1.0)


def test_missing_prior_correction_is_punished():
  probability, bought = _drawn()
  odds = 20 * probability / (1 - probability)  # as if trained with one in twenty negatives
  assert calibration.normalized_entropy(odds / (1 + odds), bought) > 1.5


def test_one_class_has_no_entropy():
  assert math.isnan(calibration.normalized_entropy(np.array([0.1, 0.2]), np.array([False, False])))


@pytest.mark.parametrize(('slope', 'shift'), [(1.0, 0.0), (0.5, -1.0), (2.0, 0.7)])
def test_a_straight_line_puts_probabilities_right(slope, shift):
  probability, bought = _drawn()
  known = np.clip(probability, 1e-6, 1 - 1e-6)
  told = (np.log(known / (1 - known)) - shift) / slope
  found = calibration.straight_line(told, bought)
  np.testing.assert_allclose(found, (slope, shift), rtol=0.03, atol=0.05)
  put_right = 1 / (1 + np.exp(-(found[0] * told + found[1])))
  assert put_right.mean() == pytest.approx(bought.mean(), rel=1e-6)


def test_nothing_to_learn_from_leaves_logits_alone():
  assert calibration.straight_line(np.arange(3.0), np.zeros(3, bool)) == (1.0, 0.0)


def test_a_row_that_stands_for_many_counts_as_often():
  rng = np.random.default_rng(1)
  logits, times = rng.normal(-1, 1, 500), rng.integers(0, 5, 500)
  bought = rng.random(500) < 1 / (1 + np.exp(-logits))
  repeated = calibration.straight_line(np.repeat(logits, times), np.repeat(bought, times))
  np.testing.assert_allclose(calibration.straight_line(logits, bought, times), repeated, rtol=1e-5)


def test_of_rare_purchases_a_sample_keeps_all_and_its_line_is_that_of_the_whole():
  rng, number = np.random.default_rng(2), 200_000
  logits = rng.normal(-6.5, 1.2, number).astype(np.float32)
  bought = rng.random(number) < 1 / (1 + np.exp(-logits))
  candidates = Candidates(np.arange(2), np.array([0, 9, number]), *np.zeros((3, number), np.int32), ('a',))
  found = Features(logits[:, None], np.arange(number), np.zeros(number, np.int32))
  labels, ones = Labels(bought, bought, bought.astype(np.float32)), np.ones(number, np.float32)
  whole = funnel.Pool(candidates, found, labels, np.zeros((3, 1), np.int32), logits, ones)
  sample = funnel.sampled(whole, rows=10_000)

  assert len(sample.labels.bought) == 10_000
  assert set(sample.features.item[sample.labels.bought]) == set(np.flatnonzero(bought))
  np.testing.assert_array_equal(sample.features.dense[:, 0], logits[sample.features.item])
  np.testing.assert_array_equal(sample.open_log, logits[sample.features.item])
  assert sample.weight.sum() == pytest.approx(number)
  line = calibration.straight_line(sample.open_log, sample.labels.bought, sample.weight)
  level = lambda slope, shift: float((1 / (1 + np.exp(-(slope * logits + shift)))).mean())
  assert level(*line) == pytest.approx(bought.mean(), rel=0.02)
  np.testing.assert_allclose(line[0], calibration.straight_line(logits, bought)[0], rtol=0.05)


def test_a_small_sample_is_the_whole():
  candidates = Candidates(np.arange(1), np.array([0, 4]), *np.zeros((3, 4), np.int32), ('a',))
  bought = np.array([True, False, True, False])
  found = Features(np.arange(4.0)[:, None], np.arange(4), np.zeros(4, np.int32))
  labels = Labels(bought, bought, bought.astype(np.float32))
  whole = funnel.Pool(candidates, found, labels, np.zeros((2, 1), np.int32), np.arange(4.0), np.ones(4, np.float32))
  sample = funnel.sampled(whole)
  np.testing.assert_array_equal(sample.open_log, whole.open_log)
  np.testing.assert_array_equal(sample.labels.bought, bought)
  np.testing.assert_array_equal(sample.weight, 1.0)
