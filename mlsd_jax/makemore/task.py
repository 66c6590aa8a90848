"""Next-character prediction in words as a Task, and the losses of a trained model."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mlsd_jax.data.words import WordList
from mlsd_jax.models import name_models
from mlsd_jax.models.name_models import NameConfig
from mlsd_jax.training.task import Task, average_loss

_CALIBRATED_ON = 8192  # words
_ROWS = 1024  # words scored at once


def name_task(config: NameConfig, *, batch_size: int) -> Task:
  """Trains a model on batches of WordList.encode.

  In training, batch normalisation uses the statistics of the batch at hand, in evaluation on the way too; `calibrated`
  fixes them for good.
  """

  def loss(params, batch, key, axis_name=()):
    return average_loss(metrics_of(params, batch, key if config.dropout else None, axis_name))

  def metrics_of(params, batch, key, axis_name=()):
    weights_BT = batch['weights']
    weight = jax.lax.psum(weights_BT.sum(), axis_name) if axis_name else weights_BT.sum()
    # A batch of padding only has no statistics.
    counted = jnp.where(weight > 0, weights_BT, 1.0)
    logits_BTV = name_models.apply(
      params, batch['tokens'][:, :-1], config, weights_BT=counted, key=key, axis_name=axis_name
    )
    nll_BT = negative_log_likelihood(logits_BTV, batch['tokens'][:, 1:])
    return {'loss': (jnp.sum(nll_BT * weights_BT), jnp.sum(weights_BT))}

  return Task(
    init=lambda key: name_models.init(key, config),
    loss=loss,
    evaluate=lambda params, batch: metrics_of(params, batch, None),
    whole_batch=config.whole_batch,
    items_per_batch=batch_size,
    item_name='words',
  )


def negative_log_likelihood(logits_BTV: jax.Array, targets_BT: jax.Array) -> jax.Array:
  """[B, T] nats. (With one-hot targets: the gradient of indexing is a scatter, which a CPU is slow at.)"""
  return optax.softmax_cross_entropy(logits_BTV, jax.nn.one_hot(targets_BT, logits_BTV.shape[-1]))


def calibrated(params: Any, encoded: dict[str, np.ndarray], config: NameConfig) -> Any:
  """`params` with the statistics of batch normalisation of the first of these training words."""
  tokens, weights = (encoded[name][:_CALIBRATED_ON] for name in ('tokens', 'weights'))
  return jax.jit(functools.partial(name_models.calibrate, config=config))(params, tokens[:, :-1], weights)


def score(params: Any, words: WordList, chosen: Sequence[str], config: NameConfig) -> np.ndarray:
  """[N, length] nats of each character and of the end of each word; 0 behind it.

  Raises:
    UserError: a word that the model does not know how to write.
  """
  encoded = words.encode(chosen)
  found = [_losses(params, encoded['tokens'][start : start + _ROWS], config) for start in range(0, len(chosen), _ROWS)]
  return np.concatenate(found) * encoded['weights']


def mean_loss(params: Any, words: WordList, chosen: Sequence[str], config: NameConfig) -> float:
  """Nats a character of `chosen`, the ends of words included."""
  return float(score(params, words, chosen, config).sum() / sum(len(word) + 1 for word in chosen))


@functools.partial(jax.jit, static_argnames='config')
def _losses(params, tokens, config):
  return negative_log_likelihood(name_models.apply(params, tokens[:, :-1], config), tokens[:, 1:])
