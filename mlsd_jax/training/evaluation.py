"""A task's metrics over a finite set of batches."""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from mlsd_jax.errors import UserError
from mlsd_jax.training import sharding
from mlsd_jax.training.prefetch import prefetch
from mlsd_jax.training.task import Batch, EvalData, Metrics


def mean_metrics(metrics: Mapping[str, tuple[Any, Any]]) -> dict[str, float]:
  """(sum, weight) pairs, arrays of any shape -> total sum / total weight, added up in float64."""
  totals = {name: [np.asarray(x, np.float64).sum() for x in pair] for name, pair in metrics.items()}
  return {name: float(total / weight) if weight else float('nan') for name, (total, weight) in totals.items()}


def evaluate(
  eval_step: Callable[[Any, Batch], Metrics], params: Any, eval_data: EvalData, batch_size: int, mesh: Mesh
) -> dict[str, float]:
  """Every metric of the task over all of `eval_data`, weighted by item.

  Args:
    eval_step: as made by make_eval_step.
    batch_size: rows of one of eval_data's global batches.

  Raises:
    UserError: the loss is no finite number, or nothing in the data counts.
  """
  found: dict[str, list[tuple[jax.Array, jax.Array]]] = defaultdict(list)
  rows = sharding.process_rows(batch_size, mesh)
  for batch in prefetch(eval_data.batches(rows)):
    for name, pair in eval_step(params, sharding.place_batch(batch, mesh)).items():
      found[name].append(pair)
  fetched = jax.device_get(dict(found))
  values = mean_metrics(
    {name: (np.stack([s for s, _ in pairs]), np.stack([w for _, w in pairs])) for name, pairs in fetched.items()}
  )
  if 'loss' in values and not math.isfinite(values['loss']):
    if not np.sum([weight for _, weight in fetched['loss']]):
      raise UserError('there is nothing to evaluate: nothing in the data counts')
    raise UserError(
      f'the loss on the evaluation data is {values["loss"]}: the model or the data hold what is no number'
    )
  return values
