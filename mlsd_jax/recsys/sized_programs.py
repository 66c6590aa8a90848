"""The recommender's programs for so many items and users, to be compiled for a machine that is not here."""

import dataclasses
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mlsd_jax.compilation import Program, batched_program, train_program
from mlsd_jax.models import sparsenn
from mlsd_jax.models.sparsenn import SparseNNConfig
from mlsd_jax.models.two_tower import TwoTowerConfig
from mlsd_jax.recsys.preparation import RecommenderConfig
from mlsd_jax.recsys.purchases.histories import Histories
from mlsd_jax.recsys.sequence_training import SequenceConfig
from mlsd_jax.recsys.stages import features, ranker, sequences, towers
from mlsd_jax.recsys.stages.factors import Factors
from mlsd_jax.recsys.stages.tower_data import TowerData
from mlsd_jax.recsys.stages.tower_vectors import apply_user_tower
from mlsd_jax.schema import from_mapping


@dataclasses.dataclass(frozen=True)
class Sizes:
  """How large the tables are.

  Attributes:
    num_items: rows of the item table.
    num_users: rows of a table of users, as one more column of theirs; 0 for none.
    item_columns, user_columns: values of each column of an item and of a user, 0 (unknown) included.
  """

  num_items: int
  num_users: int = 0
  item_columns: tuple[int, ...] = (300, 30)
  user_columns: tuple[int, ...] = ()

  @classmethod
  def of(cls, codes: np.ndarray, user_codes: np.ndarray) -> 'Sizes':
    """Those of purchases that were read, whose users have no rows of their own."""
    sizes = lambda table: tuple(int(column.max()) + 1 for column in table.T)
    return cls(len(codes) - 1, 0, sizes(codes), sizes(user_codes))

  @property
  def of_users(self) -> tuple[int, ...]:
    return (*self.user_columns, *([self.num_users] if self.num_users else []))


def list_programs(config: RecommenderConfig, sizes: Sizes) -> list[Program]:
  """'train towers', 'user vectors', 'train ranker' and 'ranking' (the candidates of a batch of users); where there is a
  sequence model, 'train sequence' and 'sequence vectors' too."""
  codes = np.zeros((sizes.num_items + 1, len(sizes.item_columns)), np.int32)
  described = {'num_items': sizes.num_items, 'code_sizes': sizes.item_columns, 'user_sizes': sizes.of_users}
  of_ranker = [] if config.ranker.kind == 'lightgbm' else _ranker_programs(config, codes, described)
  of_sequence = _sequence_programs(config.sequence, sizes.num_items) if config.sequence else []
  return [*_tower_programs(config, codes, described), *of_sequence, *of_ranker]


def _tower_programs(config: RecommenderConfig, codes: np.ndarray, described: dict[str, Any]) -> list[Program]:
  tower, train, items = config.tower, config.tower.train, len(codes)
  known = Factors(np.zeros((items, tower.factors), np.float32), np.ones(items, np.float32), np.zeros(items, np.float32))
  nobody = Histories(np.zeros(2, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int32), 0)
  columns = len(described['user_sizes'])
  data = TowerData(nobody, codes, np.zeros((1, columns), np.int32), known)
  model = from_mapping(TwoTowerConfig, {**tower.model, **described, 'factor_dim': tower.factors}, 'tower.model')
  size, integer = train.batch_size, np.int32
  task = towers.tower_task(model, data, batch_size=size, log_q=tower.log_q, uniform_negatives=tower.uniform_negatives)
  users = {
    'history': _shape(size, model.history_length, dtype=integer),
    'ages': _shape(size, model.history_length, dtype=integer),
    'factors': _shape(size, tower.factors),
    'user_codes': _shape(size, columns, dtype=integer),
  }
  names = ('item', 'negative') if tower.uniform_negatives else ('item',)
  pool: dict[str, Any] = {'user': _shape(size, dtype=integer)}
  for name in names:
    pool |= {name: _shape(size, dtype=integer), f'{name}_known': _shape(size, tower.factors + 2)}
  params = jax.eval_shape(task.init, jax.random.key(0))
  vectors = lambda params, batch: apply_user_tower(params, batch, jnp.asarray(codes), model)
  return [
    train_program(task, train, users | pool, 'train towers'),
    batched_program('user vectors', vectors, params, users, towers.TOWER_RULES, train.mesh),
  ]


def _sequence_programs(config: SequenceConfig, num_items: int) -> list[Program]:
  train, model, integer = config.train, config.make_model(num_items), np.int32
  task = sequences.sequence_task(model, batch_size=train.batch_size, loss=config.loss, calibration=config.calibration)
  rows, length = train.batch_size, model.sequence_length
  users = {name: _shape(rows, length, dtype=integer) for name in ('history', 'times')}
  targets = {'target': _shape(rows, length, dtype=integer), 'weights': _shape(rows, length)}
  drawn = {
    'negative': _shape(rows, config.negatives, dtype=integer),
    'log_expected': _shape(rows, config.negatives),
  }
  params = jax.eval_shape(task.init, jax.random.key(0))
  vectors = lambda params, batch: sequences.user_vectors(params, batch, model)
  return [
    train_program(task, train, users | targets | drawn, 'train sequence'),
    batched_program('sequence vectors', vectors, params, users, sequences.SEQUENCE_RULES, train.mesh),
  ]


def _ranker_programs(config: RecommenderConfig, codes: np.ndarray, described: dict[str, Any]) -> list[Program]:
  train, group = config.ranker.train, config.funnel.group
  snapshot: Any = types.SimpleNamespace(categories=range(codes.shape[1]), promoted=True)
  dense = len(features.dense_names(snapshot, tuple(config.funnel.per_source)))
  model = from_mapping(SparseNNConfig, {**config.ranker.model, **described, 'num_dense': dense}, 'ranker.model')
  bounds = np.tile(np.arange(max(model.bins, 1) + 1, dtype=np.float32), (dense, 1))
  task = ranker.ranker_task(model, codes, bounds, batch_size=train.batch_size, losses=config.ranker.losses)
  rows, columns, integer = train.batch_size, len(described['user_sizes']), np.int32
  groups = {
    'dense': _shape(rows, group, dense),
    'item': _shape(rows, group, dtype=integer),
    'user_codes': _shape(rows, columns, dtype=integer),
    'bag': _shape(rows, max(model.bag_length, 1), dtype=integer),
    'labels': _shape(rows, group, len(sparsenn.HEADS)),
    'offset': _shape(rows),
    'weights': _shape(rows, group),
  }
  asked = 64 * config.funnel.keep
  candidates = {
    'dense': _shape(asked, dense),
    'item': _shape(asked, dtype=integer),
    'user_codes': _shape(asked, columns, dtype=integer),
    'bag': _shape(asked, max(model.bag_length, 1), dtype=integer),
  }
  params = jax.eval_shape(task.init, jax.random.key(0))
  score = lambda params, batch: sparsenn.apply(params, batch, jnp.asarray(codes), jnp.asarray(bounds), model)
  return [
    train_program(task, train, groups, 'train ranker'),
    batched_program('ranking', score, params, candidates, ranker.RANKER_RULES, train.mesh),
  ]


def _shape(*sizes: int, dtype: Any = np.float32) -> jax.ShapeDtypeStruct:
  return jax.ShapeDtypeStruct(sizes, dtype)
