"""Attention against a loop over queries in double precision."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlsd_jax.errors import UserError
from mlsd_jax.models import attention


def draw(key, batch=2, queries=7, heads=3, head_dim=4):
  return [jax.random.normal(k, (batch, queries, heads, head_dim)) for k in jax.random.split(key, 3)]


def one_by_one(q_BTHK, k_BSHK, v_BSHK, sees_BTS):
  q, k, v = (np.asarray(x, np.float64) for x in (q_BTHK, k_BSHK, v_BSHK))
  out = np.zeros(q.shape)
  for b, t, h in np.ndindex(q.shape[:3]):
    sees = np.flatnonzero(sees_BTS[b, t])
    weights = np.exp(k[b, sees, h] @ q[b, t, h] / np.sqrt(q.shape[-1]))
    out[b, t, h] = weights @ v[b, sees, h] / weights.sum()
  return out


def test_causal_attention_is_that_of_the_loop(key):
  q, k, v = draw(key)
  sees = np.broadcast_to(np.tril(np.ones((7, 7), bool)), (2, 7, 7))
  np.testing.assert_allclose(attention.attend(q, k, v), one_by_one(q, k, v, sees), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('block', [2, 3, 6])
def test_blocks_of_queries_change_nothing(key, monkeypatch, block):
  q, k, v = draw(key, queries=6)
  sees = np.broadcast_to(np.tril(np.ones((6, 6), bool)), (2, 6, 6))
  monkeypatch.setattr(attention, 'BLOCK', block)
  np.testing.assert_allclose(attention.attend(q, k, v), one_by_one(q, k, v, sees), rtol=1e-5, atol=1e-6)
  ones = jnp.ones_like(v)
  dropped = attention.attend(q, k, ones, dropout_rate=0.5, key=key)[..., 0]  # sums of kept weights, by two
  assert 0.4 < dropped.mean() < 1.6
  assert dropped.std() > 0.1


def test_a_mask_replaces_causality(key):
  q, k, v = draw(key)
  sees = np.array(jax.random.bernoulli(key, 0.5, (2, 7, 7))) | np.eye(7, dtype=bool)
  ours = attention.attend(q, k, v, mask_BTS=jnp.asarray(sees))
  np.testing.assert_allclose(ours, one_by_one(q, k, v, sees), rtol=1e-5, atol=1e-6)


def test_large_scores_neither_overflow_nor_vanish(key):
  q, k, v = draw(key)
  chex.assert_tree_all_finite(attention.attend(1e4 * q, k, v))
  shifted = attention.attend(q, k + 50.0, v)  # adds one number to all scores of a query
  np.testing.assert_allclose(shifted, attention.attend(q, k, v), rtol=1e-3, atol=1e-4)


def test_no_gradient_from_a_query_to_later_keys_and_values(key):
  q, k, v = draw(key)
  loss = lambda k, v: jnp.sum(attention.attend(q, k, v)[:, 3])
  for gradient in jax.grad(loss, argnums=(0, 1))(k, v):
    assert not gradient[:, 4:].any()
    assert gradient[:, :4].any()


def test_dropped_weights_average_to_the_undropped_output(key):
  q, k, v = draw(key, batch=1)
  dropped = jax.vmap(lambda key: attention.attend(q, k, v, dropout_rate=0.3, key=key))(jax.random.split(key, 4000))
  error = np.asarray(dropped.mean(0) - attention.attend(q, k, v))
  assert np.abs(error).max() < 6 * float(dropped.std(0).max()) / np.sqrt(4000)
  assert dropped.std(0).max() > 0


@pytest.mark.parametrize(
  ('options', 'says'),
  [
    ({'implementation': 'flash'}, 'choose one of xla, cudnn, splash'),
    ({'implementation': 'cudnn', 'dropout_rate': 0.1}, 'set dropout=0'),
    ({'implementation': 'splash'}, 'multiple of 128'),
  ],
)
def test_what_an_implementation_cannot_do_is_refused(key, options, says):
  with pytest.raises(UserError, match=says):
    attention.attend(*draw(key), key=key, **options)
