"""A causal transformer over the items that a user took, which predicts the next: SASRec, eSASRec and HSTU.

    sasrec, block plain   pre-norm attention and perceptron, learned positions (Kang & McAuley 2018, arXiv:1808.09781)
    sasrec, block ligr    both branches gated by the stream, a gated perceptron (Borisyuk et al. 2025,
                          arXiv:2502.03417): with sampled softmax eSASRec (Tikhonovich et al. 2025, arXiv:2508.06450)
    hstu                  attention without a softmax, biased by position and time (hstu.py)

An item has one vector, read in the history and compared at the end: hidden states times item vectors are logits.

    config = SequentialConfig(num_items=1000)
    params = init(key, config)
    hidden = apply(params, history, times, config)       # [B, T] -> [B, T, D]
    users = read_last(hidden, history)                   # [B, D]
    logits = users @ item_vectors(params, config).T      # [B, num_items]

Names: B users of a batch, T items of a history in time, D width. An item is a row of the item table, from 1 on; row 0
stands for what has no row of its own, and -1 in a history is no item at all: it may stand anywhere and changes nothing.
"""

import dataclasses
from typing import Literal

import chex
import jax
import jax.numpy as jnp
from flax import nnx

from mlsd_jax.models import adapter, gpt, hstu, layers
from mlsd_jax.schema import Dropout, Positive


@dataclasses.dataclass(frozen=True)
class SequentialConfig:
  """Shape of the model."""

  num_items: Positive  # rows of the item table, row 0 not counted
  kind: Literal['sasrec', 'hstu'] = 'sasrec'
  block: Literal['plain', 'ligr'] = 'ligr'  # of sasrec; hstu has its own
  sequence_length: Positive = 64  # the latest items that are seen
  embed_dim: Positive = 64
  num_layers: Positive = 2
  num_heads: Positive = 2
  dropout: Dropout = 0.2  # on embeddings, attention weights and branches
  rows_multiple: Positive = (
    1  # the table is filled up to a multiple of so many rows, so that as many devices can split it
  )

  def __post_init__(self):
    if self.embed_dim % self.num_heads:
      raise ValueError(f'embed_dim {self.embed_dim} must be divisible by num_heads {self.num_heads}')


class GatedMLP(nnx.Module):
  """SwiGLU (Shazeer 2020, arXiv:2002.05202): one half of the hidden units switches the other."""

  def __init__(self, width: int, rngs: nnx.Rngs):
    self.up = layers.Linear(width, (2, 4 * width), use_bias=False, rngs=rngs)
    self.down = layers.Linear(4 * width, width, use_bias=False, rngs=rngs)

  def __call__(self, x):
    gate, value = jnp.unstack(self.up(x), axis=-2)
    return self.down(jax.nn.silu(gate) * value)


class LiGRBlock(nnx.Module):
  """x + sigmoid(x W) * branch(norm(x)), for attention and for the perceptron."""

  def __init__(self, shape: gpt.GPTConfig, rngs: nnx.Rngs):
    width = shape.embed_dim
    self.norm_1, self.norm_2 = layers.LayerNorm(width), layers.LayerNorm(width)
    self.attention = gpt.Attention(shape, rngs)
    self.mlp = GatedMLP(width, rngs)
    self.gate_1, self.gate_2 = (layers.Linear(width, width, rngs=rngs) for _ in range(2))
    self.dropout = shape.dropout

  def __call__(self, x_BTD, key=None, mask_BTS=None):
    attention_key, key_1, key_2 = (None,) * 3 if key is None else jax.random.split(key, 3)
    y_BTD, _ = self.attention(self.norm_1(x_BTD), attention_key, None, mask_BTS)
    # The gate reads the stream, not the branch: what an item is decides how much its context may change it.
    x_BTD = x_BTD + jax.nn.sigmoid(self.gate_1(x_BTD)) * layers.dropout(y_BTD, self.dropout, key_1)
    y_BTD = self.mlp(self.norm_2(x_BTD))
    return x_BTD + jax.nn.sigmoid(self.gate_2(x_BTD)) * layers.dropout(y_BTD, self.dropout, key_2)


class Sequential(nnx.Module):
  def __init__(self, config: SequentialConfig, rngs: nnx.Rngs):
    width, length = config.embed_dim, config.sequence_length
    rows = -(-(config.num_items + 1) // config.rows_multiple) * config.rows_multiple
    self.item_table = nnx.Param(0.02 * jax.random.normal(rngs.params(), (rows, width)))
    shape = gpt.GPTConfig(
      vocab_size=1, num_layers=config.num_layers, num_heads=config.num_heads, embed_dim=width, dropout=config.dropout
    )
    makers = {
      'plain': lambda: gpt.Block(shape, rngs),
      'ligr': lambda: LiGRBlock(shape, rngs),
      'hstu': lambda: hstu.HSTU(width, config.num_heads, length, config.dropout, rngs),
    }
    make = makers['hstu' if config.kind == 'hstu' else config.block]
    self.blocks = nnx.List([make() for _ in range(config.num_layers)])
    if config.kind == 'sasrec':  # HSTU's biases say how far apart items stand
      self.position = nnx.Param(0.02 * jax.random.normal(rngs.params(), (length, width)))
    self.norm = layers.LayerNorm(width)
    self.config = config

  def __call__(self, x_BTD, known_BT, times_BT, key=None):
    config = self.config
    length = x_BTD.shape[1]
    keys = [None] * (config.num_layers + 1) if key is None else jax.random.split(key, config.num_layers + 1)
    # Counted from the first item that is there, so that padding on either side moves nothing.
    places_BT = jnp.clip(jnp.cumsum(known_BT, axis=1) - 1, 0, config.sequence_length - 1)
    mask_BTS = jnp.tril(jnp.ones((length, length), bool))[None] & known_BT[:, None]
    if config.kind == 'sasrec':
      x_BTD = x_BTD + self.position[...][places_BT]
    x_BTD = layers.dropout(x_BTD, config.dropout, keys[0])
    buckets_BTS = hstu.bucket_times(times_BT) if config.kind == 'hstu' else None
    for block, block_key in zip(self.blocks, keys[1:], strict=True):
      if isinstance(block, hstu.HSTU):
        x_BTD = block(x_BTD, mask_BTS, places_BT, buckets_BTS, block_key)
      elif isinstance(block, LiGRBlock):
        x_BTD = block(x_BTD, block_key, mask_BTS)
      else:
        x_BTD, _ = block(x_BTD, block_key, None, mask_BTS)
    return self.norm(x_BTD) * known_BT[..., None]


def init(key: jax.Array, config: SequentialConfig) -> adapter.Params:
  """Fresh parameters; the table is item_table."""
  return adapter.init(Sequential, config, key)


def apply(
  params: adapter.Params, history_BT: jax.Array, times_BT: jax.Array, config: SequentialConfig, *, key=None
) -> jax.Array:
  """Hidden states [B, T, D], each of its own item and those before; 0 where there is no item.

  Args:
    history_BT: rows of the item table in time, -1 where there is none.
    times_BT: whole seconds of each since some moment, int32; only HSTU reads them.
    key: for dropout; none without it.
  """
  return apply_to_rows(params, params['item_table'][rows_of(history_BT, config)], history_BT, times_BT, config, key=key)


def apply_to_rows(
  params: adapter.Params,
  rows_BTD: jax.Array,
  history_BT: jax.Array,
  times_BT: jax.Array,
  config: SequentialConfig,
  *,
  key=None,
) -> jax.Array:
  """The same of rows that were looked up; what lies at 'item_table' is not read, and may have any number of rows."""
  chex.assert_equal_shape([history_BT, times_BT])
  chex.assert_equal_shape_prefix([rows_BTD, history_BT], 2)
  chex.assert_type([history_BT, times_BT], int)
  if history_BT.shape[1] > config.sequence_length:
    raise ValueError(
      f'a history of {history_BT.shape[1]} items is longer than sequence_length {config.sequence_length}'
    )
  return adapter.bind(Sequential, config, params)(rows_BTD, history_BT >= 0, times_BT, key)


def read_last(hidden_BTD: jax.Array, history_BT: jax.Array) -> jax.Array:
  """[B, D]: the state of the last item that is there; 0 of a history without any."""
  length = history_BT.shape[1]
  last_B = length - 1 - jnp.argmax(history_BT[:, ::-1] >= 0, axis=1)
  return jnp.take_along_axis(hidden_BTD, last_B[:, None, None], axis=1)[:, 0]


def rows_of(items: jax.Array, config: SequentialConfig) -> jax.Array:
  """Rows of the item table; 0 for what is none or lies past the table."""
  return jnp.where((items >= 0) & (items <= config.num_items), items, 0)


def item_vectors(params: adapter.Params, config: SequentialConfig) -> jax.Array:
  """[num_items, D], of rows 1 to num_items."""
  return params['item_table'][1 : config.num_items + 1]
