"""The ranker over many users: whatever the layout of a batch, each candidate's logits are those of it alone."""

import jax.numpy as jnp
import numpy as np
import pytest

from mlsd_jax.models import sparsenn
from mlsd_jax.recsys import funnel
from mlsd_jax.recsys.stages import scorer as scorers


@pytest.fixture(scope='module')
def inputs(state):
  users = np.arange(len(state.users) - 30, len(state.users) + 1)
  union = funnel.gather(state.snapshot, state.histories, users, state.funnel.per_source, state.funnel.retriever)
  return funnel.score(state.funnel, union).inputs


@pytest.mark.parametrize(('share', 'width'), [(1.0, 30), (1.0, 0), (0.5, 30), (0.5, 400), (0.02, 30)])
def test_logits_are_those_of_each_candidate_alone(state, inputs, share, width):
  rng = np.random.default_rng(0)
  some = inputs.take(np.flatnonzero(rng.random(len(inputs.item)) < share))
  scorer = state.funnel.scorer
  plain = sparsenn.apply(
    scorer.params,
    {'dense': some.dense, 'item': some.item, 'user_codes': some.user_codes[some.row], 'bag': some.bags[some.row]},
    jnp.asarray(scorer.codes),
    jnp.asarray(scorer.edges),
    scorer.config,
  )
  found = scorer(some, width)
  np.testing.assert_allclose(found[:, 1:], plain[:, 1:], rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(found[:, 0], plain[:, 0] + some.open_log, rtol=1e-4, atol=1e-5)


def test_of_no_candidates_there_are_no_logits(state, inputs):
  assert state.funnel.scorer(inputs.take(np.zeros(0, np.int64))).shape == (0, len(sparsenn.HEADS))


@pytest.mark.parametrize('width', [0, 100, 128])
def test_layouts_hold_every_candidate_once_and_are_few(width):
  rng = np.random.default_rng(0)
  shapes = set()
  for _ in range(50):
    sizes = rng.integers(0, rng.integers(2, 129), rng.integers(1, 40))
    row = np.repeat(np.arange(len(sizes)), sizes)
    seen = np.zeros(len(row), int)
    for rows, slots, users, of_each in scorers._shapes(row, width):
      seen[rows] += 1
      np.testing.assert_array_equal(users[slots // of_each], row[rows])
      assert len(np.unique(slots)) == len(slots)
      assert len(users) * of_each <= 2 * scorers._ROWS
      shapes.add((len(users), of_each))
    assert (seen == 1).all()
  assert len(shapes) < 25
