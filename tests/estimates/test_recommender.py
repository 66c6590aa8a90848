"""The sizes of the recommender's models on paper are those of the real ones."""

import dataclasses
import functools
import math

import flax.traverse_util
import jax
import pytest

from mlsd_jax.estimates import recommender
from mlsd_jax.models import sparsenn, two_tower

TOWERS = (
  dict(num_items=90, code_sizes=(9, 4), factor_dim=5, rows_multiple=8),
  dict(num_items=3, code_sizes=(7,), content=False, sequence_length=0, embed_dim=12),
  dict(num_items=50, user_sizes=(3, 4), num_layers=2, sequence_dim=16, num_heads=4, hidden_dim=9),
)
RANKERS = (
  dict(num_dense=7, num_items=90, code_sizes=(9, 4), rows_multiple=8),
  dict(num_dense=5, num_items=3, bins=0, bag_length=0, interaction='none', top_dims=(8,)),
  dict(num_dense=5, num_items=3, interaction='cross', cross_layers=3, user_sizes=(4,)),
  dict(num_dense=5, num_items=3, interaction='dot', top_dims=()),
  dict(num_dense=5, num_items=3, sparse=False, code_sizes=(4,)),
)


@pytest.mark.parametrize('sizes', TOWERS)
def test_of_towers(sizes):
  config = two_tower.TwoTowerConfig(**sizes)
  _check(recommender.of_towers(dataclasses.asdict(config)), functools.partial(two_tower.init, config=config))


@pytest.mark.parametrize('sizes', RANKERS)
def test_of_ranker(sizes):
  config = sparsenn.SparseNNConfig(**sizes)
  model = recommender.of_ranker(dataclasses.asdict(config), len(sparsenn.HEADS))
  _check(model, functools.partial(sparsenn.init, config=config))


def _check(model: recommender.Model, init) -> None:
  made = flax.traverse_util.flatten_dict(jax.eval_shape(init, jax.random.key(0)), sep='/')
  tables = {path: leaf.shape for path, leaf in made.items() if '_table' in path}
  assert model.tables == tables
  assert model.weights == sum(math.prod(leaf.shape) for path, leaf in made.items() if path not in tables)
