"""Next-token cross-entropy straight from the last hidden states, without ever holding all logits."""

import functools

import chex
import jax
import jax.numpy as jnp

from mlsd_jax.models.mesh_axes import sum_before_split


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
  nll = lambda hidden_BTD, targets_BT: _compute_nll(hidden_BTD, targets_BT, table_VD, vocab_size, softcap)
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


def cap_logits(logits: jax.Array, softcap: float) -> jax.Array:
  """softcap tanh(logits / softcap): never beyond +-softcap (Gemma 2, arXiv:2408.00118, section 2); 0 leaves them."""
  return softcap * jnp.tanh(logits / softcap) if softcap else logits


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _compute_nll(hidden_BTD, targets_BT, table_VD, vocab_size, softcap):
  return _compute_nll_forward(hidden_BTD, targets_BT, table_VD, vocab_size, softcap)[0]


def _compute_nll_forward(hidden_BTD, targets_BT, table_VD, vocab_size, softcap):
  logits_BTV = cap_logits(jnp.einsum('BTD,VD->BTV', hidden_BTD, table_VD), softcap)
  # Logits are kept in the dtype of the product (half the memory in bfloat16), the sum over the vocabulary is float32.
  wide_BTV = _mask_padding(logits_BTV.astype(jnp.float32), vocab_size)
  normaliser_BT = jax.nn.logsumexp(wide_BTV, axis=-1)
  target_BT = jnp.take_along_axis(logits_BTV, targets_BT[..., None], axis=-1)[..., 0].astype(jnp.float32)
  return normaliser_BT - target_BT, (hidden_BTD, targets_BT, table_VD, logits_BTV, normaliser_BT)


def _compute_nll_backward(vocab_size, softcap, saved, g_BT):
  """Written out, as the chain rule would scatter the target's part into a second array as large as the logits."""
  hidden_BTD, targets_BT, table_VD, logits_BTV, normaliser_BT = saved
  # d nll / d logits = softmax(logits) - one-hot target, weighted by the incoming gradient.
  probabilities_BTV = jnp.exp(_mask_padding(logits_BTV.astype(jnp.float32), vocab_size) - normaliser_BT[..., None])
  is_target_BTV = jnp.arange(table_VD.shape[0]) == targets_BT[..., None]
  d_logits_BTV = (probabilities_BTV - is_target_BTV) * g_BT[..., None]
  if softcap:  # tanh' = 1 - tanh^2, of what was kept
    d_logits_BTV *= 1.0 - jnp.square(logits_BTV.astype(jnp.float32) / softcap)
  d_logits_BTV = d_logits_BTV.astype(logits_BTV.dtype)
  d_hidden_BTD = jnp.einsum('BTV,VD->BTD', d_logits_BTV, table_VD)
  return d_hidden_BTD, None, jnp.einsum('BTV,BTD->VD', d_logits_BTV, hidden_BTD)


_compute_nll.defvjp(_compute_nll_forward, _compute_nll_backward)


def _mask_padding(logits_BTV, vocab_size):
  """Logits of padding at -1e30."""
  if logits_BTV.shape[-1] == vocab_size:
    return logits_BTV
  return jnp.where(jnp.arange(logits_BTV.shape[-1]) < vocab_size, logits_BTV, -1e30)
