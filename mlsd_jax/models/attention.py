"""Softmax attention by implementation name, behind one function.

    xla     plain XLA: any device, any mask, dropout
    cudnn   NVIDIA's fused flash attention: causal, bf16/f16, head_dim a multiple of 8
    splash  the TPU's fused block-sparse kernel: causal, sequence a multiple of 128

Names: B batch, T queries, S keys, H heads, K head dimension.
"""

import math

import chex
import jax
import jax.numpy as jnp

from mlsd_jax.errors import UserError
from mlsd_jax.models import layers

IMPLEMENTATIONS = ('xla', 'cudnn', 'splash')
BLOCK = 128  # queries that 'xla' takes at a time where attention is causal


def attend(
  q_BTHK: jax.Array,
  k_BSHK: jax.Array,
  v_BSHK: jax.Array,
  *,
  implementation: str = 'xla',
  mask_BTS: jax.Array | None = None,
  dropout_rate: float = 0.0,
  key: jax.Array | None = None,
) -> jax.Array:
  """softmax(q k' / sqrt(K)) v (Vaswani et al. 2017, arXiv:1706.03762, eq. 1), causal unless a mask says otherwise.

  Args:
    q_BTHK: queries.
    k_BSHK: keys, in the dtype of the queries.
    v_BSHK: values, in the same.
    implementation: one of IMPLEMENTATIONS.
    mask_BTS: True where query t may see key s (broadcastable over B). None means causal with T == S.
    dropout_rate: of the attention weights.
    key: for dropout; none without it.

  Returns:
    [B, T, H, K] in the dtype of q.

  Raises:
    UserError: the named implementation cannot do what is asked.
  """
  if implementation not in IMPLEMENTATIONS:
    raise UserError(f'attention={implementation!r} is not known; choose one of {", ".join(IMPLEMENTATIONS)}')
  chex.assert_rank([q_BTHK, k_BSHK, v_BSHK], 4)
  chex.assert_equal_shape([k_BSHK, v_BSHK])
  if implementation != 'xla' and key is not None and dropout_rate > 0.0:
    raise UserError(f'attention={implementation!r} cannot drop attention weights; set dropout=0 or attention="xla"')
  # The fused kernels never write the T x S weights to memory, which is their speed; they know one mask, the causal one.
  if mask_BTS is not None or implementation == 'xla':
    return _attend_xla(q_BTHK, k_BSHK, v_BSHK, mask_BTS, dropout_rate, key)
  if implementation == 'cudnn':
    return jax.nn.dot_product_attention(q_BTHK, k_BSHK, v_BSHK, is_causal=True, implementation='cudnn')
  return _attend_splash(q_BTHK, k_BSHK, v_BSHK)


def weights(q_BTHK: jax.Array, k_BSHK: jax.Array, mask_BTS: jax.Array | None = None) -> jax.Array:
  """softmax(q k' / sqrt(K)) itself, float32 [B, H, T, S]; without a mask the queries are the last of the keys."""
  queries, keys = q_BTHK.shape[1], k_BSHK.shape[1]
  if mask_BTS is None:
    mask_BTS = jnp.tril(jnp.ones((1, queries, keys), bool), keys - queries)
  # A sum of K products of unit variance has variance K; left so, the softmax of a wide head would be all on one key.
  scores_BHTS = jnp.einsum('BTHK,BSHK->BHTS', q_BTHK, k_BSHK) / math.sqrt(q_BTHK.shape[-1])
  # In float32, as bfloat16 has 8 bits for a sum over all keys. Not -inf: a row with no key to see would become NaN.
  scores_BHTS = jnp.where(mask_BTS[:, None], scores_BHTS.astype(jnp.float32), -1e30)
  return jax.nn.softmax(scores_BHTS, axis=-1)


def _attend_xla(q_BTHK, k_BSHK, v_BSHK, mask_BTS, dropout_rate, key):
  length = q_BTHK.shape[1]
  if mask_BTS is not None or length % BLOCK or length == BLOCK:
    return _attend_block(q_BTHK, k_BSHK, v_BSHK, mask_BTS, dropout_rate, key)
  # Queries by blocks, each with the keys up to its own end: the others have no weight, so they are not computed.
  blocks = []
  for start in range(0, length, BLOCK):
    end = start + BLOCK
    # A key for each block: with one for all they would drop alike.
    block_key = None if key is None else jax.random.fold_in(key, start)
    blocks.append(_attend_block(q_BTHK[:, start:end], k_BSHK[:, :end], v_BSHK[:, :end], None, dropout_rate, block_key))
  return jnp.concatenate(blocks, axis=1)


def _attend_block(q_BTHK, k_BSHK, v_BSHK, mask_BTS, dropout_rate, key):
  """Attention of queries to all keys that the mask allows; without one as in `weights`."""
  # Weights lie in [0, 1], so that the narrow dtype is enough for their product with the values.
  weights_BHTS = weights(q_BTHK, k_BSHK, mask_BTS).astype(q_BTHK.dtype)
  weights_BHTS = layers.dropout(weights_BHTS, dropout_rate, key)
  return jnp.einsum('BHTS,BSHK->BTHK', weights_BHTS, v_BSHK)


def _attend_splash(q_BTHK, k_BSHK, v_BSHK):
  from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as splash
  from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

  length, heads, head_dim = q_BTHK.shape[1:]
  if length % 128:
    raise UserError(f'attention="splash" requires a sequence that is a multiple of 128, got {length}')
  mask = masks.MultiHeadMask([masks.CausalMask((length, length))] * heads)
  kernel = splash.make_splash_mha(mask, head_shards=1, q_seq_shards=1)
  # The kernel takes heads before positions, one row of the batch, and does not scale.
  q, k, v = (jnp.swapaxes(x, 1, 2) for x in (q_BTHK / math.sqrt(head_dim), k_BSHK, v_BSHK))
  return jnp.swapaxes(jax.vmap(kernel)(q, k, v), 1, 2)


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


def update_cache(
  keys_BHKS: jax.Array, values_BHSK: jax.Array, k_BTHK: jax.Array, v_BTHK: jax.Array, index: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """The cache with the keys and values of new tokens from slot `index` on.

  A slice at one index for all rows, not a scatter: under jit with a donated cache it is a write in place.
  """
  k_BHKT = jnp.transpose(k_BTHK, (0, 2, 3, 1)).astype(keys_BHKS.dtype)
  v_BHTK = jnp.swapaxes(v_BTHK, 1, 2).astype(values_BHSK.dtype)
  return (
    jax.lax.dynamic_update_slice_in_dim(keys_BHKS, k_BHKT, index, axis=3),
    jax.lax.dynamic_update_slice_in_dim(values_BHSK, v_BHTK, index, axis=2),
  )


def _softmax(scores: jax.Array, mask: jax.Array) -> jax.Array:
  return jax.nn.softmax(jnp.where(mask, scores, -1e30), axis=-1)
