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
