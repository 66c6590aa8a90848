"""How many microbatches a step is fastest in on this machine: train.accumulation=0."""

import dataclasses
import functools
import hashlib
import math
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from mlsd_jax import tuning
from mlsd_jax.errors import UserError
from mlsd_jax.training.config import TrainConfig
from mlsd_jax.training.sharding import BATCH_AXES, check_batch_size
from mlsd_jax.training.step import DTYPES, cast_floating
from mlsd_jax.training.task import Task, TrainData

NAME = 'microbatches'
_MOST_ROWS = 32  # of a microbatch that is measured: more take longer than the choice is worth
_MOST = 64


def check(task: Task, config: TrainConfig) -> None:
  """Raises UserError where train.accumulation=0 asks for a choice that cannot be made."""
  if config.accumulation:
    return
  leaves = 'train.accumulation=0 leaves the number of microbatches to a measurement'
  if task.probe is None:
    raise UserError(
      f'{leaves}, which would change the results of this model (dropout, a loss of the whole batch) or is not made '
      f'for it; give a number'
    )
  if jax.default_backend() != 'cpu' or jax.process_count() > 1:
    raise UserError(f'{leaves}, which is made on the processors of one process alone; give a number')


def settle(task: Task, train_data: TrainData, config: TrainConfig, mesh: Mesh) -> TrainConfig:
  """The config with a number of microbatches: its own, or the one that takes the least time here.

  Measured is the gradient of one microbatch of `task.probe`, for each power of two that divides the rows of a device.

  Raises:
    UserError: as `check`.
  """
  check(task, config)
  if config.accumulation or task.probe is None:
    return config
  check_batch_size(config.batch_size, 1, mesh)
  rows = config.batch_size // math.prod(mesh.shape[axis] for axis in BATCH_AXES)
  candidates = list_candidates(rows)
  if len(candidates) == 1:
    return dataclasses.replace(config, accumulation=candidates[0])
  batch = next(iter(train_data.batches(0, slice(0, rows))))
  shapes = jax.tree.map(lambda x: [*x.shape, str(x.dtype)], jax.eval_shape(task.init, jax.random.key(0)))
  model = hashlib.sha256(str(shapes).encode()).hexdigest()[:16]
  of = {'model': model, 'dtype': config.dtype, 'batch': {name: [*x.shape] for name, x in batch.items()}}
  measure = _Measure(task.probe(), batch, config.dtype)
  return dataclasses.replace(config, accumulation=tuning.choose(NAME, candidates, measure, of=of))


def list_candidates(rows: int) -> list[int]:
  """Powers of two that divide the rows and leave microbatches of a measurable size, the fewest first."""
  powers = [1 << power for power in range(_MOST.bit_length()) if rows % (1 << power) == 0]
  return [number for number in powers if rows // number <= _MOST_ROWS] or powers[-1:]


class _Measure:
  """Seconds of the gradient of a whole batch in so many microbatches."""

  def __init__(self, probe: Task, batch: dict[str, np.ndarray], dtype: str):
    self._probe, self._batch, self._dtype = probe, batch, DTYPES[dtype]

  def __call__(self, number: int) -> float:
    gradient = self._gradient
    part = {name: jnp.asarray(x[: len(x) // number]) for name, x in self._batch.items()}
    key = jax.random.key(0)
    if number not in self._ready:
      jax.block_until_ready(gradient(self._params, part, key))
      self._ready.add(number)
    began = time.perf_counter()
    jax.block_until_ready(gradient(self._params, part, key))
    return number * (time.perf_counter() - began)

  @functools.cached_property
  def _ready(self) -> set[int]:
    return set()

  @functools.cached_property
  def _params(self) -> Any:
    return jax.jit(self._probe.init)(jax.random.key(0))

  @functools.cached_property
  def _gradient(self) -> Any:
    def loss(params, batch, key):
      return self._probe.loss(cast_floating(params, self._dtype), batch, key)

    return jax.jit(jax.grad(loss, has_aux=True))
