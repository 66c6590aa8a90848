"""Softmax attention by implementation name, behind one function.

    xla     plain XLA: any device, any mask, dropout
    cudnn   NVIDIA's fused flash attention: causal, bf16/f16, head_dim a multiple of 8
    splash  the TPU's fused block-sparse kernel: causal, sequence a multiple of 128

Keys and values may have fewer heads than queries (grouped-query attention, Ainslie et al. 2023, arXiv:2305.13245):
each then serves H / G heads of queries that lie side by side.

Names: B batch, T queries, S keys or slots of a cache, R rows of a cache, H heads of queries, G of keys and values, K
head dimension.
"""

import functools
import math

import chex
import jax
import jax.numpy as jnp

from mlsd_jax.errors import UserError
from mlsd_jax.models import layers
from mlsd_jax.models.decoder_config import ATTENTIONS
from mlsd_jax.models.mesh_axes import map_kernel

IMPLEMENTATIONS = ATTENTIONS
BLOCK = 128  # queries that 'xla' takes at a time where attention is causal
CACHE_BLOCK = 128  # slots of a cache that are read at a time; a longer cache is a multiple of it


def attend(
  q_BTHK: jax.Array,
  k_BSGK: jax.Array,
  v_BSGK: jax.Array,
  *,
  implementation: str = 'xla',
  mask_BTS: jax.Array | None = None,
  window: int = 0,
  dropout_rate: float = 0.0,
  key: jax.Array | None = None,
) -> jax.Array:
  """softmax(q k' / sqrt(K)) v (Vaswani et al. 2017, arXiv:1706.03762, eq. 1), causal unless a mask says otherwise.

  Args:
    q_BTHK: queries.
    k_BSGK: keys, in the dtype of the queries.
    v_BSGK: values, in the same.
    implementation: one of IMPLEMENTATIONS.
    mask_BTS: True where query t may see key s (broadcastable over B). None means causal with T == S.
    window: where causal, the last so many keys alone, the query's own among them (Beltagy et al. 2020,
      arXiv:2004.05150); 0 is all of them. A mask has to say so itself.
    dropout_rate: of the attention weights.
    key: for dropout; none without it.

  Returns:
    [B, T, H, K] in the dtype of q.

  Raises:
    UserError: the named implementation cannot do what is asked.
  """
  if implementation not in IMPLEMENTATIONS:
    raise UserError(f'attention={implementation!r} is not known; choose one of {", ".join(IMPLEMENTATIONS)}')
  chex.assert_rank([q_BTHK, k_BSGK, v_BSGK], 4)
  chex.assert_equal_shape([k_BSGK, v_BSGK])
  group = q_BTHK.shape[2] // k_BSGK.shape[2]
  k_BSHK, v_BSHK = (x if group == 1 else jnp.repeat(x, group, axis=2) for x in (k_BSGK, v_BSGK))
  if implementation != 'xla' and key is not None and dropout_rate > 0.0:
    raise UserError(f'attention={implementation!r} cannot drop attention weights; set dropout=0 or attention="xla"')
  # The fused kernels never write the T x S weights to memory, which is their speed; they know one mask, the causal one.
  if mask_BTS is not None or implementation == 'xla':
    return _attend_xla(q_BTHK, k_BSHK, v_BSHK, mask_BTS, window, dropout_rate, key)
  if implementation == 'cudnn':
    seen = (window - 1, 0) if window else None
    fused = functools.partial(
      jax.nn.dot_product_attention, is_causal=True, local_window_size=seen, implementation='cudnn'
    )
    return map_kernel(fused, q_BTHK, k_BSGK, v_BSGK)
  return map_kernel(functools.partial(_attend_splash, window=window), q_BTHK, k_BSHK, v_BSHK)


def document_mask(documents_BT: jax.Array, window: int = 0) -> jax.Array:
  """Causal attention inside each document of a packed row, bool [B, T, T] for `attend`.

  Args:
    documents_BT: the number of the document that each token is of; tokens of one lie side by side.
    window: as in `attend`.
  """
  length = documents_BT.shape[1]
  seen_TS = jnp.tril(jnp.ones((length, length), bool))
  if window:
    seen_TS &= ~jnp.tril(jnp.ones((length, length), bool), -window)
  return seen_TS & (documents_BT[:, :, None] == documents_BT[:, None, :])


def document_positions(documents_BT: jax.Array) -> jax.Array:
  """The place of each token in its own document, int32 [B, T], from 0; see `document_mask`."""
  places_T = jnp.arange(documents_BT.shape[1])
  begins_BT = jnp.pad(documents_BT[:, 1:] != documents_BT[:, :-1], ((0, 0), (1, 0)))
  return places_T - jax.lax.cummax(jnp.where(begins_BT, places_T, 0), axis=1)


def weights(q_BTHK: jax.Array, k_BSHK: jax.Array, mask_BTS: jax.Array | None = None, window: int = 0) -> jax.Array:
  """softmax(q k' / sqrt(K)) itself, float32 [B, H, T, S]; without a mask the queries are the last of the keys."""
  queries, keys = q_BTHK.shape[1], k_BSHK.shape[1]
  if mask_BTS is None:
    mask_BTS = jnp.tril(jnp.ones((1, queries, keys), bool), keys - queries)
    if window:
      mask_BTS &= ~jnp.tril(jnp.ones((1, queries, keys), bool), keys - queries - window)
  # A sum of K products of unit variance has variance K; left so, the softmax of a wide head would be all on one key.
  scores_BHTS = jnp.einsum('BTHK,BSHK->BHTS', q_BTHK, k_BSHK) / math.sqrt(q_BTHK.shape[-1])
  # In float32, as bfloat16 has 8 bits for a sum over all keys. Not -inf: a row with no key to see would become NaN.
  scores_BHTS = jnp.where(mask_BTS[:, None], scores_BHTS.astype(jnp.float32), -1e30)
  return jax.nn.softmax(scores_BHTS, axis=-1)


def _attend_xla(q_BTHK, k_BSHK, v_BSHK, mask_BTS, window, dropout_rate, key):
  length = q_BTHK.shape[1]
  if mask_BTS is not None or length % BLOCK or length == BLOCK:
    return _attend_block(q_BTHK, k_BSHK, v_BSHK, mask_BTS, window, dropout_rate, key)
  # Heads before positions, once for all blocks: each would otherwise turn its keys and values around for itself, and
  # their gradients back, which on a CPU takes a quarter of attention.
  q_BHTK, k_BHSK, v_BHSK = (_heads_first(x) for x in (q_BTHK, k_BSHK, v_BSHK))
  # Queries by blocks, each with the keys in its window up to its own end: the others have no weight, so they are not
  # computed.
  blocks = []
  for start in range(0, length, BLOCK):
    end = start + BLOCK
    # A key for each block: with one for all they would drop alike.
    block_key = None if key is None else jax.random.fold_in(key, start)
    seen = slice(max(0, start + 1 - window) if window else 0, end)
    parts = q_BHTK[:, :, start:end], k_BHSK[:, :, seen], v_BHSK[:, :, seen]
    q_BTHK, k_BSHK, v_BSHK = (jnp.swapaxes(x, 1, 2) for x in parts)
    y_BTHK = _attend_block(q_BTHK, k_BSHK, v_BSHK, None, window, dropout_rate, block_key)
    blocks.append(jnp.swapaxes(y_BTHK, 1, 2))
  return _heads_last(jnp.concatenate(blocks, axis=2))


def _heads_first(x_BTHK):
  """[B, H, T, K], on a CPU as an array in memory of its own, and so is its gradient."""
  return _apart(jnp.swapaxes(x_BTHK, 1, 2))


def _heads_last(x_BHTK):
  return jnp.swapaxes(_apart(x_BHTK), 1, 2)


def _apart(x):
  return jax.lax.platform_dependent(x, cpu=jax.lax.optimization_barrier, default=lambda x: x)


def _attend_block(q_BTHK, k_BSHK, v_BSHK, mask_BTS, window, dropout_rate, key):
  """Attention of queries to all keys that the mask allows; without one as in `weights`."""
  # Weights lie in [0, 1], so that the narrow dtype is enough for their product with the values.
  weights_BHTS = weights(q_BTHK, k_BSHK, mask_BTS, window).astype(q_BTHK.dtype)
  weights_BHTS = layers.dropout(weights_BHTS, dropout_rate, key)
  return jnp.einsum('BHTS,BSHK->BTHK', weights_BHTS, v_BSHK)


def _attend_splash(q_BTHK, k_BSHK, v_BSHK, *, window):
  from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as splash
  from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

  length, heads, head_dim = q_BTHK.shape[1:]
  if length % 128:
    raise UserError(f'attention="splash" requires a sequence that is a multiple of 128, got {length}')
  shape = (length, length)
  seen = masks.LocalMask(shape, (window - 1, 0), 0) if window else masks.CausalMask(shape)
  mask = masks.MultiHeadMask([seen] * heads)
  kernel = splash.make_splash_mha(mask, head_shards=1, q_seq_shards=1)
  # The kernel takes heads before positions, one row of the batch, and does not scale.
  q, k, v = (jnp.swapaxes(x, 1, 2) for x in (q_BTHK / math.sqrt(head_dim), k_BSHK, v_BSHK))
  return jnp.swapaxes(jax.vmap(kernel)(q, k, v), 1, 2)


def attend_cached(
  q_BTHK: jax.Array,
  keys_RGKS: jax.Array,
  values_RGSK: jax.Array,
  index_B: jax.Array,
  rows_B: jax.Array | None = None,
  window: int = 0,
) -> jax.Array:
  """Attention of new tokens to the slots of their own row: [B, T, H, K] in the dtype of q.

  Token t of a row stands in slot index_B + t, where `update_cache` has put it, and sees the slots up to that one (the
  last `window` of them, if that is not 0).

  On CPU rows are taken one by one, and of each only the blocks of slots that it fills, so that a short row beside a
  long one pays for itself alone. A row's numbers then follow from its own tokens: not from its neighbours, nor from
  how long the cache is. Other devices take all rows and slots at once.

  Args:
    rows_B: which row of the cache each row of q is, int32; None where they are all, in order.
  """
  chex.assert_equal(keys_RGKS.shape[0] if rows_B is None else rows_B.shape[0], q_BTHK.shape[0])
  operands = (q_BTHK, keys_RGKS, values_RGSK, index_B, rows_B)
  by_rows, all_slots = (functools.partial(each, window=window) for each in (_attend_by_rows, _attend_all_slots))
  return jax.lax.platform_dependent(*operands, cpu=by_rows, default=all_slots)


def _attend_by_rows(q_BTHK, keys_RGKS, values_RGSK, index_B, rows_B, *, window):
  """With a running maximum over blocks of slots (Milakov & Gimelshein 2018, arXiv:1805.02867).

  For a single query products are sums over an axis that is not the last one: one pass over the cache as it lies in
  memory, 10 times faster on CPU than the small matrix products that [B, S, H, K] arrays would ask for.
  """
  length, heads, head_dim = q_BTHK.shape[1:]
  groups = keys_RGKS.shape[1]
  block = min(CACHE_BLOCK, keys_RGKS.shape[3])
  single = length == 1
  # Q queries of a group: all tokens of its first head, then of its second.
  num_queries = heads // groups * length

  def attend_row(b, out_BTHK):
    q_THK = jax.lax.dynamic_index_in_dim(q_BTHK, b, keepdims=False)
    q_GQK = jnp.swapaxes(q_THK, 0, 1).reshape(groups, num_queries, head_dim)
    row = b if rows_B is None else rows_B[b]
    positions_Q1 = (index_B[b] + jnp.tile(jnp.arange(length), heads // groups))[:, None]

    def add_block(j, carry):
      largest_GQ1, total_GQ1, sum_GQK = carry
      sizes = (1, groups, head_dim, block)
      k_GKS = jax.lax.dynamic_slice(keys_RGKS, (row, 0, 0, j * block), sizes)[0]
      v_GSK = jax.lax.dynamic_slice(values_RGSK, (row, 0, j * block, 0), (1, groups, block, head_dim))[0]
      if single:
        scores_GQS = (q_GQK[..., None].astype(jnp.float32) * k_GKS[:, None]).sum(2)
      else:
        scores_GQS = jnp.einsum('GQK,GKS->GQS', q_GQK, k_GKS).astype(jnp.float32)
      visible_QS = _sees(j * block + jnp.arange(block), positions_Q1, window)
      scores_GQS = jnp.where(visible_QS, scores_GQS / math.sqrt(head_dim), -1e30)
      new_GQ1 = jnp.maximum(largest_GQ1, scores_GQS.max(-1, keepdims=True))
      weights_GQS = jnp.exp(scores_GQS - new_GQ1)
      if single:
        added_GQK = (weights_GQS[..., None] * v_GSK[:, None]).sum(2)
      else:
        added_GQK = jnp.einsum('GQS,GSK->GQK', weights_GQS.astype(v_GSK.dtype), v_GSK).astype(jnp.float32)
      # What a token sees nothing of in a block before its window counts for nothing once a key of it is met: the scale
      # is then exp(-1e30 - score) = 0.
      scale_GQ1 = jnp.exp(largest_GQ1 - new_GQ1)
      total_GQ1 = total_GQ1 * scale_GQ1 + weights_GQS.sum(-1, keepdims=True)
      return new_GQ1, total_GQ1, sum_GQK * scale_GQ1 + added_GQK

    first_block = jnp.maximum(index_B[b] + 1 - window, 0) // block if window else 0
    blocks = (index_B[b] + length - 1) // block + 1
    empty_GQ1 = jnp.zeros((groups, num_queries, 1))
    start = (empty_GQ1 - 1e30, empty_GQ1, jnp.zeros((groups, num_queries, head_dim)))
    _, total_GQ1, sum_GQK = jax.lax.fori_loop(first_block, blocks, add_block, start)
    y_THK = jnp.swapaxes((sum_GQK / total_GQ1).reshape(heads, length, head_dim), 0, 1).astype(out_BTHK.dtype)
    return jax.lax.dynamic_update_index_in_dim(out_BTHK, y_THK, b, 0)

  return jax.lax.fori_loop(0, q_BTHK.shape[0], attend_row, jnp.zeros_like(q_BTHK))


def _attend_all_slots(q_BTHK, keys_RGKS, values_RGSK, index_B, rows_B, *, window):
  batch, length, heads, head_dim = q_BTHK.shape
  groups = keys_RGKS.shape[1]
  keys_BGKS, values_BGSK = ((x if rows_B is None else x[rows_B]) for x in (keys_RGKS, values_RGSK))
  positions_BT = index_B[:, None] + jnp.arange(length)
  visible_BTS = _sees(jnp.arange(keys_RGKS.shape[3]), positions_BT[..., None], window)
  q_BTGQK = q_BTHK.reshape(batch, length, groups, heads // groups, head_dim)
  scores_BTGQS = jnp.einsum('BTGQK,BGKS->BTGQS', q_BTGQK, keys_BGKS).astype(jnp.float32) / math.sqrt(head_dim)
  weights_BTGQS = jax.nn.softmax(jnp.where(visible_BTS[:, :, None, None], scores_BTGQS, -1e30), axis=-1)
  y_BTGQK = jnp.einsum('BTGQS,BGSK->BTGQK', weights_BTGQS.astype(q_BTHK.dtype), values_BGSK)
  return y_BTGQK.reshape(q_BTHK.shape)


def _sees(slots, positions, window: int):
  """Whether a token at a position sees a slot."""
  return (slots <= positions) & (slots > positions - window) if window else slots <= positions


def update_cache(
  keys_RGKS: jax.Array,
  values_RGSK: jax.Array,
  k_BTGK: jax.Array,
  v_BTGK: jax.Array,
  index_B: jax.Array,
  rows_B: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
  """The cache with the keys and values of new tokens in each row from its own slot index_B on.

  Under jit with a donated cache it is a write in place, in some rows (`rows_B`, as in `attend_cached`) or in all.
  """
  k_BGKT = jnp.transpose(k_BTGK, (0, 2, 3, 1)).astype(keys_RGKS.dtype)
  v_BGTK = jnp.swapaxes(v_BTGK, 1, 2).astype(values_RGSK.dtype)
  if rows_B is not None:
    for b in range(rows_B.shape[0]):
      keys_RGKS = jax.lax.dynamic_update_slice(keys_RGKS, k_BGKT[b : b + 1], (rows_B[b], 0, 0, index_B[b]))
      values_RGSK = jax.lax.dynamic_update_slice(values_RGSK, v_BGTK[b : b + 1], (rows_B[b], 0, index_B[b], 0))
    return keys_RGKS, values_RGSK
  write = lambda axis: jax.vmap(lambda held, new, at: jax.lax.dynamic_update_slice_in_dim(held, new, at, axis))
  return write(2)(keys_RGKS, k_BGKT, index_B), write(1)(values_RGSK, v_BGTK, index_B)
