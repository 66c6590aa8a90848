"""The encoder-decoder on problems with a right answer: the task, decoding by beam search, averaged checkpoints."""

import dataclasses
import functools
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mlsd_jax.data import algorithmic
from mlsd_jax.data.algorithmic import Problem, answer_batches, pairs
from mlsd_jax.data.batches import padded
from mlsd_jax.generation.beam import Hypotheses, beam_search
from mlsd_jax.models import transformer
from mlsd_jax.training.averaging import average_checkpoints
from mlsd_jax.training.checkpoint import Checkpoints
from mlsd_jax.training.config import TrainConfig
from mlsd_jax.training.loop import Result, fit
from mlsd_jax.training.task import Task, average_loss


def seq2seq_task(
  config: transformer.TransformerConfig, problem: Problem, *, batch_size: int, label_smoothing: float = 0.1
) -> Task:
  """Trains on batches of `algorithmic.pairs` by cross-entropy with smoothed labels (section 5.4 of the paper).

  Evaluation is by the true labels, and adds 'exact': the share of targets that greedy decoding gives whole.
  """
  source_length, target_length = problem.lengths[0], problem.lengths[1] + 1

  def losses(params, batch, smoothing, key):
    given_BT, wanted_BT = batch['target'][:, :-1], batch['target'][:, 1:]
    logits_BTV = transformer.apply(params, batch['source'], given_BT, config, key=key).astype(jnp.float32)
    labels_BTV = optax.smooth_labels(jax.nn.one_hot(wanted_BT, config.vocab_size), smoothing)
    nll_BT = optax.softmax_cross_entropy(logits_BTV, labels_BTV)
    weights_BT = (wanted_BT != algorithmic.PAD).astype(jnp.float32)
    right_B = jnp.all((jnp.argmax(logits_BTV, -1) == wanted_BT) | (weights_BT == 0), axis=1)
    return nll_BT, weights_BT, right_B

  def loss(params, batch, key):
    nll_BT, weights_BT, _ = losses(params, batch, label_smoothing, key if config.dropout else None)
    return average_loss({'loss': (jnp.sum(nll_BT * weights_BT), jnp.sum(weights_BT))})

  def evaluate(params, batch):
    nll_BT, weights_BT, right_B = losses(params, batch, 0.0, None)
    weights_B = batch['weights']
    weights_BT *= weights_B[:, None]
    return {
      'loss': (jnp.sum(nll_BT * weights_BT), jnp.sum(weights_BT)),
      'exact': (jnp.sum(right_B * weights_B), jnp.sum(weights_B)),
    }

  return Task(
    init=lambda key: transformer.init(key, config),
    loss=loss,
    evaluate=evaluate,
    flops_per_batch=batch_size * transformer.flops_per_row(config, source_length, target_length),
    items_per_batch=batch_size,
    item_name='examples',
  )


def train_seq2seq(
  problem: Problem,
  config: transformer.TransformerConfig,
  train: TrainConfig,
  workdir: pathlib.Path,
  *,
  label_smoothing: float,
  watched: Sequence[str],
) -> Result:
  """Trains on a problem, watching the given held-out sources."""
  task = seq2seq_task(config, problem, batch_size=train.batch_size, label_smoothing=label_smoothing)
  data = answer_batches(problem, train.batch_size, train.seed, pairs)
  return fit(task, data, padded(pairs(problem, watched), train.batch_size), train, workdir)


def averaged(config: transformer.TransformerConfig, workdir: pathlib.Path, last: int) -> tuple[Any, list[int]]:
  """The mean of the last checkpoints of a run, and their steps."""
  shapes = jax.eval_shape(lambda key: transformer.init(key, config), jax.random.key(0))
  with Checkpoints(workdir / 'checkpoints') as checkpoints:
    return average_checkpoints(checkpoints, shapes, last)


@dataclasses.dataclass(frozen=True)
class _NextLogits:
  """The decoder as beam_search sees it. Hashable: it is a static argument of what is compiled."""

  config: transformer.TransformerConfig

  def __call__(self, context: Any, tokens_BNL: jax.Array, step: jax.Array) -> jax.Array:
    params, memory_BSD, source_BS = context
    batch, beam, length = tokens_BNL.shape
    rows = lambda x: jnp.repeat(x, beam, axis=0)
    flat = tokens_BNL.reshape(batch * beam, length)
    logits = transformer.decode(params, rows(memory_BSD), rows(source_BS), flat, self.config)
    return logits[:, step].reshape(batch, beam, -1)


@functools.partial(jax.jit, static_argnames=('config', 'max_length', 'beam', 'alpha'))
def search(
  params: Any,
  source_BS: jax.Array,
  config: transformer.TransformerConfig,
  *,
  max_length: int,
  beam: int = 4,
  alpha: float = 0.6,
) -> Hypotheses:
  """The best targets of each source; see generation/beam.py. The encoder runs once."""
  context = (params, transformer.encode(params, source_BS, config), source_BS)
  options = dict(start=algorithmic.START, end=algorithmic.END, beam=beam, max_length=max_length, alpha=alpha)
  return beam_search(_NextLogits(config), context, rows=source_BS.shape[0], **options)


def answers(
  params: Any,
  config: transformer.TransformerConfig,
  problem: Problem,
  sources: Sequence[str],
  *,
  beam: int,
  alpha: float = 0.6,
  batch_size: int = 250,
) -> list[str]:
  """What the model answers to each source."""
  found: list[str] = []
  for start in range(0, len(sources), batch_size):
    chosen = list(sources[start : start + batch_size])
    source_BS = pairs(problem, chosen + chosen[:1] * (batch_size - len(chosen)))['source']
    best = search(params, source_BS, config, max_length=problem.lengths[1] + 1, beam=beam, alpha=alpha)
    rows = np.asarray(best.tokens[: len(chosen), 0])
    found += [problem.decode(row.tolist()) for row in rows]
  return found


def accuracy(answered: Sequence[str], problem: Problem, sources: Sequence[str]) -> float:
  """Share of right answers."""
  return float(np.mean([a == problem.answer(source) for a, source in zip(answered, sources, strict=True)]))
