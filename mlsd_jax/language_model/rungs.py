"""The rungs of a ladder as a config says them: a model and a training each. No JAX (ladder.py trains them)."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

from mlsd_jax.errors import UserError
from mlsd_jax.models.decoder_config import SUBLAYERS, BigramConfig, GPTConfig, PartialGPTConfig
from mlsd_jax.schema import from_mapping
from mlsd_jax.training.config import TrainConfig

type Model = GPTConfig | BigramConfig


@dataclasses.dataclass(frozen=True)
class Rung:
  """Attributes: name: its folder and its key in result.json. label: as charts and tables show it."""

  name: str
  label: str
  model: Model
  train: TrainConfig

  def folder(self, workdir: pathlib.Path) -> pathlib.Path:
    return workdir / 'ladder' / self.name


def read_rungs(config: Mapping[str, Any], vocab_size: int) -> list[Rung]:
  """The rungs that config['climb'] names, in that order.

  Args:
    config: 'train' is what all rungs share; 'rungs' is NAME -> {'label', 'model', 'train'}, whose 'train' goes before
      it and whose 'model' is {'kind': 'bigram', ...BigramConfig} or {'kind': 'gpt', 'sublayers': 'both', 'attention' or
      'mlp', ...GPTConfig}; 'max_steps' caps the steps of every rung where it is not 0.

  Raises:
    UserError: an unknown key or a bad value.
  """
  from_mapping(TrainConfig, {'steps': 1, 'batch_size': 1} | dict(config['train']), 'train')
  unknown = [name for name in config['climb'] if name not in config['rungs']]
  if unknown or not config['climb']:
    wrong = f'names {unknown[0]!r}' if unknown else 'is empty'
    raise UserError(f'config.climb {wrong}; its rungs are {", ".join(config["rungs"])}')
  return [_rung(name, config['rungs'][name], config, vocab_size) for name in config['climb']]


def capped(train: dict[str, Any], max_steps: int) -> dict[str, Any]:
  """Settings with at most `max_steps` steps (0: as they are), and a warmup that fits into them."""
  if not max_steps:
    return train
  steps = min(train['steps'], max_steps)
  warmup = min(train['optimizer']['warmup_steps'], steps // 2)
  return train | {'steps': steps, 'optimizer': train['optimizer'] | {'warmup_steps': warmup}}


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
  """`base` with the keys of `over`, section by section."""
  both = lambda key: isinstance(base.get(key), Mapping) and isinstance(over[key], Mapping)
  return dict(base) | {key: merged(base[key], over[key]) if both(key) else over[key] for key in over}


def _rung(name: str, spec: Mapping[str, Any], config: Mapping[str, Any], vocab_size: int) -> Rung:
  where = f'rungs.{name}'
  model = read_model(spec['model'], f'{where}.model', vocab_size)
  train = capped(merged(config['train'], spec['train']), config['max_steps'])
  return Rung(name, spec['label'], model, from_mapping(TrainConfig, train, f'{where}.train'))


def read_model(spec: Mapping[str, Any], where: str, vocab_size: int) -> Model:
  """The model of a rung; see read_rungs.

  Raises:
    UserError: an unknown kind or key, or a bad value.
  """
  shape = dict(spec) | {'vocab_size': vocab_size}
  kind = shape.pop('kind')
  if kind not in ('bigram', 'gpt'):
    raise UserError(f'config.{where}.kind={kind!r} is not one of bigram, gpt')
  classes: dict[str, Any] = {'bigram': BigramConfig, 'gpt': GPTConfig}
  sublayers = shape.get('sublayers', 'both')
  if kind == 'gpt' and sublayers == 'both':
    shape.pop('sublayers', None)
  elif kind == 'gpt' and sublayers in SUBLAYERS:
    classes['gpt'] = PartialGPTConfig
  elif kind == 'gpt':
    known = ', '.join(('both', *SUBLAYERS))
    raise UserError(f'config.{where}.sublayers={sublayers!r} is not one of {known}')
  return from_mapping(classes[kind], shape, where)
