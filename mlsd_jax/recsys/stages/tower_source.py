"""Candidates from the two towers: item vectors in the shared nearest-neighbour index, asked with user vectors."""

import dataclasses
from typing import Any

import numpy as np

from mlsd_jax.ann import Index, IndexConfig
from mlsd_jax.models.two_tower import TwoTowerConfig
from mlsd_jax.recsys.known.snapshot import Snapshot
from mlsd_jax.recsys.purchases.histories import Histories
from mlsd_jax.recsys.stages import tower_vectors
from mlsd_jax.recsys.stages.candidates import Candidates, Found, Source
from mlsd_jax.recsys.stages.factors import Factors
from mlsd_jax.recsys.stages.filters import Filter
from mlsd_jax.recsys.stages.tower_data import TowerData

NAME = 'tower'
_ITEM = 'item'  # what the index is filtered by
_TOGETHER = 64  # users


def build_index(vectors: np.ndarray, settings: IndexConfig | None = None) -> Index:
  """The index of items' vectors [I, W], which can be asked for some of the items alone."""
  return Index.build(vectors, metric='dot', metadata={_ITEM: np.arange(len(vectors))}, settings=settings)


@dataclasses.dataclass(frozen=True)
class Retriever:
  """Trained towers with everything a request needs.

  Attributes:
    data: codes and factors; its examples are not used.
    items: [num_items, W] vectors of the items.
    index: of those vectors.
    settings: of the index.
  """

  params: Any
  config: TwoTowerConfig
  data: TowerData
  items: np.ndarray
  index: Index
  settings: IndexConfig | None = None

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
    return self.at(self.params, self.config, self.data, histories, cut, settings or self.settings)

  def users(self, histories: Histories, users: np.ndarray, cut: int) -> np.ndarray:
    """[U, W] vectors of users as they are at a cut."""
    return tower_vectors.compute_user_vectors(self.params, self.data, self.config, histories, users, cut)

  def source(self, vectors: np.ndarray) -> Source:
    """The towers as a source of candidates for users of whom `vectors` [U, W] are."""

    def search(snapshot: Snapshot, users: np.ndarray, k: int, only: Filter | None = None) -> Found:
      depth, where = k, None
      if only is not None:
        depth += only.spare(snapshot, users)
        stocked = None if only.in_stock is None else np.flatnonzero(only.in_stock)
        where = None if stocked is None else {_ITEM: stocked[stocked < len(self.index)]}
      items = np.full((len(users), depth), -1, np.int32)
      scores = np.zeros((len(users), depth), np.float32)
      indexed = len(self.index)
      near = self.index.search(vectors, min(depth, max(indexed, 1)), where=where)
      got = near.rows[0].shape[0] if len(users) else 0
      items[:, :got], scores[:, :got] = np.stack(near.rows), np.stack(near.scores)
      if len(self.items) > indexed:
        items, scores = self._with_new(items, scores, vectors, only)
      return (items, scores) if only is None else only.first_passing(snapshot, users, items, scores, k)

    return search

  def _with_new(
    self, items: np.ndarray, scores: np.ndarray, vectors: np.ndarray, only: Filter | None
  ) -> tuple[np.ndarray, np.ndarray]:
    """Lists [U, K] with what came after the index was built, which is few: all of it is compared."""
    new = np.arange(len(self.index), len(self.items))
    if only is not None and only.in_stock is not None:
      new = new[only.in_stock[new]]
    found = np.tile(new.astype(np.int32), (len(vectors), 1))
    items = np.concatenate([items, found], 1)
    scores = np.concatenate([scores, vectors @ self.items[new].T], 1)
    best = np.argsort(np.where(items < 0, np.inf, -scores), axis=1, kind='stable')[:, : items.shape[1] - len(new)]
    return np.take_along_axis(items, best, 1), np.take_along_axis(scores, best, 1)

  def scored(self, candidates: Candidates, vectors: np.ndarray) -> Candidates:
    """The towers' score of all candidates, in standard deviations from the mean of their user's union.

    A softmax does not tell what is added to all scores of a user, and how far they lie apart grows with training:
    products themselves mean another thing after each refresh, and what had learnt from the one would misread the next.
    """
    column = candidates.sources.index(NAME)
    score, row = candidates.score.copy(), candidates.row
    # Of many users all products with the items that any of them has cost less than looking up each pair.
    at_once = _TOGETHER if len(vectors) >= _TOGETHER else 1
    for first in range(0, len(vectors), at_once):
      rows = slice(candidates.start[first], candidates.start[min(first + at_once, len(vectors))])
      item = candidates.item[rows]
      if at_once == 1:
        score[rows, column] = self.items[item] @ vectors[first]
      else:
        items, place = np.unique(item, return_inverse=True)
        products = vectors[first : first + at_once] @ self.items[items].T
        score[rows, column] = products[row[rows] - first, place]
    number = np.maximum(np.diff(candidates.start), 1)
    mean_of = lambda values: (np.bincount(row, values, len(vectors)) / number)[row]
    apart = score[:, column] - mean_of(score[:, column])
    score[:, column] = apart / (np.sqrt(mean_of(apart**2)) + 1e-6)
    return dataclasses.replace(candidates, score=score)
