"""Sampled losses: against the softmax over all items, against a loop, and right on average."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlsd_jax.models.item_losses import generalised_bce, sampled_softmax

N, ITEMS, D = 5, 40, 6
RNG = np.random.default_rng(0)
HIDDEN, TABLE = RNG.normal(size=(N, D)).astype(np.float32), RNG.normal(size=(ITEMS, D)).astype(np.float32)
TARGETS = RNG.integers(0, ITEMS, N)


def sampled(hidden, table, drawn, q):
  negatives, log_expected = hidden @ table[drawn].T, jnp.log(len(drawn) * q[drawn])
  return sampled_softmax((hidden * table[TARGETS]).sum(-1), negatives, log_expected, drawn[None] == TARGETS[:, None])


def full(hidden, table):
  logits = hidden @ table.T
  return jax.nn.logsumexp(logits, -1) - jnp.take_along_axis(logits, TARGETS[:, None], 1)[:, 0]


def test_with_every_item_once_it_is_the_softmax_and_has_its_gradients():
  every, uniform = np.arange(ITEMS), np.full(ITEMS, 1 / ITEMS)
  np.testing.assert_allclose(sampled(HIDDEN, TABLE, every, uniform), full(HIDDEN, TABLE), rtol=1e-5)
  of_sampled = jax.grad(lambda *x: sampled(*x, every, uniform).sum(), argnums=(0, 1))(HIDDEN, jnp.asarray(TABLE))
  of_full = jax.grad(lambda *x: full(*x).sum(), argnums=(0, 1))(HIDDEN, jnp.asarray(TABLE))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), of_sampled, of_full)


@pytest.mark.parametrize('popular', [0.0, 0.5, 1.0])
def test_whatever_negatives_are_drawn_from_the_sum_over_all_items_is_right_on_average(popular):
  share = np.arange(1, ITEMS + 1) ** -1.0
  q = (1 - popular) / ITEMS + popular * share / share.sum()
  target_logit = (HIDDEN * TABLE[TARGETS]).sum(-1)
  draws = [RNG.choice(ITEMS, 64, p=q) for _ in range(600)]
  one = jax.jit(lambda drawn: jnp.exp(sampled(HIDDEN, jnp.asarray(TABLE), drawn, jnp.asarray(q)) + target_logit))
  sums = np.mean([one(jnp.asarray(drawn)) for drawn in draws], axis=0)
  np.testing.assert_allclose(sums, np.exp(HIDDEN @ TABLE.T).sum(-1), rtol=0.06)


def test_a_negative_that_is_the_target_does_not_count():
  drawn, q = np.array([TARGETS[0], *range(10)]), np.full(ITEMS, 1 / ITEMS)
  gradient = jax.grad(lambda table: sampled(HIDDEN, table, drawn, q)[0])(jnp.asarray(TABLE))
  alone = np.array([item for item in drawn if item != TARGETS[0]])
  expected = jax.grad(lambda table: sampled(HIDDEN, table, alone, q * len(drawn) / len(alone))[0])(jnp.asarray(TABLE))
  np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('calibration', [0.0, 0.75, 1.0])
def test_generalised_bce_against_a_loop(calibration):
  drawn = np.array([*range(12), TARGETS[1]])
  logits = HIDDEN @ TABLE.T
  share = len(drawn) / (ITEMS - 1)
  beta = share * (calibration * (1 - 1 / share) + 1 / share)
  sigmoid = lambda x: 1 / (1 + np.exp(-float(x)))
  expected = []
  for row, target in enumerate(TARGETS):
    others = [-np.log(1 - sigmoid(logits[row, item])) for item in drawn if item != target]
    expected.append(-beta * np.log(sigmoid(logits[row, target])) + np.mean(others))
  found = generalised_bce(
    np.take_along_axis(logits, TARGETS[:, None], 1)[:, 0],
    logits[:, drawn],
    drawn[None] == TARGETS[:, None],
    num_items=ITEMS,
    calibration=calibration,
  )
  np.testing.assert_allclose(found, expected, rtol=1e-4)
  assert calibration != 0 or beta == pytest.approx(1)
  assert calibration != 1 or beta == pytest.approx(share)
