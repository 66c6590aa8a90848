"""A ladder of language models on one text, from a uniform guess to a Transformer, each trained by the one trainer.

A rung is a folder WORKDIR/ladder/NAME with metrics.jsonl, checkpoints/, result.json and samples.txt.
"""

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
from mlsd_jax.language_model.rungs import Rung
from mlsd_jax.language_model.task import bigram_task, gpt_task
from mlsd_jax.language_model.text import Text
from mlsd_jax.models import bigram, gpt
from mlsd_jax.tokenizers import Tokenizer
from mlsd_jax.training import distributed
from mlsd_jax.training.checkpoint import Checkpoints
from mlsd_jax.training.loop import fit
from mlsd_jax.training.metrics import Record, read_metrics
from mlsd_jax.training.task import Task


def task_of(rung: Rung) -> Task:
  """What the trainer knows of a rung."""
  make: Any = bigram_task if isinstance(rung.model, bigram.BigramConfig) else gpt_task
  return make(rung.model, batch_size=rung.train.batch_size, length=rung.model.context_length)


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
  done = fit(task_of(rung), train_data, EvalBatches(text.val, batch_size, length), rung.train, folder)
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
  return load_params(task_of(rung), rung.folder(workdir))


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
