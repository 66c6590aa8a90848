"""GPT-2 (Radford et al. 2019, 'Language Models are Unsupervised Multitask Learners') as pure functions.

The architecture is the paper's: a decoder-only Transformer with the layer norm before each sublayer and one after the
last, GELU in its tanh form, learned positions, an output head tied to the token embedding, and residual projections
initialised smaller by sqrt(2 layers).

    config = GPTConfig(**SIZES['gpt2'])
    params = init(jax.random.key(0), config)
    logits = apply(params, tokens, config)                 # [B, T] -> [B, T, vocab_size]

Names: B batch, T tokens, S cache slots, D model width, H heads, K head dimension, V (padded) vocabulary.
"""

import dataclasses
import functools
import math
from typing import Any

import chex
import jax
import jax.numpy as jnp
from flax import nnx

from mlsd_jax.models import adapter, attention, layers
from mlsd_jax.models.cross_entropy import linear_cross_entropy
from mlsd_jax.models.decoder_config import SIZES as SIZES
from mlsd_jax.models.decoder_config import GPTConfig
from mlsd_jax.models.mesh_axes import copy_to_devices, map_rows
from mlsd_jax.models.turned_kernels import table_logits

REMAT_POLICIES = {
  'full': jax.checkpoint_policies.nothing_saveable,
  'dots': jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Cache:
  """Keys and values of the tokens that each row has read, from slot 0 on; how many they are, the caller knows.

  A list of per-layer arrays, not one stacked array: each is then updated in place under jit, where a stacked one is
  copied every step. Slots stand last in the keys, heads before them, as attention.attend_cached reads them.
  """

  keys: list[jax.Array]  # num_layers x [R, H, K, S]
  values: list[jax.Array]  # num_layers x [R, H, S, K]

  @classmethod
  def empty(cls, layers: int, rows: int, heads: int, slots: int, head_dim: int, dtype: Any) -> 'Cache':
    """Raises ValueError for slots beyond attention.CACHE_BLOCK that are no multiple of it."""
    if slots > attention.CACHE_BLOCK and slots % attention.CACHE_BLOCK:
      raise ValueError(f'{slots} cache slots are more than {attention.CACHE_BLOCK} and no multiple of it')
    zeros = lambda *shape: [jnp.zeros((rows, heads, *shape), dtype) for _ in range(layers)]
    return cls(zeros(head_dim, slots), zeros(slots, head_dim))

  def cut(self, row: jax.Array, start: jax.Array, slots: int) -> 'Cache':
    """A copy of `slots` slots of one row, from `start` on."""

    def copy(held, axis):
      one_row = jax.lax.dynamic_slice_in_dim(held, row, 1)
      return jax.lax.dynamic_slice_in_dim(one_row, start, slots, axis)

    return Cache([copy(each, 3) for each in self.keys], [copy(each, 2) for each in self.values])

  def paste(self, block: 'Cache', row: jax.Array, start: jax.Array) -> 'Cache':
    """The cache with `block`, as `cut` made it, in a row from `start` on."""
    keys = [jax.lax.dynamic_update_slice(*pair, (row, 0, 0, start)) for pair in zip(self.keys, block.keys, strict=True)]
    pairs = zip(self.values, block.values, strict=True)
    return Cache(keys, [jax.lax.dynamic_update_slice(*pair, (row, 0, start, 0)) for pair in pairs])


class Attention(nnx.Module):
  def __init__(self, config: GPTConfig, rngs: nnx.Rngs):
    heads = (config.num_heads, config.head_dim)
    bias = config.use_bias
    # Queries, keys and values of all heads are one matrix product: three small ones would leave a device idle.
    self.qkv = layers.Linear(config.embed_dim, (3, *heads), use_bias=bias, rngs=rngs)
    self.out = layers.Linear(heads, config.embed_dim, use_bias=bias, stddev=_residual_stddev(config), rngs=rngs)
    self.config = config

  def __call__(self, x_BTD, key=None, past=None, mask_BTS=None):
    """`past` is (keys_RHKS, values_RHSK, index_B, rows_B); returns the output and the (updated) keys and values.

    With a past the new tokens attend to it and causally to themselves, else to themselves as the mask says.
    """
    q_BTHK, k_BSHK, v_BSHK = jnp.unstack(self.qkv(x_BTD), axis=2)
    if past is not None:
      keys_RHKS, values_RHSK, *where = past
      # Earlier tokens never see later ones, so their keys and values do not change: kept, a new token costs one row.
      past = attention.update_cache(keys_RHKS, values_RHSK, k_BSHK, v_BSHK, *where)
      return self.out(attention.attend_cached(q_BTHK, *past, *where)), past
    # Without a mask attention is causal. That is what lets one pass train on every position at once: each is a
    # prediction from the tokens before it alone, as in generation.
    y_BTHK = attention.attend(
      q_BTHK,
      k_BSHK,
      v_BSHK,
      implementation=self.config.attention,
      mask_BTS=mask_BTS,
      dropout_rate=self.config.dropout,
      key=key,
    )
    return self.out(y_BTHK), None


def _residual_stddev(config: GPTConfig) -> float:
  """2 num_layers branches add to the residual stream: scaled so, their sum keeps the variance of a single one."""
  return 0.02 / math.sqrt(2 * config.num_layers)


class MLP(nnx.Module):
  def __init__(self, config: GPTConfig, rngs: nnx.Rngs):
    width, bias = config.embed_dim, config.use_bias
    self.up = layers.Linear(width, 4 * width, use_bias=bias, rngs=rngs)
    self.down = layers.Linear(4 * width, width, use_bias=bias, stddev=_residual_stddev(config), rngs=rngs)

  def __call__(self, x_BTD):
    # GELU (Hendrycks & Gimpel 2016, arXiv:1606.08415) is ReLU with a smooth bend, so that no unit's gradient is cut to
    # zero. GPT-2 was trained with the tanh approximation; its weights give other numbers under the exact one.
    return self.down(jax.nn.gelu(self.up(x_BTD), approximate=True))


class Block(nnx.Module):
  def __init__(self, config: GPTConfig, rngs: nnx.Rngs):
    self.norm_1 = layers.LayerNorm(config.embed_dim, use_bias=config.use_bias)
    self.attention = Attention(config, rngs)
    self.norm_2 = layers.LayerNorm(config.embed_dim, use_bias=config.use_bias)
    self.mlp = MLP(config, rngs)
    self.dropout = config.dropout

  def __call__(self, x_BTD, key=None, past=None, mask_BTS=None):
    attention_key, residual_1_key, residual_2_key = (None,) * 3 if key is None else jax.random.split(key, 3)
    # Pre-norm: each sublayer reads a normalised copy and adds to the stream, which itself is never normalised. So the
    # gradient reaches every layer through plain sums; with the norm behind the sum (models/transformer.py) deep stacks
    # train only behind a careful warmup (Xiong et al. 2020, arXiv:2002.04745).
    y_BTD, past = self.attention(self.norm_1(x_BTD), attention_key, past, mask_BTS)
    x_BTD = x_BTD + layers.dropout(y_BTD, self.dropout, residual_1_key)
    y_BTD = self.mlp(self.norm_2(x_BTD))
    return x_BTD + layers.dropout(y_BTD, self.dropout, residual_2_key), past


class GPT(nnx.Module):
  def __init__(self, config: GPTConfig, rngs: nnx.Rngs):
    # The table is also the output head (tied: Press & Wolf 2017, arXiv:1608.05859): tokens that mean the same should be
    # alike both where they are read and where they are predicted, and the 124M would otherwise be 163M.
    shape = (config.padded_vocab_size, config.embed_dim)
    self.token_embedding = nnx.Param(0.02 * jax.random.normal(rngs.params(), shape))
    # Attention does not know order: without something added for each position, a text would be a bag of its tokens.
    shape = (config.context_length, config.embed_dim)
    self.position_embedding = nnx.Param(0.02 * jax.random.normal(rngs.params(), shape))
    if config.scan_layers:
      # vmap of the constructor: every parameter of a block gets a leading layer axis, and draws of its own.
      keys = jax.random.split(rngs.params(), config.num_layers)
      self.blocks: Any = nnx.vmap(lambda key: Block(config, nnx.Rngs(params=key)))(keys)
    else:
      self.blocks = nnx.List([Block(config, rngs) for _ in range(config.num_layers)])
    # The stream that pre-norm leaves unnormalised has grown with every block.
    self.final_norm = layers.LayerNorm(config.embed_dim, use_bias=config.use_bias)
    self.config = config

  def embed(self, tokens_BT, positions_BT, key=None, table=None):
    table = self.token_embedding[...] if table is None else table
    x_BTD = map_rows(lambda table_VD, tokens_BT: table_VD[tokens_BT], table, tokens_BT)
    return layers.dropout(x_BTD + self.position_embedding[...][positions_BT], self.config.dropout, key)

  def hidden(self, tokens_BT, key=None, documents_BT=None, table=None):
    """Final-norm hidden states [B, T, D] of a whole sequence, or of several documents in a row (attention.py).

    Args:
      table: the token embedding as copy_to_devices has it; None: as it is.
    """
    chex.assert_rank(tokens_BT, 2)
    chex.assert_type(tokens_BT, int)
    length, config = tokens_BT.shape[1], self.config
    if length > config.context_length:
      raise ValueError(f'a sequence of {length} tokens is longer than the {config.context_length} positions')
    keys = [None] * (config.num_layers + 1) if key is None else jax.random.split(key, config.num_layers + 1)
    packed = documents_BT is not None
    mask_BTS = attention.document_mask(documents_BT) if packed else None
    positions_BT = attention.document_positions(documents_BT) if packed else jnp.arange(length)
    x_BTD = self.embed(tokens_BT, positions_BT, keys[0], table)
    if config.scan_layers:
      graphdef, stacked = nnx.split(self.blocks)
      run = _make_block_runner(graphdef, config.remat)
      scanned_keys = None if key is None else keys[1:]
      x_BTD, _ = jax.lax.scan(lambda x, xs: (run(xs[0], x, xs[1], mask_BTS), None), x_BTD, (stacked, scanned_keys))
    else:
      for block, block_key in zip(self.blocks, keys[1:], strict=True):
        graphdef, state = nnx.split(block)
        x_BTD = _make_block_runner(graphdef, config.remat)(state, x_BTD, block_key, mask_BTS)
    return self.final_norm(x_BTD)

  def logits(self, hidden_BTD):
    """[B, T, D] -> [B, T, vocab_size]; padding rows of the embedding never come out."""
    # The logits are cut, not the table: a GPU would copy all of it for every token.
    return table_logits(hidden_BTD, self.token_embedding[...])[..., : self.config.vocab_size]

  def token_losses(self, tokens_BT, targets_BT, key=None, documents_BT=None):
    config = self.config
    # Read where tokens come in and where they are predicted: its gradient is the sum of both.
    table = copy_to_devices(self.token_embedding[...], len(tokens_BT))
    hidden_BTD = self.hidden(tokens_BT, key, documents_BT, table)
    chex.assert_equal_shape([tokens_BT, targets_BT])
    losses = lambda table_VD, hidden_BTD, targets_BT: linear_cross_entropy(
      hidden_BTD, table_VD, targets_BT, vocab_size=config.vocab_size, chunks=config.loss_chunks
    )
    return map_rows(losses, table, hidden_BTD, targets_BT)

  def extend(self, tokens_BT, cache: Cache, index_B, rows_B=None):
    """Final-norm hidden states [B, T, D] of tokens that follow what the cache holds, and the cache with them too."""
    chex.assert_rank([tokens_BT, index_B], [2, 1])
    positions_BT = index_B[:, None] + jnp.arange(tokens_BT.shape[1])
    # Padding behind a row's tokens may stand past the last position; nobody reads what becomes of it.
    x_BTD = self.embed(tokens_BT, jnp.minimum(positions_BT, self.config.context_length - 1))
    keys, values = [], []
    for block, past_k, past_v in zip(self.list_blocks(), cache.keys, cache.values, strict=True):
      x_BTD, past = block(x_BTD, past=(past_k, past_v, index_B, rows_B))
      keys.append(past[0])
      values.append(past[1])
    return self.final_norm(x_BTD), Cache(keys, values)

  def list_blocks(self):
    """The blocks one by one, stacked or not."""
    if not self.config.scan_layers:
      return list(self.blocks)
    graphdef, stacked = nnx.split(self.blocks)
    layer = lambda i: jax.tree.map(lambda leaf: leaf[i], stacked)
    return [nnx.merge(graphdef, layer(i)) for i in range(self.config.num_layers)]


def _make_block_runner(graphdef, remat: str):
  """(state, x, key, mask) -> x as a pure function, so that it can be scanned and rematerialised."""

  def run(state, x_BTD, key, mask_BTS):
    packed = {} if mask_BTS is None else {'mask_BTS': mask_BTS}  # which the blocks of partial_gpt.py do not know
    return nnx.merge(graphdef, state)(x_BTD, key, **packed)[0]

  return run if remat == 'none' else jax.checkpoint(run, policy=REMAT_POLICIES[remat])


def bind(params: adapter.Params, config: GPTConfig) -> GPT:
  """The module that holds `params`, for who looks inside."""
  return adapter.bind(GPT, config, params)


def init(key: jax.Array, config: GPTConfig) -> adapter.Params:
  """Fresh float32 parameters as a nested dict."""
  return adapter.init(GPT, config, key)


def apply(params: adapter.Params, tokens_BT: jax.Array, config: GPTConfig, *, key: jax.Array | None = None):
  """Logits [B, T, vocab_size] of each next token, in the dtype of `params`. Dropout is on when a `key` is given."""
  module = bind(params, config)
  return module.logits(module.hidden(tokens_BT, key))


def token_losses(
  params: adapter.Params, tokens_BT: jax.Array, targets_BT: jax.Array, config: GPTConfig, *, key=None, documents_BT=None
) -> jax.Array:
  """Cross-entropy [B, T] in nats of each target, float32, through chunked logits (config.loss_chunks).

  Args:
    documents_BT: the document of each token, where a row holds several: attention does not cross from one to another,
      and positions begin anew. Attention is then plain XLA's, whatever config.attention says.
  """
  return bind(params, config).token_losses(tokens_BT, targets_BT, key, documents_BT)


def init_cache(config: GPTConfig, rows: int, slots: int, dtype=jnp.float32) -> Cache:
  """An empty cache for `slots` tokens a row; above attention.CACHE_BLOCK they must be a multiple of it."""
  return Cache.empty(config.num_layers, rows, config.num_heads, slots, config.head_dim, dtype)


@functools.partial(jax.jit, static_argnames='config')
def apply_cached(
  params: adapter.Params,
  tokens_BT: jax.Array,
  config: GPTConfig,
  cache: Cache,
  index_B: jax.Array,
  *,
  rows_B: jax.Array | None = None,
) -> tuple[jax.Array, Cache]:
  """Final-norm hidden states [B, T, D] of `tokens_BT`, and the cache that now holds those tokens too.

  Args:
    index_B: int32, how many tokens the cache holds of each row already; the new ones are written behind them.
    rows_B: which row of the cache each row of the batch is; None where they are all, in order.
  """
  return bind(params, config).extend(tokens_BT, cache, index_B, rows_B)


def head(params: adapter.Params, hidden_BTD: jax.Array, config: GPTConfig) -> jax.Array:
  """Logits [B, T, vocab_size] of final-norm hidden states."""
  return bind(params, config).logits(hidden_BTD)


def num_params(params: adapter.Params, *, positions: bool = True) -> int:
  """Number of parameters; without the position table where GPT papers leave it out."""
  total = sum(leaf.size for leaf in jax.tree.leaves(params))
  return total if positions else total - params['position_embedding'].size


def flops_per_token(config: GPTConfig, length: int) -> float:
  """Forward and backward floating-point operations a training token (PaLM appendix B, arXiv:2204.02311).

  6 a weight that takes part in a matrix product (2 forward, 4 backward), of which a block has 4 D^2 in attention and
  8 D^2 in the MLP; and 12 layers T D for attention scores and their use.
  """
  blocks, width = config.num_layers, config.embed_dim
  weights = 12 * blocks * width**2 + config.vocab_size * width
  return 6.0 * weights + 12.0 * blocks * length * width
