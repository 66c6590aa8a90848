"""The backward pass of the MLP with batch normalisation, written out by hand.

What jax.grad does for `name_models.MLP`, line by line, as one learns it; a test holds both equal. One example is one
place of a word: `contexts` are the characters up to it, `targets` the next.

Names: N examples, K context, V vocabulary, D embedding, H hidden units.
"""

from typing import Any

import jax
import jax.numpy as jnp

from mlsd_jax.models.adapter import Params


def loss_and_gradient(
  params: Params, contexts_NK: jax.Array, targets_N: jax.Array, epsilon: float = 1e-5
) -> tuple[jax.Array, Any]:
  """Mean cross-entropy in nats, and its gradient by `params` of an MLP with norm=True, in training.

  Args:
    contexts_NK: int32, the oldest character first.
    targets_N: int32.
  """
  # Forward, every step kept.
  number = len(targets_N)
  embedded_NKD = params['embedding'][contexts_NK]
  before_NH = jnp.einsum('NKD,KDH->NH', embedded_NKD, params['kernel']) + params['bias']
  centred_NH = before_NH - before_NH.mean(0)
  variance_H = jnp.square(centred_NH).mean(0)
  inverse_H = jax.lax.rsqrt(variance_H + epsilon)
  normed_NH = centred_NH * inverse_H
  h_NH = jnp.tanh(normed_NH * params['norm']['scale'] + params['norm']['bias'])
  logits_NV = h_NH @ params['out']['kernel'] + params['out']['bias']
  probs_NV = jax.nn.softmax(logits_NV)
  loss = -jnp.log(probs_NV[jnp.arange(number), targets_N]).mean()

  # Cross-entropy and softmax at once: probabilities less the one-hot target, over the mean.
  d_logits_NV = probs_NV.at[jnp.arange(number), targets_N].add(-1.0) / number
  # The output layer: x W + b.
  d_out = {'kernel': h_NH.T @ d_logits_NV, 'bias': d_logits_NV.sum(0)}
  d_h_NH = d_logits_NV @ params['out']['kernel'].T
  # tanh: 1 - tanh^2.
  d_scaled_NH = d_h_NH * (1.0 - jnp.square(h_NH))
  d_scale_H, d_shift_H = (d_scaled_NH * normed_NH).sum(0), d_scaled_NH.sum(0)
  # Batch normalisation: every example moves the mean and the variance of all.
  d_normed_NH = d_scaled_NH * params['norm']['scale']
  d_before_NH = inverse_H * (d_normed_NH - d_normed_NH.mean(0) - normed_NH * (d_normed_NH * normed_NH).mean(0))
  # The hidden layer, and the embedding's rows gathered back.
  d_kernel_KDH = jnp.einsum('NKD,NH->KDH', embedded_NKD, d_before_NH)
  d_embedded_NKD = jnp.einsum('NH,KDH->NKD', d_before_NH, params['kernel'])
  d_embedding_VD = jnp.zeros_like(params['embedding']).at[contexts_NK].add(d_embedded_NKD)
  d_norm = {
    'scale': d_scale_H,
    'bias': d_shift_H,
    'mean': jnp.zeros_like(d_scale_H),
    'variance': jnp.zeros_like(d_scale_H),
  }
  return loss, {
    'embedding': d_embedding_VD,
    'kernel': d_kernel_KDH,
    'bias': d_before_NH.sum(0),
    'norm': d_norm,
    'out': d_out,
  }
