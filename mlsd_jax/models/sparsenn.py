"""SparseNN / DLRM: embeddings of sparse features and a bottom MLP over dense ones, interactions, a top MLP.

After DLRM (Naumov et al. 2019, arXiv:1906.00091: dot products of all pairs of embeddings) and DCN-v2 (Wang et al. 2021,
arXiv:2008.13535: cross layers x0 * (W x + b) + x). Dense features come in buckets, piecewise linear between quantiles
(Gorishniy et al. 2022, arXiv:2203.05556), so that the first layer can bend each of them where a tree would split it.

    config = SparseNNConfig(num_dense=80, num_items=1000, code_sizes=(10, 50))
    params = init(key, config)
    logits = apply(params, batch, codes, edges, config)       # [B, heads]

Names: B rows, U users, F dense features, Q buckets, C categorical columns of an item, L items of the user's bag, D
width of an embedding.
"""

import itertools

import chex
import jax
import jax.numpy as jnp
from flax import nnx

from mlsd_jax.models import adapter, layers
from mlsd_jax.models.recommender_config import HEADS as HEADS
from mlsd_jax.models.recommender_config import SparseNNConfig as SparseNNConfig


def _make_linear(in_dim: int, out_dim: int, rngs: nnx.Rngs, scale: float = 1.0) -> layers.Linear:
  return layers.Linear(in_dim, out_dim, stddev=scale * (2.0 / in_dim) ** 0.5, rngs=rngs)


class CrossLayer(nnx.Module):
  """x0 * (U V x + b) + x, of low rank (DCN-v2, eq. 2)."""

  def __init__(self, width: int, rank: int, rngs: nnx.Rngs):
    self.down = layers.Linear(width, rank, use_bias=False, stddev=width**-0.5, rngs=rngs)
    self.up = layers.Linear(rank, width, stddev=0.1 * rank**-0.5, rngs=rngs)

  def __call__(self, x0, x):
    return x0 * self.up(self.down(x)) + x


@jax.custom_vjp
def multiply_pairs(x_BKD: jax.Array) -> jax.Array:
  """[B, K, K] products of all pairs. The gradient is one product, where that of the einsum would be two."""
  return jnp.einsum('BKD,BLD->BKL', x_BKD, x_BKD)


multiply_pairs.defvjp(
  lambda x_BKD: (multiply_pairs(x_BKD), x_BKD),
  lambda x_BKD, g_BKK: (jnp.einsum('BKL,BLD->BKD', g_BKK + g_BKK.swapaxes(1, 2), x_BKD),),
)


class SparseNN(nnx.Module):
  def __init__(self, config: SparseNNConfig, rngs: nnx.Rngs):
    width = config.embed_dim
    # Small: a rare id, seldom updated, then stays near to saying nothing.
    padded = lambda rows: -(-rows // config.rows_multiple) * config.rows_multiple
    table = lambda rows: nnx.Param(0.01 * jax.random.normal(rngs.params(), (padded(rows), width)))
    fields = 0
    if config.sparse:
      self.item_table = table(config.num_items + 1)
    self.code_tables = nnx.List([table(size) for size in config.code_sizes] if config.sparse else [])
    self.user_tables = nnx.List([table(size) for size in config.user_sizes] if config.sparse else [])
    if config.sparse:
      fields = 1 + len(config.code_sizes) + len(config.user_sizes) + bool(config.bag_length)
    self.bottom = _make_linear(config.num_dense * max(config.bins, 1) + config.num_dense, config.bottom_dim, rngs)
    self.to_field = _make_linear(config.bottom_dim, width, rngs)
    joined = config.bottom_dim + fields * width
    crossing = config.interaction in ('cross', 'both')
    self.cross = nnx.List([CrossLayer(joined, config.cross_rank, rngs) for _ in range(config.cross_layers * crossing)])
    pairs = (fields + 1) * fields // 2 if config.interaction in ('dot', 'both') else 0
    sizes = (joined + pairs, *config.top_dims)
    self.top = nnx.List([_make_linear(size, out, rngs) for size, out in itertools.pairwise(sizes)])
    self.out = _make_linear(sizes[-1], len(HEADS), rngs, scale=0.1)
    self.config = config

  def buckets(self, dense_BF, edges_FQ):
    """[B, F]: each value scaled by its range; [B, F Q]: how far it reaches into each bucket, in [0, 1]."""
    low_FQ, high_FQ = edges_FQ[:, :-1], edges_FQ[:, 1:]
    scaled_BF = (dense_BF - edges_FQ[:, 0]) / (edges_FQ[:, -1] - edges_FQ[:, 0])
    scaled_BF = jnp.clip(scaled_BF, -1.0, 2.0)
    if not self.config.bins:
      return scaled_BF, (dense_BF != 0).astype(dense_BF.dtype)
    # A one-hot bucket would forget where in it a value lies; filled up to the value, neighbours stay near.
    reach_BFQ = jnp.clip((dense_BF[..., None] - low_FQ[None]) * (1 / (high_FQ - low_FQ))[None], 0.0, 1.0)
    return scaled_BF, reach_BFQ.reshape(len(dense_BF), -1)

  def dense(self, dense_BF, edges_FQ):
    """[B, bottom_dim]: the bottom layer as two products: side by side, its input would be copied once more."""
    kernel, bias, width = self.bottom.kernel[...], self.bottom.bias, dense_BF.shape[1]
    assert bias is not None
    scaled_BF, reach_BK = (x.astype(kernel.dtype) for x in self.buckets(dense_BF, edges_FQ))
    return jax.nn.relu(scaled_BF @ kernel[:width] + reach_BK @ kernel[width:] + bias[...])

  def fields(self, batch):
    """[B, fields, D] embeddings. The tables hold what `lookups` names."""
    number, item_rows = len(batch['item']), self.item_table[...]
    fields_of_row = [item_rows[:number], *(table[...] for table in self.code_tables)]
    fields_of_user = [table[...] for table in self.user_tables]
    if self.config.bag_length:
      known_UL1 = (self.config.take_bag(batch) > 0)[..., None]
      rows_ULD = item_rows[number:].reshape(*known_UL1.shape[:2], -1)
      # A mean: a bag of two items and one of ten lie on one scale. An empty one is zero.
      fields_of_user.append((rows_ULD * known_UL1).sum(1) / jnp.maximum(known_UL1.sum(1), 1))
    # Looked up once a user, not once a row: on a CPU the scatters of the backward pass would be half of the step.
    fields_of_row += [jnp.repeat(x_UD, number // len(x_UD), axis=0) for x_UD in fields_of_user]
    return jnp.stack(fields_of_row, 1)

  def __call__(self, batch, edges_FQ):
    bottom_BD = self.dense(batch['dense'], edges_FQ)
    joined_BJ, extra = bottom_BD, []
    if self.config.sparse:
      fields_BKD = self.fields(batch)
      joined_BJ = jnp.concatenate([bottom_BD, fields_BKD.reshape(len(bottom_BD), -1)], -1)
      if self.config.interaction in ('dot', 'both'):
        # The dense features join as one more field; pairs (k, l) and (l, k) are one product, so half of them is enough.
        all_BKD = jnp.concatenate([self.to_field(bottom_BD)[:, None], fields_BKD], 1)
        extra.append(multiply_pairs(all_BKD)[:, *jnp.triu_indices(all_BKD.shape[1], 1)])
    x_BJ = joined_BJ
    # Dot products cross fields as wholes, cross layers every number with every other: one layer more, one degree more.
    for cross in self.cross:
      x_BJ = cross(joined_BJ, x_BJ)
    x_BJ = jnp.concatenate([x_BJ, *extra], -1)
    for layer in self.top:
      x_BJ = jax.nn.relu(layer(x_BJ))
    return self.out(x_BJ)


def init(key: jax.Array, config: SparseNNConfig) -> adapter.Params:
  """Fresh parameters; tables are item_table, code_tables/N, user_tables/N."""
  return adapter.init(SparseNN, config, key)


def apply(
  params: adapter.Params, batch: dict[str, jax.Array], codes_IC: jax.Array, edges_FQ: jax.Array, config: SparseNNConfig
) -> jax.Array:
  """Logits [B, len(HEADS)].

  Args:
    batch: dense [B, F], item [B] (rows of the item table), user_codes [U, columns], bag [U, >= L] (rows, 0 none; the
      latest last). B is a multiple of U: the first B / U rows are those of the first user.
    codes_IC: [num_items + 1, C] codes of the item table's rows.
    edges_FQ: [F, Q + 1] ascending bounds of the buckets.
  """
  return apply_to_rows(adapter.look_up(params, lookups(batch, codes_IC, config)), batch, edges_FQ, config)


def lookups(batch: dict[str, jax.Array], codes_IC: jax.Array, config: SparseNNConfig) -> dict[str, jax.Array]:
  """Ids [n] of the rows that a batch looks up, by the path of their table; of items those of the bags come last."""
  if not config.sparse:
    return {}
  rows_B = jnp.where(batch['item'] <= config.num_items, batch['item'], 0)
  bags = [jnp.clip(config.take_bag(batch), 0).reshape(-1)] if config.bag_length else []
  ids = {'item_table': jnp.concatenate([rows_B, *bags])}
  ids |= {f'code_tables/{column}': codes_IC[rows_B, column] for column in range(len(config.code_sizes))}
  return ids | {f'user_tables/{column}': batch['user_codes'][:, column] for column in range(len(config.user_sizes))}


def apply_to_rows(
  params: adapter.Params, batch: dict[str, jax.Array], edges_FQ: jax.Array, config: SparseNNConfig
) -> jax.Array:
  """Logits [B, len(HEADS)] of parameters that hold, in place of the tables, the rows that `lookups` names [n, D]."""
  chex.assert_rank([batch['dense'], batch['item'], edges_FQ], [2, 1, 2])
  chex.assert_equal_shape_prefix([batch['dense'], batch['item']], 1)
  return adapter.bind(SparseNN, config, params)(batch, edges_FQ)
