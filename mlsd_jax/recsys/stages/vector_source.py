"""A source of candidates whose users and items are vectors: a nearest-neighbour index, asked with users' vectors."""

import dataclasses
from typing import ClassVar

import numpy as np

from mlsd_jax.ann import Index, IndexConfig
from mlsd_jax.recsys.known.snapshot import Snapshot
from mlsd_jax.recsys.stages.candidates import Candidates, Found, Source
from mlsd_jax.recsys.stages.filters import Filter

_ITEM = 'item'  # what the index is filtered by
_TOGETHER = 64  # users


def build_index(vectors: np.ndarray, settings: IndexConfig | None = None) -> Index:
  """The index of items' vectors [I, W], which can be asked for some of the items alone."""
  return Index.build(vectors, metric='dot', metadata={_ITEM: np.arange(len(vectors))}, settings=settings)


class VectorSource:
  """What both kinds of such a source do; each is a dataclass with these attributes.

  Attributes:
    name: of the source.
    items: [num_items, W] vectors of the items.
    index: of those vectors, or of the first of them.
  """

  name: ClassVar[str]
  items: np.ndarray
  index: Index

  def source(self, vectors: np.ndarray) -> Source:
    """A source of candidates for users of whom `vectors` [U, W] are. Who is all zero is not known, and gets none."""

    def search(snapshot: Snapshot, users: np.ndarray, k: int, only: Filter | None = None) -> Found:
      depth, where = k, None
      if only is not None:
        depth += only.spare(snapshot, users)
        stocked = None if only.in_stock is None else np.flatnonzero(only.in_stock)
        where = None if stocked is None else {_ITEM: stocked[stocked < len(self.index)]}
      items = np.full((len(users), depth), -1, np.int32)
      scores = np.zeros((len(users), depth), np.float32)
      indexed, known = len(self.index), vectors.any(1)
      # Nothing is nearest to zeros: whoever is not known asks with something else, whose answer is dropped.
      asked = np.where(known[:, None], vectors, 1.0).astype(np.float32)
      near = self.index.search(asked, min(depth, max(indexed, 1)), where=where)
      got = near.rows[0].shape[0] if len(users) else 0
      items[:, :got], scores[:, :got] = np.stack(near.rows), np.stack(near.scores)
      if len(self.items) > indexed:
        items, scores = self._with_new(items, scores, vectors, only)
      items[~known] = -1
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
    """The score of all candidates, in standard deviations from the mean of their user's union.

    A softmax does not tell what is added to all scores of a user, and how far they lie apart grows with training:
    products themselves mean another thing after each refresh, and what had learnt from the one would misread the next.
    """
    column = candidates.sources.index(self.name)
    score, row = candidates.score.copy(), candidates.row
    # Of many users all products with the items that any of them has cost less than looking up each pair.
    at_once = _TOGETHER if len(vectors) >= _TOGETHER else 1
    for first in range(0, len(vectors), at_once):
      rows = slice(candidates.start[first], candidates.start[min(first + at_once, len(vectors))])
      item = candidates.item[rows]
      if at_once == 1:
        score[rows, column] = self._vectors_of(item) @ vectors[first]
      else:
        items, place = np.unique(item, return_inverse=True)
        products = vectors[first : first + at_once] @ self._vectors_of(items).T
        score[rows, column] = products[row[rows] - first, place]
    number = np.maximum(np.diff(candidates.start), 1)
    mean_of = lambda values: (np.bincount(row, values, len(vectors)) / number)[row]
    apart = score[:, column] - mean_of(score[:, column])
    score[:, column] = apart / (np.sqrt(mean_of(apart**2)) + 1e-6)
    return dataclasses.replace(candidates, score=score)

  def _vectors_of(self, items: np.ndarray) -> np.ndarray:
    """[N, W]; zeros of what has no vector, as items that came after the build may."""
    number = len(self.items)
    if not len(items) or items.max() < number:
      return self.items[items]
    return np.where((items < number)[:, None], self.items[np.minimum(items, number - 1)], 0.0).astype(np.float32)
