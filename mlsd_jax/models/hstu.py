"""HSTU: attention without a softmax (Zhai et al. 2024, 'Actions Speak Louder than Words', arXiv:2402.17152, section 3).

A softmax gives a user with one bicycle in the history and one with ten the same weights; here each key is weighed by
itself, SiLU(q k' + bias), so that how much there is of something stays visible. What comes together is normalised and
gated by what the position itself says of it (U), in place of a perceptron.

Names: B batch, T queries, S keys, D model width, H heads, K head dimension.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from mlsd_jax.models import layers

TIME_BUCKETS = 31  # of log2(1 + seconds between two events): an int32 has no more


def attend(
  q_BTHK: jax.Array,
  k_BSHK: jax.Array,
  v_BSHK: jax.Array,
  bias_BHTS: jax.Array,
  mask_BTS: jax.Array,
  length: int,
) -> jax.Array:
  """SiLU(q k' + bias) v / length over the keys that the mask allows (eq. 2): [B, T, H, K] in the dtype of v.

  Args:
    bias_BHTS: broadcastable.
    mask_BTS: True where query t may see key s; broadcastable over B.
    length: most keys that there are, one number for all rows: a row with few keys gives less, not more of each.
  """
  scores_BHTS = jnp.einsum('BTHK,BSHK->BHTS', q_BTHK, k_BSHK) + bias_BHTS
  weights_BHTS = jnp.where(mask_BTS[:, None], jax.nn.silu(scores_BHTS) / length, 0.0)
  return jnp.einsum('BHTS,BSHK->BTHK', weights_BHTS.astype(v_BSHK.dtype), v_BSHK)


def bucket_times(times_BT: jax.Array) -> jax.Array:
  """Bucket of the time from each key to each query, int32 [B, T, T]; 0 where the key is not earlier.

  Args:
    times_BT: whole seconds (or any unit) since some moment.
  """
  apart_BTS = jnp.maximum(times_BT[:, :, None] - times_BT[:, None, :], 0).astype(jnp.float32)
  return jnp.minimum(jnp.log2(1.0 + apart_BTS).astype(jnp.int32), TIME_BUCKETS - 1)


class HSTU(nnx.Module):
  """One layer, x + f(norm(x)): queries, keys, values and gates from one product, attention, norm, gate, output."""

  def __init__(self, width: int, num_heads: int, length: int, dropout: float, rngs: nnx.Rngs):
    heads = (num_heads, width // num_heads)
    self.norm = layers.LayerNorm(width)
    self.uvqk = layers.Linear(width, (4, *heads), use_bias=False, stddev=width**-0.5, rngs=rngs)
    # How many events ago and how long ago a key was, apart: of a user's rhythm neither says what the other does.
    self.position_bias = nnx.Param(jnp.zeros((num_heads, length)))
    self.time_bias = nnx.Param(jnp.zeros((num_heads, TIME_BUCKETS)))
    self.attended_norm = layers.LayerNorm(width)
    self.out = layers.Linear(width, width, rngs=rngs)
    self.length, self.dropout = length, dropout

  def __call__(self, x_BTD, mask_BTS, places_BT, buckets_BTS, key=None):
    """[B, T, D].

    Args:
      places_BT: number of each event in its row, from 0 on.
      buckets_BTS: see `bucket_times`.
    """
    u_BTHK, v_BTHK, q_BTHK, k_BTHK = jnp.unstack(jax.nn.silu(self.uvqk(self.norm(x_BTD))), axis=2)
    ago_BTS = jnp.clip(places_BT[:, :, None] - places_BT[:, None, :], 0, self.length - 1)
    bias_HBTS = self.position_bias[...][:, ago_BTS] + self.time_bias[...][:, buckets_BTS]
    y_BTHK = attend(q_BTHK, k_BTHK, v_BTHK, jnp.swapaxes(bias_HBTS, 0, 1), mask_BTS, self.length)
    # Sums over few keys and over many lie far apart: normalised, what follows learns from both.
    y_BTD = self.attended_norm(y_BTHK.reshape(x_BTD.shape)) * u_BTHK.reshape(x_BTD.shape)
    return x_BTD + self.out(layers.dropout(y_BTD, self.dropout, key))
