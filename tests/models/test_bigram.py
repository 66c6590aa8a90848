"""The bigram table against optax, numpy counts and what must hold of it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mlsd_jax.models import bigram

CONFIG = bigram.BigramConfig(vocab_size=7)


def test_logits_are_rows_of_the_table(key):
  params = bigram.init(key, CONFIG)
  tokens = jnp.array([[0, 3, 6], [2, 2, 1]])
  np.testing.assert_allclose(bigram.apply(params, tokens, CONFIG), params['table'][tokens], rtol=1e-6)


def test_starts_as_a_nearly_uniform_guess(key):
  tokens = jax.random.randint(key, (8, 9), 0, CONFIG.vocab_size)
  losses = bigram.token_losses(bigram.init(key, CONFIG), tokens[:, :-1], tokens[:, 1:], CONFIG)
  assert losses.mean() == pytest.approx(np.log(CONFIG.vocab_size), abs=0.03)


def test_descent_reaches_the_entropy_of_the_counts(key):
  """The best table gives each pair its conditional frequency: the loss is their conditional entropy."""
  tokens = np.random.default_rng(0).integers(0, 4, (4, 200)) ** 2 % CONFIG.vocab_size
  given, target = jnp.asarray(tokens[:, :-1]), jnp.asarray(tokens[:, 1:])
  counts = np.zeros((CONFIG.vocab_size, CONFIG.vocab_size))
  np.add.at(counts, (tokens[:, :-1], tokens[:, 1:]), 1)
  with np.errstate(divide='ignore', invalid='ignore'):
    entropy = -np.nansum(counts * np.log(counts / counts.sum(1, keepdims=True))) / counts.sum()
  loss = lambda params: bigram.token_losses(params, given, target, CONFIG).mean()
  optimizer = optax.adam(0.3)

  def step(state, _):
    params, opt_state = state
    updates, opt_state = optimizer.update(jax.grad(loss)(params), opt_state)
    return (optax.apply_updates(params, updates), opt_state), None

  params = bigram.init(key, CONFIG)
  (params, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), None, 300)
  assert entropy <= float(loss(params)) + 1e-5
  assert float(loss(params)) == pytest.approx(entropy, abs=2e-3)
