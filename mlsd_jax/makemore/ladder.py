"""The rungs of the ladder: each trained (or counted), scored, and found again by a later run."""

import dataclasses
import math
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from mlsd_jax import sealed
from mlsd_jax.data.batches import drawn, padded
from mlsd_jax.data.words import WordList
from mlsd_jax.errors import UserError
from mlsd_jax.makemore import new_words, task
from mlsd_jax.makemore.rungs import COUNTED, counted_order, model_config
from mlsd_jax.models import name_models
from mlsd_jax.models.ngram import NGram
from mlsd_jax.training.checkpoint import Checkpoints
from mlsd_jax.training.config import TrainConfig
from mlsd_jax.training.loop import fit


@dataclasses.dataclass(frozen=True)
class Row:
  """What a rung came to.

  Attributes:
    val_loss, test_loss: nats a character, ends of words included.
    num_params: 0 for a counted model.
    steps_per_second: 0 for a counted model.
    origin: `Result.origin`; nothing for a counted model.
  """

  val_loss: float
  test_loss: float
  num_params: int
  steps: int
  steps_per_second: float
  train_seconds: float
  origin: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Trained:
  """A model of words, whatever it is inside.

  Attributes:
    losses: words -> [N, length] nats of each character, 0 behind the end.
    make: (number, seed) -> new words.
  """

  losses: Callable[[Sequence[str]], np.ndarray]
  make: Callable[[int, int], list[str]]

  def mean_loss(self, words: Sequence[str]) -> float:
    """Nats a character."""
    return float(self.losses(words).sum() / sum(len(word) + 1 for word in words))


def train_rung(settings: Mapping[str, Any], words: WordList, train: TrainConfig, folder: pathlib.Path) -> Row | None:
  """Trains a rung, or goes on, or says what it came to; None if it was requested to stop.

  Args:
    settings: fields of NameConfig (kind 'ngram' counts instead), and what differs from `train`.
  """
  done = folder / 'rung.json'
  if done.exists():
    return Row(**sealed.read_json(done))
  if settings['kind'] == COUNTED:
    model = load_rung(settings, words, folder)
    row = Row(model.mean_loss(words.val), model.mean_loss(words.test), 0, 0, 0.0, 0.0)
    sealed.write_json(done, dataclasses.asdict(row))
    return row
  config = model_config(settings, words)
  result = fit(
    task.name_task(config, batch_size=train.batch_size),
    drawn(words.encode(words.train), train.batch_size, train.seed),
    padded(words.encode(words.val), train.batch_size),
    train,
    folder,
    metadata={'model': 'name', 'config': dataclasses.asdict(config)},
  )
  if result.interrupted:
    return None
  params = task.calibrated(result.params, words.encode(words.train), config)
  row = Row(
    val_loss=task.mean_loss(params, words, words.val, config),
    test_loss=task.mean_loss(params, words, words.test, config),
    num_params=sum(leaf.size for leaf in jax.tree.leaves(params)),
    steps=result.step,
    steps_per_second=result.items_per_second / train.batch_size,
    train_seconds=result.train_seconds,
    origin=result.origin(),
  )
  if not math.isfinite(row.val_loss):
    raise UserError(f'{folder.name} came to a loss of {row.val_loss}; lower its learning rate')
  sealed.write_json(done, dataclasses.asdict(row))
  return row


def load_rung(settings: Mapping[str, Any], words: WordList, folder: pathlib.Path) -> Trained:
  """A rung that was trained in `folder`; a counted one is counted anew.

  Raises:
    UserError: nothing was trained there.
  """
  if settings['kind'] == COUNTED:
    return _counted(words, counted_order(settings, words))
  config = model_config(settings, words)
  step = None
  if (folder / 'checkpoints').is_dir():
    with Checkpoints(folder / 'checkpoints') as checkpoints:
      step = checkpoints.latest_good()
      if step is not None:
        shapes = jax.eval_shape(lambda: name_models.init(jax.random.key(0), config))
        params = checkpoints.restore_params(step, shapes)
  if step is None:
    raise UserError(f'{folder} holds no trained model; train first')
  params = task.calibrated(params, words.encode(words.train), config)
  return Trained(
    losses=lambda chosen: task.score(params, words, chosen, config),
    make=lambda number, seed: new_words.make_words(params, words, config, number, jax.random.key(seed)),
  )


def _counted(words: WordList, order: int) -> Trained:
  encoded = words.encode(words.train)
  model = NGram.count(encoded['tokens'], encoded['weights'], words.vocab_size, order)

  def losses(chosen: Sequence[str]) -> np.ndarray:
    asked = words.encode(chosen)
    return model.losses(asked['tokens']) * asked['weights']

  def make(number: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [words.decode(model.sample(rng, words.length - 1)) for _ in range(number)]

  return Trained(losses, make)
