"""What encoders became after BERT, as pure functions: ModernBERT, nomic-embed and gte.

In common they have rotary positions in the place of a table, and gated MLPs. ModernBERT (Warner et al. 2024,
arXiv:2412.13663) puts the norms before attention and MLP, has no biases, and of three layers two see a window of
neighbours alone, the third everything. nomic-embed (Nussbaum et al. 2024, arXiv:2402.01613) and gte (Zhang et al. 2024,
arXiv:2407.19669) keep BERT's norms behind the residual sums and see everything.

    config = ModernBertConfig()                              # or NOMIC, or GTE
    params = bert.init(jax.random.key(0), config)
    vectors = bert.embed(params, tokens, mask, config, 'mean')

All functions of models/bert.py take a ModernBertConfig too. Names and masks are as there.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from mlsd_jax.models import attention, layers, rotary
from mlsd_jax.models.bert import MaskedLMHead
from mlsd_jax.models.bert_config import HEADS
from mlsd_jax.models.rotary import RotaryConfig

ACTIVATIONS = {'gelu': lambda x: jax.nn.gelu(x, approximate=False), 'silu': jax.nn.silu}


@dataclasses.dataclass(frozen=True)
class ModernBertConfig:
  """Shape and options of an encoder. The defaults are ModernBERT base."""

  vocab_size: int = 50368
  context_length: int = 8192
  num_types: int = 0  # segments, as in BERT; 0: no vectors for them
  num_layers: int = 22
  num_heads: int = 12
  embed_dim: int = 768
  mlp_dim: int = 1152
  pre_norm: bool = True  # norms before attention and MLP, and one at the end; else behind each residual sum
  activation: str = 'gelu'  # of the gates: gelu (GeGLU) or silu (SwiGLU), Shazeer 2020, arXiv:2002.05202
  attention_bias: bool = False
  down_bias: bool = False  # of the MLP's second product; its first has none
  norm_bias: bool = False
  norm_epsilon: float = 1e-5
  rotary: RotaryConfig = dataclasses.field(default_factory=lambda: RotaryConfig(theta=160_000.0))
  local_rotary: RotaryConfig = dataclasses.field(default_factory=RotaryConfig)  # of layers that see a window
  window: int = 128  # tokens around a query's own that such a layer sees, half of them on each side
  full_every: int = 3  # layers 0, 3, 6, ... see everything; 1: all do
  score_pooling: str = 'cls'  # what the head 'score' reads: the first token's state, or the mean of all
  dropout: float = 0.0  # as in BERT
  heads: tuple[str, ...] = ()  # of bert.HEADS, in that order

  def __post_init__(self):
    if self.embed_dim % self.num_heads or self.head_dim % 2:
      raise ValueError(f'embed_dim {self.embed_dim} is no {self.num_heads} heads (num_heads) of an even dimension')
    if self.activation not in ACTIVATIONS:
      raise ValueError(f'activation={self.activation!r} is not one of {", ".join(ACTIVATIONS)}')
    if self.heads != tuple(head for head in HEADS if head in self.heads):
      raise ValueError(f'heads={self.heads} are not some of {HEADS}, in that order')
    if 'score' in self.heads and 'pooler' not in self.heads:
      raise ValueError('the head "score" stands on the head "pooler"')
    if self.full_every < 1:
      raise ValueError(f'full_every={self.full_every} is not at least 1')
    if self.score_pooling not in ('cls', 'mean'):
      raise ValueError(f'score_pooling={self.score_pooling!r} is neither cls nor mean')
    if not 0.0 <= self.dropout < 1.0:
      raise ValueError(f'dropout={self.dropout} is not in [0, 1)')

  @property
  def head_dim(self) -> int:
    return self.embed_dim // self.num_heads

  @property
  def mlp_matrices(self) -> int:
    return 3  # gates, what they gate, and back

  @property
  def module(self) -> Any:
    return ModernBert


NOMIC = ModernBertConfig(
  vocab_size=30528,
  context_length=2048,
  num_types=2,
  num_layers=12,
  mlp_dim=3072,
  pre_norm=False,
  activation='silu',
  norm_bias=True,
  norm_epsilon=1e-12,
  rotary=RotaryConfig(theta=1000.0),
  full_every=1,
)
GTE = dataclasses.replace(
  NOMIC,
  vocab_size=250048,
  context_length=8192,
  num_types=1,
  activation='gelu',
  attention_bias=True,
  down_bias=True,
  rotary=RotaryConfig(theta=160_000.0),
)


def _norm(config: ModernBertConfig) -> layers.LayerNorm:
  return layers.LayerNorm(config.embed_dim, use_bias=config.norm_bias, epsilon=config.norm_epsilon)


class Block(nnx.Module):
  def __init__(self, config: ModernBertConfig, rngs: nnx.Rngs, layer: int):
    width, heads = config.embed_dim, (config.num_heads, config.head_dim)
    self.sees_all = layer % config.full_every == 0
    # Before the first layer's attention there is no norm: the embedding has one.
    self.norm_1 = None if config.pre_norm and layer == 0 else _norm(config)
    self.qkv = layers.Linear(width, (3, *heads), use_bias=config.attention_bias, rngs=rngs)
    self.out = layers.Linear(heads, width, use_bias=config.attention_bias, rngs=rngs)
    self.norm_2 = _norm(config)
    self.gate_up = layers.Linear(width, (2, config.mlp_dim), use_bias=False, rngs=rngs)
    self.down = layers.Linear(config.mlp_dim, width, use_bias=config.down_bias, rngs=rngs)
    self.config = config

  def attend(self, x_BTD, mask_BTS, key):
    config = self.config
    turned = config.rotary if self.sees_all else config.local_rotary
    q_BTHK, k_BTHK, v_BTHK = jnp.unstack(self.qkv(x_BTD).astype(self.qkv.kernel.dtype), axis=2)
    q_BTHK, k_BTHK = (rotary.rotate(each, jnp.arange(x_BTD.shape[1]), turned) for each in (q_BTHK, k_BTHK))
    return self.out(attention.attend(q_BTHK, k_BTHK, v_BTHK, mask_BTS=mask_BTS, dropout_rate=config.dropout, key=key))

  def feed(self, x_BTD):
    gate_BTF, up_BTF = jnp.unstack(self.gate_up(x_BTD), axis=-2)
    return self.down(ACTIVATIONS[self.config.activation](gate_BTF) * up_BTF)

  def __call__(self, x_BTD, mask_BTS, key=None):
    keys = (None, None, None) if key is None else jax.random.split(key, 3)
    drop = lambda y_BTD, key: layers.dropout(y_BTD, self.config.dropout, key)
    if not self.config.pre_norm:
      assert self.norm_1 is not None
      with jax.named_scope('attention'):
        x_BTD = self.norm_1(x_BTD + drop(self.attend(x_BTD, mask_BTS, keys[0]), keys[1]))
      with jax.named_scope('mlp'):
        return self.norm_2(x_BTD + drop(self.feed(x_BTD), keys[2]))
    with jax.named_scope('attention'):
      y_BTD = x_BTD if self.norm_1 is None else self.norm_1(x_BTD)
      x_BTD = x_BTD + drop(self.attend(y_BTD, mask_BTS, keys[0]), keys[1])
    with jax.named_scope('mlp'):
      return x_BTD + drop(self.feed(self.norm_2(x_BTD)), keys[2])


class ModernBert(nnx.Module):
  def __init__(self, config: ModernBertConfig, rngs: nnx.Rngs):
    width = config.embed_dim
    table = lambda rows: nnx.Param(0.02 * jax.random.normal(rngs.params(), (rows, width)))
    self.token_embedding = table(config.vocab_size)
    self.type_embedding = table(config.num_types) if config.num_types else None
    self.embedding_norm = _norm(config)
    self.blocks = nnx.List([Block(config, rngs, layer) for layer in range(config.num_layers)])
    self.final_norm = _norm(config) if config.pre_norm else None
    if 'pooler' in config.heads:
      self.pooler = layers.Linear(width, width, use_bias=not config.pre_norm, rngs=rngs)
      self.pooler_norm = _norm(config) if config.pre_norm else None
    if 'mlm' in config.heads:
      self.mlm = MaskedLMHead(config, rngs)
    if 'score' in config.heads:
      self.score = layers.Linear(width, 1, rngs=rngs)
    self.config = config

  def hidden(self, tokens_BT, mask_BT, types_BT=None, key=None):
    length, config = tokens_BT.shape[1], self.config
    if length > config.context_length:
      raise ValueError(f'a sequence of {length} tokens is longer than the {config.context_length} positions')
    keys = [None] * (config.num_layers + 1) if key is None else jax.random.split(key, config.num_layers + 1)
    with jax.named_scope('embedding'):
      x_BTD = self.token_embedding[...][tokens_BT]
      if self.type_embedding is not None:
        x_BTD = x_BTD + (self.type_embedding[0] if types_BT is None else self.type_embedding[...][types_BT])
      x_BTD = layers.dropout(self.embedding_norm(x_BTD), config.dropout, keys[0])
    all_BTS = mask_BT[:, None, :]
    places_T = jnp.arange(length)
    near_BTS = all_BTS & (jnp.abs(places_T[:, None] - places_T) <= config.window // 2)
    for n, (block, block_key) in enumerate(zip(self.blocks, keys[1:], strict=True)):
      with jax.named_scope(f'blocks/{n}'):
        x_BTD = block(x_BTD, all_BTS if block.sees_all else near_BTS, block_key)
    return x_BTD if self.final_norm is None else self.final_norm(x_BTD)

  def relevance(self, hidden_BTD, mask_BT):
    """[B, T, D] -> [B]: ModernBERT's head (a dense layer, GELU and a norm), or BERT's (a dense layer and tanh)."""
    if self.config.score_pooling == 'mean':
      shares_BT = mask_BT / jnp.sum(mask_BT, axis=1, keepdims=True)
      pooled_BD = jnp.einsum('BTD,BT->BD', hidden_BTD, shares_BT.astype(hidden_BTD.dtype))
    else:
      pooled_BD = hidden_BTD[:, 0]
    dense_BD = self.pooler(pooled_BD)
    if self.pooler_norm is None:
      return self.score(jnp.tanh(dense_BD))[:, 0]
    return self.score(self.pooler_norm(jax.nn.gelu(dense_BD, approximate=False)))[:, 0]
