"""Shapes and options of the recommender's models, as configs and checkpoints say them; no JAX, as decoder_config.py."""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any

from mlsd_jax.schema import Positive, above, at_least

HEADS = ('bought', 'soon', 'quantity')  # bought in the week; within 3 days; log(1 + how many), by regression


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
    factor_dim: K, 0 for none.
    factor_boost: what the weight of the factors is multiplied by after training.
    temperature: logits are divided by it.
    normalize: whether the vectors are scaled to length 1 before that.
    rows_multiple: tables are filled up to a multiple of so many rows, so that as many devices can split them.
  """

  num_items: Positive
  code_sizes: tuple[int, ...] = ()
  user_sizes: tuple[int, ...] = ()
  embed_dim: Positive = 64
  hidden_dim: Positive = 128
  history_length: Positive = 64
  sequence_length: int = 32
  sequence_dim: Positive = 64
  history_code: Annotated[int, at_least(-1)] = -1
  num_layers: Positive = 1
  num_heads: Positive = 2
  content: bool = True
  factor_dim: int = 0
  factor_boost: float = 1.0
  temperature: Annotated[float, above(0)] = 1.0
  normalize: bool = False
  rows_multiple: Positive = 1

  def __post_init__(self):
    if self.sequence_length > self.history_length:
      raise ValueError(f'sequence_length {self.sequence_length} is longer than the history of {self.history_length}')
    if self.sequence_dim % self.num_heads:
      raise ValueError(f'sequence_dim {self.sequence_dim} must be divisible by num_heads {self.num_heads}')


@dataclasses.dataclass(frozen=True)
class SparseNNConfig:
  """Shape of the model.

  Attributes:
    num_dense: F.
    num_items: rows of the item table, row 0 (out of vocabulary) not counted; items past it take row 0.
    code_sizes: values of each categorical column of an item, 0 (unknown) included.
    user_sizes: values of each categorical column of a user.
    bins: Q; 0 feeds the dense features as they are.
    bag_length: L, 0 for no bag of recent items.
    interaction: 'dot', 'cross', 'both' or 'none'.
    rows_multiple: tables are filled up to a multiple of so many rows, so that as many devices can split them.
  """

  num_dense: int
  num_items: Positive
  code_sizes: tuple[int, ...] = ()
  user_sizes: tuple[int, ...] = ()
  embed_dim: Positive = 16
  bins: int = 12
  bag_length: int = 16
  bottom_dim: Positive = 128
  top_dims: tuple[Positive, ...] = (128, 64)
  cross_layers: int = 2
  cross_rank: Positive = 32
  interaction: str = 'both'
  sparse: bool = True  # False leaves the embeddings out
  rows_multiple: Positive = 1

  def __post_init__(self):
    if self.interaction not in ('dot', 'cross', 'both', 'none'):
      raise ValueError(f'interaction={self.interaction!r} is not one of dot, cross, both, none')

  def take_bag(self, batch: Mapping[str, Any]) -> Any:
    """[U, L] rows of the latest items of each user's bag."""
    return batch['bag'][:, -self.bag_length :]
