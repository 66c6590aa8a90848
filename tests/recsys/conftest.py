"""A small shop with a known cause, shared by the tests of the recommender."""

import dataclasses

import jax
import pytest

from mlsd_jax.models import sparsenn, two_tower
from mlsd_jax.models.sparsenn import SparseNNConfig
from mlsd_jax.recsys import funnel, preparation, serving
from mlsd_jax.recsys.funnel import Funnel, Week
from mlsd_jax.recsys.known import snapshot
from mlsd_jax.recsys.purchases import weeks
from mlsd_jax.recsys.purchases.generator import Generated, SyntheticConfig, generate
from mlsd_jax.recsys.purchases.histories import Histories
from mlsd_jax.recsys.stages import features, tower_examples, towers
from mlsd_jax.recsys.stages.scorer import Scorer
from mlsd_jax.recsys.stages.tower_source import NAME, Retriever

PER_SOURCE = {'repurchase': 20, 'popular': 20, 'place': 20, 'category': 20, 'covisit': 20, NAME: 20}


@pytest.fixture(scope='session')
def made() -> Generated:
  return generate(SyntheticConfig(num_users=300, num_items=200, events_per_user=20, weeks=12, tastes=8, seed=1))


@pytest.fixture(scope='session')
def state(made):
  """A state of untrained models: what matters here is that it answers, and answers the same."""
  dataset = made.dataset
  cut = weeks.list_cuts(dataset, 1)[0]
  data, _ = tower_examples.make_examples(dataset, cut, 4, factor_dim=8)
  config = towers.make_model_config(data, {'embed_dim': 8, 'hidden_dim': 8, 'history_length': 8, 'sequence_length': 4})
  retriever = Retriever.build(jax.device_get(two_tower.init(jax.random.key(0), config)), config, data)
  histories = Histories.from_events(dataset.events, dataset.num_users)
  taken, targets = snapshot.take(dataset, cut), weeks.find_targets(dataset, cut)
  union = funnel.gather(taken, histories, targets.users, PER_SOURCE, retriever)
  blend = preparation.fit_blend(Week(targets, union))
  _, dense = funnel.select(union, blend, 30)
  bounds = features.bucket_bounds(dense, 4)
  ranker = SparseNNConfig(
    num_dense=dense.shape[1], num_items=dataset.num_items, code_sizes=config.code_sizes, bins=4, bag_length=4
  )
  params = jax.device_get(sparsenn.init(jax.random.key(1), ranker))
  scorer = Scorer(params, ranker, data.codes, data.user_codes, bounds)
  trained = Funnel(PER_SOURCE, 30, retriever, blend, scorer)
  return serving.State(trained, taken, histories, *serving.name_tables(dataset))


@pytest.fixture(scope='session')
def shop(made, state):
  """The same with its purchases, as a build leaves it: all of them lie before the cut."""
  dataset = made.dataset.until(state.snapshot.cut)
  histories = Histories.from_events(dataset.events, dataset.num_users)
  return dataclasses.replace(state, histories=histories, purchases=dataset)
