"""GPTs on problems with a right answer: the task, and how many answers are right."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mlsd_jax.data.algorithmic import Addition, Problem, answer_batches, held_out_sources, sequences
from mlsd_jax.data.batches import padded
from mlsd_jax.language_model.task import gpt_task
from mlsd_jax.models import gpt
from mlsd_jax.training.config import TrainConfig
from mlsd_jax.training.loop import Result, fit
from mlsd_jax.training.task import Task


def answer_task(config: gpt.GPTConfig, *, batch_size: int) -> Task:
  """Next-token prediction of targets behind their sources; evaluation adds 'exact', the share of right answers."""
  task = gpt_task(config, batch_size=batch_size, length=config.context_length)

  def evaluate(params, batch):
    weights_B = jnp.max(batch['weights'], axis=1)  # every row has a target, but the copies that fill up a batch
    right_B = exact_rows(params, batch['tokens'], batch['weights'], config)
    return task.evaluate(params, batch) | {'exact': (jnp.sum(right_B * weights_B), jnp.sum(weights_B))}

  return dataclasses.replace(task, evaluate=evaluate)


def exact_rows(params: Any, tokens_BT: jax.Array, weights_BT: jax.Array, config: gpt.GPTConfig) -> jax.Array:
  """Whether greedy decoding gives a row's whole target, bool [B].

  Asked in one pass over the true tokens: greedy decoding goes wrong at the first token whose largest logit is another,
  and up to there it has read the true tokens.
  """
  chosen_BT = jnp.argmax(gpt.apply(params, tokens_BT[:, :-1], config), axis=-1)
  return jnp.all((chosen_BT == tokens_BT[:, 1:]) | (weights_BT == 0), axis=1)


def right_answers(
  params: Any, config: gpt.GPTConfig, problem: Problem, sources: Sequence[str], batch_size: int = 1000
) -> np.ndarray:
  """Which of the sources greedy decoding answers rightly, bool [number of sources]."""
  check = jax.jit(exact_rows, static_argnums=3)
  found = []
  for start in range(0, len(sources), batch_size):
    chosen = list(sources[start : start + batch_size])
    batch = sequences(problem, chosen + chosen[:1] * (batch_size - len(chosen)))
    found.append(np.asarray(check(params, batch['tokens'], batch['weights'], config))[: len(chosen)])
  return np.concatenate(found) if found else np.zeros(0, bool)


def accuracy_by_digits(
  params: Any, config: gpt.GPTConfig, problem: Addition, digits: Sequence[int], number: int, seed: int = 1
) -> dict[str, float]:
  """Share of right sums of two numbers of so many digits, beyond those of training too; held-out sums only.

  Args:
    problem: as trained. `config` must hold the positions of the longest sum.
    digits: lengths to ask for.
    number: sums a length (drawn with repetition, so short lengths are seen many times).
  """
  accuracy = {}
  for width in digits:
    asked = dataclasses.replace(problem, digits=width, min_digits=width)
    rng = np.random.default_rng([seed, width])
    right = right_answers(params, config, asked, asked.sources(rng, number, held_out=True))
    accuracy[str(width)] = float(right.mean())
  return accuracy


def train_decoder(problem: Problem, config: gpt.GPTConfig, train: TrainConfig, workdir: pathlib.Path) -> Result:
  """Trains a GPT on a problem, watching 1,000 held-out examples."""
  watched = padded(sequences(problem, held_out_sources(problem, 1000)), train.batch_size)
  data = answer_batches(problem, train.batch_size, train.seed)
  return fit(answer_task(config, batch_size=train.batch_size), data, watched, train, workdir)
