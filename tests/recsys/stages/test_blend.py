"""The blend: what it interpolates is what its buckets add up to."""

import numpy as np
import pytest

from mlsd_jax.recsys.stages import blend


def test_scores_are_those_of_the_buckets():
  rng = np.random.default_rng(0)
  found = np.where(rng.random((500, 7)) < 0.3, 0, rng.normal(size=(500, 7)) ** 2).astype(np.float32)
  fitted = blend.fit(found, rng.random(500) < 1 / (1 + np.exp(2 - found[:, 0])))
  plain = blend._buckets(found, fitted.edges) @ fitted.weights
  np.testing.assert_allclose(fitted.score(found), plain, rtol=1e-4, atol=1e-4)
  # Of a row by itself it is the same to the last bit: one user is answered as many are.
  np.testing.assert_array_equal(fitted.score(found[7:8]), fitted.score(found)[7:8])


def test_contributions_add_up_to_the_score():
  rng = np.random.default_rng(0)
  found = np.where(rng.random((50, 7)) < 0.3, 0, rng.normal(size=(50, 7)) ** 2).astype(np.float32)
  fitted = blend.fit(found, rng.random(50) < 0.5)
  parts = fitted.contributions(found)
  nothing = fitted.score(np.zeros_like(found))
  np.testing.assert_allclose(parts.sum(1), fitted.score(found) - nothing, atol=1e-4)
  alone = np.where(np.arange(7) == 4, found, 0).astype(np.float32)
  np.testing.assert_allclose(parts[:, 4], fitted.score(alone) - nothing, atol=1e-5)


@pytest.mark.parametrize('many', [10**9, 0], ids=['all rows', 'a part of them first'])
def test_newton_stops_where_the_gradient_vanishes(many, monkeypatch):
  monkeypatch.setattr(blend, '_MANY', many)
  rng = np.random.default_rng(0)
  found = rng.normal(size=(4000, 3)).astype(np.float32)
  labels = rng.random(4000) < 1 / (1 + np.exp(3 - 2 * found[:, 0] + found[:, 1]))
  fitted = blend.fit(found, labels)
  x = blend._buckets(found, fitted.edges).astype(np.float64)
  p = 1 / (1 + np.exp(-x @ fitted.weights))
  ridge = np.where(np.arange(x.shape[1]) > 0, blend._RIDGE, blend._CONSTANT_RIDGE)
  np.testing.assert_allclose((x.T @ (labels - p) - ridge * fitted.weights) / len(x), 0, atol=1e-5)
  with_all_products = (x * (p * (1 - p))[:, None]).T @ x
  np.testing.assert_allclose(blend._squares(x.astype(np.float32), np.sqrt(p * (1 - p))), with_all_products, atol=1e-2)


def test_few_purchases_are_not_learnt_by_heart():
  rng = np.random.default_rng(0)
  number = 20_000  # of which some 300 were bought
  found = rng.normal(size=(2 * number, 30)).astype(np.float32)  # the first column says something, 29 nothing
  labels = rng.random(2 * number) < 1 / (1 + np.exp(4.8 - found[:, 0]))
  fitted = blend.fit(found[:number], labels[:number])

  def loss(logits):
    return np.logaddexp(0, np.where(labels[number:], -logits, logits)).mean()

  guess = loss(np.full(number, np.log(labels.mean() / (1 - labels.mean()))))
  best = loss(found[number:, 0] - 4.8)
  assert guess - loss(fitted.score(found[number:])) > 0.5 * (guess - best)  # a ridge of 0.2 does worse than the guess


def test_a_part_that_says_the_contrary_changes_nothing_in_the_end(monkeypatch):
  rng = np.random.default_rng(1)
  found = rng.normal(size=(8000, 4)).astype(np.float32)
  chance = 1 / (1 + np.exp(2 - found[:, 0]))
  chance[:: blend._PART] = 0.9 - 0.8 * chance[:: blend._PART]  # a part that says the contrary
  labels = rng.random(8000) < chance
  whole = blend.fit(found, labels)
  monkeypatch.setattr(blend, '_MANY', 0)
  np.testing.assert_allclose(blend.fit(found, labels).weights, whole.weights, atol=2e-3)
