"""Models of short words, character by character, from a table to a Transformer (after Karpathy's makemore).

    config = NameConfig(kind='gru', vocab_size=27, length=16)
    params = init(jax.random.key(0), config)
    logits = apply(params, tokens, config)                 # int32 [B, T] -> [B, T, V], T at most config.length

Every one predicts from the tokens up to its place; before a word's first character stands token 0 as often as is
needed. Embeddings are looked up as products with one-hot rows: for so few characters the gradient, a product too, is
faster than the scatter of indexing.

Names: B words, T places, K context, V vocabulary, D embedding, H hidden units, G gates.
"""

import functools
import math
from typing import ClassVar

import chex
import jax
import jax.numpy as jnp
from flax import nnx

from mlsd_jax.models import adapter, gpt, layers
from mlsd_jax.models.name_config import NameConfig as NameConfig

type AxisName = tuple[str, ...]


class BatchNorm(nnx.Module):
  """Normalises each feature over the batch (Ioffe and Szegedy 2015, arXiv:1502.03167).

  In training by the statistics of the batch at hand, which stay in `mean` and `variance`; else by those. Where the
  batch is split over devices, by those of all of it: a device's own words are another, noisier sample.
  """

  def __init__(self, features: int, epsilon: float = 1e-5):
    self.scale, self.bias = nnx.Param(jnp.ones(features)), nnx.Param(jnp.zeros(features))
    self.mean, self.variance = nnx.Param(jnp.zeros(features)), nnx.Param(jnp.ones(features))
    self.epsilon = epsilon

  def __call__(self, x_BTH: jax.Array, weights_BT: jax.Array | None, axis_name: AxisName = ()) -> jax.Array:
    """`weights_BT` says which places count in training; without it the kept statistics are used."""
    if weights_BT is None:
      mean_H, variance_H = self.mean[...], self.variance[...]
    else:
      of_all = lambda x: jax.lax.psum(x, axis_name) if axis_name else x
      share_BT1 = (weights_BT / of_all(weights_BT.sum()))[..., None]
      mean_H = of_all((x_BTH * share_BT1).sum((0, 1)))
      variance_H = of_all((jnp.square(x_BTH - mean_H) * share_BT1).sum((0, 1)))
      # No gradient into what is kept: it is a record, not a weight.
      kept = jax.lax.stop_gradient((mean_H, variance_H))
      self.mean[...], self.variance[...] = (each.astype(self.scale[...].dtype) for each in kept)
    return (x_BTH - mean_H) * jax.lax.rsqrt(variance_H + self.epsilon) * self.scale[...] + self.bias[...]


class Bigram(nnx.Module):
  """A table of logits by the character before."""

  def __init__(self, config: NameConfig, rngs: nnx.Rngs):
    self.logits = nnx.Param(jnp.zeros((config.vocab_size, config.vocab_size)))

  def __call__(self, tokens_BT, weights_BT=None, key=None, axis_name=()):
    return _look_up(self.logits[...], tokens_BT)


class MLP(nnx.Module):
  """The last `context` characters, embedded, behind each other, through a hidden layer (Bengio et al. 2003)."""

  def __init__(self, config: NameConfig, rngs: nnx.Rngs):
    fan_in = config.context * config.embed_dim
    shape = (config.context, config.embed_dim, config.hidden_dim)
    self.embedding = _make_embedding(config, rngs)
    # tanh shrinks what passes through it; with this gain the next layer sees about unit variance again.
    gain = _TANH_GAIN if config.kaiming else 3**-0.5
    self.kernel = nnx.Param(gain / math.sqrt(fan_in) * jax.random.normal(rngs.params(), shape))
    self.bias = nnx.Param(jnp.zeros(config.hidden_dim))
    self.norm = BatchNorm(config.hidden_dim) if config.norm else None
    self.out = _make_output(config, rngs)
    self.config = config

  def __call__(self, tokens_BT, weights_BT=None, key=None, axis_name=()):
    x_BTH = self.hidden(tokens_BT)
    if self.norm is not None:
      x_BTH = self.norm(x_BTH, weights_BT, axis_name)
    return self.out(layers.dropout(jnp.tanh(x_BTH), self.config.dropout, key))

  def hidden(self, tokens_BT: jax.Array) -> jax.Array:
    """[B, T, H] before normalisation. What a character adds at each place of the context is a table of K V rows."""
    table_KVH = jnp.einsum('VD,KDH->KVH', self.embedding[...], self.kernel[...])
    length, vocab_size = tokens_BT.shape[1], self.config.vocab_size
    padded = jnp.pad(tokens_BT, ((0, 0), (self.config.context - 1, 0)))
    context_BTK = jnp.stack([padded[:, k : k + length] for k in range(self.config.context)], axis=-1)
    one_hot = jax.nn.one_hot(context_BTK, vocab_size, dtype=table_KVH.dtype)
    one_hot = one_hot.reshape(*tokens_BT.shape, self.config.context * vocab_size)
    return one_hot @ table_KVH.reshape(-1, table_KVH.shape[-1]) + self.bias[...]


class WaveNet(nnx.Module):
  """Causal convolutions of two taps, dilated 1, 2, 4, ... (van den Oord et al. 2016, arXiv:1609.03499)."""

  def __init__(self, config: NameConfig, rngs: nnx.Rngs):
    self.embedding = _make_embedding(config, rngs)
    widths = [config.embed_dim, *[config.hidden_dim] * config.context.bit_length()]
    self.convolutions = nnx.List(
      layers.Linear(2 * width, config.hidden_dim, use_bias=False, stddev=_TANH_GAIN / math.sqrt(2 * width), rngs=rngs)
      for width in widths[: config.context.bit_length() - 1]
    )
    self.norms = nnx.List(BatchNorm(config.hidden_dim) for _ in self.convolutions)
    self.out = _make_output(config, rngs)
    self.config = config

  def __call__(self, tokens_BT, weights_BT=None, key=None, axis_name=()):
    # Padded in front, never behind: a place must not see what follows it.
    before = self.config.context - 1
    x_BTH = _look_up(self.embedding[...], jnp.pad(tokens_BT, ((0, 0), (before, 0))))
    if weights_BT is not None:
      weights_BT = jnp.pad(weights_BT, ((0, 0), (before, 0)))
    for i, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
      # Each layer joins two neighbours of the one below, twice as far apart: log2(context) layers see all of it.
      dilation = 2**i
      x_BTH = convolution(jnp.concatenate([x_BTH[:, :-dilation], x_BTH[:, dilation:]], axis=-1))
      weights_BT = None if weights_BT is None else weights_BT[:, dilation:]
      x_BTH = jnp.tanh(norm(x_BTH, weights_BT, axis_name))
      x_BTH = layers.dropout(x_BTH, self.config.dropout, None if key is None else jax.random.fold_in(key, i))
    return self.out(x_BTH)


class Recurrent(nnx.Module):
  """A plain RNN, a GRU (Cho et al. 2014, arXiv:1406.1078) or an LSTM (Hochreiter and Schmidhuber 1997)."""

  GATES: ClassVar[dict[str, int]] = {'rnn': 1, 'gru': 3, 'lstm': 4}

  def __init__(self, config: NameConfig, rngs: nnx.Rngs):
    gates, hidden = self.GATES[config.kind], config.hidden_dim
    stddev = 1 / math.sqrt(3 * (config.embed_dim + hidden))
    self.embedding = _make_embedding(config, rngs)
    self.start = nnx.Param(jnp.zeros(hidden))
    self.from_input = layers.Linear(config.embed_dim, gates * hidden, stddev=stddev, rngs=rngs)
    self.from_state = layers.Linear(hidden, gates * hidden, use_bias=False, stddev=stddev, rngs=rngs)
    self.out = _make_output(config, rngs)
    self.config = config

  def __call__(self, tokens_BT, weights_BT=None, key=None, axis_name=()):
    table_VG = self.from_input(self.embedding[...])
    # The input's part of all gates does not depend on the state: one product for every place, outside of the scan.
    inputs_TBG = _look_up(table_VG, tokens_BT.T)
    state_BH = jnp.broadcast_to(self.start[...], (tokens_BT.shape[0], self.config.hidden_dim))
    carry = (state_BH, jnp.zeros_like(state_BH)) if self.config.kind == 'lstm' else state_BH
    step = functools.partial(_STEPS[self.config.kind], self.from_state.kernel[...])
    # A loop: unrolled it is as fast, and compiles up to 2.5 times as long.
    _, hidden_TBH = jax.lax.scan(step, carry, inputs_TBG)
    return self.out(layers.dropout(jnp.swapaxes(hidden_TBH, 0, 1), self.config.dropout, key))


def _rnn_step(kernel_HG, h_BH, x_BG):
  h_BH = jnp.tanh(x_BG + h_BH @ kernel_HG)
  return h_BH, h_BH


def _gru_step(kernel_HG, h_BH, x_BG):
  hidden = h_BH.shape[-1]
  gates = jax.nn.sigmoid(x_BG[:, : 2 * hidden] + h_BH @ kernel_HG[:, : 2 * hidden])
  reset_BH, update_BH = jnp.split(gates, 2, axis=-1)
  candidate_BH = jnp.tanh(x_BG[:, 2 * hidden :] + (reset_BH * h_BH) @ kernel_HG[:, 2 * hidden :])
  # A mean of old and new: where the gate is shut the state, and with it the gradient, passes unchanged.
  h_BH = (1 - update_BH) * h_BH + update_BH * candidate_BH
  return h_BH, h_BH


def _lstm_step(kernel_HG, carry, x_BG):
  h_BH, cell_BH = carry
  into, forget, output, candidate = jnp.split(x_BG + h_BH @ kernel_HG, 4, axis=-1)
  # Forgetting starts near 0.7 instead of 0.5, so that the gradient lasts from the start (Jozefowicz et al. 2015).
  cell_BH = jax.nn.sigmoid(forget + 1.0) * cell_BH + jax.nn.sigmoid(into) * jnp.tanh(candidate)
  h_BH = jax.nn.sigmoid(output) * jnp.tanh(cell_BH)
  return (h_BH, cell_BH), h_BH


_STEPS = {'rnn': _rnn_step, 'gru': _gru_step, 'lstm': _lstm_step}


class BagOfWords(nnx.Module):
  """The mean of the embeddings so far, added to the last, through a hidden layer."""

  def __init__(self, config: NameConfig, rngs: nnx.Rngs):
    width, hidden = config.embed_dim, config.hidden_dim
    self.embedding = _make_embedding(config, rngs)
    self.positions = nnx.Param(jax.random.normal(rngs.params(), (config.length, width)))
    self.up = layers.Linear(width, hidden, stddev=1 / math.sqrt(width), rngs=rngs)
    self.down = layers.Linear(hidden, width, stddev=1 / math.sqrt(hidden), rngs=rngs)
    self.out = layers.Linear(width, config.vocab_size, stddev=0.02, rngs=rngs)
    self.dropout = config.dropout

  def __call__(self, tokens_BT, weights_BT=None, key=None, axis_name=()):
    length = tokens_BT.shape[1]
    x_BTD = _look_up(self.embedding[...], tokens_BT) + self.positions[:length]
    # Attention with equal weights: the causal mask as a matrix of running means.
    mean_TT = jnp.tril(jnp.ones((length, length))) / jnp.arange(1, length + 1)[:, None]
    x_BTD = x_BTD + jnp.einsum('TS,BSD->BTD', mean_TT, x_BTD)
    return self.out(x_BTD + self.down(layers.dropout(jnp.tanh(self.up(x_BTD)), self.dropout, key)))


_TANH_GAIN = 5 / 3  # He et al. 2015 (arXiv:1502.01852), for tanh
KINDS = {
  'bigram': Bigram,
  'mlp': MLP,
  'wavenet': WaveNet,
  'rnn': Recurrent,
  'gru': Recurrent,
  'lstm': Recurrent,
  'bow': BagOfWords,
  'transformer': gpt.GPT,
}


def init(key: jax.Array, config: NameConfig) -> adapter.Params:
  """Fresh parameters."""
  if config.kind == 'transformer':
    return jax.tree_util.tree_map_with_path(_enlarge, gpt.init(key, _to_gpt_config(config)))
  return adapter.init(KINDS[config.kind], config, key)


def apply(
  params: adapter.Params,
  tokens_BT: jax.Array,
  config: NameConfig,
  *,
  weights_BT: jax.Array | None = None,
  key: jax.Array | None = None,
  axis_name: AxisName = (),
) -> jax.Array:
  """Logits [B, T, V] of the next character at each place.

  Args:
    tokens_BT: int32 [B, T], T at most config.length.
    weights_BT: [B, T] which places count for batch normalisation, in training; None takes the statistics in `params`.
    key: for dropout, in training.
    axis_name: mesh axes over which devices hold the other words of the batch (inside shard_map or pmap).
  """
  chex.assert_rank(tokens_BT, 2)
  chex.assert_type(tokens_BT, int)
  if config.kind == 'transformer':
    return gpt.apply(params, tokens_BT, _to_gpt_config(config), key=key)
  return adapter.bind(KINDS[config.kind], config, params)(tokens_BT, weights_BT, key, axis_name)


def calibrate(
  params: adapter.Params, tokens_BT: jax.Array, weights_BT: jax.Array, config: NameConfig
) -> adapter.Params:
  """`params` with the statistics of batch normalisation measured on these words."""
  if config.kind == 'transformer':
    return params
  module = adapter.bind(KINDS[config.kind], config, params)
  module(tokens_BT, weights_BT)
  return adapter.params_of(module)


def _enlarge(path, leaf):
  """GPT-2's initial weights suit a width of about 1,000; at a width of 64 these train faster."""
  name = path[-1].key
  return leaf * (15.0 if name.endswith('embedding') else 4.0 if name == 'kernel' else 1.0)


@functools.lru_cache(maxsize=64)
def _to_gpt_config(config: NameConfig) -> gpt.GPTConfig:
  return gpt.GPTConfig(
    vocab_size=config.vocab_size,
    context_length=config.length,
    num_layers=config.num_layers,
    num_heads=config.num_heads,
    embed_dim=config.embed_dim,
    dropout=config.dropout,
  )


def _make_embedding(config: NameConfig, rngs: nnx.Rngs) -> nnx.Param:
  return nnx.Param(jax.random.normal(rngs.params(), (config.vocab_size, config.embed_dim)))


def _make_output(config: NameConfig, rngs: nnx.Rngs) -> layers.Linear:
  """Small at first, so that training begins at the loss of a uniform guess."""
  return layers.Linear(config.hidden_dim, config.vocab_size, stddev=0.02, rngs=rngs)


def _look_up(table_VD: jax.Array, tokens: jax.Array) -> jax.Array:
  return jax.nn.one_hot(tokens, table_VD.shape[0], dtype=table_VD.dtype) @ table_VD
