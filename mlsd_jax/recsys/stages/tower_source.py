"""Candidates from the two towers: item vectors in the shared nearest-neighbour index, asked with user vectors."""

import dataclasses
from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from mlsd_jax.ann import Index, IndexConfig
from mlsd_jax.models.two_tower import TwoTowerConfig
from mlsd_jax.recsys.purchases.histories import Histories
from mlsd_jax.recsys.stages import tower_vectors
from mlsd_jax.recsys.stages.factors import Factors
from mlsd_jax.recsys.stages.sequence_source import SEQUENCE, SequenceSource
from mlsd_jax.recsys.stages.tower_data import TowerData
from mlsd_jax.recsys.stages.vector_source import VectorSource, build_index

NAME = 'tower'


@dataclasses.dataclass(frozen=True)
class Retriever(VectorSource):
  """Trained towers with everything a request needs.

  Attributes:
    data: codes and factors; its examples are not used.
    items: [num_items, W] vectors of the items.
    index: of those vectors.
    settings: of the index.
    sequence: the sequence model beside them, if there is one.
  """

  params: Any
  config: TwoTowerConfig
  data: TowerData
  items: np.ndarray
  index: Index
  settings: IndexConfig | None = None
  sequence: SequenceSource | None = None
  name: ClassVar[str] = NAME

  @classmethod
  def build(
    cls, params: Any, config: TwoTowerConfig, data: TowerData, settings: IndexConfig | None = None
  ) -> 'Retriever':
    vectors = tower_vectors.compute_item_vectors(params, data, config)
    return cls(params, config, data, vectors, build_index(vectors, settings), settings)

  @classmethod
  def at(
    cls,
    params: Any,
    config: TwoTowerConfig,
    data: TowerData,
    histories: Histories,
    cut: int,
    settings: IndexConfig | None = None,
  ) -> 'Retriever':
    """Towers with factors and popularity as of a cut."""
    factors = Factors.at(histories, cut, len(data.codes) - 1, config.factor_dim)
    return cls.build(params, config, dataclasses.replace(data, factors=factors), settings)

  def renewed(self, histories: Histories, cut: int, settings: IndexConfig | None = None) -> 'Retriever':
    """The same towers as of another cut, in an index of other settings if there are any."""
    other = self.at(self.params, self.config, self.data, histories, cut, settings or self.settings)
    sequence = self.sequence.indexed(settings) if self.sequence and settings else self.sequence
    return dataclasses.replace(other, sequence=sequence)

  def named(self, per_source: Iterable[str]) -> 'dict[str, Retriever | SequenceSource]':
    """Those of the two models that are among the sources asked for, by name."""
    both = {NAME: self} | ({SEQUENCE: self.sequence} if self.sequence else {})
    return {name: both[name] for name in per_source if name in both}

  def users(self, histories: Histories, users: np.ndarray, cut: int) -> np.ndarray:
    """[U, W] vectors of users as they are at a cut."""
    return tower_vectors.compute_user_vectors(self.params, self.data, self.config, histories, users, cut)
