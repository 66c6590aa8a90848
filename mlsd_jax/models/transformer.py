"""The encoder-decoder of 'Attention Is All You Need' (Vaswani et al. 2017, arXiv:1706.03762) as pure functions.

As printed there: layer norm behind each residual sum (post-norm), sinusoidal positions, ReLU, one embedding for source,
target and output, scaled by sqrt(D) at the input. Token 0 is padding and is never attended to.

    config = TransformerConfig(vocab_size=29)
    params = init(jax.random.key(0), config)
    logits = apply(params, source, target, config)         # [B, S], [B, T] -> [B, T, vocab_size]

Names: B batch, S source tokens, T target tokens, D model width, H heads, K head dimension, V vocabulary.
"""

import math

import chex
import jax
import jax.numpy as jnp
from flax import nnx

from mlsd_jax.models import adapter, attention, layers
from mlsd_jax.models.transformer_config import TransformerConfig as TransformerConfig
from mlsd_jax.models.transformer_config import flops_per_row as flops_per_row

PAD = 0


def sinusoids(length: int, width: int) -> jax.Array:
  """Positions [length, width]: sin and cos of pos / 10000^(2i / width) in even and odd columns (section 3.5)."""
  # Wavelengths from 2 pi to 10000 * 2 pi: nearby positions differ in the fast columns, distant ones in the slow, and a
  # shift by k positions is a rotation that does not depend on where it starts.
  rates = jnp.exp(-math.log(10000.0) * jnp.arange(0, width, 2) / width)
  angles = jnp.arange(length)[:, None] * rates[None, :]
  return jnp.stack([jnp.sin(angles), jnp.cos(angles)], axis=-1).reshape(length, width)


def _make_linear(in_shape, out_shape, rngs: nnx.Rngs) -> layers.Linear:
  """Glorot's normal initialisation, fit for residual sums that are normalised."""
  size = lambda shape: math.prod(shape) if isinstance(shape, tuple) else shape
  stddev = math.sqrt(2.0 / (size(in_shape) + size(out_shape)))
  return layers.Linear(in_shape, out_shape, stddev=stddev, rngs=rngs)


class MultiHeadAttention(nnx.Module):
  def __init__(self, config: TransformerConfig, rngs: nnx.Rngs):
    heads = (config.num_heads, config.embed_dim // config.num_heads)
    self.query = _make_linear(config.embed_dim, heads, rngs)
    self.key = _make_linear(config.embed_dim, heads, rngs)
    self.value = _make_linear(config.embed_dim, heads, rngs)
    self.out = _make_linear(heads, config.embed_dim, rngs)

  def __call__(self, x_BTD, memory_BSD, mask_BTS):
    y_BTHK = attention.attend(self.query(x_BTD), self.key(memory_BSD), self.value(memory_BSD), mask_BTS=mask_BTS)
    return self.out(y_BTHK)

  def weights(self, x_BTD, memory_BSD, mask_BTS):
    """Attention weights [B, H, T, S]."""
    return attention.weights(self.query(x_BTD), self.key(memory_BSD), mask_BTS)


class FeedForward(nnx.Module):
  def __init__(self, config: TransformerConfig, rngs: nnx.Rngs):
    self.up = _make_linear(config.embed_dim, config.feedforward_dim, rngs)
    self.down = _make_linear(config.feedforward_dim, config.embed_dim, rngs)

  def __call__(self, x_BTD):
    return self.down(jax.nn.relu(self.up(x_BTD)))


class EncoderLayer(nnx.Module):
  def __init__(self, config: TransformerConfig, rngs: nnx.Rngs):
    self.attention = MultiHeadAttention(config, rngs)
    self.feedforward = FeedForward(config, rngs)
    self.norm_1, self.norm_2 = layers.LayerNorm(config.embed_dim), layers.LayerNorm(config.embed_dim)
    self.dropout = config.dropout

  def __call__(self, x_BSD, mask_BTS, key=None):
    keys = _split_key(key, 2)
    # Post-norm, as printed: the stream itself is normalised after each sum (models/gpt.py has the later pre-norm).
    x_BSD = self.norm_1(x_BSD + layers.dropout(self.attention(x_BSD, x_BSD, mask_BTS), self.dropout, keys[0]))
    return self.norm_2(x_BSD + layers.dropout(self.feedforward(x_BSD), self.dropout, keys[1]))


class DecoderLayer(nnx.Module):
  def __init__(self, config: TransformerConfig, rngs: nnx.Rngs):
    self.attention = MultiHeadAttention(config, rngs)
    self.cross_attention = MultiHeadAttention(config, rngs)
    self.feedforward = FeedForward(config, rngs)
    self.norm_1, self.norm_2 = layers.LayerNorm(config.embed_dim), layers.LayerNorm(config.embed_dim)
    self.norm_3 = layers.LayerNorm(config.embed_dim)
    self.dropout = config.dropout

  def __call__(self, x_BTD, memory_BSD, mask_BTT, mask_BTS, key=None):
    """The layer's output and the weights of its cross-attention (dead code, and so free, where nobody looks)."""
    keys = _split_key(key, 3)
    x_BTD = self.norm_1(x_BTD + layers.dropout(self.attention(x_BTD, x_BTD, mask_BTT), self.dropout, keys[0]))
    weights_BHTS = self.cross_attention.weights(x_BTD, memory_BSD, mask_BTS)
    # Queries from the target, keys and values from the source: the one place where the two meet.
    y_BTD = self.cross_attention(x_BTD, memory_BSD, mask_BTS)
    x_BTD = self.norm_2(x_BTD + layers.dropout(y_BTD, self.dropout, keys[1]))
    return self.norm_3(x_BTD + layers.dropout(self.feedforward(x_BTD), self.dropout, keys[2])), weights_BHTS


class Transformer(nnx.Module):
  def __init__(self, config: TransformerConfig, rngs: nnx.Rngs):
    shape = (config.vocab_size, config.embed_dim)
    self.embedding = nnx.Param(jax.random.normal(rngs.params(), shape) / math.sqrt(config.embed_dim))
    self.encoder = nnx.List([EncoderLayer(config, rngs) for _ in range(config.num_layers)])
    self.decoder = nnx.List([DecoderLayer(config, rngs) for _ in range(config.num_layers)])
    self.config = config

  def embed(self, tokens_BT, key=None):
    table_VD = self.embedding[...]
    width = self.config.embed_dim
    # A product with one-hot rows: the gradient of indexing is a scatter, which is many times slower on a CPU.
    x_BTD = jax.nn.one_hot(tokens_BT, table_VD.shape[0], dtype=table_VD.dtype) @ table_VD
    # The shared table has entries of 1 / sqrt(D), right for logits; at the input they must not drown in the positions.
    x_BTD = math.sqrt(width) * x_BTD + sinusoids(tokens_BT.shape[1], width).astype(x_BTD.dtype)[None]
    return layers.dropout(x_BTD, self.config.dropout, key)

  def encode(self, source_BS, key=None):
    keys = _split_key(key, self.config.num_layers + 1)
    # All of the source is known before the first word of the target, so its positions see each other both ways.
    mask_BTS = (source_BS != PAD)[:, None, :]
    x_BSD = self.embed(source_BS, keys[0])
    for layer, layer_key in zip(self.encoder, keys[1:], strict=True):
      x_BSD = layer(x_BSD, mask_BTS, layer_key)
    return x_BSD

  def decode(self, memory_BSD, source_BS, target_BT, key=None):
    keys = _split_key(key, self.config.num_layers + 1)
    length = target_BT.shape[1]
    mask_BTT = jnp.tril(jnp.ones((1, length, length), bool))  # padding stands at the end, where causality hides it
    mask_BTS = jnp.broadcast_to((source_BS != PAD)[:, None, :], (source_BS.shape[0], length, source_BS.shape[1]))
    x_BTD, maps = self.embed(target_BT, keys[0]), []
    for layer, layer_key in zip(self.decoder, keys[1:], strict=True):
      x_BTD, weights_BHTS = layer(x_BTD, memory_BSD, mask_BTT, mask_BTS, layer_key)
      maps.append(weights_BHTS)
    return jnp.einsum('BTD,VD->BTV', x_BTD, self.embedding[...]), maps


def _split_key(key: jax.Array | None, number: int):
  return [None] * number if key is None else jax.random.split(key, number)


def init(key: jax.Array, config: TransformerConfig) -> adapter.Params:
  """Fresh float32 parameters as a nested dict."""
  return adapter.init(Transformer, config, key)


def apply(
  params: adapter.Params, source_BS: jax.Array, target_BT: jax.Array, config: TransformerConfig, *, key=None
) -> jax.Array:
  """Logits [B, T, V] of what follows each target token. Dropout is on when a `key` is given."""
  chex.assert_rank([source_BS, target_BT], 2)
  chex.assert_type([source_BS, target_BT], int)
  encoder_key, decoder_key = _split_key(key, 2)
  module = adapter.bind(Transformer, config, params)
  return module.decode(module.encode(source_BS, encoder_key), source_BS, target_BT, decoder_key)[0]


def encode(params: adapter.Params, source_BS: jax.Array, config: TransformerConfig) -> jax.Array:
  """The encoder's output [B, S, D]."""
  return adapter.bind(Transformer, config, params).encode(source_BS)


def decode(
  params: adapter.Params, memory_BSD: jax.Array, source_BS: jax.Array, target_BT: jax.Array, config: TransformerConfig
) -> jax.Array:
  """Logits [B, T, V] from the encoder's output; `source_BS` says where that is padding."""
  return adapter.bind(Transformer, config, params).decode(memory_BSD, source_BS, target_BT)[0]


def cross_attention(
  params: adapter.Params, source_BS: jax.Array, target_BT: jax.Array, config: TransformerConfig
) -> jax.Array:
  """Weights [layers, B, H, T, S] with which the decoder looks at the source."""
  module = adapter.bind(Transformer, config, params)
  return jnp.stack(module.decode(module.encode(source_BS), source_BS, target_BT)[1])
