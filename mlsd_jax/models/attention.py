"""Softmax attention by implementation name, behind one function.

    xla     plain XLA: any device, any mask, dropout
    cudnn   NVIDIA's fused flash attention: causal, bf16/f16, head_dim a multiple of 8
    splash  the TPU's fused block-sparse kernel: causal, sequence a multiple of 128

Names: B batch, T queries, S keys or slots of a cache, R rows of a cache, H heads, K head dimension.
"""

import math

import chex
import jax
import jax.numpy as jnp

from mlsd_jax.errors import UserError
from mlsd_jax.models import layers

IMPLEMENTATIONS = ('xla', 'cudnn', 'splash')
BLOCK = 128  # queries that 'xla' takes at a time where attention is causal
CACHE_BLOCK = 128  # slots of a cache that are read at a time; a longer cache is a multiple of it


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


def attend_cached(
  q_BTHK: jax.Array, keys_RHKS: jax.Array, values_RHSK: jax.Array, index_B: jax.Array, row: jax.Array | None = None
) -> jax.Array:
  """Attention of new tokens to the slots of their own row: [B, T, H, K] in the dtype of q.

  Token t of a row stands in slot index_B + t, where `update_cache` has put it, and sees the slots up to that one.

  On CPU rows are taken one by one, and of each only the blocks of slots that it fills, so that a short row beside a
  long one pays for itself alone. A row's numbers then follow from its own tokens: not from its neighbours, nor from
  how long the cache is. Other devices take all rows and slots at once.

  Args:
    row: which row of the cache the only row of q is; None where row b of q is row b of the cache.
  """
  chex.assert_equal(keys_RHKS.shape[0] if row is None else 1, q_BTHK.shape[0])
  first = jnp.zeros((), jnp.int32) if row is None else row
  operands = (q_BTHK, keys_RHKS, values_RHSK, index_B, first)
  return jax.lax.platform_dependent(*operands, cpu=_attend_by_rows, default=_attend_all_slots)


def _attend_by_rows(q_BTHK, keys_RHKS, values_RHSK, index_B, first):
  """With a running maximum over blocks of slots (Milakov & Gimelshein 2018, arXiv:1805.02867).

  For a single query products are sums over an axis that is not the last one: one pass over the cache as it lies in
  memory, 10 times faster on CPU than the small matrix products that [B, S, H, K] arrays would ask for.
  """
  length, heads, head_dim = q_BTHK.shape[1:]
  block = min(CACHE_BLOCK, keys_RHKS.shape[3])
  single = length == 1

  def attend_row(b, out_BTHK):
    q_HTK = jnp.swapaxes(jax.lax.dynamic_index_in_dim(q_BTHK, b, keepdims=False), 0, 1)
    positions_T1 = index_B[b] + jnp.arange(length)[:, None]

    def add_block(j, carry):
      largest_HT1, total_HT1, sum_HTK = carry
      sizes = (1, heads, head_dim, block)
      k_HKS = jax.lax.dynamic_slice(keys_RHKS, (first + b, 0, 0, j * block), sizes)[0]
      v_HSK = jax.lax.dynamic_slice(values_RHSK, (first + b, 0, j * block, 0), (1, heads, block, head_dim))[0]
      if single:
        scores_HTS = (q_HTK[:, 0, :, None].astype(jnp.float32) * k_HKS).sum(1)[:, None]
      else:
        scores_HTS = jnp.einsum('HTK,HKS->HTS', q_HTK, k_HKS).astype(jnp.float32)
      visible_TS = j * block + jnp.arange(block) <= positions_T1
      scores_HTS = jnp.where(visible_TS, scores_HTS / math.sqrt(head_dim), -1e30)
      new_HT1 = jnp.maximum(largest_HT1, scores_HTS.max(-1, keepdims=True))
      weights_HTS = jnp.exp(scores_HTS - new_HT1)
      if single:
        added_HTK = (weights_HTS[:, 0, :, None] * v_HSK).sum(1)[:, None]
      else:
        added_HTK = jnp.einsum('HTS,HSK->HTK', weights_HTS.astype(v_HSK.dtype), v_HSK).astype(jnp.float32)
      scale_HT1 = jnp.exp(largest_HT1 - new_HT1)
      total_HT1 = total_HT1 * scale_HT1 + weights_HTS.sum(-1, keepdims=True)
      return new_HT1, total_HT1, sum_HTK * scale_HT1 + added_HTK

    blocks = (index_B[b] + length - 1) // block + 1
    empty_HT1 = jnp.zeros((heads, length, 1))
    start = (empty_HT1 - 1e30, empty_HT1, jnp.zeros((heads, length, head_dim)))
    _, total_HT1, sum_HTK = jax.lax.fori_loop(0, blocks, add_block, start)
    y_THK = jnp.swapaxes(sum_HTK / total_HT1, 0, 1).astype(out_BTHK.dtype)
    return jax.lax.dynamic_update_index_in_dim(out_BTHK, y_THK, b, 0)

  return jax.lax.fori_loop(0, q_BTHK.shape[0], attend_row, jnp.zeros_like(q_BTHK))


def _attend_all_slots(q_BTHK, keys_RHKS, values_RHSK, index_B, first):
  batch, length, _, head_dim = q_BTHK.shape
  keys_BHKS = jax.lax.dynamic_slice_in_dim(keys_RHKS, first, batch)
  values_BHSK = jax.lax.dynamic_slice_in_dim(values_RHSK, first, batch)
  positions_BT = index_B[:, None] + jnp.arange(length)
  visible_BTS = jnp.arange(keys_RHKS.shape[3]) <= positions_BT[..., None]
  scores_BTHS = jnp.einsum('BTHK,BHKS->BTHS', q_BTHK, keys_BHKS).astype(jnp.float32) / math.sqrt(head_dim)
  weights_BTHS = jax.nn.softmax(jnp.where(visible_BTS[:, :, None], scores_BTHS, -1e30), axis=-1)
  return jnp.einsum('BTHS,BHSK->BTHK', weights_BTHS.astype(q_BTHK.dtype), values_BHSK)


def update_cache(
  keys_RHKS: jax.Array,
  values_RHSK: jax.Array,
  k_BTHK: jax.Array,
  v_BTHK: jax.Array,
  index_B: jax.Array,
  row: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
  """The cache with the keys and values of new tokens in each row from its own slot index_B on.

  Under jit with a donated cache it is a write in place, in one row (`row`, as in `attend_cached`) or in all.
  """
  k_BHKT = jnp.transpose(k_BTHK, (0, 2, 3, 1)).astype(keys_RHKS.dtype)
  v_BHTK = jnp.swapaxes(v_BTHK, 1, 2).astype(values_RHSK.dtype)
  if row is not None:
    return (
      jax.lax.dynamic_update_slice(keys_RHKS, k_BHKT, (row, 0, 0, index_B[0])),
      jax.lax.dynamic_update_slice(values_RHSK, v_BHTK, (row, 0, index_B[0], 0)),
    )
  write = lambda axis: jax.vmap(lambda held, new, at: jax.lax.dynamic_update_slice_in_dim(held, new, at, axis))
  return write(2)(keys_RHKS, k_BHKT, index_B), write(1)(values_RHSK, v_BHTK, index_B)
