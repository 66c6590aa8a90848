"""The chunked loss against the loss of all logits in double precision."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlsd_jax.models import cross_entropy
from mlsd_jax.models.cross_entropy import linear_cross_entropy

VOCAB = 11


def draw(key, rows=VOCAB):
  hidden_key, table_key, target_key = jax.random.split(key, 3)
  hidden = jax.random.normal(hidden_key, (2, 8, 5))
  return hidden, jax.random.normal(table_key, (rows, 5)), jax.random.randint(target_key, (2, 8), 0, VOCAB)


def plain(hidden, table, targets):
  """Losses, and the gradients of their sum weighted by 1, 2, 3, ..."""
  hidden, table = (np.asarray(x, np.float64) for x in (hidden, table[:VOCAB]))
  odds = np.exp(hidden @ table.T)
  probabilities = odds / odds.sum(-1, keepdims=True)
  hits = np.eye(VOCAB)[np.asarray(targets)]
  weights = 1.0 + np.arange(hits[..., 0].size).reshape(hits.shape[:2])
  dlogits = weights[..., None] * (probabilities - hits)
  return -np.log((probabilities * hits).sum(-1)), dlogits @ table, np.einsum('btv,btd->vd', dlogits, hidden)


@pytest.mark.parametrize('rows', [VOCAB, 16])
@pytest.mark.parametrize('chunks', [1, 2, 8])
def test_losses_and_gradients_are_those_of_all_logits(key, chunks, rows):
  hidden, table, targets = draw(key, rows)
  weights = 1.0 + jnp.arange(16.0).reshape(2, 8)

  def loss(hidden, table):
    nll = linear_cross_entropy(hidden, table, targets, vocab_size=VOCAB, chunks=chunks)
    return jnp.sum(nll * weights), nll

  (_, nll), (dhidden, dtable) = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(hidden, table)
  expected_nll, expected_dhidden, expected_dtable = plain(hidden, table, targets)
  np.testing.assert_allclose(nll, expected_nll, rtol=1e-5, atol=1e-5)
  np.testing.assert_allclose(dhidden, expected_dhidden, rtol=1e-4, atol=1e-4)
  np.testing.assert_allclose(dtable[:VOCAB], expected_dtable, rtol=1e-4, atol=1e-4)
  assert not dtable[VOCAB:].any()


@pytest.mark.parametrize('softcap', [0.0, 3.0])
@pytest.mark.parametrize('rows', [VOCAB, 12, 15])
@pytest.mark.parametrize('chunks', [1, 2])
def test_by_blocks_of_ids_it_is_the_same(key, monkeypatch, rows, softcap, chunks):
  hidden, table, targets = draw(key, rows)
  weights = 1.0 + jnp.arange(16.0).reshape(2, 8)

  def loss(hidden, table):
    nll = linear_cross_entropy(hidden, table, targets, vocab_size=VOCAB, chunks=chunks, softcap=softcap)
    return jnp.sum(nll * weights), nll

  gradient = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)
  whole = gradient(hidden, table)
  monkeypatch.setattr(cross_entropy, 'LARGEST_BLOCK', 6)
  monkeypatch.setattr(cross_entropy, 'SMALLEST_BLOCK', 1)
  assert cross_entropy.find_block(rows) == {11: 1, 12: 6, 15: 5}[rows]
  assert 'while' in jax.jit(gradient).lower(hidden, table).as_text()
  chex.assert_trees_all_close(gradient(hidden, table), whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(('rows', 'block'), [(65, 0), (4608, 0), (50257, 1733), (50304, 4192), (50261, 0)])
def test_a_block_of_ids_divides_the_table(rows, block):
  assert cross_entropy.find_block(rows) == block


def test_loss_is_float32_and_finite_for_huge_logits(key):
  hidden, table, targets = draw(key)
  nll = linear_cross_entropy(300 * hidden.astype(jnp.bfloat16), table.astype(jnp.bfloat16), targets, vocab_size=VOCAB)
  chex.assert_type(nll, jnp.float32)
  chex.assert_tree_all_finite(nll)


def test_chunks_that_do_not_divide_the_sequence_are_refused(key):
  with pytest.raises(ValueError, match='3 chunks do not divide a sequence of 8'):
    linear_cross_entropy(*draw(key), vocab_size=VOCAB, chunks=3)
