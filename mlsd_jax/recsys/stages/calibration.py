"""Whether probabilities mean what they say, and putting them right."""

import dataclasses
from collections.abc import Sequence

import chex
import numpy as np

from mlsd_jax.recsys.stages.scorer import RankerInputs, Scorer


def log_loss(probability: np.ndarray, bought: np.ndarray) -> float:
  """Mean negative log-likelihood in nats."""
  p = np.clip(probability.astype(np.float64), 1e-12, 1 - 1e-12)
  return float(-np.where(bought, np.log(p), np.log1p(-p)).mean())


def normalized_entropy(probability: np.ndarray, bought: np.ndarray) -> float:
  """Log loss over that of always saying the base rate (He et al. 2014): under 1 is better than knowing nothing.

  NaN where all or none were bought, as there is nothing to tell apart.
  """
  base = float(bought.mean()) if len(bought) else 0.0
  if base in (0.0, 1.0):
    return float('nan')
  return log_loss(probability, bought) / log_loss(np.full(len(bought), base), bought)


def calibration_error(probability: np.ndarray, bought: np.ndarray, bins: int = 15) -> float:
  """Mean distance of predicted and observed share over buckets of equal size (expected calibration error)."""
  parts = np.array_split(np.argsort(probability, kind='stable'), bins)
  gaps = [len(part) * abs(probability[part].mean() - bought[part].mean()) for part in parts if len(part)]
  return float(sum(gaps) / max(len(probability), 1))


def straight_line(
  logits: np.ndarray, bought: np.ndarray, weights: np.ndarray | None = None, steps: int = 20
) -> tuple[float, float]:
  """(slope, shift) by which slope * logits + shift are most likely (Platt 1999), by Newton's method.

  Raises no error where all or none were bought: the logits stay as they are.

  Args:
    logits: [N].
    bought: [N], 0 or 1.
    weights: [N] how many rows each stands for; one by default.
  """
  chex.assert_equal_shape([logits, bought])
  if not 0 < bought.sum() < len(bought):
    return 1.0, 0.0
  x = np.stack([logits.astype(np.float64), np.ones(len(logits))], 1)
  rows = np.ones(len(logits)) if weights is None else weights.astype(np.float64)
  line = np.array([1.0, 0.0])
  for _ in range(steps):
    p = 1 / (1 + np.exp(-x @ line))
    curvature = rows * np.maximum(p * (1 - p), 1e-9)
    line = line + np.linalg.solve((x * curvature[:, None]).T @ x + 1e-6 * np.eye(2), x.T @ (rows * (bought - p)))
  return float(line[0]), float(line[1])


@dataclasses.dataclass(frozen=True)
class CalibrationSample:
  """Candidates of one week that stand for all that the ranker saw of it.

  Attributes:
    inputs: of N candidates.
    bought: [N] bool.
    weight: [N] candidates that each stands for.
  """

  inputs: RankerInputs
  bought: np.ndarray
  weight: np.ndarray

  @classmethod
  def draw(cls, inputs: RankerInputs, bought: np.ndarray, rows: int = 400_000, seed: int = 0) -> 'CalibrationSample':
    """Every purchase and as many of the others, drawn at random, as make up so many rows.

    Where one in 300 is bought, a line fitted on rows drawn alike would hang on a few hundred purchases.
    """
    purchases, others = np.flatnonzero(bought), np.flatnonzero(~bought)
    number = min(max(rows - len(purchases), 1), len(others))
    drawn = np.random.default_rng(seed).choice(others, number, replace=False)
    chosen = np.sort(np.concatenate([purchases, drawn]))
    weight = np.where(bought[chosen], 1.0, len(others) / max(number, 1)).astype(np.float32)
    return cls(inputs.take(chosen), bought[chosen], weight)


def calibrate(scorer: Scorer, samples: Sequence[CalibrationSample]) -> Scorer:
  """The ranker with its probabilities put right on some weeks: trained on more, it has the rate of all of them."""
  logits = np.concatenate([scorer(sample.inputs)[:, 0] for sample in samples])
  bought, weight = (np.concatenate([getattr(sample, name) for sample in samples]) for name in ('bought', 'weight'))
  return scorer.calibrated(*straight_line(logits, bought, weight))
