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


def greedy(table, row, alpha):
  """(score, tokens) of the best ending, where the end is one of the two likeliest tokens; if there is none, of the way.

  The way goes by the likeliest token that is not the end.
  """
  tokens, total, found = [START], 0.0, []
  for step in range(LENGTH):
    logits = table[row, step, tokens[step - 1] if step else 0, tokens[step]].astype(np.float64)
    log_probs = total + logits - np.log(np.exp(logits).sum())
    likeliest = np.argsort(-log_probs)
    if END in likeliest[:2]:
      found.append((log_probs[END] / length_penalty(step + 1, alpha), [*tokens, END]))
    following = next(token for token in likeliest if token != END)
    tokens, total = [*tokens, int(following)], log_probs[following]
  return max(found, default=(total / length_penalty(LENGTH, alpha), tokens))


@pytest.mark.parametrize('alpha', [0.0, 0.6])
def test_a_beam_of_one_is_greedy(table, alpha):
  found = beam_search(Table(), table, rows=3, start=START, end=END, beam=1, max_length=LENGTH, alpha=alpha)
  for row in range(3):
    score, tokens = greedy(table, row, alpha)
    assert float(found.scores[row, 0]) == pytest.approx(score, rel=1e-5)
    assert found.tokens[row, 0].tolist() == tokens + [0] * (LENGTH + 1 - len(tokens))


@pytest.mark.parametrize('beam', [2, 4, 27])
def test_hypotheses_have_their_own_scores_and_the_best_is_among_them_if_none_is_dropped(table, beam):
  found = beam_search(Table(), table, rows=3, start=START, end=END, beam=beam, max_length=LENGTH)
  for row in range(3):
    wanted = every_sequence(table, row, 0.6)
    scores = {tuple(tokens + [0] * (LENGTH + 1 - len(tokens))): score for score, tokens in wanted}
    for tokens, score in zip(found.tokens[row].tolist(), found.scores[row].tolist(), strict=True):
      if END in tokens:
        assert score == pytest.approx(scores[tuple(tokens)], rel=1e-5)
    if beam == 27:  # as many as there are ways to go on three times without an end
      assert float(found.scores[row, 0]) == pytest.approx(wanted[0][0], rel=1e-5)


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
