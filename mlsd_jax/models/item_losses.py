"""Losses of a model that predicts one item of many: with all items as negatives, or with a drawn few.

Hidden states are the model's, items have vectors of the same width, and their products are the logits. For the softmax
over all items see cross_entropy.linear_cross_entropy; these are for catalogues where that is too much.

Names: N predictions, M negatives that all of them share, D width.
"""

import chex
import jax
import jax.numpy as jnp


def sampled_softmax(
  positive_N: jax.Array, negatives_NM: jax.Array, log_expected_M: jax.Array, is_target_NM: jax.Array
) -> jax.Array:
  """-log of the target's softmax probability in nats, the sum over all items estimated from a drawn few; [N] float32.

  Each negative stands for 1 / (how often it is expected among the M), so that the estimate of the sum is right on
  average whatever they were drawn from (importance sampling; Bengio & Senecal 2008). The target itself is always in the
  sum and so is not corrected (Khrylchenko et al. 2025, arXiv:2507.09331); with all other items as negatives, once each,
  this is the softmax.

  Args:
    positive_N: logits of the targets.
    negatives_NM: logits of the negatives.
    log_expected_M: log of how often each is expected among the M: log(M q) where drawn with probability q.
    is_target_NM: where a negative is the row's target, which does not count then.
  """
  chex.assert_equal_shape([negatives_NM, is_target_NM])
  positive_N = positive_N.astype(jnp.float32)
  corrected_NM = jnp.where(is_target_NM, -1e30, negatives_NM.astype(jnp.float32) - log_expected_M)
  return jnp.logaddexp(positive_N, jax.nn.logsumexp(corrected_NM, axis=-1)) - positive_N


def generalised_bce(
  positive_N: jax.Array,
  negatives_NM: jax.Array,
  is_target_NM: jax.Array,
  *,
  num_items: int,
  calibration: float = 0.75,
) -> jax.Array:
  """-beta log sigmoid(target) - mean over the negatives of log(1 - sigmoid), nats; [N] float32.

  Binary cross-entropy over a few uniform negatives makes a model sure of everything, as it meets one positive for each
  few negatives and not for all. gBCE (Petrov & Macdonald 2023, arXiv:2308.07192, eqs. 8 and 9) takes the target's
  probability to the power beta = a (t (1 - 1 / a) + 1 / a), where a is the share of the items that is drawn.

  Args:
    positive_N, negatives_NM, is_target_NM: as in `sampled_softmax`; the negatives are uniform draws.
    calibration: t; 0 is the plain loss of SASRec (arXiv:1808.09781), 1 undoes the sampling.
  """
  chex.assert_equal_shape([negatives_NM, is_target_NM])
  drawn = min(negatives_NM.shape[1] / max(num_items - 1, 1), 1.0)
  beta = drawn * (calibration * (1.0 - 1.0 / drawn) + 1.0 / drawn)
  of_positive_N = -beta * jax.nn.log_sigmoid(positive_N.astype(jnp.float32))
  of_negatives_NM = jnp.where(is_target_NM, 0.0, jax.nn.softplus(negatives_NM.astype(jnp.float32)))
  return of_positive_N + of_negatives_NM.sum(-1) / jnp.maximum((~is_target_NM).sum(-1), 1)
