"""Next-token cross-entropy straight from the last hidden states, without ever holding all logits."""

import functools

import jax
import jax.numpy as jnp


def linear_cross_entropy(
  hidden_BTD: jax.Array, table_VD: jax.Array, targets_BT: jax.Array, *, vocab_size: int, chunks: int = 1
) -> jax.Array:
  """-log softmax(hidden table')[target] in nats, one number a token.

  Args:
    hidden_BTD: final hidden states.
    table_VD: output embedding; rows past `vocab_size` are padding and take no probability.
    targets_BT: integer targets below vocab_size.
    vocab_size: number of real tokens.
    chunks: the sequence is cut in this many parts whose logits are made, used and dropped one after the other, and
      made again in the backward pass: memory falls by that factor for one more matrix product. Must divide T.

  Returns:
    [B, T] float32.
  """
  nll = functools.partial(_nll, table_VD=table_VD, vocab_size=vocab_size)
  if chunks == 1:
    return nll(hidden_BTD, targets_BT)
  batch, length = targets_BT.shape
  if length % chunks:
    raise ValueError(f'{chunks} chunks do not divide a sequence of {length}')
  hidden_CBTD = jnp.moveaxis(hidden_BTD.reshape(batch, chunks, length // chunks, -1), 1, 0)
  targets_CBT = jnp.moveaxis(targets_BT.reshape(batch, chunks, length // chunks), 1, 0)
  body = jax.checkpoint(nll)
  nll_CBT = jax.lax.map(lambda chunk: body(*chunk), (hidden_CBTD, targets_CBT))
  return jnp.moveaxis(nll_CBT, 0, 1).reshape(batch, length)


def _nll(hidden_BTD, targets_BT, *, table_VD, vocab_size):
  logits_BTV = jnp.einsum('BTD,VD->BTV', hidden_BTD, table_VD).astype(jnp.float32)
  if table_VD.shape[0] > vocab_size:
    logits_BTV = jnp.where(jnp.arange(table_VD.shape[0]) < vocab_size, logits_BTV, -1e30)
  target_logit = jnp.take_along_axis(logits_BTV, targets_BT[..., None], axis=-1)[..., 0]
  return jax.nn.logsumexp(logits_BTV, axis=-1) - target_logit
