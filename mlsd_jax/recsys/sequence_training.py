"""Training the funnel's sequence model through the one trainer, on what was bought before a cut."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import jax

from mlsd_jax.ann import IndexConfig
from mlsd_jax.errors import UserError
from mlsd_jax.models.sequential import SequentialConfig
from mlsd_jax.recsys.purchases import weeks
from mlsd_jax.recsys.purchases.events import Dataset
from mlsd_jax.recsys.purchases.histories import Histories
from mlsd_jax.recsys.stages import sequence_examples
from mlsd_jax.recsys.stages.sequence_examples import SequenceBatches
from mlsd_jax.recsys.stages.sequence_source import SequenceSource
from mlsd_jax.recsys.stages.sequences import sequence_task
from mlsd_jax.recsys.training import limit_steps
from mlsd_jax.schema import Positive, above, between, from_mapping
from mlsd_jax.training.config import TrainConfig
from mlsd_jax.training.loop import Result, fit


@dataclasses.dataclass(frozen=True)
class SequenceConfig:
  """The sequence model and its training.

  Attributes:
    kind: of the model: sasrec or hstu; '' for none.
    model: what SequentialConfig has, but for the kind and what follows from the data.
    loss: see sequences.sequence_task.
    negatives: drawn for each row of a batch, shared by all of them; 'softmax' takes all items.
    popular: share of the negatives that is drawn as often as items sell; the others are uniform.
    calibration: of 'gbce'.
    horizon: days; what is learnt is any purchase of so many days after, or the very next one where it is 0.
    epochs: no more updates than go through the histories so often.
    refresh_steps: updates each time that the towers go on learning (tower.refresh).
  """

  model: Mapping[str, Any]
  train: TrainConfig
  kind: Literal['', 'sasrec', 'hstu'] = ''
  loss: Literal['sampled_softmax', 'softmax', 'gbce'] = 'sampled_softmax'
  negatives: Positive = 4
  popular: Annotated[float, between(0, 1)] = 0.5
  calibration: Annotated[float, between(0, 1)] = 0.75
  horizon: float = 7.0
  epochs: Annotated[float, above(0)] = 10.0
  refresh_steps: Positive = 60

  def __post_init__(self):
    # Whatever cannot be is said before anything is trained, so with sizes that data will give later.
    _ = self.make_model(1)
    if self.loss == 'gbce' and self.popular:
      raise UserError("config.sequence.popular must be 0 with config.sequence.loss='gbce', whose negatives are uniform")

  def make_model(self, num_items: int) -> SequentialConfig:
    described = {'kind': self.kind or 'sasrec', 'num_items': num_items}
    return from_mapping(SequentialConfig, {**self.model, **described}, 'sequence.model')


def train(
  dataset: Dataset,
  before: int,
  config: SequenceConfig,
  index: IndexConfig,
  folder: pathlib.Path,
  previous: SequenceSource | None = None,
) -> tuple[SequenceSource, Result]:
  """A sequence model that knows nothing from `before` on; a first one is evaluated on the week that begins there.

  Args:
    previous: that of an earlier week, which goes on for `refresh_steps`.

  Raises:
    UserError: there is nothing to learn from.
  """
  histories = Histories.from_events(dataset.before(before), dataset.num_users)
  model, settings = config.make_model(dataset.num_items), config.train
  batches = SequenceBatches(
    histories,
    dataset.num_items,
    length=model.sequence_length,
    batch_size=settings.batch_size,
    horizon=config.horizon,
    negatives=config.negatives,
    popular=config.popular,
    seed=settings.seed,
  )
  if previous:
    settings = dataclasses.replace(settings, steps=config.refresh_steps, eval_every=0)
  settings = limit_steps(settings, config.epochs, len(batches))
  following = weeks.find_targets(dataset, before)
  held_out = None
  if len(following.user) and not previous:
    users = following.sample(settings.batch_size).users
    held_out = sequence_examples.held_out(
      histories, users, before, following.user, following.item, model.sequence_length, settings.batch_size
    )
  task = sequence_task(model, batch_size=settings.batch_size, loss=config.loss, calibration=config.calibration)
  described = {'model': 'sequential', 'config': dataclasses.asdict(model)}
  first = previous.params if previous else None
  result = fit(task, batches, held_out, settings, folder, init_params=first, metadata=described)
  return SequenceSource.build(jax.device_get(result.params), model, index), result
