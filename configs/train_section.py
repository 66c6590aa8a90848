"""The `train` section of every config: all of the trainer's settings, of which a config names what it changes."""

import dataclasses
from collections.abc import Collection
from typing import Any

from mlsd_jax.training.config import OptimizerConfig, TrainConfig


def train_section(*, omit: Collection[str] = (), **changes: Any) -> dict[str, Any]:
  """Every field of TrainConfig and, as `optimizer`, of OptimizerConfig, with its default or what is given here.

  Args:
    omit: settings that the experiment itself makes, or that each of its parts has to name (steps, batch_size).
    changes: values by field; `optimizer` is a mapping of what differs there.
  """
  optimizer = _with_defaults(OptimizerConfig, changes.pop('optimizer', {}), ())
  return _with_defaults(TrainConfig, changes | {'optimizer': optimizer}, omit)


def _with_defaults(cls: type, changes: dict[str, Any], omit: Collection[str]) -> dict[str, Any]:
  fields = {field.name: field for field in dataclasses.fields(cls)}
  unknown = sorted({*changes, *omit} - set(fields))
  if unknown:
    raise ValueError(f'{cls.__name__} has no {unknown[0]}; it has {", ".join(fields)}')
  required = [name for name, field in fields.items() if field.default is field.default_factory is dataclasses.MISSING]
  values = dict.fromkeys(required) | dataclasses.asdict(cls(**dict.fromkeys(required, 1))) | changes
  missing = [name for name in required if name not in changes and name not in omit]
  if missing:
    raise ValueError(f'{cls.__name__} needs {missing[0]}')
  return {name: values[name] for name in fields if name not in omit}
