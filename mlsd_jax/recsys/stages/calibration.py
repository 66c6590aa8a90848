"""Whether probabilities mean what they say."""

import numpy as np


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
    weights: [N] how many rows each stands for; one if not told.
  """
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
