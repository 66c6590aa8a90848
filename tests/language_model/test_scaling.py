"""The law of losses: found again from runs that follow it."""

import numpy as np
import pytest
from scipy.optimize import approx_fprime, minimize_scalar

from mlsd_jax.errors import UserError
from mlsd_jax.language_model.scaling import ScalingLaw, ScalingRun, best_of_budget, fit_law

LAW = ScalingLaw(irreducible=1.7, of_parameters=400.0, of_tokens=410.0, alpha=0.34, beta=0.28)


def _runs(law, noise=0.0, sizes=(1e5, 3e5, 1e6, 3e6), budgets=(1e12, 4e12, 1.6e13)):
  rng = np.random.default_rng(0)
  return [
    ScalingRun(n, c / 6 / n, law.loss(n, c / 6 / n) * float(np.exp(noise * rng.standard_normal())))
    for c in budgets
    for n in sizes
  ]


def test_runs_that_follow_a_law_give_it_back_and_predict_a_run_sixteen_times_as_large():
  law = fit_law(_runs(LAW))
  assert law.loss(1e7, 1e8) == pytest.approx(LAW.loss(1e7, 1e8), rel=2e-3)
  assert law.exponent == pytest.approx(LAW.exponent, abs=0.03)


def test_one_bad_run_hardly_moves_the_law():
  runs = _runs(LAW)
  spoilt = [ScalingRun(runs[0].parameters, runs[0].tokens, runs[0].loss * 1.2), *runs[1:]]
  assert fit_law(spoilt).loss(1e7, 1e8) == pytest.approx(LAW.loss(1e7, 1e8), rel=0.02)


def test_the_best_size_of_a_budget_is_where_the_law_is_lowest():
  parameters, tokens = LAW.best(1e15)
  assert 6 * parameters * tokens == pytest.approx(1e15)
  found = minimize_scalar(lambda x: LAW.loss(np.exp(x), 1e15 / 6 / np.exp(x)), bounds=(5, 30), method='bounded')
  assert parameters == pytest.approx(np.exp(found.x), rel=1e-3)
  slope = approx_fprime(np.array([np.log(parameters)]), lambda x: LAW.loss(np.exp(x[0]), 1e15 / 6 / np.exp(x[0])), 1e-5)
  assert abs(slope[0]) < 1e-4


def test_a_parabola_finds_the_best_size_within_the_ladder_or_says_that_it_lies_outside():
  best, _ = LAW.best(1e15)
  near = _runs(LAW, sizes=[best * 2.0**i for i in range(-2, 3)], budgets=(1e15,))
  assert best_of_budget(near) == pytest.approx(best, rel=0.2)
  assert best_of_budget(_runs(LAW, sizes=[best * 2.0**i for i in range(3, 7)], budgets=(1e15,))) is None


@pytest.mark.parametrize('runs', [[], _runs(LAW)[:4], _runs(LAW, sizes=(1e6,), budgets=(1e12,) * 6)])
def test_too_few_runs_for_five_numbers_are_refused(runs):
  with pytest.raises(UserError, match='five runs or more'):
    fit_law(runs)
