"""Intervals and tests behave as statistics says."""

import math

import numpy as np
import scipy.stats

from mlsd_jax.resampling import bootstrap, sign_flip_p


def test_the_bootstrap_covers_the_mean_as_often_as_it_says():
  rng = np.random.default_rng(0)
  covered = 0
  for seed in range(200):
    found = bootstrap(rng.beta(0.5, 0.5, 100), rounds=400, seed=seed)
    covered += found.low <= 0.5 <= found.high
  assert 180 <= covered <= 198  # 95% of 200, give or take three standard deviations


def test_the_bootstrap_is_that_of_scipy():
  values = np.random.default_rng(0).exponential(size=300)
  ours = bootstrap(values, rounds=20_000)
  theirs = scipy.stats.bootstrap([values], np.mean, n_resamples=20_000, method='percentile', rng=1).confidence_interval
  np.testing.assert_allclose([ours.low, ours.high], theirs, rtol=0.01)
  assert math.isnan(bootstrap(np.zeros(0)).mean)


def test_the_sign_flip_test_is_that_of_scipy():
  for shift in (0.0, 0.1, 0.25):
    difference = np.random.default_rng(1).normal(shift, 1.0, 80)
    options = dict(permutation_type='samples', n_resamples=20_000, rng=2)
    theirs = scipy.stats.permutation_test([difference, np.zeros(80)], lambda a, b: np.mean(a - b), **options).pvalue
    assert abs(sign_flip_p(difference, rounds=20_000) - theirs) < 0.02


def test_p_values_are_uniform_where_nothing_differs_and_small_where_it_does():
  rng = np.random.default_rng(0)
  values = [sign_flip_p(rng.normal(size=50) - rng.normal(size=50), rounds=500, seed=seed) for seed in range(200)]
  assert 0.02 <= np.mean(np.array(values) < 0.1) <= 0.18
  assert sign_flip_p(np.full(50, 0.5)) == 1 / 10_001  # no sign change comes near to it
  assert sign_flip_p(np.zeros(50)) == 1
