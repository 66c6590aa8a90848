"""Next-token cross-entropy straight from the last hidden states, without ever holding all logits."""

import functools
import math

import chex
import jax
import jax.numpy as jnp

from mlsd_jax.models.mesh_axes import find_split_axes, sum_before_split

LARGEST_BLOCK = 4608  # ids whose logits a CPU makes at a time: with 1,024 tokens they stay in its cache
SMALLEST_BLOCK = 1024  # below, products would be too small


def linear_cross_entropy(
  hidden_BTD: jax.Array,
  table_VD: jax.Array,
  targets_BT: jax.Array,
  *,
  vocab_size: int,
  chunks: int = 1,
  softcap: float = 0.0,
) -> jax.Array:
  """-log softmax(hidden table')[target] in nats, one number a token.

  Args:
    hidden_BTD: final hidden states.
    table_VD: output embedding; rows past `vocab_size` are padding and take no probability.
    targets_BT: integer targets below vocab_size.
    vocab_size: number of real tokens.
    chunks: the sequence is cut in this many parts whose logits are made, used and dropped one after the other, and
      made again in the backward pass: memory falls by that factor for one more matrix product. Must divide T.
    softcap: logits as `cap_logits` bounds them.

  Returns:
    [B, T] float32.
  """
  chex.assert_rank([hidden_BTD, table_VD, targets_BT], [3, 2, 2])
  chex.assert_equal_shape_prefix([hidden_BTD, targets_BT], 2)
  chex.assert_type(targets_BT, int)
  # Over several devices the compiler would exchange the gradient of each block for itself.
  block = find_block(table_VD.shape[0]) if math.prod(find_split_axes().values()) == 1 else 0
  nll = lambda hidden_BTD, targets_BT: _compute_nll(hidden_BTD, targets_BT, table_VD, vocab_size, softcap, block)
  if chunks == 1:
    return nll(hidden_BTD, targets_BT)
  batch, length = targets_BT.shape
  if length % chunks:
    raise ValueError(f'{chunks} chunks do not divide a sequence of {length}')
  hidden_CBTD = jnp.moveaxis(hidden_BTD.reshape(batch, chunks, length // chunks, -1), 1, 0)
  targets_CBT = jnp.moveaxis(targets_BT.reshape(batch, chunks, length // chunks), 1, 0)
  table_VD = sum_before_split(table_VD)
  # lax.map makes one chunk's logits at a time; without the checkpoint it would keep all of them for the backward pass.
  body = jax.checkpoint(nll)
  nll_CBT = jax.lax.map(lambda chunk: body(*chunk), (hidden_CBTD, targets_CBT))
  return jnp.moveaxis(nll_CBT, 0, 1).reshape(batch, length)


def find_block(rows: int) -> int:
  """The largest divisor of a table's rows that is a block of ids; 0 where none is, or the table is no larger itself."""
  if rows <= LARGEST_BLOCK:
    return 0
  return next((size for size in range(LARGEST_BLOCK, SMALLEST_BLOCK - 1, -1) if rows % size == 0), 0)


def cap_logits(logits: jax.Array, softcap: float) -> jax.Array:
  """softcap tanh(logits / softcap): never beyond +-softcap (Gemma 2, arXiv:2408.00118, section 2); 0 leaves them."""
  return softcap * jnp.tanh(logits / softcap) if softcap else logits


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def _compute_nll(hidden_BTD, targets_BT, table_VD, vocab_size, softcap, block):
  return _compute_nll_forward(hidden_BTD, targets_BT, table_VD, vocab_size, softcap, block)[0]


def _compute_nll_forward(hidden_BTD, targets_BT, table_VD, vocab_size, softcap, block):
  whole = functools.partial(_forward, vocab_size=vocab_size, softcap=softcap)
  by_blocks = functools.partial(_forward_by_blocks, vocab_size=vocab_size, softcap=softcap, block=block)
  inputs = hidden_BTD, targets_BT, table_VD
  on_cpu = by_blocks if block else whole
  nll_BT, logits_BTV, normaliser_BT = jax.lax.platform_dependent(*inputs, cpu=on_cpu, default=whole)
  return nll_BT, (*inputs, logits_BTV, normaliser_BT)


def _compute_nll_backward(vocab_size, softcap, block, saved, g_BT):
  whole = functools.partial(_backward, vocab_size=vocab_size, softcap=softcap)
  by_blocks = functools.partial(_backward_by_blocks, vocab_size=vocab_size, softcap=softcap, block=block)
  on_cpu = by_blocks if block else whole
  d_hidden_BTD, d_table_VD = jax.lax.platform_dependent(*saved, g_BT, cpu=on_cpu, default=whole)
  return d_hidden_BTD, None, d_table_VD


_compute_nll.defvjp(_compute_nll_forward, _compute_nll_backward)


def _forward(hidden_BTD, targets_BT, table_VD, *, vocab_size, softcap):
  logits_BTV = cap_logits(jnp.einsum('BTD,VD->BTV', hidden_BTD, table_VD), softcap)
  # Logits are kept in the dtype of the product (half the memory in bfloat16), the sum over the vocabulary is float32.
  wide_BTV = _mask_padding(logits_BTV.astype(jnp.float32), vocab_size)
  normaliser_BT = jax.nn.logsumexp(wide_BTV, axis=-1)
  target_BT = jnp.take_along_axis(logits_BTV, targets_BT[..., None], axis=-1)[..., 0].astype(jnp.float32)
  return normaliser_BT - target_BT, logits_BTV, normaliser_BT


def _backward(hidden_BTD, targets_BT, table_VD, logits_BTV, normaliser_BT, g_BT, *, vocab_size, softcap):
  """Written out, as the chain rule would scatter the target's part into a second array as large as the logits."""
  # d nll / d logits = softmax(logits) - one-hot target, weighted by the incoming gradient.
  probabilities_BTV = jnp.exp(_mask_padding(logits_BTV.astype(jnp.float32), vocab_size) - normaliser_BT[..., None])
  is_target_BTV = jnp.arange(table_VD.shape[0]) == targets_BT[..., None]
  d_logits_BTV = (probabilities_BTV - is_target_BTV) * g_BT[..., None]
  if softcap:  # tanh' = 1 - tanh^2, of what was kept
    d_logits_BTV *= 1.0 - jnp.square(logits_BTV.astype(jnp.float32) / softcap)
  d_logits_BTV = d_logits_BTV.astype(logits_BTV.dtype)
  return jnp.einsum('BTV,VD->BTD', d_logits_BTV, table_VD), jnp.einsum('BTV,BTD->VD', d_logits_BTV, hidden_BTD)


def _mask_padding(logits_BTV, vocab_size):
  """Logits of padding at -1e30."""
  if logits_BTV.shape[-1] == vocab_size:
    return logits_BTV
  return jnp.where(jnp.arange(logits_BTV.shape[-1]) < vocab_size, logits_BTV, -1e30)


def _forward_by_blocks(hidden_BTD, targets_BT, table_VD, *, vocab_size, softcap, block):
  """As `_forward`, K ids at a time.

  All logits of 1,024 tokens over 50,304 ids are 103 MB in bfloat16 and twice that wherever they are widened, more than
  a cache holds; a block of them is read where it was just written. Ids stand first, [C, K, N] with N = B T tokens, so
  that sums over them go along whole rows of memory, and the table's gradient is a product of arrays as they lie. The
  logits are handed on under the shape that `_forward` gives its own.
  """
  hidden_ND = hidden_BTD.reshape(-1, hidden_BTD.shape[-1])
  tokens = hidden_ND.shape[0]

  def add_block(carry, inputs):
    largest_N, total_N = carry
    first, table_KD = inputs
    logits_KN = cap_logits(jnp.einsum('KD,ND->KN', table_KD, hidden_ND), softcap)
    wide_KN = _mask_ids(logits_KN, first, vocab_size, table_VD.shape[0])
    new_N = jnp.maximum(largest_N, wide_KN.max(0))
    # The sum of exponentials with a running maximum (Milakov & Gimelshein 2018, arXiv:1805.02867).
    total_N = total_N * jnp.exp(largest_N - new_N) + jnp.exp(wide_KN - new_N).sum(0)
    return (new_N, total_N), logits_KN

  start = jnp.full(tokens, -1e30), jnp.zeros(tokens)
  (largest_N, total_N), logits_CKN = jax.lax.scan(add_block, start, _blocks(table_VD, block))
  normaliser_N = largest_N + jnp.log(total_N)
  target_N = logits_CKN.reshape(-1, tokens)[targets_BT.reshape(-1), jnp.arange(tokens)].astype(jnp.float32)
  shape = targets_BT.shape
  return (normaliser_N - target_N).reshape(shape), logits_CKN.reshape(*shape, -1), normaliser_N.reshape(shape)


def _backward_by_blocks(hidden_BTD, targets_BT, table_VD, logits, normaliser_BT, g_BT, *, vocab_size, softcap, block):
  hidden_ND = hidden_BTD.reshape(-1, hidden_BTD.shape[-1])
  normaliser_N, targets_N, g_N = normaliser_BT.reshape(-1), targets_BT.reshape(-1), g_BT.reshape(-1)

  def add_block(d_hidden_ND, inputs):
    (first, table_KD), logits_KN = inputs
    probabilities_KN = jnp.exp(_mask_ids(logits_KN, first, vocab_size, table_VD.shape[0]) - normaliser_N)
    is_target_KN = first + jnp.arange(block)[:, None] == targets_N
    d_logits_KN = (probabilities_KN - is_target_KN) * g_N
    if softcap:
      d_logits_KN *= 1.0 - jnp.square(logits_KN.astype(jnp.float32) / softcap)
    d_logits_KN = d_logits_KN.astype(logits_KN.dtype)
    # The barrier keeps the sum out of the product, which would narrow it to the product's dtype (training/step.py).
    added_ND = jax.lax.optimization_barrier(jnp.einsum('KN,KD->ND', d_logits_KN, table_KD))
    return d_hidden_ND + added_ND.astype(jnp.float32), jnp.einsum('KN,ND->KD', d_logits_KN, hidden_ND)

  inputs = _blocks(table_VD, block), logits.reshape(-1, block, hidden_ND.shape[0])
  d_hidden_ND, d_table_CKD = jax.lax.scan(add_block, jnp.zeros(hidden_ND.shape), inputs)
  return d_hidden_ND.astype(hidden_BTD.dtype).reshape(hidden_BTD.shape), d_table_CKD.reshape(table_VD.shape)


def _blocks(table_VD, block):
  """The first id of each block, and its rows [C, K, D]."""
  return jnp.arange(0, table_VD.shape[0], block), table_VD.reshape(-1, block, table_VD.shape[-1])


def _mask_ids(logits_KN, first, vocab_size, rows):
  """Logits of the ids from `first` on in float32, those of padding at -1e30."""
  wide_KN = logits_KN.astype(jnp.float32)
  if rows == vocab_size:
    return wide_KN
  return jnp.where((first + jnp.arange(wide_KN.shape[0]) < vocab_size)[:, None], wide_KN, -1e30)
