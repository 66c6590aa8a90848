"""The trainer's settings."""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, ClassVar

import jax.numpy as jnp

from mlsd_jax.errors import UserError
from mlsd_jax.schema import Positive, at_least
from mlsd_jax.training.optimizers import OptimizerConfig
from mlsd_jax.training.step import STEP_KINDS, refuse_mesh_of_pmap

DTYPES = {'float32': jnp.float32, 'bfloat16': jnp.bfloat16}


@dataclasses.dataclass(frozen=True)
class TrainConfig:
  """What `fit` needs besides a task, data and a folder. Intervals are in steps; 0 turns one off."""

  steps: Positive  # updates of a whole run
  batch_size: Positive  # examples of a global batch, over all devices, processes and microbatches
  seed: int = 0  # of the parameters, dropout and the order of the data
  accumulation: Positive = 1  # microbatches a step
  steps_per_dispatch: Positive = 1  # steps in one compiled call, which hides the overhead of Python and the runtime
  step: str = 'jit'  # or shard_map: the per-device form; or pmap: the same over data alone
  mesh: Mapping[str, Annotated[int, at_least(-1)]] = dataclasses.field(  # devices of each axis; -1: those left
    default_factory=lambda: {'data': -1, 'fsdp': 1, 'tensor': 1}
  )
  dtype: str = 'float32'  # or bfloat16: of the forward and backward pass; parameters and optimiser state are float32
  rng: str = 'threefry2x32'  # or rbg: faster dropout, masks that depend on the mesh
  optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
  log_every: int = 10  # steps between two lines of metrics.jsonl
  eval_every: int = 0  # besides once at the end
  checkpoint_every: int = 0  # besides once at the end
  keep_checkpoints: Positive = 2  # the latest ones; older ones are deleted
  keep_best: bool = False  # also keep the parameters of the lowest evaluation loss, and return those
  profile: bool = False  # write a profiler trace of a few early steps to WORKDIR/profile

  # What may change between two sittings of a run: where it runs and what it shows, not what it computes. (Another mesh
  # or form of the step adds the same numbers in another order: results agree within the rounding of float32.)
  FREE: ClassVar[tuple[str, ...]] = ('mesh', 'step', 'log_every', 'keep_checkpoints', 'profile')

  def __post_init__(self):
    for name in ('steps', 'batch_size', 'accumulation', 'steps_per_dispatch', 'keep_checkpoints'):
      if getattr(self, name) < 1:
        raise UserError(f'train.{name} must be at least 1, got {getattr(self, name)}')
    for name in ('log_every', 'eval_every', 'checkpoint_every'):
      if getattr(self, name) < 0:
        raise UserError(f'train.{name} must be at least 0, got {getattr(self, name)}')
    for name, known in (('step', STEP_KINDS), ('dtype', tuple(DTYPES)), ('rng', ('threefry2x32', 'rbg'))):
      if getattr(self, name) not in known:
        raise UserError(f'train.{name}={getattr(self, name)!r} is not one of {", ".join(known)}')
    if self.step == 'pmap':
      refuse_mesh_of_pmap(self.mesh.get('fsdp', 1), self.mesh.get('tensor', 1))


def free_keys(*sections: str) -> tuple[str, ...]:
  """The keys of TrainConfig.FREE in sections of a config, 'train.mesh' for 'train'."""
  return tuple(f'{section}.{name}' for section in sections for name in TrainConfig.FREE)
