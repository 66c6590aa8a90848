"""GPTs whose blocks lack attention or the MLP: rungs on the way to a whole one, of the layers of models/gpt.py.

What each half of a block is for shows when it is missing. Without attention no token learns of another, and the model
is a bigram table with positions; without the MLP it can only average what it has seen.

    config = PartialGPTConfig(vocab_size=65, num_layers=1, num_heads=1, embed_dim=32, sublayers='mlp')
    params = init(jax.random.key(0), config)
    logits = apply(params, tokens, config)

Everything else (embeddings, cache, chunked loss, options) is the whole GPT's; names as there.
"""

import dataclasses
import functools

import jax
from flax import nnx

from mlsd_jax.models import adapter, gpt, layers
from mlsd_jax.models.decoder_config import SUBLAYERS as SUBLAYERS
from mlsd_jax.models.decoder_config import PartialGPTConfig as PartialGPTConfig


class AttentionBlock(nnx.Module):
  def __init__(self, config: PartialGPTConfig, rngs: nnx.Rngs):
    self.norm_1 = layers.LayerNorm(config.embed_dim, use_bias=config.use_bias)
    self.attention = gpt.Attention(config, rngs)
    self.dropout = config.dropout

  def __call__(self, x_BTD, key=None, past=None):
    attention_key, residual_key, _ = (None,) * 3 if key is None else jax.random.split(key, 3)
    y_BTD, past = self.attention(self.norm_1(x_BTD), attention_key, past)
    return x_BTD + layers.dropout(y_BTD, self.dropout, residual_key), past


class MLPBlock(nnx.Module):
  def __init__(self, config: PartialGPTConfig, rngs: nnx.Rngs):
    self.norm_2 = layers.LayerNorm(config.embed_dim, use_bias=config.use_bias)
    self.mlp = gpt.MLP(config, rngs)
    self.dropout = config.dropout

  def __call__(self, x_BTD, key=None, past=None):
    residual_key = None if key is None else jax.random.split(key, 3)[2]
    # No token looks at another: what the cache holds passes through, unread.
    past = None if past is None else past[:2]
    return x_BTD + layers.dropout(self.mlp(self.norm_2(x_BTD)), self.dropout, residual_key), past


class PartialGPT(gpt.GPT):
  def __init__(self, config: PartialGPTConfig, rngs: nnx.Rngs):
    super().__init__(dataclasses.replace(config, num_layers=0), rngs)
    block = AttentionBlock if config.sublayers == 'attention' else MLPBlock
    self.blocks = nnx.List([block(config, rngs) for _ in range(config.num_layers)])
    self.config = config


init_cache, num_params = gpt.init_cache, gpt.num_params


def bind(params: adapter.Params, config: PartialGPTConfig) -> PartialGPT:
  """The module that holds `params`."""
  return adapter.bind(PartialGPT, config, params)


def init(key: jax.Array, config: PartialGPTConfig) -> adapter.Params:
  """Fresh float32 parameters as a nested dict."""
  return adapter.init(PartialGPT, config, key)


def apply(params: adapter.Params, tokens_BT: jax.Array, config: PartialGPTConfig, *, key: jax.Array | None = None):
  """As gpt.apply."""
  module = bind(params, config)
  return module.logits(module.hidden(tokens_BT, key))


def token_losses(
  params: adapter.Params, tokens_BT: jax.Array, targets_BT: jax.Array, config: PartialGPTConfig, *, key=None
) -> jax.Array:
  """As gpt.token_losses."""
  return bind(params, config).token_losses(tokens_BT, targets_BT, key)


@functools.partial(jax.jit, static_argnames='config')
def apply_cached(
  params: adapter.Params,
  tokens_BT: jax.Array,
  config: PartialGPTConfig,
  cache: gpt.Cache,
  index_B: jax.Array,
  *,
  rows_B: jax.Array | None = None,
) -> tuple[jax.Array, gpt.Cache]:
  """As gpt.apply_cached."""
  return bind(params, config).extend(tokens_BT, cache, index_B, rows_B)


def head(params: adapter.Params, hidden_BTD: jax.Array, config: PartialGPTConfig) -> jax.Array:
  """As gpt.head."""
  return bind(params, config).logits(hidden_BTD)


def flops_per_token(config: PartialGPTConfig, length: int) -> float:
  """As gpt.flops_per_token, less what the absent sublayer would do."""
  blocks, width = config.num_layers, config.embed_dim
  absent = 8 * width**2 if config.sublayers == 'attention' else 4 * width**2 + 2 * length * width
  return gpt.flops_per_token(config, length) - 6.0 * blocks * absent
