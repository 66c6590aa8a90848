"""BERT's encoder (Devlin et al. 2018, arXiv:1810.04805) as pure functions.

As published: token, position and segment embeddings summed and normalised, blocks with the layer norm behind each
residual sum, GELU in its exact (erf) form, no mask but that of padding. MiniLM, E5 and BGE are of this architecture.

    config = BertConfig(**SIZES['minilm-l6'])
    params = init(jax.random.key(0), config)
    hidden = apply(params, tokens, mask, config)             # [B, T] -> [B, T, D]
    vectors = embed(params, tokens, mask, config, 'mean')    # [B, T] -> [B, D], unit length

Names: B batch, T tokens, D model width, H heads, K head dimension, V vocabulary. A mask is True at tokens, False at
padding, which may stand anywhere but in the first place. Kernels may be of a narrower dtype than all else: products are
then in that dtype, and what is summed over the layers, norms and softmax stay in the wider one.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from mlsd_jax.models import adapter, attention, layers
from mlsd_jax.models.bert_config import HEADS as HEADS
from mlsd_jax.models.bert_config import SIZES as SIZES
from mlsd_jax.models.bert_config import BertConfig, EncoderConfig

POOLINGS = ('mean', 'cls')


class Block(nnx.Module):
  """Attention over all tokens, then an MLP; a norm behind each residual sum, where GPT-2 has it before (gpt.py)."""

  def __init__(self, config: BertConfig, rngs: nnx.Rngs):
    width, heads = config.embed_dim, (config.num_heads, config.head_dim)
    self.qkv = layers.Linear(width, (3, *heads), rngs=rngs)
    self.out = layers.Linear(heads, width, rngs=rngs)
    self.norm_1 = layers.LayerNorm(width, epsilon=config.norm_epsilon)
    self.up = layers.Linear(width, config.mlp_dim, rngs=rngs)
    self.down = layers.Linear(config.mlp_dim, width, rngs=rngs)
    self.norm_2 = layers.LayerNorm(width, epsilon=config.norm_epsilon)
    self.dropout = config.dropout

  def __call__(self, x_BTD, mask_BTS, key=None):
    keys = (None, None, None) if key is None else jax.random.split(key, 3)
    with jax.named_scope('attention'):
      # The product adds up in the wider dtype; queries, keys and values go back to the kernels', as attention's own
      # products take most of the time of long texts.
      q_BTHK, k_BSHK, v_BSHK = jnp.unstack(self.qkv(x_BTD).astype(self.qkv.kernel.dtype), axis=2)
      # No causal mask: a token may read what follows, which is why an encoder cannot generate. Padding alone is hidden.
      y_BTHK = attention.attend(q_BTHK, k_BSHK, v_BSHK, mask_BTS=mask_BTS, dropout_rate=self.dropout, key=keys[0])
      x_BTD = self.norm_1(x_BTD + layers.dropout(self.out(y_BTHK), self.dropout, keys[1]))
    with jax.named_scope('mlp'):
      y_BTD = self.down(jax.nn.gelu(self.up(x_BTD), approximate=False))
      return self.norm_2(x_BTD + layers.dropout(y_BTD, self.dropout, keys[2]))


class MaskedLMHead(nnx.Module):
  """A dense layer, GELU and layer norm before the product with the (tied) token embedding."""

  def __init__(self, config: EncoderConfig, rngs: nnx.Rngs):
    self.dense = layers.Linear(config.embed_dim, config.embed_dim, rngs=rngs)
    self.norm = layers.LayerNorm(config.embed_dim, epsilon=config.norm_epsilon)
    self.bias = nnx.Param(jnp.zeros(config.vocab_size))

  def __call__(self, x_ND, table_VD):
    x_ND = self.norm(jax.nn.gelu(self.dense(x_ND), approximate=False))
    return jnp.einsum('ND,VD->NV', x_ND, table_VD) + self.bias[...]


class Bert(nnx.Module):
  def __init__(self, config: BertConfig, rngs: nnx.Rngs):
    width = config.embed_dim
    table = lambda rows: nnx.Param(0.02 * jax.random.normal(rngs.params(), (rows, width)))
    self.token_embedding = table(config.vocab_size)
    self.position_embedding = table(config.context_length + config.first_position)
    self.type_embedding = table(config.num_types)
    self.embedding_norm = layers.LayerNorm(width, epsilon=config.norm_epsilon)
    self.blocks = nnx.List([Block(config, rngs) for _ in range(config.num_layers)])
    if 'pooler' in config.heads:
      self.pooler = layers.Linear(width, width, rngs=rngs)
    if 'mlm' in config.heads:
      self.mlm = MaskedLMHead(config, rngs)
    if 'score' in config.heads:
      self.score = layers.Linear(width, 1, rngs=rngs)
    self.config = config

  def hidden(self, tokens_BT, mask_BT, types_BT=None, key=None):
    length, config = tokens_BT.shape[1], self.config
    first = config.first_position
    if length > config.context_length:  # there is no vector for a position that was never trained
      raise ValueError(f'a sequence of {length} tokens is longer than the {config.context_length} positions')
    keys = [None] * (config.num_layers + 1) if key is None else jax.random.split(key, config.num_layers + 1)
    # Scopes are named as the parameters are, so that a profile or a graph shows an operation where its weights lie.
    with jax.named_scope('embedding'):
      types_BTD = self.type_embedding[0] if types_BT is None else self.type_embedding[...][types_BT]
      x_BTD = self.token_embedding[...][tokens_BT] + (self.position_embedding[first : first + length] + types_BTD)
      x_BTD = layers.dropout(self.embedding_norm(x_BTD), config.dropout, keys[0])
    for n, (block, block_key) in enumerate(zip(self.blocks, keys[1:], strict=True)):
      with jax.named_scope(f'blocks/{n}'):
        x_BTD = block(x_BTD, mask_BT[:, None, :], block_key)
    return x_BTD

  def relevance(self, hidden_BTD, mask_BT):
    """[B, T, D] -> [B]: a dense layer and tanh over the first token's state, then one number."""
    return self.score(jnp.tanh(self.pooler(hidden_BTD[:, 0])))[:, 0]


def _module_of(config: Any) -> Any:
  """Bert, or of a ModernBertConfig (models/modern_bert.py) ModernBert."""
  return Bert if isinstance(config, BertConfig) else config.module


def init(key: jax.Array, config: EncoderConfig) -> adapter.Params:
  """Fresh float32 parameters as a nested dict."""
  return adapter.init(_module_of(config), config, key)


def apply(
  params: adapter.Params,
  tokens_BT: jax.Array,
  mask_BT: jax.Array,
  config: EncoderConfig,
  *,
  types_BT: jax.Array | None = None,
  key: jax.Array | None = None,
) -> jax.Array:
  """Hidden states [B, T, D] of the last block. Without `types_BT` all is of segment 0; dropout is on with a `key`."""
  return adapter.bind(_module_of(config), config, params).hidden(tokens_BT, mask_BT, types_BT, key)


@jax.named_scope('pooling')
def pool(hidden_BTD: jax.Array, mask_BT: jax.Array, pooling: str) -> jax.Array:
  """One float32 vector [B, D] of unit length a text.

  Args:
    pooling: 'mean' over the tokens (Reimers & Gurevych 2019, arXiv:1908.10084), or 'cls', that of the first token.
  """
  if pooling not in POOLINGS:
    raise ValueError(f'pooling={pooling!r} is not one of {", ".join(POOLINGS)}')
  hidden_BTD = hidden_BTD.astype(jnp.float32)
  if pooling == 'cls':
    pooled_BD = hidden_BTD[:, 0]
  else:
    # The length of the sum does not matter: it is normalised.
    pooled_BD = jnp.einsum('BTD,BT->BD', hidden_BTD, mask_BT.astype(jnp.float32))
  return pooled_BD / jnp.maximum(jnp.linalg.norm(pooled_BD, axis=-1, keepdims=True), 1e-12)


def embed(
  params: adapter.Params,
  tokens_BT: jax.Array,
  mask_BT: jax.Array,
  config: EncoderConfig,
  pooling: str,
  *,
  key: jax.Array | None = None,
) -> jax.Array:
  """Unit vectors [B, D] float32 of texts."""
  return pool(apply(params, tokens_BT, mask_BT, config, key=key), mask_BT, pooling)


def masked_logits(
  params: adapter.Params,
  tokens_BT: jax.Array,
  mask_BT: jax.Array,
  positions_BM: jax.Array,
  config: EncoderConfig,
  *,
  key: jax.Array | None = None,
) -> jax.Array:
  """Logits [B, M, V] of the tokens at `positions_BM`; requires the head 'mlm'. Only those positions are projected."""
  module = adapter.bind(_module_of(config), config, params)
  hidden_BTD = module.hidden(tokens_BT, mask_BT, key=key)
  # A seventh of the tokens is masked: a product with the whole vocabulary for the others would be thrown away.
  chosen_BMD = jnp.take_along_axis(hidden_BTD, positions_BM[..., None], axis=1)
  logits = module.mlm(chosen_BMD.reshape(-1, config.embed_dim), module.token_embedding[...])
  return logits.reshape(*positions_BM.shape, config.vocab_size)


def score(
  params: adapter.Params,
  tokens_BT: jax.Array,
  mask_BT: jax.Array,
  types_BT: jax.Array,
  config: EncoderConfig,
  *,
  key: jax.Array | None = None,
) -> jax.Array:
  """Relevance [B] float32 of text pairs (Nogueira & Cho 2019, arXiv:1901.04085): any number; requires the head 'score'.

  As a classifier with one label has it, see `relevance` of the module.
  """
  module = adapter.bind(_module_of(config), config, params)
  return module.relevance(module.hidden(tokens_BT, mask_BT, types_BT, key), mask_BT).astype(jnp.float32)


def with_heads(params: adapter.Params, config: EncoderConfig, heads: tuple[str, ...], key: jax.Array) -> Any:
  """(params, config) of the same encoder with `heads`: those it has are kept, others drawn fresh or dropped."""
  target = dataclasses.replace(config, heads=heads)  # type: ignore[type-var]
  names = jax.eval_shape(lambda: init(key, target))
  fresh = jax.jit(lambda key: {name: part for name, part in init(key, target).items() if name not in params})(key)
  return {name: params[name] if name in params else fresh[name] for name in names}, target


def flops_per_token(config: EncoderConfig, length: int) -> float:
  """Forward floating-point operations a token of a text of `length`: 2 a weight, and 4 T D a layer for attention."""
  width = config.embed_dim
  return config.num_layers * (
    2.0 * (4 * width**2 + config.mlp_matrices * width * config.mlp_dim) + 4.0 * length * width
  )
