"""The mean of a run's last checkpoints, which often beats the last one ('Attention Is All You Need', section 6.1)."""

from typing import Any

import jax

from mlsd_jax.errors import UserError
from mlsd_jax.training.checkpoint import Checkpoints


def average_checkpoints(checkpoints: Checkpoints, abstract_params: Any, last: int) -> tuple[Any, list[int]]:
  """The mean of the parameters of the last `last` checkpoints, or of all where there are fewer, and their steps.

  Args:
    abstract_params: as `Checkpoints.restore_params` takes them.

  Raises:
    UserError: there is none, or one of them is damaged.
  """
  steps = checkpoints.steps()[-last:]
  if last < 1 or not steps:
    raise UserError(f'{checkpoints.folder} has {len(steps)} checkpoints; the mean of {last} was asked for')
  total = checkpoints.restore_params(steps[0], abstract_params)
  for step in steps[1:]:
    total = jax.tree.map(lambda a, b: a + b, total, checkpoints.restore_params(step, abstract_params))
  return jax.tree.map(lambda leaf: leaf / len(steps), total), steps
