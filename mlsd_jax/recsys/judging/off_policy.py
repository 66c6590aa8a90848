"""What a policy would earn, estimated from the log of another.

Names: N logged decisions, A actions. A policy is the probabilities [N, A] it gives the actions of each decision.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Value:
  """An estimate of the mean reward and its standard error."""

  mean: float
  error: float


def ips(action: np.ndarray, reward: np.ndarray, logged: np.ndarray, target: np.ndarray) -> Value:
  """Inverse propensity scoring (Horvitz & Thompson 1952): unbiased where `logged` gives every action a chance.

  Args:
    action: [N] taken; reward: [N]; logged: [N] probability with which it was taken; target: [N, A].
  """
  return _mean(_weights(action, logged, target) * reward)


def snips(action: np.ndarray, reward: np.ndarray, logged: np.ndarray, target: np.ndarray) -> Value:
  """Self-normalised IPS (Swaminathan & Joachims 2015): a little bias for far less variance."""
  weights = _weights(action, logged, target)
  total = max(float(weights.sum()), 1e-12)
  mean = float((weights * reward).sum() / total)
  return Value(mean, float(np.sqrt(((weights * (reward - mean)) ** 2).sum()) / total))


def doubly_robust(
  action: np.ndarray, reward: np.ndarray, logged: np.ndarray, target: np.ndarray, predicted: np.ndarray
) -> Value:
  """A reward model [N, A] corrected by IPS of what it misses (Dudik et al. 2011): right if either of the two is."""
  rows = np.arange(len(action))
  direct = (target * predicted).sum(1)
  return _mean(direct + _weights(action, logged, target) * (reward - predicted[rows, action]))


def _weights(action: np.ndarray, logged: np.ndarray, target: np.ndarray) -> np.ndarray:
  if (logged <= 0).any():
    raise ValueError('an action was logged with probability 0')
  return target[np.arange(len(action)), action] / logged


def _mean(values: np.ndarray) -> Value:
  return Value(float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values))))
