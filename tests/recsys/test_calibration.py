"""Calibration measures on probabilities whose quality is known."""

import math

import numpy as np
import pytest

from mlsd_jax.recsys import calibration


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
