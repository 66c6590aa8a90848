"""Training the funnel's two models through the one trainer."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import jax
import numpy as np

from mlsd_jax.ann import IndexConfig
from mlsd_jax.data.batches import slices
from mlsd_jax.errors import UserError
from mlsd_jax.models.sparsenn import SparseNNConfig
from mlsd_jax.models.two_tower import TwoTowerConfig
from mlsd_jax.recsys.known.snapshot import RECENT
from mlsd_jax.recsys.purchases import weeks
from mlsd_jax.recsys.purchases.events import Dataset
from mlsd_jax.recsys.purchases.histories import Histories
from mlsd_jax.recsys.stages import calibration, features, ranker, tower_examples, towers
from mlsd_jax.recsys.stages.calibration import CalibrationSample
from mlsd_jax.recsys.stages.factors import Factors
from mlsd_jax.recsys.stages.ranker import LossConfig
from mlsd_jax.recsys.stages.ranker_examples import Groups
from mlsd_jax.recsys.stages.scorer import Scorer
from mlsd_jax.recsys.stages.tower_examples import TowerBatches, held_out_users
from mlsd_jax.recsys.stages.tower_source import Retriever
from mlsd_jax.recsys.stages.trees import AverageScorer, Ranker, TreesConfig, TreeScorer
from mlsd_jax.schema import above, at_least, from_mapping
from mlsd_jax.training.config import TrainConfig
from mlsd_jax.training.loop import Result, fit

KINDS = ('sparsenn', 'lightgbm', 'average')  # of the ranker; the last is the mean of the others
_BATCHES = 4  # of a span of the towers' examples, at least


@dataclasses.dataclass(frozen=True)
class TowerConfig:
  """Ingredients of the towers and of their training.

  Attributes:
    model: what TwoTowerConfig has, but for what follows from the data.
    weeks: of examples.
    log_q: see towers.tower_task.
    uniform_negatives: likewise.
    factors: of the wide part (factors.py), 0 for none.
    refresh: weeks after which the towers go on learning from what was bought since; 0 for never.
    refresh_steps: updates of each such time.
    depth: candidates that will be asked for, of few items a twentieth at most: the factors' weight is chosen so that
      most purchases are among so many. What is best for a thousand is not for a hundred.
    epochs: no more updates than go through the examples so often: a small table soon memorises them.
    index: kind of the nearest-neighbour index.
  """

  model: Mapping[str, Any]
  train: TrainConfig
  weeks: int = 20
  log_q: bool = True
  uniform_negatives: bool = True
  factors: int = 512
  refresh: int = 4
  refresh_steps: int = 60
  depth: int = 1000
  epochs: Annotated[float, above(0)] = 2.0
  index: str = 'auto'

  def __post_init__(self):
    for name, least in (('weeks', 1), ('factors', 0), ('refresh', 0), ('refresh_steps', 1), ('depth', 1)):
      if getattr(self, name) < least:
        raise UserError(f'config.tower.{name} must be at least {least}, got {getattr(self, name)}')
    # Whatever cannot be is said before anything is trained, so with sizes that data will give later.
    from_mapping(TwoTowerConfig, {**self.model, 'num_items': 1}, 'tower.model')
    _ = self.index_config

  @property
  def index_config(self) -> IndexConfig:
    return from_mapping(IndexConfig, {'kind': self.index}, 'tower')


@dataclasses.dataclass(frozen=True)
class RankerConfig:
  """The ranker and its training.

  Attributes:
    kind: one of KINDS.
    losses: of SparseNN; with a part of `teacher` it learns from trees, too, which are fitted before.
    model: what SparseNNConfig has, but for what follows from the data.
    epochs: no more updates than go through the groups so often.
    held_weeks: the latest of its weeks, which it does not learn from: on them its probabilities are put right. 0 puts
      them right on weeks that it has learnt.
  """

  model: Mapping[str, Any]
  train: TrainConfig
  losses: LossConfig = dataclasses.field(default_factory=LossConfig)
  epochs: Annotated[float, above(0)] = 3.0
  kind: str = 'sparsenn'
  trees: TreesConfig = dataclasses.field(default_factory=TreesConfig)
  held_weeks: Annotated[int, at_least(0)] = 0

  def __post_init__(self):
    if self.kind not in KINDS:
      raise UserError(f'config.ranker.kind={self.kind!r} is not one of {", ".join(KINDS)}')
    if self.bag_length > RECENT:
      raise UserError(f'config.ranker.model.bag_length={self.bag_length}: {RECENT} items of a user are kept at most')

  @property
  def grows_trees(self) -> bool:
    """Whether trees are fitted: to rank, or to teach."""
    return self.kind != 'sparsenn' or self.losses.teacher > 0

  @property
  def bag_length(self) -> int:
    """Of the model, which is made with sizes that data will give later."""
    return from_mapping(SparseNNConfig, {**self.model, 'num_dense': 1, 'num_items': 1}, 'ranker.model').bag_length


def train_towers(
  dataset: Dataset, before: int, config: TowerConfig, folder: pathlib.Path, previous: Retriever | None = None
) -> tuple[Retriever, Result]:
  """Towers that know nothing from `before` on; first ones are evaluated on the week that begins there, if there is one.

  Args:
    previous: towers of an earlier week, which go on for `refresh_steps` on examples of the weeks since.

  Raises:
    UserError: there is nothing to learn from.
  """
  train = config.train
  # The latest week is not learnt from: by what is bought in it, the weight of the factors is chosen.
  latest = before - weeks.WEEK
  spare = dataset.between(latest, before).height and dataset.before(latest).height
  data, spans = tower_examples.make_examples(
    dataset,
    latest if spare else before,
    config.refresh if previous else config.weeks,
    config.factors,
    least=_BATCHES * train.batch_size,
  )
  examples = sum(len(span.item) for span in spans)
  if not examples:
    raise UserError(
      f'{dataset.name}: too little was bought before the first week of the ranker for the towers to learn'
    )
  if previous:
    train = dataclasses.replace(train, steps=config.refresh_steps, eval_every=0)
  train = limit_steps(train, config.epochs, examples)
  model_settings = dict(config.model)
  if dataset.categories:
    model_settings['history_code'] = len(dataset.categories) - 1
  model = towers.make_model_config(data, model_settings)
  task = towers.tower_task(
    model, data, batch_size=train.batch_size, log_q=config.log_q, uniform_negatives=config.uniform_negatives
  )
  batches = TowerBatches(data, spans, model, train.batch_size, seed=train.seed)
  params = previous.params if previous else jax.device_get(jax.jit(task.init)(jax.random.key(train.seed)))
  following = weeks.find_targets(dataset, before)
  histories = Histories.from_events(dataset.before(before), dataset.num_users)
  judged = len(following.user) and not previous
  held_out = held_out_users(data, model, following, histories, train.batch_size) if judged else None
  result = fit(
    task,
    batches,
    held_out,
    train,
    folder,
    init_params=towers.fit_wide_weights(task, params, next(batches.batches(0))),
    metadata={'model': 'two_tower', 'config': dataclasses.asdict(model)},
  )
  params = jax.device_get(result.params)
  if config.factors and spare and not result.interrupted:
    depth = max(min(config.depth, dataset.num_items // 20), 1)
    data = dataclasses.replace(data, factors=Factors.at(data.histories, latest, dataset.num_items, config.factors))
    usual = towers.factor_weight(previous.params, previous.config) if previous else None
    boost = towers.choose_factor_boost(params, data, model, weeks.find_targets(dataset, latest), depth, usual)
    model = dataclasses.replace(model, factor_boost=boost)
  data = dataclasses.replace(data, histories=histories)
  return Retriever.at(params, model, data, histories, before, config.index_config), result


def limit_steps(train: TrainConfig, epochs: float, examples: int) -> TrainConfig:
  """The same training with at most as many updates as go through the examples `epochs` times."""
  steps = max(min(train.steps, round(epochs * examples / train.batch_size)), 1)
  optimizer = dataclasses.replace(train.optimizer, warmup_steps=min(train.optimizer.warmup_steps, steps // 3))
  return dataclasses.replace(train, steps=steps, optimizer=optimizer)


def train_ranker(
  groups: Groups, codes: np.ndarray, user_codes: np.ndarray, config: RankerConfig, folder: pathlib.Path
) -> tuple[Scorer, Result]:
  """SparseNN on groups of candidates.

  Args:
    codes: [num_items + 1, C] of the item table's rows.
    user_codes: [num_users + 1, columns].
  """
  train = limit_steps(config.train, config.epochs, len(groups))
  arrays = groups.arrays
  known = arrays['weights'].reshape(-1) > 0
  dense = arrays['dense'].reshape(len(known), -1)[known]
  sizes = lambda table: tuple(int(column.max()) + 1 for column in table.T)
  described = {
    'num_dense': dense.shape[1],
    'num_items': len(codes) - 1,
    'code_sizes': sizes(codes),
    'user_sizes': sizes(user_codes),
  }
  model = from_mapping(SparseNNConfig, dict(config.model) | described, 'ranker.model')
  bounds = features.bucket_bounds(dense, max(model.bins, 1))
  task = ranker.ranker_task(model, codes, bounds, batch_size=train.batch_size, losses=config.losses)
  batches = slices(groups.arrays, train.batch_size, train.seed)
  result = fit(task, batches, None, train, folder, metadata={'model': 'sparsenn', 'config': dataclasses.asdict(model)})
  return Scorer(jax.device_get(result.params), model, codes, user_codes, bounds), result


def train_rankers(
  groups: Groups,
  samples: Sequence[CalibrationSample],
  codes: np.ndarray,
  user_codes: np.ndarray,
  config: RankerConfig,
  folder: pathlib.Path,
  tell: Callable[[str], None] = print,
) -> tuple[Ranker, dict[str, Any]] | None:
  """The ranker of `config.kind`, its probabilities put right on `samples`; None if requested to stop.

  Args:
    codes, user_codes: see `train_ranker`.

  Returns:
    (ranker, whose parameters it has: ranker_checkpoint_step and so on, where there are any)
  """
  parts: list[Scorer | TreeScorer] = []
  origin: dict[str, Any] = {}
  trees: TreeScorer | None = None
  if config.grows_trees:
    tell(f'{config.trees.rounds} trees')
    fitted_trees = TreeScorer.fit(groups, codes, user_codes, config.trees, config.train.seed)
    trees = calibration.calibrate(fitted_trees, samples, warn=tell)
  if config.kind != 'lightgbm':
    taught = groups.taught(trees.score_groups(groups)) if trees and config.losses.teacher else groups
    scorer, fitted = train_ranker(taught, codes, user_codes, config, folder)
    if fitted.interrupted:
      return None
    parts.append(calibration.calibrate(scorer, samples, warn=tell))
    origin = fitted.origin('ranker_')
  if trees and config.kind != 'sparsenn':
    parts.append(trees)
  if len(parts) == 1:
    return parts[0], origin
  return calibration.calibrate(AverageScorer(parts), samples, warn=tell), origin
