"""Whether probabilities mean what they say, and putting them right."""

import dataclasses
import logging
from collections.abc import Callable, Sequence

import chex
import numpy as np
import scipy.optimize
import scipy.special

from mlsd_jax.recsys.stages.scorer import RankerInputs, Scorer
from mlsd_jax.recsys.stages.trees import AverageScorer, TreeScorer

_logger = logging.getLogger(__name__)


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
  logits: np.ndarray,
  bought: np.ndarray,
  weights: np.ndarray | None = None,
  steps: int = 100,
  *,
  warn: Callable[[str], None] = _logger.warning,
) -> tuple[float, float]:
  """(slope, shift) by which slope * logits + shift are most likely (Platt 1999), by Newton's method with step control.

  Raises no error where all or none were bought: the logits stay as they are.

  Args:
    logits: [N], finite.
    bought: [N], 0 or 1.
    weights: [N] how many rows each stands for; one by default.
    warn: gets one line where no line is the most likely one (the logits tell purchases from the rest without a mistake)
      or the slope would turn the order round: then the slope stays 1 and the shift alone is fitted.
  """
  chex.assert_equal_shape([logits, bought])
  rows = np.ones(len(logits)) if weights is None else weights.astype(np.float64)
  y = bought.astype(np.float64)
  if not 0 < (rows * y).sum() < rows.sum():
    return 1.0, 0.0
  x = logits.astype(np.float64)
  chex.assert_tree_all_finite(x)
  # Logits of mean 0 and deviation 1, so that slope and shift are of one size and hardly depend on each other.
  center = float(np.average(x, weights=rows))
  scale = float(np.sqrt(np.average((x - center) ** 2, weights=rows)))
  others, buys = [(x[y == kind].min(), x[y == kind].max()) for kind in (0, 1)] if scale > 1e-9 else ((0, 0), (0, 0))
  if others[1] <= buys[0] or buys[1] <= others[0]:
    line, why = None, 'they are all alike' if scale <= 1e-9 else 'they tell purchases from the rest without a mistake'
  else:
    line, why = _fit_line((x - center) / scale, y, rows, steps), f'no rest after {steps} steps'
  if line is not None:
    slope = float(line[0] / scale)
    if slope > 0:
      return slope, float(line[1] - slope * center)
    why = f'a slope of {slope:.3g} would turn the order of the items round'
  warn(f'probabilities are put right in their level alone: of the logits no slope can be learnt ({why})')
  return 1.0, _fit_shift(x, y, rows)


def _fit_line(x: np.ndarray, y: np.ndarray, rows: np.ndarray, steps: int) -> np.ndarray | None:
  """Slope and shift of the least loss; None where Newton's method does not come to rest."""
  base = float(np.average(y, weights=rows))
  design = np.stack([x, np.ones(len(x))], 1)
  line = np.array([0.0, np.log(base) - np.log1p(-base)])
  loss = _loss(design @ line, y, rows)
  for _ in range(steps):
    p = scipy.special.expit(design @ line)
    slope = design.T @ (rows * (p - y)) / rows.sum()
    curvature = (design * (rows * p * (1 - p))[:, None]).T @ design / rows.sum()
    move = -np.linalg.lstsq(curvature, slope, rcond=None)[0]
    decrease = -float(slope @ move)
    if decrease < 1e-14:
      return line
    size = 1.0
    # A full step may go far past the least loss where the curve is flat: halved until it brings a share of what its
    # tangent promises (Armijo 1966).
    while _loss(design @ (line + size * move), y, rows) > loss - 1e-4 * size * decrease and size > 1e-10:
      size /= 2
    line = line + size * move
    loss = _loss(design @ line, y, rows)
  return None


def _loss(logits: np.ndarray, y: np.ndarray, rows: np.ndarray) -> float:
  """Mean negative log-likelihood."""
  return float(np.average(np.logaddexp(0.0, logits) - y * logits, weights=rows))


def _fit_shift(x: np.ndarray, y: np.ndarray, rows: np.ndarray) -> float:
  """What added to logits gives as many purchases as there were."""
  too_many = lambda shift: float(np.average(scipy.special.expit(x + shift) - y, weights=rows))
  reach = float(np.abs(x).max()) + 50.0
  return float(scipy.optimize.brentq(too_many, -reach, reach))


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


def calibrate[R: (Scorer, TreeScorer, AverageScorer)](
  scorer: R, samples: Sequence[CalibrationSample], *, warn: Callable[[str], None] = _logger.warning
) -> R:
  """The ranker with its probabilities put right on some weeks: trained on more, it has the rate of all of them.

  Args:
    warn: see `straight_line`.
  """
  logits = np.concatenate([scorer(sample.inputs)[:, 0] for sample in samples])
  bought, weight = (np.concatenate([getattr(sample, name) for sample in samples]) for name in ('bought', 'weight'))
  return scorer.calibrated(*straight_line(logits, bought, weight, warn=warn))
