"""What serves at the scale of Kaggle's H&M, on generated purchases and untrained models: for time, not for quality."""

import resource
import time

import jax
import numpy as np
from ml_collections import ConfigDict

from mlsd_jax.models import sparsenn, two_tower
from mlsd_jax.models.sparsenn import SparseNNConfig
from mlsd_jax.recsys import funnel, preparation, serving
from mlsd_jax.recsys.funnel import Funnel, Week
from mlsd_jax.recsys.known.snapshot import Snapshot
from mlsd_jax.recsys.purchases import weeks
from mlsd_jax.recsys.purchases.events import Dataset
from mlsd_jax.recsys.purchases.generator import SyntheticConfig, generate
from mlsd_jax.recsys.purchases.histories import Histories
from mlsd_jax.recsys.stages import features, tower_data, towers
from mlsd_jax.recsys.stages.factors import Factors
from mlsd_jax.recsys.stages.scorer import Scorer
from mlsd_jax.recsys.stages.tower_source import Retriever

USERS, ITEMS = 1_371_980, 105_542
_BLENDED = 2000  # users on whom the blend is fitted


def make_dataset(scale: float) -> Dataset:
  """Purchases of a share of H&M's users, of all its items."""
  config = SyntheticConfig(num_users=int(USERS * scale), num_items=ITEMS, events_per_user=23.2, weeks=104, tastes=30)
  return generate(config).dataset


def make_retriever(data: Dataset, histories: Histories, cut: int, config: ConfigDict) -> Retriever:
  """Untrained towers of a config's shape with their factors at a cut, and the index of their items."""
  codes = tower_data.code_items(data)
  of_users = tower_data.code_users(data)
  began = time.perf_counter()
  factors = Factors.at(histories, cut, data.num_items, config.tower.factors)
  tell(f'{config.tower.factors} factors', began)
  known = tower_data.TowerData(histories, codes, of_users, factors)
  model = config.tower.model.to_dict() | {'history_code': len(data.categories) - 1}
  tower = towers.make_model_config(known, model)
  params = jax.device_get(two_tower.init(jax.random.key(0), tower))
  return Retriever.build(params, tower, known)


def make_state(
  data: Dataset, taken: Snapshot, histories: Histories, retriever: Retriever, config: ConfigDict
) -> serving.State:
  """A state of a config's shape, its blend fitted to the week after the snapshot, its ranker untrained."""
  per_source, keep = config.funnel.per_source.to_dict(), config.funnel.keep
  following = weeks.find_targets(data, taken.cut)
  sample = following.only(np.random.default_rng(0).permutation(following.users)[:_BLENDED])
  week = Week(sample, funnel.gather(taken, histories, sample.users, per_source, retriever))
  blend = preparation.fit_blend(week)
  _, dense = funnel.select(week.union, blend, keep)
  model = config.ranker.model.to_dict()
  bounds = features.bucket_bounds(dense, model['bins'])
  codes, user_codes = retriever.data.codes, retriever.data.user_codes
  shape = retriever.config
  ranker = SparseNNConfig(
    num_dense=dense.shape[1],
    num_items=data.num_items,
    code_sizes=shape.code_sizes,
    user_sizes=shape.user_sizes,
    **model,
  )
  scorer = Scorer(jax.device_get(sparsenn.init(jax.random.key(1), ranker)), ranker, codes, user_codes, bounds)
  trained = Funnel(per_source, keep, retriever, blend, scorer)
  return serving.State(trained, taken, histories, *serving.name_tables(data))


def tell(what: str, began: float) -> None:
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
  print(f'{what}: {time.perf_counter() - began:.0f} s, peak memory {peak:.1f} GB', flush=True)
