"""Candidates from the two towers: item vectors in the shared nearest-neighbour index, asked with user vectors."""

import dataclasses
from typing import Any

import numpy as np

from mlsd_jax.ann import Index, Settings
from mlsd_jax.models.two_tower import TwoTowerConfig
from mlsd_jax.recsys import towers
from mlsd_jax.recsys.candidates import Candidates, Found, Source
from mlsd_jax.recsys.snapshot import Snapshot
from mlsd_jax.recsys.tower_examples import Histories, TowerData

NAME = 'tower'


@dataclasses.dataclass(frozen=True)
class Retriever:
  """Trained towers with everything a request needs.

  Attributes:
    data: codes of items and users; its examples are not used.
    items: [num_items, D + 1] vectors of the items.
    index: of those vectors.
  """

  params: Any
  config: TwoTowerConfig
  data: TowerData
  items: np.ndarray
  index: Index

  @classmethod
  def build(cls, params: Any, config: TwoTowerConfig, data: TowerData, settings: Settings | None = None) -> 'Retriever':
    vectors = towers.all_items(params, data, config)
    return cls(params, config, data, vectors, Index.build(vectors, metric='dot', settings=settings))

  def users(self, histories: Histories, users: np.ndarray, cut: int) -> np.ndarray:
    """[U, D + 1] vectors of users as they are at a cut."""
    return towers.some_users(self.params, self.data, self.config, histories, users, cut)

  def source(self, vectors: np.ndarray) -> Source:
    """The towers as a source of candidates for users of whom `vectors` [U, D + 1] are."""

    def found(snapshot: Snapshot, users: np.ndarray, k: int) -> Found:
      del snapshot
      near = self.index.search(vectors, k)
      items = np.full((len(users), k), -1, np.int32)
      scores = np.zeros((len(users), k), np.float32)
      got = near.rows[0].shape[0] if len(users) else 0
      items[:, :got], scores[:, :got] = np.stack(near.rows), np.stack(near.scores)
      return items, scores

    return found

  def scored(self, candidates: Candidates, vectors: np.ndarray) -> Candidates:
    """The towers' score also of candidates that other sources found."""
    column = candidates.sources.index(NAME)
    score = candidates.score.copy()
    for row in range(len(candidates.users)):
      of_row = slice(candidates.start[row], candidates.start[row + 1])
      score[of_row, column] = self.items[candidates.item[of_row]] @ vectors[row]
    return dataclasses.replace(candidates, score=score)
