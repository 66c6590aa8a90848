"""The bigram model: one table whose row t holds the logits of what follows token t.

Trained by gradient it tends to the smoothed counts of adjacent pairs, so its loss is what a model that sees one token
can reach. Names: B batch, T tokens, V vocabulary.
"""

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from mlsd_jax.models import adapter
from mlsd_jax.models.decoder_config import BigramConfig as BigramConfig


class Bigram(nnx.Module):
  def __init__(self, config: BigramConfig, rngs: nnx.Rngs):
    self.table = nnx.Param(0.02 * jax.random.normal(rngs.params(), (config.vocab_size, config.vocab_size)))

  def __call__(self, tokens_BT):
    # A product with one-hot rows: the gradient of indexing is a scatter, which is many times slower on a CPU.
    table_VV = self.table[...]
    return jax.nn.one_hot(tokens_BT, table_VV.shape[0], dtype=table_VV.dtype) @ table_VV


def init(key: jax.Array, config: BigramConfig) -> adapter.Params:
  """{'table': float32 [V, V]}, so near to zero that the first guess is nearly uniform."""
  return adapter.init(Bigram, config, key)


def apply(params: adapter.Params, tokens_BT: jax.Array, config: BigramConfig) -> jax.Array:
  """Logits [B, T, V] of each next token."""
  return adapter.bind(Bigram, config, params)(tokens_BT)


def token_losses(
  params: adapter.Params, tokens_BT: jax.Array, targets_BT: jax.Array, config: BigramConfig
) -> jax.Array:
  """Cross-entropy [B, T] in nats of each target, float32."""
  logits_BTV = apply(params, tokens_BT, config).astype(jnp.float32)
  return optax.softmax_cross_entropy_with_integer_labels(logits_BTV, targets_BT)
