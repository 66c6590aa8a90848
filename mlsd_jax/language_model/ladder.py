"""A ladder of language models on one text, from a uniform guess to a Transformer, each trained by the one trainer.

A rung is a folder WORKDIR/ladder/NAME with metrics.jsonl, checkpoints/, result.json and samples.txt.
"""

import dataclasses
import math
import pathlib
from collections.abc import Mapping
from typing import Any

import jax

from mlsd_jax import sealed
from mlsd_jax.data.tokens import EvalBatches, TokenBatches
from mlsd_jax.errors import UserError
from mlsd_jax.generation.generate import generate
from mlsd_jax.generation.sampling import SamplingConfig
from mlsd_jax.language_model.task import bigram_task, gpt_task
from mlsd_jax.language_model.text import Text
from mlsd_jax.models import bigram, gpt, partial_gpt
from mlsd_jax.schema import from_mapping
from mlsd_jax.tokenizers import Tokenizer
from mlsd_jax.training import distributed
from mlsd_jax.training.checkpoint import Checkpoints
from mlsd_jax.training.config import TrainConfig
from mlsd_jax.training.loop import fit
from mlsd_jax.training.metrics import Record, read_metrics
from mlsd_jax.training.task import Task

type Model = gpt.GPTConfig | bigram.BigramConfig


@dataclasses.dataclass(frozen=True)
class Rung:
  """Attributes: name: its folder and its key in result.json. label: as charts and tables show it."""

  name: str
  label: str
  model: Model
  train: TrainConfig

  @property
  def task(self) -> Task:
    make: Any = bigram_task if isinstance(self.model, bigram.BigramConfig) else gpt_task
    return make(self.model, batch_size=self.train.batch_size, length=self.model.context_length)

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
  classes: dict[str, Any] = {'bigram': bigram.BigramConfig, 'gpt': gpt.GPTConfig}
  sublayers = shape.get('sublayers', 'both')
  if kind == 'gpt' and sublayers == 'both':
    shape.pop('sublayers', None)
  elif kind == 'gpt' and sublayers in partial_gpt.SUBLAYERS:
    classes['gpt'] = partial_gpt.PartialGPTConfig
  elif kind == 'gpt':
    known = ', '.join(('both', *partial_gpt.SUBLAYERS))
    raise UserError(f'config.{where}.sublayers={sublayers!r} is not one of {known}')
  return from_mapping(classes[kind], shape, where)


def train_rung(rung: Rung, text: Text, workdir: pathlib.Path) -> dict[str, Any] | None:
  """Trains a rung, goes on with it, or reads what it came to.

  Returns:
    val_loss (nats a token over the whole validation split), num_params, steps, train_seconds, tokens_per_second; None
    if it was interrupted, its state saved.
  """
  folder = rung.folder(workdir)
  if (folder / 'result.json').exists():
    return sealed.read_json(folder / 'result.json')
  length, batch_size = rung.model.context_length, rung.train.batch_size
  train_data = TokenBatches(text.train, batch_size, length, rung.train.seed)
  done = fit(rung.task, train_data, EvalBatches(text.val, batch_size, length), rung.train, folder)
  if done.interrupted:
    return None
  record = {
    'val_loss': done.metrics['loss'],
    'num_params': gpt.num_params(done.params),
    'steps': done.step,
    'train_seconds': done.train_seconds,
    'tokens_per_second': done.items_per_second,
    **done.origin(),
  }
  if distributed.is_main():
    sealed.write_json(folder / 'result.json', record)
  return record


def load_rung(rung: Rung, workdir: pathlib.Path) -> Any:
  """Parameters of the last good checkpoint of a rung, on the first local device.

  Raises:
    UserError: it was not trained yet.
  """
  return load_params(rung.task, rung.folder(workdir))


def load_params(task: Task, folder: pathlib.Path) -> Any:
  """Parameters of `task` in the last good checkpoint of FOLDER/checkpoints.

  Raises:
    UserError: there is none.
  """
  with Checkpoints(folder / 'checkpoints') as checkpoints:
    step = checkpoints.latest_good() if checkpoints.folder.is_dir() else None
    if step is None:
      raise UserError(f'{folder} holds no whole checkpoint; train there first')
    return checkpoints.restore_params(step, jax.eval_shape(task.init, jax.random.key(0)))


def curve(rung: Rung, workdir: pathlib.Path) -> list[Record]:
  """The rung's records of metrics.jsonl."""
  return read_metrics(rung.folder(workdir))


def sample_rung(
  params: Any, rung: Rung, tokenizer: Tokenizer, prompts: list[str], config: Mapping[str, Any]
) -> list[str]:
  """Continuations of the prompts, `num_samples` of each, the prompt included.

  Args:
    config: num_samples, max_new_tokens, temperature, top_k, seed.

  Raises:
    UserError: a prompt has a character that the text has not.
  """
  found = generate(
    params,
    rung.model,
    tokenizer,
    prompts,
    sampling=SamplingConfig(temperature=config['temperature'], top_k=config['top_k']),
    max_new_tokens=config['max_new_tokens'],
    num_samples=config['num_samples'],
    seed=config['seed'],
  )
  return [sample.prompt + sample.text for sample in found]


def uniform_loss(vocab_size: int) -> float:
  """ln V: the loss of a model that knows nothing."""
  return math.log(vocab_size)
