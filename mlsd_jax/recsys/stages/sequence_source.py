"""Candidates from the sequence model: items near the state of a user's latest event."""

import dataclasses
from typing import Any, ClassVar

import jax
import numpy as np

from mlsd_jax.ann import Index, IndexConfig
from mlsd_jax.models import sequential
from mlsd_jax.models.sequential import SequentialConfig
from mlsd_jax.recsys.purchases.histories import Histories
from mlsd_jax.recsys.stages import sequence_examples, sequences
from mlsd_jax.recsys.stages.vector_source import VectorSource, build_index

SEQUENCE = 'sequence'
_AT_ONCE = 256  # users

_user_vectors = jax.jit(sequences.user_vectors, static_argnames='config')


@dataclasses.dataclass(frozen=True)
class SequenceSource(VectorSource):
  """A trained sequence model with what a request needs.

  Attributes:
    items: [num_items, D] vectors of the items.
    index: of those vectors.
  """

  params: Any
  config: SequentialConfig
  items: np.ndarray
  index: Index
  name: ClassVar[str] = SEQUENCE

  @classmethod
  def build(cls, params: Any, config: SequentialConfig, settings: IndexConfig | None = None) -> 'SequenceSource':
    items = np.asarray(sequential.item_vectors(params, config))
    return cls(params, config, items, build_index(items, settings))

  def indexed(self, settings: IndexConfig) -> 'SequenceSource':
    """The same in an index of other settings."""
    return dataclasses.replace(self, index=build_index(self.items, settings))

  def users(self, histories: Histories, users: np.ndarray, cut: int) -> np.ndarray:
    """[U, D] vectors of users with what they had bought at a cut; zeros of one who had bought nothing."""
    parts = [np.zeros((0, self.config.embed_dim), np.float32)]
    for first in range(0, len(users), _AT_ONCE):
      part = users[first : first + _AT_ONCE]
      whole = np.resize(part, min(_AT_ONCE, 1 << (len(users) - 1).bit_length()))
      batch = sequence_examples.latest(histories, whole, np.full(len(whole), cut), self.config.sequence_length)
      parts.append(np.asarray(_user_vectors(self.params, batch, config=self.config))[: len(part)])
    return np.concatenate(parts)
