"""The trainer's step as a Program: abstract state and batch, nothing is made or read."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
from jax.sharding import Mesh

from mlsd_jax.compilation.program import Program
from mlsd_jax.training import sharding, step
from mlsd_jax.training.config import TrainConfig
from mlsd_jax.training.optimizers import make_optimizer
from mlsd_jax.training.task import Task

_NOTED = 2**20  # bytes of an array that is worth a line if the mesh does not divide it

type BatchShapes = Mapping[str, jax.ShapeDtypeStruct]  # of one global batch, [B, ...]


def train_program(task: Task, config: TrainConfig, batch: BatchShapes, name: str = 'train step') -> Program:
  """The program that `fit` runs for this task and these settings: `steps_per_dispatch` steps.

  Args:
    batch: arrays of a global batch; their first axis is config.batch_size.
  """
  steps = min(config.steps_per_dispatch, config.steps)

  def lower(mesh: Mesh) -> jax.stages.Lowered:
    sharding.check_batch_size(config.batch_size, max(config.accumulation, 1), mesh)
    optimizer = make_optimizer(config.optimizer, config.steps)
    train_step = step.make_train_step(
      task,
      optimizer,
      mesh,
      kind=config.step,
      accumulation=max(config.accumulation, 1),
      dtype=step.DTYPES[config.dtype],
      by_rows=config.optimizer.by_rows,
    )
    make = functools.partial(step.init_state, task, optimizer, rng=config.rng)
    abstract = jax.eval_shape(make, jax.random.key(config.seed))
    state = jax.tree.map(_placed, abstract, step.state_shardings(abstract, task, mesh))
    stacked = {key: jax.ShapeDtypeStruct((steps, *x.shape), x.dtype) for key, x in batch.items()}
    where = sharding.batch_sharding(mesh, leading=1)
    return train_step.lower(state, {key: _placed(x, where) for key, x in stacked.items()})

  def notes(mesh: Mesh) -> list[str]:
    params = jax.eval_shape(task.init, jax.random.key(config.seed))
    return sharding.find_undivided(params, task.sharding_rules, mesh, _NOTED)

  return Program(name, dict(config.mesh), lower, task.flops_per_batch * steps, notes)


def _placed(x: Any, where: Any) -> jax.ShapeDtypeStruct:
  return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where)
