"""Two towers that meet in a dot product: a user's history on one side, an item on the other.

After YouTube's retrieval model (Yi et al. 2019, 'Sampling-bias-corrected neural modeling for large corpus item
recommendations') with mixed negatives (Yang et al. 2020) and a causal transformer over the history (SASRec, Kang &
McAuley 2018, arXiv:1808.09781). Sparse features go through tables that both towers share. Beside this deep part stands
a wide one (Cheng et al. 2016, arXiv:1606.07792) that is counted, not learnt: factors of all purchases and how much an
item sells now, of which only the weights are parameters. It can be renewed every day without training anything.

    config = TwoTowerConfig(num_items=1000, code_sizes=(10, 50), factor_dim=128)
    params = init(key, config)
    user = user_vectors(params, history, ages, factors, user_codes, codes, config)       # [B, W]
    item = item_vectors(params, rows, Items(codes, table, popularity), config)  # [N, W]; dot products are logits

Names: B users of a batch, H history items (the latest last, -1 none), T of them that the transformer sees, N items,
C categorical columns of an item, D embedding width, K factors, W = D + K + 1. Row 0 of the item table stands for what
has no row of its own.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
from flax import nnx

from mlsd_jax.models import adapter, attention, gpt, layers
from mlsd_jax.models.recommender_config import TwoTowerConfig as TwoTowerConfig

AGES = 16  # buckets of log2(1 + days) by half powers, learned weights of the history
_STRENGTH, _POPULARITY = 1.0, 0.7  # nats: log of what a usual repeated purchase is worth; a power of what an item sells


type Ids = dict[str, jax.Array]  # rows of tables by the table's path


class Items(NamedTuple):
  """What is known of the rows of the item table without training.

  Attributes:
    codes_IC: [num_items + 1, C] int32 codes of each row's columns.
    factors_IK: [num_items + 1, K].
    popularity_I: [num_items + 1] log of how much each sells.
  """

  codes_IC: jax.Array
  factors_IK: jax.Array
  popularity_I: jax.Array


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
    padded = lambda rows: -(-rows // config.rows_multiple) * config.rows_multiple
    table = lambda rows: nnx.Param(0.1 * jax.random.normal(rngs.params(), (padded(rows), width)))
    self.item_table = table(config.num_items + 1)
    self.factor_strength = nnx.Param(jnp.asarray(_STRENGTH))
    self.popularity_weight = nnx.Param(jnp.asarray(_POPULARITY))
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
    # Both perceptrons start as zero functions: at first the towers are plain sums of embeddings, which train at once.
    self.item_mlp = MLP(width, config.hidden_dim, width, rngs)
    parts = (2 + len(config.user_sizes)) * width + bool(blocks) * seen
    self.user_mlp = MLP(parts, config.hidden_dim, width, rngs)
    self.config = config

  def look_up(self, ids: Ids):
    """The sum of the rows that `ids` names, [..., D]."""
    tables = {'item_table': self.item_table}
    tables |= {f'code_tables/{column}': table for column, table in enumerate(self.code_tables)}
    x, *others = (tables[path][...][rows] for path, rows in ids.items())
    return sum(others, x)

  def items(self, ids: Ids):
    x_ND = self.look_up(ids)
    return x_ND + self.item_mlp(x_ND)

  def users(self, history_BH, ages_BH, ids_of_items: Ids, ids_of_users: Ids):
    known_BH = history_BH >= 0
    x_BHD = self.look_up(ids_of_items)
    bucket_BH = jnp.clip((2 * jnp.log2(1 + jnp.clip(ages_BH, 0))).astype(jnp.int32), 0, AGES - 1)
    # How much an item counts by its age is learnt, apart for the two uses of the mean: buying again, and taste.
    weights_2BH = jnp.exp(self.age_weight[...][:, bucket_BH]) * known_BH
    total_2B1 = jnp.maximum(weights_2BH.sum(-1, keepdims=True), 1e-6)
    own_BD, bag_BD = jnp.einsum('ABH,BHD->ABD', (weights_2BH / total_2B1).astype(x_BHD.dtype), x_BHD)
    # A mean of N items shows each of them as 1 / N: what was bought before would fade as the history grows.
    own_BD = own_BD * jnp.sqrt(total_2B1[0]).astype(x_BHD.dtype)
    parts = [own_BD, bag_BD]
    if self.config.sequence_length:
      parts.append(self.sequence(x_BHD, known_BH))
    parts += [table[...][ids_of_users[f'user_tables/{column}']] for column, table in enumerate(self.user_tables)]
    return self.self_weight[...] * own_BD + self.user_mlp(jnp.concatenate(parts, -1))

  def sequence(self, x_BHD, known_BH):
    """What the transformer makes of the latest items, read at the last."""
    length = self.config.sequence_length
    # Only the latest: attention costs their square, and older ones are in the weighted mean.
    y_BTD = self.sequence_in(x_BHD[:, -length:]) + self.position[...][None]
    known_BT = known_BH[:, -length:]
    mask_BTS = jnp.tril(jnp.ones((length, length), bool))[None] & known_BT[:, None]
    for block in self.blocks[:-1]:
      y_BTD, _ = block(y_BTD, mask_BTS=mask_BTS)
    return _read_last(self.blocks[-1], y_BTD, known_BT) * known_BT[:, -1:]


def _read_last(block: gpt.Block, x_BTD: jax.Array, known_BS: jax.Array) -> jax.Array:
  """[B, D] that a block makes of the last position alone: one query and one MLP, where the whole block has T."""
  q_BTHK, k_BSHK, v_BSHK = jnp.unstack(block.attention.qkv(block.norm_1(x_BTD)), axis=2)
  y_B1HK = attention.attend(q_BTHK[:, -1:], k_BSHK, v_BSHK, mask_BTS=known_BS[:, None])
  x_BD = x_BTD[:, -1] + block.attention.out(y_B1HK)[:, 0]
  return x_BD + block.mlp(block.norm_2(x_BD))


def item_ids(items: jax.Array, codes_IC: jax.Array, config: TwoTowerConfig) -> Ids:
  """Rows whose sum is an item's embedding (below 0 or past the table: row 0): its own and those of its columns."""
  rows = _rows(items, config)
  columns = range(len(config.code_sizes) * config.content)
  return {'item_table': rows} | {f'code_tables/{column}': codes_IC[rows, column] for column in columns}


def history_ids(items_BH: jax.Array, codes_IC: jax.Array, config: TwoTowerConfig) -> Ids:
  """Likewise of a history's items: their own rows, which the item tower shares, and one column."""
  rows_BH, column = _rows(items_BH, config), config.history_code
  has_column = config.content and 0 <= column < len(config.code_sizes)
  return {'item_table': rows_BH} | ({f'code_tables/{column}': codes_IC[rows_BH, column]} if has_column else {})


def user_ids(user_codes_BU: jax.Array, config: TwoTowerConfig) -> Ids:
  """Rows of the tables of users' columns."""
  return {f'user_tables/{column}': user_codes_BU[:, column] for column in range(len(config.user_sizes))}


def _rows(items: jax.Array, config: TwoTowerConfig) -> jax.Array:
  return jnp.where((items >= 0) & (items <= config.num_items), items, 0)


def init(key: jax.Array, config: TwoTowerConfig) -> adapter.Params:
  """Fresh parameters; tables are item_table, code_tables/N, user_tables/N."""
  return adapter.init(TwoTower, config, key)


def item_vectors(params: adapter.Params, items_N: jax.Array, known: Items, config: TwoTowerConfig) -> jax.Array:
  """[N, D + K + 1]: the deep part, factors, popularity.

  Args:
    items_N: rows of the item table.
  """
  rows_N = _rows(items_N, config)
  return dated_item_vectors(
    params, items_N, known.codes_IC, known.factors_IK[rows_N], known.popularity_I[rows_N], config
  )


def dated_item_vectors(
  params: adapter.Params,
  items_N: jax.Array,
  codes_IC: jax.Array,
  factors_NK: jax.Array,
  popularity_N: jax.Array,
  config: TwoTowerConfig,
) -> jax.Array:
  """The same of items whose factors and popularity are given, as they were at some other time."""
  return item_vectors_of_ids(params, item_ids(items_N, codes_IC, config), factors_NK, popularity_N, config)


def item_vectors_of_ids(
  params: adapter.Params, ids: Ids, factors_NK: jax.Array, popularity_N: jax.Array, config: TwoTowerConfig
) -> jax.Array:
  """The same; see `item_ids`."""
  chex.assert_rank([ids['item_table'], factors_NK, popularity_N], [1, 2, 1])
  chex.assert_equal_shape_prefix([ids['item_table'], factors_NK, popularity_N], 1)
  vectors_ND = _normalize(adapter.bind(TwoTower, config, params).items(ids), config)
  return jnp.concatenate([vectors_ND, factors_NK, popularity_N[:, None]], -1)


def user_vectors(
  params: adapter.Params,
  history_BH: jax.Array,
  ages_BH: jax.Array,
  factors_BK: jax.Array,
  user_codes_BU: jax.Array,
  codes_IC: jax.Array,
  config: TwoTowerConfig,
) -> jax.Array:
  """[B, D + K + 1]: the deep part, factors times their weight, the weight of popularity.

  Args:
    history_BH: rows of the item table, the latest last, -1 where there is none.
    ages_BH: days since each was bought.
    factors_BK: of all that each user bought (recsys/stages/factors.py).
    user_codes_BU: codes of the user's columns.
  """
  chex.assert_rank([history_BH, ages_BH, factors_BK, user_codes_BU], 2)
  ids = history_ids(history_BH, codes_IC, config), user_ids(user_codes_BU, config)
  return user_vectors_of_ids(params, history_BH, ages_BH, factors_BK, *ids, config)


def user_vectors_of_ids(
  params: adapter.Params,
  history_BH: jax.Array,
  ages_BH: jax.Array,
  factors_BK: jax.Array,
  ids_of_items: Ids,
  ids_of_users: Ids,
  config: TwoTowerConfig,
) -> jax.Array:
  """The same; see `history_ids` and `user_ids`."""
  chex.assert_equal_shape([history_BH, ages_BH])
  module = adapter.bind(TwoTower, config, params)
  # Divided on one side alone: the dot product is then the logit.
  vectors_BD = _normalize(module.users(history_BH, ages_BH, ids_of_items, ids_of_users), config) / config.temperature
  strength = config.factor_boost * jnp.exp(module.factor_strength[...])
  weight_B1 = jnp.broadcast_to(module.popularity_weight[...], (len(history_BH), 1))
  return jnp.concatenate([vectors_BD, strength * factors_BK, weight_B1], -1)


def _normalize(x: jax.Array, config: TwoTowerConfig) -> jax.Array:
  return x * jax.lax.rsqrt(jnp.square(x).sum(-1, keepdims=True) + 1e-6) if config.normalize else x
