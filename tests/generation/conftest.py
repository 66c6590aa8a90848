"""Sampling as plain numpy does it: what the fast functions must equal."""

import numpy as np
import pytest


def softmax(x):
  e = np.exp(x - x.max(-1, keepdims=True))
  return e / e.sum(-1, keepdims=True)


@pytest.fixture(scope='session')
def filter_by_sorting():
  """(logits [V], config, counts [V] of what was sampled, seen [V] in the prompt) -> float64 logits of what remains.

  By sorting; equals at a cut stay.
  """

  def filter_row(logits, config, counts, seen):
    logits, seen = np.array(logits, np.float64), seen | (counts > 0)
    for token, bias in config.logit_bias:
      logits[token] += bias
    logits[[token for token in config.banned if token < len(logits)]] = -np.inf
    penalised = np.where(logits < 0, logits * config.repetition_penalty, logits / config.repetition_penalty)
    logits = np.where(seen, penalised, logits)
    logits = logits - config.frequency_penalty * counts - config.presence_penalty * (counts > 0)
    logits = logits / (config.temperature or 1.0)
    if 0 < config.top_k < len(logits):
      logits[logits < np.sort(logits)[-config.top_k]] = -np.inf
    if config.top_p < 1:
      probs = softmax(logits)
      held, cut = 0.0, None
      for token in np.argsort(-probs, kind='stable'):
        held, cut = held + probs[token], logits[token]
        if held >= config.top_p:
          break
      logits[logits < cut] = -np.inf
    if config.min_p > 0:
      probs = softmax(logits)
      logits[probs < config.min_p * probs.max()] = -np.inf
    return logits

  return filter_row
