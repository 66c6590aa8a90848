"""Beam search against trying every sequence."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlsd_jax.errors import UserError
from mlsd_jax.generation.beam import beam_search, length_penalty

START, END, VOCAB, LENGTH = 1, 2, 4, 4


@dataclasses.dataclass(frozen=True)
class Table:
  """Logits that depend on the row, the step and the last two tokens."""

  def __call__(self, table, tokens, step):
    last = jnp.take(tokens, step, axis=-1)
    before = jnp.where(step > 0, jnp.take(tokens, jnp.maximum(step - 1, 0), axis=-1), 0)
    rows = jnp.arange(tokens.shape[0])[:, None]
    return table[rows, step, before, last]


@pytest.fixture(scope='module')
def table():
  return 2.0 * np.random.default_rng(0).standard_normal((3, LENGTH, VOCAB, VOCAB, VOCAB)).astype(np.float32)


def every_sequence(table, row, alpha):
  """(score, tokens) of every sequence that ends within LENGTH tokens, best first."""
  found = []
  for length in range(1, LENGTH + 1):
    others = [token for token in range(VOCAB) if token != END]
    for body in itertools.product(others, repeat=length - 1):
      tokens, total = [START, *body, END], 0.0
      for step in range(length):
        logits = table[row, step, tokens[step - 1] if step else 0, tokens[step]].astype(np.float64)
        total += logits[tokens[step + 1]] - np.log(np.exp(logits).sum())
      found.append((total / ((5 + length) / 6) ** alpha, tokens))
  return sorted(found, reverse=True)


@pytest.mark.parametrize('alpha', [0.0, 0.6, 1.5])
def test_a_wide_beam_finds_the_best_of_all(table, alpha):
  found = beam_search(Table(), table, rows=3, start=START, end=END, beam=60, max_length=LENGTH, alpha=alpha)
  for row in range(3):
    wanted = every_sequence(table, row, alpha)
    # Wide enough to hold every sequence, so that it must find all 40 in their order.
    np.testing.assert_allclose(found.scores[row, : len(wanted)], [score for score, _ in wanted], rtol=1e-5)
    for n in range(5):
      tokens = wanted[n][1]
      assert found.tokens[row, n].tolist() == tokens + [0] * (LENGTH + 1 - len(tokens))


def test_a_wider_beam_is_never_worse_than_the_best_of_all(table):
  best = np.array([every_sequence(table, row, 0.6)[0][0] for row in range(3)])
  for beam in (1, 2, 4):
    scores = beam_search(Table(), table, rows=3, start=START, end=END, beam=beam, max_length=LENGTH).scores[:, 0]
    assert (np.asarray(scores) <= best + 1e-5).all()


def test_rows_do_not_depend_on_each_other(table):
  options = dict(start=START, end=END, beam=3, max_length=LENGTH)
  together = beam_search(Table(), table, rows=3, **options)
  for row in range(3):
    alone = beam_search(Table(), table[row : row + 1], rows=1, **options)
    assert together.tokens[row, 0].tolist() == alone.tokens[0, 0].tolist()


def test_what_never_ends_is_given_as_it_stands():
  table = np.zeros((1, LENGTH, VOCAB, VOCAB, VOCAB), np.float32)
  table[..., END], table[..., 3] = -np.inf, 5.0
  found = beam_search(Table(), table, rows=1, start=START, end=END, beam=2, max_length=LENGTH)
  assert found.tokens[0, 0].tolist() == [START, 3, 3, 3, 3]
  assert float(found.scores[0, 0]) > -10


def test_the_length_penalty_is_that_of_the_paper():
  assert length_penalty(1, 0.6) == pytest.approx(1.0)
  assert length_penalty(7, 1.0) == pytest.approx(2.0)


@pytest.mark.parametrize('wrong', [dict(beam=0), dict(max_length=0), dict(alpha=-1.0)])
def test_bad_settings_are_refused(table, wrong):
  with pytest.raises(UserError):
    beam_search(Table(), table, **(dict(rows=3, start=START, end=END, beam=2, max_length=LENGTH) | wrong))


def test_runs_under_jit(table):
  search = jax.jit(lambda t: beam_search(Table(), t, rows=3, start=START, end=END, beam=2, max_length=LENGTH).tokens)
  assert search(table).shape == (3, 2, LENGTH + 1)
