"""The settings of a rung of the ladder, read: which model it trains, or to which order it counts. No JAX."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from mlsd_jax.errors import UserError
from mlsd_jax.models.name_config import NameConfig
from mlsd_jax.models.ngram import MOST_ENTRIES
from mlsd_jax.schema import from_mapping

COUNTED = 'ngram'
ORDER = 5  # of a counted rung that sets none
TRAINING = ('steps', 'batch_size')  # what a rung may have of its own of the training settings
OPTIMIZER = ('learning_rate', 'warmup_steps', 'weight_decay')  # and of its optimiser's
_MODEL = ('kind', *(field.name for field in dataclasses.fields(NameConfig)[3:]))


class Words(Protocol):
  """What a rung's size follows from: a WordList, or two numbers."""

  @property
  def vocab_size(self) -> int: ...
  @property
  def length(self) -> int: ...


def model_config(settings: Mapping[str, Any], words: Words) -> NameConfig:
  """The model of a rung.

  Raises:
    UserError: a setting that neither NameConfig nor training has, or that NameConfig refuses.
  """
  _refuse_unknown(settings, (*_MODEL, *TRAINING, *OPTIMIZER, 'published'))
  chosen = {name: value for name, value in settings.items() if name in _MODEL}
  return from_mapping(NameConfig, chosen | {'vocab_size': words.vocab_size, 'length': words.length}, 'models')


def counted_order(settings: Mapping[str, Any], words: Words) -> int:
  """The order of a counted rung: as it is set, or the highest below whose table such words leave small enough.

  Raises:
    UserError: a setting that counting does not have, or an order below 1.
  """
  _refuse_unknown(settings, ('kind', 'order', 'published'))
  order = settings.get('order', ORDER)
  if order < 1:
    raise UserError(f'config.models: order {order} of a counted rung must be at least 1')
  return max(n for n in range(1, order + 1) if n == 1 or words.vocab_size**n <= MOST_ENTRIES)


def _refuse_unknown(settings: Mapping[str, Any], known: Sequence[str]) -> None:
  unknown = next((name for name in settings if name not in known), None)
  if unknown is not None:
    raise UserError(
      f'config.models: a rung of kind {settings.get("kind")!r} has no setting {unknown!r}; it has {", ".join(known)}'
    )
