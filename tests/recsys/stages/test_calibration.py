"""Calibration measures on probabilities whose quality is known."""

import math

import numpy as np
import pytest
import scipy.optimize
import scipy.special

from mlsd_jax.recsys.stages import calibration
from mlsd_jax.recsys.stages.calibration import CalibrationSample
from mlsd_jax.recsys.stages.scorer import RankerInputs


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
  logits = (np.log(known / (1 - known)) - shift) / slope
  line = calibration.straight_line(logits, bought)
  np.testing.assert_allclose(line, (slope, shift), rtol=0.03, atol=0.05)
  put_right = 1 / (1 + np.exp(-(line[0] * logits + line[1])))
  assert put_right.mean() == pytest.approx(bought.mean(), rel=1e-6)


@pytest.mark.parametrize(
  ('mean', 'deviation', 'slope', 'rows'),
  [
    (-4, 2, 0.5, 2000),
    (-4, 2, 0.5, 50_000),
    (0, 1, 3, 1000),
    (-8, 1.5, 1, 20_000),
    (10, 3, 0.2, 3000),
    (0, 1, 50, 300),
  ],
)
def test_a_straight_line_is_the_most_likely_one(mean, deviation, slope, rows):
  """As scipy's BFGS finds it, also where Newton's full steps go past it."""
  rng = np.random.default_rng(0)
  logits, times = rng.normal(mean, deviation, rows), rng.integers(1, 4, rows)
  bought = rng.random(rows) < scipy.special.expit(slope * logits)

  def loss(line):
    z = line[0] * logits + line[1]
    return np.average(np.logaddexp(0, z) - bought * z, weights=times)

  reference = scipy.optimize.minimize(loss, [0.0, 0.0], method='BFGS', options={'gtol': 1e-9})
  line = calibration.straight_line(logits, bought, times, warn=pytest.fail)
  np.testing.assert_allclose(line, reference.x, rtol=2e-4, atol=2e-4)
  assert loss(line) <= loss(reference.x) + 1e-12


@pytest.mark.parametrize(
  ('logits', 'bought', 'why'),
  [
    (np.arange(10.0), np.arange(10) > 4, 'without a mistake'),
    (np.repeat([0.0, 1.0, 1.0, 2.0], 3), np.repeat([False, False, True, True], 3), 'without a mistake'),
    (np.ones(6), np.arange(6) > 3, 'all alike'),
    (np.array([1.0, 2, 3, 4, 5, 6]), np.array([1, 1, 0, 1, 0, 0], bool), 'turn the order'),
  ],
)
def test_where_no_slope_can_be_learnt_the_level_alone_is_put_right_and_that_is_said(logits, bought, why):
  said = []
  slope, shift = calibration.straight_line(logits, bought, warn=said.append)
  assert slope == 1.0
  assert scipy.special.expit(logits + shift).mean() == pytest.approx(bought.mean(), rel=1e-9)
  assert len(said) == 1
  assert why in said[0]


def test_nothing_to_learn_from_leaves_logits_alone():
  assert calibration.straight_line(np.arange(3.0), np.zeros(3, bool)) == (1.0, 0.0)


def test_a_row_that_stands_for_many_counts_as_often():
  rng = np.random.default_rng(1)
  logits, times = rng.normal(-1, 1, 500), rng.integers(0, 5, 500)
  bought = rng.random(500) < 1 / (1 + np.exp(-logits))
  repeated = calibration.straight_line(np.repeat(logits, times), np.repeat(bought, times))
  np.testing.assert_allclose(calibration.straight_line(logits, bought, times), repeated, rtol=1e-5)


def _inputs(logits):
  """Candidates of one user whose item is their number and whose one feature is their logit."""
  number = np.arange(len(logits))
  nobody = np.zeros((1, 0), np.int32)
  return RankerInputs(logits[:, None], number, np.zeros_like(number), nobody, nobody, logits)


def test_of_rare_purchases_a_sample_keeps_all_and_its_line_is_that_of_the_whole():
  rng, number = np.random.default_rng(2), 200_000
  logits = rng.normal(-6.5, 1.2, number).astype(np.float32)
  bought = rng.random(number) < 1 / (1 + np.exp(-logits))
  sample = CalibrationSample.draw(_inputs(logits), bought, rows=10_000)

  assert len(sample.bought) == 10_000
  assert set(sample.inputs.item[sample.bought]) == set(np.flatnonzero(bought))
  np.testing.assert_array_equal(sample.inputs.dense[:, 0], logits[sample.inputs.item])
  np.testing.assert_array_equal(sample.inputs.open_log, logits[sample.inputs.item])
  assert sample.weight.sum() == pytest.approx(number)
  line = calibration.straight_line(sample.inputs.open_log, sample.bought, sample.weight)
  level = lambda slope, shift: float((1 / (1 + np.exp(-(slope * logits + shift)))).mean())
  assert level(*line) == pytest.approx(bought.mean(), rel=0.02)
  np.testing.assert_allclose(line[0], calibration.straight_line(logits, bought)[0], rtol=0.05)


def test_a_small_sample_is_the_whole():
  bought = np.array([True, False, True, False])
  sample = CalibrationSample.draw(_inputs(np.arange(4.0)), bought)
  np.testing.assert_array_equal(sample.inputs.open_log, np.arange(4.0))
  np.testing.assert_array_equal(sample.bought, bought)
  np.testing.assert_array_equal(sample.weight, 1.0)
