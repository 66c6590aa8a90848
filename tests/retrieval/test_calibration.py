"""The regression against scipy's optimiser, and what it promises with few queries."""

import numpy as np
import scipy.optimize

from mlsd_jax.retrieval import calibration
from mlsd_jax.retrieval.calibration import PRIOR, Calibration, Signals, calibrate

WIDTH = len(PRIOR.weights)


def drawn(rng, number, mean):
  return rng.normal(mean, 0.3, (number, WIDTH))


def test_it_finds_the_optimum_of_the_penalised_likelihood():
  rng = np.random.default_rng(0)
  known, hidden, everyday = drawn(rng, 80, 0.7), drawn(rng, 80, 0.5), drawn(rng, 12, 0.1)

  def loss(beta):
    total = 0.5 * calibration._PRECISION * ((beta - np.array([*PRIOR.weights, PRIOR.offset])) ** 2).sum()
    shares = (calibration.KNOWN_SHARE, calibration._HIDDEN, calibration._EVERYDAY)
    for rows, sign, share in zip((known, hidden, everyday), (1, -1, -1), shares, strict=True):
      logits = rows @ beta[:-1] + beta[-1]
      total += len(known) * share * np.logaddexp(0, -sign * logits).mean()
    return total

  best = scipy.optimize.minimize(loss, np.zeros(WIDTH + 1), tol=1e-12)
  found = calibrate(known, hidden, everyday)
  np.testing.assert_allclose([*found.weights, found.offset], best.x, atol=1e-3)


def test_few_queries_move_it_little_and_none_leave_it():
  rng = np.random.default_rng(1)
  none = calibrate(np.empty((0, WIDTH)), np.empty((0, WIDTH)), np.empty((0, WIDTH)))
  np.testing.assert_allclose([*none.weights, none.offset], [*PRIOR.weights, PRIOR.offset])
  far = lambda number: calibrate(drawn(rng, number, 0.2), drawn(rng, number, 0.8), drawn(rng, 40, 0.1))
  moved = [np.abs(np.array(far(number).weights) - PRIOR.weights).max() for number in (3, 300)]
  assert moved[0] < moved[1]


def test_kinds_that_do_not_meet_give_finite_weights():
  found = calibrate(np.ones((5, WIDTH)), np.zeros((5, WIDTH)), np.zeros((1, WIDTH)))
  assert np.isfinite([*found.weights, found.offset]).all()
  assert found(Signals(*[1.0] * WIDTH)) > 0.5 > found(Signals(*[0.0] * WIDTH))
  assert Calibration((1e6,) * WIDTH, 0.0)(Signals(*[1.0] * WIDTH)) == 1.0
