"""The trainer's settings, and reading a frozen dataclass out of a config dictionary."""

import ast
import dataclasses
import inspect
import io
import textwrap
import tokenize
import types
import typing
from collections.abc import Mapping
from typing import Any, ClassVar

import jax.numpy as jnp

from mlsd_jax.errors import UserError
from mlsd_jax.training.optimizers import OptimizerConfig
from mlsd_jax.training.step import STEP_KINDS, refuse_mesh_of_pmap

DTYPES = {'float32': jnp.float32, 'bfloat16': jnp.bfloat16}


@dataclasses.dataclass(frozen=True)
class TrainConfig:
  """What `fit` needs besides a task, data and a folder. Intervals are in steps; 0 turns one off."""

  steps: int  # updates of a whole run
  batch_size: int  # examples of a global batch, over all devices, processes and microbatches
  seed: int = 0  # of the parameters, dropout and the order of the data
  accumulation: int = 1  # microbatches a step
  steps_per_dispatch: int = 1  # steps in one compiled call: hides Python's and the runtime's overhead of small models
  step: str = 'jit'  # or shard_map: the per-device form; or pmap: the same over data alone
  mesh: Mapping[str, int] = dataclasses.field(  # devices along each axis; one may be -1: what is left of them
    default_factory=lambda: {'data': -1, 'fsdp': 1, 'tensor': 1}
  )
  dtype: str = 'float32'  # or bfloat16: of the forward and backward pass; parameters and optimiser state are float32
  rng: str = 'threefry2x32'  # or rbg: faster dropout, masks that depend on the mesh
  optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
  log_every: int = 10  # steps between two lines of metrics.jsonl
  eval_every: int = 0  # besides once at the end
  checkpoint_every: int = 0  # besides once at the end
  keep_checkpoints: int = 2  # the latest ones; older ones are deleted
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


class Setting(typing.NamedTuple):
  """One field of a settings class: its default (dataclasses.MISSING where it has none) and the comment behind it."""

  default: Any
  comment: str


def describe(cls: type) -> dict[str, Setting]:
  """The fields of a dataclass of settings with their defaults and the comments on their lines of its source.

  The comments are those a reader of the class sees, so that what --help prints cannot fall behind them.
  """
  source = textwrap.dedent(inspect.getsource(cls))
  tokens = tokenize.generate_tokens(io.StringIO(source).readline)
  comments = {token.start[0]: token.string.lstrip('# ') for token in tokens if token.type == tokenize.COMMENT}
  body = typing.cast(ast.ClassDef, ast.parse(source).body[0]).body
  lines = {statement.target.id: statement.lineno for statement in body
           if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)}  # fmt: skip
  return {
    field.name: Setting(_default(field), comments.get(lines.get(field.name, 0), ''))
    for field in dataclasses.fields(cls)
  }


def _default(field: dataclasses.Field) -> Any:
  return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def from_mapping[T](cls: type[T], values: Mapping[str, Any], where: str) -> T:
  """Builds a dataclass from a mapping, nested dataclasses included.

  Raises:
    UserError: an unknown key, a missing one, or a value that the class refuses; `where` names the section.
  """
  hints = typing.get_type_hints(cls)
  fields = {field.name: field for field in dataclasses.fields(typing.cast(Any, cls))}
  unknown = sorted(set(values) - set(fields))
  if unknown:
    raise UserError(f'config.{where} has no key {unknown[0]!r}; its keys are {", ".join(fields)}')
  arguments = {}
  for name, value in values.items():
    inner = hints[name]
    if dataclasses.is_dataclass(inner) and isinstance(value, Mapping):
      value = from_mapping(typing.cast(type, inner), value, f'{where}.{name}')
    elif inner is float and isinstance(value, int) and not isinstance(value, bool):
      value = float(value)
    elif isinstance(inner, type) and not isinstance(inner, types.GenericAlias) and not isinstance(value, inner):
      raise UserError(f'config.{where}.{name} must be {inner.__name__}, got {value!r}')
    arguments[name] = value
  try:
    return cls(**arguments)
  except (TypeError, ValueError) as error:
    raise UserError(f'config.{where}: {error}') from error
