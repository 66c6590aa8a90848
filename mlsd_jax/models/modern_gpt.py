"""The decoder of today, from Llama to the speedruns of GPT-2, as pure functions.

What the field changed in GPT-2 (models/gpt.py, which keeps to its paper), each an option: RMSNorm for layer norm,
rotary for learned positions, fewer heads of keys and values than of queries, SwiGLU or squared ReLU for GELU, norms on
queries and keys, a head of its own, capped logits, windows of attention, and values that remember the first layer or
the token itself. The defaults are Llama's; Qwen 2.5 and 3 and SmolLM2 are options too, and so are the speedrun's.

    config = ModernGPTConfig(vocab_size=1024, context_length=128, num_layers=4, num_heads=4, embed_dim=128)
    params = init(jax.random.key(0), config)
    logits = apply(params, tokens, config)                 # [B, T] -> [B, T, vocab_size]

Names: B batch, T tokens, D model width, H heads of queries, G heads of keys and values, K head dimension, F inner width
of the MLP, V (padded) vocabulary.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import chex
import jax
import jax.numpy as jnp
from flax import nnx

from mlsd_jax.models import adapter, attention, layers, rotary
from mlsd_jax.models.cross_entropy import cap_logits, linear_cross_entropy
from mlsd_jax.models.decoder_config import ModernGPTConfig
from mlsd_jax.models.gpt import REMAT_POLICIES, Cache
from mlsd_jax.models.mesh_axes import copy_to_devices, map_rows
from mlsd_jax.models.turned_kernels import table_logits


class RMSNorm(nnx.Module):
  """x / sqrt(mean(x^2)), times a learned factor (Zhang & Sennrich 2019, arXiv:1910.07467); statistics in float32.

  Of what a layer norm does, rescaling is what training needs; without the mean there is one pass over x less.
  """

  def __init__(self, features: int, config: ModernGPTConfig):
    self.scale = nnx.Param(jnp.ones(features)) if config.norm_scale else None
    self.epsilon = config.norm_epsilon

  def __call__(self, x):
    wide = x.astype(jnp.float32)
    y = (wide * jax.lax.rsqrt(jnp.square(wide).mean(-1, keepdims=True) + self.epsilon)).astype(x.dtype)
    return y if self.scale is None else y * self.scale[...]


class ValueMix(nnx.Module):
  """Values as a learned sum of their sources: the layer's own, the first layer's, an embedding of the token.

  A deep layer's values have forgotten which token they came from; the first layer's (Zhou et al. 2024,
  arXiv:2410.17897) and a table's (modded-nanogpt) bring it back at no matrix product.
  """

  def __init__(self, start: Sequence[float]):
    self.scale = nnx.Param(jnp.asarray(start))

  def __call__(self, *sources):
    return sum(factor * source for factor, source in zip(jnp.unstack(self.scale[...]), sources, strict=True))


class Attention(nnx.Module):
  def __init__(self, config: ModernGPTConfig, window: int, has_embedding: bool, rngs: nnx.Rngs):
    width, head_dim, stddev = config.embed_dim, config.width_of_head, config.init_stddev
    project = lambda heads: layers.Linear(width, (heads, head_dim), use_bias=config.qkv_bias, stddev=stddev, rngs=rngs)
    self.query, self.key, self.value = project(config.num_heads), project(config.kv_heads), project(config.kv_heads)
    self.out = layers.Linear(
      (config.num_heads, head_dim), width, use_bias=False, stddev=_output_stddev(config), rngs=rngs
    )
    self.query_norm = RMSNorm(head_dim, config) if config.qk_norm else None
    self.key_norm = RMSNorm(head_dim, config) if config.qk_norm else None
    start = [0.5, 0.5] if config.value_residual else [1.0]
    if has_embedding:
      start.append(0.0)
    self.mix = ValueMix(start) if len(start) > 1 else None
    self.window, self.config = window, config

  def __call__(self, x_BTD, positions, past=None, first_BTGK=None, embedded_BTGK=None, documents_BT=None):
    """`past` is (keys, values, index_B, rows_B) of a cache; returns the output, the (updated) past, and the values.

    `first_BTGK` are the values of the first layer, and of the first layer itself its own.
    """
    q_BTHK, k_BTGK, v_BTGK = self.query(x_BTD), self.key(x_BTD), self.value(x_BTD)
    own_BTGK = v_BTGK
    if self.mix is not None:
      sources = [v_BTGK]
      if self.config.value_residual:
        sources.append(v_BTGK if first_BTGK is None else first_BTGK)
      v_BTGK = self.mix(*sources, *([] if embedded_BTGK is None else [embedded_BTGK]))
    if self.query_norm is not None and self.key_norm is not None:
      q_BTHK, k_BTGK = self.query_norm(q_BTHK), self.key_norm(k_BTGK)
    q_BTHK, k_BTGK = (rotary.rotate(x, positions, self.config.rotary) for x in (q_BTHK, k_BTGK))
    if self.config.attention_scale:  # attention divides by sqrt(K)
      q_BTHK = q_BTHK * (self.config.attention_scale * math.sqrt(q_BTHK.shape[-1]))
    if past is not None:
      keys_RGKS, values_RGSK, index_B, rows_B = past
      held = attention.update_cache(keys_RGKS, values_RGSK, k_BTGK, v_BTGK, index_B, rows_B)
      y_BTHK = attention.attend_cached(q_BTHK, *held, index_B, rows_B, self.window)
      return self.out(y_BTHK), held, own_BTGK
    mask_BTS = None if documents_BT is None else attention.document_mask(documents_BT, self.window)
    y_BTHK = attention.attend(
      q_BTHK, k_BTGK, v_BTGK, implementation=self.config.attention, mask_BTS=mask_BTS, window=self.window
    )
    return self.out(y_BTHK), None, own_BTGK


def _output_stddev(config: ModernGPTConfig) -> float:
  """As in GPT-2; or 0, and a block begins by passing on what it reads."""
  return 0.0 if config.zero_outputs else config.init_stddev / math.sqrt(2 * config.num_layers)


class MLP(nnx.Module):
  """SwiGLU (Shazeer 2020, arXiv:2002.05202) multiplies the inner units by gates; squared ReLU (So et al. 2021,
  arXiv:2109.08668) does as well for a matrix less."""

  def __init__(self, config: ModernGPTConfig, rngs: nnx.Rngs):
    project = lambda: layers.Linear(
      config.embed_dim, config.inner_dim, use_bias=False, stddev=config.init_stddev, rngs=rngs
    )
    self.gate = project() if config.activation == 'swiglu' else None
    self.up = project()
    self.down = layers.Linear(
      config.inner_dim, config.embed_dim, use_bias=False, stddev=_output_stddev(config), rngs=rngs
    )

  def __call__(self, x_BTD):
    if self.gate is None:
      return self.down(jnp.square(jax.nn.relu(self.up(x_BTD))))
    return self.down(jax.nn.silu(self.gate(x_BTD)) * self.up(x_BTD))


class Block(nnx.Module):
  def __init__(self, config: ModernGPTConfig, rngs: nnx.Rngs, layer: int = 0):
    self.norm_1 = RMSNorm(config.embed_dim, config)
    self.attention = Attention(config, config.windows[layer], layer in config.value_embeddings, rngs)
    self.norm_2 = RMSNorm(config.embed_dim, config)
    self.mlp = MLP(config, rngs)

  def __call__(self, x_BTD, positions, past=None, first_BTGK=None, embedded_BTGK=None, documents_BT=None):
    y_BTD, past, own_BTGK = self.attention(self.norm_1(x_BTD), positions, past, first_BTGK, embedded_BTGK, documents_BT)
    x_BTD = x_BTD + y_BTD
    return x_BTD + self.mlp(self.norm_2(x_BTD)), past, own_BTGK


class ModernGPT(nnx.Module):
  def __init__(self, config: ModernGPTConfig, rngs: nnx.Rngs):
    table = lambda stddev, width: nnx.Param(
      stddev * jax.random.normal(rngs.params(), (config.padded_vocab_size, width))
    )
    self.token_embedding = table(config.embedding_stddev, config.embed_dim)
    head_stddev = 0.0 if config.zero_outputs else config.init_stddev
    self.head = None if config.tied_head else table(head_stddev, config.embed_dim)
    kv_dim = config.kv_heads * config.width_of_head
    self.value_embeddings = nnx.List([table(config.embedding_stddev, kv_dim) for _ in config.value_embeddings])
    self.embedding_norm = RMSNorm(config.embed_dim, config) if config.embedding_norm else None
    if config.scan_layers:
      keys = jax.random.split(rngs.params(), config.num_layers)
      self.blocks: Any = nnx.vmap(lambda key: Block(config, nnx.Rngs(params=key)))(keys)
    else:
      self.blocks = nnx.List([Block(config, rngs, layer) for layer in range(config.num_layers)])
    self.final_norm = RMSNorm(config.embed_dim, config)
    self.config = config

  def embed(self, tokens_BT, table=None):
    table = self.token_embedding[...] if table is None else table
    x_BTD = map_rows(lambda table_VD, tokens_BT: table_VD[tokens_BT], table, tokens_BT)
    return x_BTD if self.embedding_norm is None else self.embedding_norm(x_BTD)

  def embed_values(self, tokens_BT):
    """[B, T, G, K] of each layer; None where it has no table."""
    config = self.config
    found: list[Any] = [None] * config.num_layers
    for layer, table in zip(config.value_embeddings, self.value_embeddings, strict=True):
      found[layer] = table[...][tokens_BT].reshape(*tokens_BT.shape, config.kv_heads, config.width_of_head)
    return found

  def hidden(self, tokens_BT, documents_BT=None, table=None):
    """Final-norm hidden states [B, T, D] of a whole sequence, or of several documents in a row (attention.py).

    Args:
      table: the token embedding as copy_to_devices has it; None: as it is.
    """
    chex.assert_rank(tokens_BT, 2)
    chex.assert_type(tokens_BT, int)
    length, config = tokens_BT.shape[1], self.config
    if length > config.context_length:
      raise ValueError(f'a sequence of {length} tokens is longer than the context of {config.context_length}')
    x_BTD = self.embed(tokens_BT, table)
    positions = jnp.arange(length) if documents_BT is None else attention.document_positions(documents_BT)
    if config.scan_layers:
      graphdef, stacked = nnx.split(self.blocks)
      run = _make_block_runner(graphdef, config.remat)
      # The first layer stands before the scan, as it is the one whose values the others are given.
      first = jax.tree.map(lambda leaf: leaf[0], stacked)
      x_BTD, first_BTGK = run(first, x_BTD, positions, documents_BT=documents_BT)
      rest = jax.tree.map(lambda leaf: leaf[1:], stacked)
      step = lambda x, state: (run(state, x, positions, first_BTGK, documents_BT=documents_BT)[0], None)
      x_BTD, _ = jax.lax.scan(step, x_BTD, rest)
    else:
      first_BTGK = None
      for block, embedded_BTGK in zip(self.blocks, self.embed_values(tokens_BT), strict=True):
        graphdef, state = nnx.split(block)
        run = _make_block_runner(graphdef, config.remat)
        x_BTD, own_BTGK = run(state, x_BTD, positions, first_BTGK, embedded_BTGK, documents_BT)
        first_BTGK = own_BTGK if first_BTGK is None else first_BTGK
    return self.final_norm(x_BTD)

  @property
  def output_table(self):
    return self.token_embedding[...] if self.head is None else self.head[...]

  def logits(self, hidden_BTD):
    """[B, T, D] -> [B, T, vocab_size]; padding rows of the head never come out."""
    logits_BTV = table_logits(hidden_BTD, self.output_table)[..., : self.config.vocab_size]
    return cap_logits(logits_BTV, self.config.logit_softcap)

  def token_losses(self, tokens_BT, targets_BT, documents_BT=None):
    config = self.config
    tied = copy_to_devices(self.token_embedding[...], len(tokens_BT)) if config.tied_head else None
    hidden_BTD = self.hidden(tokens_BT, documents_BT, tied)
    chex.assert_equal_shape([tokens_BT, targets_BT])
    losses = lambda table_VD, hidden_BTD, targets_BT: linear_cross_entropy(
      hidden_BTD,
      table_VD,
      targets_BT,
      vocab_size=config.vocab_size,
      chunks=config.loss_chunks,
      softcap=config.logit_softcap,
    )
    return map_rows(losses, self.output_table if tied is None else tied, hidden_BTD, targets_BT)

  def extend(self, tokens_BT, cache: Cache, index_B, rows_B=None):
    """Final-norm hidden states [B, T, D] of tokens that follow what the cache holds, and the cache with them too."""
    chex.assert_rank([tokens_BT, index_B], [2, 1])
    positions_BT = index_B[:, None] + jnp.arange(tokens_BT.shape[1])
    x_BTD, first_BTGK = self.embed(tokens_BT), None
    keys, values = [], []
    layers_of = zip(self.list_blocks(), cache.keys, cache.values, self.embed_values(tokens_BT), strict=True)
    for block, past_k, past_v, embedded_BTGK in layers_of:
      past = (past_k, past_v, index_B, rows_B)
      x_BTD, past, own_BTGK = block(x_BTD, positions_BT, past, first_BTGK, embedded_BTGK)
      first_BTGK = own_BTGK if first_BTGK is None else first_BTGK
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
  """(state, x, positions, ...) -> (x, values) as a pure function, so that it can be scanned and rematerialised."""

  def run(state, x_BTD, positions, first_BTGK=None, embedded_BTGK=None, documents_BT=None):
    x_BTD, _, own_BTGK = nnx.merge(graphdef, state)(x_BTD, positions, None, first_BTGK, embedded_BTGK, documents_BT)
    return x_BTD, own_BTGK

  return run if remat == 'none' else jax.checkpoint(run, policy=REMAT_POLICIES[remat])


def bind(params: adapter.Params, config: ModernGPTConfig) -> ModernGPT:
  """The module that holds `params`."""
  return adapter.bind(ModernGPT, config, params)


def init(key: jax.Array, config: ModernGPTConfig) -> adapter.Params:
  """Fresh float32 parameters as a nested dict."""
  return adapter.init(ModernGPT, config, key)


def apply(params: adapter.Params, tokens_BT: jax.Array, config: ModernGPTConfig, *, key: jax.Array | None = None):
  """Logits [B, T, vocab_size] of each next token, in the dtype of `params`. There is nothing to draw with a `key`."""
  module = bind(params, config)
  return module.logits(module.hidden(tokens_BT))


def token_losses(
  params: adapter.Params,
  tokens_BT: jax.Array,
  targets_BT: jax.Array,
  config: ModernGPTConfig,
  *,
  key=None,
  documents_BT=None,
) -> jax.Array:
  """As gpt.token_losses."""
  return bind(params, config).token_losses(tokens_BT, targets_BT, documents_BT)


def init_cache(config: ModernGPTConfig, rows: int, slots: int, dtype=jnp.float32) -> Cache:
  """As gpt.init_cache, with the heads of keys and values alone."""
  return Cache.empty(config.num_layers, rows, config.kv_heads, slots, config.width_of_head, dtype)


@functools.partial(jax.jit, static_argnames='config')
def apply_cached(
  params: adapter.Params,
  tokens_BT: jax.Array,
  config: ModernGPTConfig,
  cache: Cache,
  index_B: jax.Array,
  *,
  rows_B: jax.Array | None = None,
) -> tuple[jax.Array, Cache]:
  """As gpt.apply_cached."""
  return bind(params, config).extend(tokens_BT, cache, index_B, rows_B)


def head(params: adapter.Params, hidden_BTD: jax.Array, config: ModernGPTConfig) -> jax.Array:
  """As gpt.head."""
  return bind(params, config).logits(hidden_BTD)


def num_params(params: adapter.Params) -> int:
  return sum(leaf.size for leaf in jax.tree.leaves(params))


def flops_per_token(config: ModernGPTConfig, length: int) -> float:
  """As gpt.flops_per_token: 6 a weight of a matrix product, 12 H K a key that a query sees."""
  width, head_dim = config.embed_dim, config.width_of_head
  mlp = (3 if config.activation == 'swiglu' else 2) * config.inner_dim
  block = width * (head_dim * 2 * (config.num_heads + config.kv_heads) + mlp)
  weights = config.num_layers * block + config.vocab_size * width
  seen = sum(min(window or length, length) for window in config.windows)
  return 6.0 * weights + 12.0 * config.num_heads * head_dim * seen
