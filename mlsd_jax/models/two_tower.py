"""Two towers that meet in a dot product: a user's history on one side, an item on the other.

After YouTube's retrieval model (Yi et al. 2019, 'Sampling-bias-corrected neural modeling for large corpus item
recommendations') with mixed negatives (Yang et al. 2020) and a causal transformer over the history (SASRec, Kang &
McAuley 2018, arXiv:1808.09781). Sparse features go through tables that both towers share.

    config = TwoTowerConfig(num_items=1000, code_sizes=(10, 50), code_width=2)
    params = init(key, config)
    user = user_vectors(params, history, codes, config)       # [B, D + 1]
    item = item_vectors(params, items, codes, config)         # [N, D + 1]; their dot products are logits

Names: B users of a batch, H history items (the latest last, -1 none), T of them that the transformer sees, N items,
C categorical columns of an item, D embedding width. Row 0 of the item table stands for what has no row of its own.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx

from mlsd_jax.models import adapter, gpt, layers

AGES = 16  # buckets of log2(1 + days) by half powers, learned weights of the history


@dataclasses.dataclass(frozen=True)
class TwoTowerConfig:
  """Shape of the model and its ingredients, each of which can be switched off.

  Attributes:
    num_items: rows of the item table, row 0 (out of vocabulary) not counted.
    code_sizes: values of each categorical column of an item, 0 (unknown) included.
    user_sizes: values of each categorical column of a user.
    sequence_length: T, 0 for no transformer.
    sequence_dim: width of the transformer, which sees embeddings through a projection.
    history_code: which column's embedding an item has in a history besides its own row; -1 for none. (All columns would
      be several times the scatters of the backward pass for little.)
    content: whether items also have the embeddings of their columns (what cold items live on).
    temperature: logits are divided by it.
    normalize: whether the vectors are scaled to length 1 before that.
  """

  num_items: int
  code_sizes: tuple[int, ...] = ()
  user_sizes: tuple[int, ...] = ()
  embed_dim: int = 64
  hidden_dim: int = 128
  history_length: int = 256
  sequence_length: int = 32
  sequence_dim: int = 64
  history_code: int = -1
  num_layers: int = 1
  num_heads: int = 2
  content: bool = True
  temperature: float = 1.0
  normalize: bool = False

  def __post_init__(self):
    if self.sequence_length > self.history_length:
      raise ValueError(f'sequence_length {self.sequence_length} is longer than the history of {self.history_length}')
    if self.sequence_dim % self.num_heads:
      raise ValueError(f'sequence_dim {self.sequence_dim} must be divisible by num_heads {self.num_heads}')


class MLP(nnx.Module):
  """A perceptron of one hidden layer, to be added to something: at first it gives nothing."""

  def __init__(self, in_dim: int, hidden_dim: int, out_dim: int, rngs: nnx.Rngs):
    scale = lambda fan_in: (2.0 / fan_in) ** 0.5
    self.up = layers.Linear(in_dim, hidden_dim, stddev=scale(in_dim), rngs=rngs)
    self.down = layers.Linear(hidden_dim, out_dim, stddev=0.0, rngs=rngs)

  def __call__(self, x):
    return self.down(jax.nn.relu(self.up(x)))


class TwoTower(nnx.Module):
  def __init__(self, config: TwoTowerConfig, rngs: nnx.Rngs):
    width = config.embed_dim
    table = lambda rows: nnx.Param(0.1 * jax.random.normal(rngs.params(), (rows, width)))
    self.item_table = table(config.num_items + 1)
    self.item_bias = nnx.Param(jnp.zeros((config.num_items + 1, 1)))
    self.code_tables = nnx.List([table(size) for size in config.code_sizes]) if config.content else nnx.List([])
    self.user_tables = nnx.List([table(size) for size in config.user_sizes])
    self.age_weight = nnx.Param(jnp.zeros((2, AGES)))
    self.self_weight = nnx.Param(jnp.ones(()))
    blocks = config.num_layers if config.sequence_length else 0
    seen = config.sequence_dim
    if blocks:
      self.sequence_in = layers.Linear(width, seen, stddev=width**-0.5, rngs=rngs)
      self.position = nnx.Param(0.02 * jax.random.normal(rngs.params(), (config.sequence_length, seen)))
    block = gpt.GPTConfig(vocab_size=1, num_heads=config.num_heads, embed_dim=seen, num_layers=max(blocks, 1))
    self.blocks = nnx.List([gpt.Block(block, rngs) for _ in range(blocks)])
    self.item_mlp = MLP(width, config.hidden_dim, width, rngs)
    parts = (2 + len(config.user_sizes)) * width + bool(blocks) * seen
    self.user_mlp = MLP(parts, config.hidden_dim, width, rngs)
    self.config = config

  def rows(self, items):
    return jnp.where((items >= 0) & (items <= self.config.num_items), items, 0)

  def embed(self, items, codes_IC):
    """[..., D] embeddings of items (below 0 or past the table: row 0), with those of their columns added."""
    rows = self.rows(items)
    x = self.item_table[...][rows]
    for column, code_table in enumerate(self.code_tables):
      x = x + code_table[...][codes_IC[rows, column]]
    return x

  def history(self, items_BH, codes_IC):
    """[B, H, D] embeddings of a history's items: their own rows, which the item tower shares, and one column."""
    rows_BH = self.rows(items_BH)
    x_BHD = self.item_table[...][rows_BH]
    if self.code_tables and self.config.history_code >= 0:
      column = self.config.history_code
      x_BHD = x_BHD + self.code_tables[column][...][codes_IC[rows_BH, column]]
    return x_BHD

  def items(self, items_N, codes_IC):
    x_ND = self.embed(items_N, codes_IC)
    return x_ND + self.item_mlp(x_ND)

  def users(self, history_BH, ages_BH, weight_BH, user_codes_BU, codes_IC):
    known_BH = history_BH >= 0
    x_BHD = self.history(history_BH, codes_IC)
    bucket_BH = jnp.clip((2 * jnp.log2(1 + jnp.clip(ages_BH, 0))).astype(jnp.int32), 0, AGES - 1)
    weights_2BH = jnp.exp(self.age_weight[...][:, bucket_BH]) * (weight_BH * known_BH)
    total_2B1 = jnp.maximum(weights_2BH.sum(-1, keepdims=True), 1e-6)
    own_BD, bag_BD = jnp.einsum('ABH,BHD->ABD', (weights_2BH / total_2B1).astype(x_BHD.dtype), x_BHD)
    # A mean of N items shows each of them as 1 / N: what was bought before would fade as the history grows.
    own_BD = own_BD * jnp.sqrt(total_2B1[0]).astype(x_BHD.dtype)
    parts = [own_BD, bag_BD]
    if self.config.sequence_length:
      parts.append(self.sequence(x_BHD, known_BH))
    parts += [table[...][user_codes_BU[:, column]] for column, table in enumerate(self.user_tables)]
    return self.self_weight[...] * own_BD + self.user_mlp(jnp.concatenate(parts, -1))

  def sequence(self, x_BHD, known_BH):
    """What the transformer makes of the latest items, read at the last."""
    length = self.config.sequence_length
    y_BTD = self.sequence_in(x_BHD[:, -length:]) + self.position[...][None]
    mask_BTS = jnp.tril(jnp.ones((length, length), bool))[None] & known_BH[:, None, -length:]
    for block in self.blocks:
      y_BTD, _ = block(y_BTD, mask_BTS=mask_BTS)
    return y_BTD[:, -1] * known_BH[:, -1:]


def init(key: jax.Array, config: TwoTowerConfig) -> adapter.Params:
  """Fresh parameters; tables are item_table, code_tables/N, user_tables/N."""
  return adapter.init(TwoTower, config, key)


def item_vectors(params: adapter.Params, items_N: jax.Array, codes_IC: jax.Array, config: TwoTowerConfig) -> jax.Array:
  """[N, D + 1]: the last column is the item's bias.

  Args:
    items_N: rows of the item table.
    codes_IC: [num_items + 1, C] codes of each row's columns.
  """
  module = adapter.bind(TwoTower, config, params)
  vectors_ND = _scaled(module.items(items_N, codes_IC), config)
  return jnp.concatenate([vectors_ND, module.item_bias[...][module.rows(items_N)]], -1)


def user_vectors(
  params: adapter.Params,
  history_BH: jax.Array,
  ages_BH: jax.Array,
  weight_BH: jax.Array,
  user_codes_BU: jax.Array,
  codes_IC: jax.Array,
  config: TwoTowerConfig,
) -> jax.Array:
  """[B, D + 1]: the last column is 1, so that the dot product adds the item's bias.

  Args:
    history_BH: rows of the item table, the latest last, -1 where there is none.
    ages_BH: days since each was bought.
    weight_BH: how many purchases each stands for in the bag: more than 1 where a history was sampled.
    user_codes_BU: codes of the user's columns.
  """
  module = adapter.bind(TwoTower, config, params)
  vectors_BD = (
    _scaled(module.users(history_BH, ages_BH, weight_BH, user_codes_BU, codes_IC), config) / config.temperature
  )
  return jnp.concatenate([vectors_BD, jnp.ones_like(vectors_BD[:, :1])], -1)


def _scaled(x: jax.Array, config: TwoTowerConfig) -> jax.Array:
  return x * jax.lax.rsqrt(jnp.square(x).sum(-1, keepdims=True) + 1e-6) if config.normalize else x
