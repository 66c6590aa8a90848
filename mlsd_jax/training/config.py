"""The trainer's settings. No JAX here: who reads a config, as the estimates do, needs none of the trainer."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Annotated, ClassVar

from mlsd_jax.errors import UserError
from mlsd_jax.schema import Positive, Range, above, at_least

STEP_KINDS = ('jit', 'shard_map', 'pmap')
DTYPE_NAMES = ('float32', 'bfloat16')
OPTIMIZERS = ('adamw', 'adam', 'sgd', 'muon', 'rowwise_adagrad')
SCHEDULES = ('cosine', 'linear', 'constant', 'rsqrt', 'wsd')


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
  """The defaults are GPT-2's as nanoGPT trains it."""

  name: str = 'adamw'  # adamw, adam, sgd, muon (see muon.py), or rowwise_adagrad: for large embedding tables
  learning_rate: float = 6e-4  # the peak, reached after warmup_steps
  schedule: str = 'cosine'  # how the rate falls after the warmup: cosine, linear, constant, rsqrt, wsd
  warmup_steps: int = 0  # over which the rate rises to its peak
  decay_steps: int = 0  # step at which final_learning_rate is reached; 0 means the last step
  cooldown_share: Annotated[float, Range(0, 1, low_open=True)] = 0.5  # wsd: of the steps, over which the rate falls
  final_learning_rate: float = 0.0  # at the end of the decay; rsqrt and constant ignore it
  beta1: Annotated[float, Range(0, 1, high_open=True)] = 0.9  # decay of the mean of gradients; sgd: the momentum
  beta2: Annotated[float, Range(0, 1, high_open=True)] = 0.95  # decay of the mean of squared gradients
  epsilon: Annotated[float, above(0)] = 1e-8  # keeps the division by a small root finite
  weight_decay: float = 0.1  # adamw, muon and the dense part of rowwise_adagrad, on matrices only
  table_learning_rate: float = 0.1  # rowwise_adagrad: peak rate of the embedding tables
  # Muon moves the matrices; Adam, with the betas above, everything else. Peak rates, all on the one schedule.
  momentum: Annotated[float, Range(0, 1, high_open=True)] = 0.95  # muon: of the gradients of matrices
  embedding_learning_rate: Annotated[float, above(0)] = 0.02  # muon: of tables of embeddings
  head_learning_rate: Annotated[float, above(0)] = 0.004  # of a head that is not tied to the embedding
  scalar_learning_rate: Annotated[float, above(0)] = 0.02  # biases, scales of norms, mixes of values
  clip_norm: float = 1.0  # by global norm; 0 turns it off

  @property
  def by_rows(self) -> bool:
    """Whether a row of a table that has no gradient stays as it is."""
    return self.name == 'rowwise_adagrad'

  def __post_init__(self):
    if self.name == 'muon' and not self.learning_rate:
      raise UserError('optimizer.learning_rate=0 would move nothing: muon needs a rate above 0')
    for name in ('learning_rate', 'final_learning_rate', 'weight_decay', 'clip_norm'):
      if not 0.0 <= getattr(self, name) < math.inf:
        raise UserError(f'optimizer.{name}={getattr(self, name)} must be a finite number, 0 or more')


@dataclasses.dataclass(frozen=True)
class TrainConfig:
  """What `fit` needs besides a task, data and a folder. Intervals are in steps; 0 turns one off."""

  steps: Positive  # updates of a whole run
  batch_size: Positive  # examples of a global batch, over all devices, processes and microbatches
  seed: int = 0  # of the parameters, dropout and the order of the data
  accumulation: Annotated[int, at_least(0)] = 1  # microbatches a step; 0: as many as a measurement on this machine says
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
    for name in ('steps', 'batch_size', 'steps_per_dispatch', 'keep_checkpoints'):
      if getattr(self, name) < 1:
        raise UserError(f'train.{name} must be at least 1, got {getattr(self, name)}')
    for name in ('accumulation', 'log_every', 'eval_every', 'checkpoint_every'):
      if getattr(self, name) < 0:
        raise UserError(f'train.{name} must be at least 0, got {getattr(self, name)}')
    for name, known in (('step', STEP_KINDS), ('dtype', DTYPE_NAMES), ('rng', ('threefry2x32', 'rbg'))):
      if getattr(self, name) not in known:
        raise UserError(f'train.{name}={getattr(self, name)!r} is not one of {", ".join(known)}')
    if self.step == 'pmap':
      refuse_mesh_of_pmap(self.mesh.get('fsdp', 1), self.mesh.get('tensor', 1))


def refuse_mesh_of_pmap(fsdp: int, tensor: int, processes: int = 1) -> None:
  """Raises UserError for a mesh that is more than data parallelism in one process."""
  if fsdp > 1 or tensor > 1 or processes > 1:
    raise UserError(
      f'train.step=pmap splits a batch over the devices of one process and nothing else, not a mesh of '
      f'fsdp={fsdp} x tensor={tensor} on {processes} processes; use jit or shard_map'
    )


def free_keys(*sections: str) -> tuple[str, ...]:
  """The keys of TrainConfig.FREE in sections of a config, 'train.mesh' for 'train'."""
  return tuple(f'{section}.{name}' for section in sections for name in TrainConfig.FREE)
