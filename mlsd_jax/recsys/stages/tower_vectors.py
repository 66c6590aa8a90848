"""Vectors of items and users from trained towers, as retrieval needs them: in few shapes, each compiled once."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mlsd_jax.models import two_tower
from mlsd_jax.models.two_tower import TwoTowerConfig
from mlsd_jax.recsys.purchases.histories import Histories
from mlsd_jax.recsys.stages.tower_data import TowerData

_USERS_AT_ONCE = 1024
_ITEMS_AT_ONCE = 1 << 15


def apply_user_tower(params: Any, batch: Any, codes_IC: jax.Array, config: TwoTowerConfig) -> jax.Array:
  return two_tower.user_vectors(
    params, batch['history'], batch['ages'], batch['factors'], batch['user_codes'], codes_IC, config
  )


_item_vectors = jax.jit(two_tower.item_vectors, static_argnames='config')
_user_vectors = jax.jit(apply_user_tower, static_argnames='config')


def compute_item_vectors(params: Any, data: TowerData, config: TwoTowerConfig) -> np.ndarray:
  """[num_items, W] vectors of every item."""
  rows = np.arange(1, len(data.codes), dtype=np.int32)
  padded = np.resize(rows, -(-len(rows) // _ITEMS_AT_ONCE) * _ITEMS_AT_ONCE) if len(rows) > _ITEMS_AT_ONCE else rows
  parts = [
    np.asarray(_item_vectors(params, part, data.items, config))
    for part in np.split(padded, max(len(padded) // _ITEMS_AT_ONCE, 1))
  ]
  return np.concatenate(parts)[: len(rows)]


def compute_user_vectors(
  params: Any, data: TowerData, config: TwoTowerConfig, histories: Histories, users: np.ndarray, cut: int
) -> np.ndarray:
  """[U, W] vectors of users with what they had bought at a cut."""
  table = _on_device(_Array(data.codes))
  parts: list[np.ndarray] = []
  for first in range(0, len(users), _USERS_AT_ONCE):
    part = users[first : first + _USERS_AT_ONCE]
    whole = np.resize(part, min(_USERS_AT_ONCE, 1 << (len(users) - 1).bit_length()))
    vectors = _user_vectors(
      params, data.users(histories, whole, np.full(len(whole), cut), config.history_length), table, config
    )
    parts.append(np.asarray(vectors)[: len(part)])
  return np.concatenate(parts)


class _Array:
  """An array that caches know by its identity."""

  def __init__(self, values: np.ndarray):
    self.values = values

  def __hash__(self) -> int:
    return id(self.values)

  def __eq__(self, other: object) -> bool:
    return isinstance(other, _Array) and other.values is self.values


@functools.lru_cache(maxsize=8)
def _on_device(array: _Array) -> jax.Array:
  return jnp.asarray(array.values)
