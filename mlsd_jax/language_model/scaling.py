"""Scaling laws: what a loss becomes with more parameters and more text, fitted to small runs.

    L(N, D) = E + A / N^alpha + B / D^beta

(Hoffmann et al. 2022, arXiv:2203.15556, equation 2): what no model can know, what a model of N parameters cannot hold,
what D tokens do not tell. N here is operations of a token by 6, those of attention and of the head among them, so that
a run costs C = 6 N D operations exactly.
"""

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from mlsd_jax.errors import UserError

_HUBER = 1e-3  # in log loss, beyond which a run pulls no harder than in proportion (their appendix D.2)


@dataclasses.dataclass(frozen=True)
class ScalingRun:
  """A training: N, D, and the validation loss it came to, nats a token."""

  parameters: float
  tokens: float
  loss: float

  @property
  def flops(self) -> float:
    return 6.0 * self.parameters * self.tokens


@dataclasses.dataclass(frozen=True)
class ScalingLaw:
  """L(N, D); losses in nats a token."""

  irreducible: float  # E
  of_parameters: float  # A
  of_tokens: float  # B
  alpha: float
  beta: float

  def loss(self, parameters: float, tokens: float) -> float:
    return self.irreducible + self.of_parameters / parameters**self.alpha + self.of_tokens / tokens**self.beta

  @property
  def exponent(self) -> float:
    """a of N_best ~ C^a: the share, in logarithms, of more operations that should go into more parameters."""
    return self.beta / (self.alpha + self.beta)

  def best(self, flops: float) -> tuple[float, float]:
    """(N, D) with 6 N D = flops and the least loss (their equation 4)."""
    scale = (self.alpha * self.of_parameters / (self.beta * self.of_tokens)) ** (1 / (self.alpha + self.beta))
    parameters = scale * (flops / 6) ** self.exponent
    return parameters, flops / 6 / parameters


def fit_law(runs: Sequence[ScalingRun]) -> ScalingLaw:
  """The law nearest to the runs: least Huber loss of log L, by L-BFGS (their section 3.3).

  For given exponents the law is linear in E, A and B: the starts are the best of a grid of exponents, each with its
  least squares.

  Raises:
    UserError: fewer runs than the five numbers of the law, or all of one size, or of one number of tokens.
  """
  from scipy.optimize import minimize, nnls

  sizes, texts = ({round(math.log(value), 6) for value in values} for values in zip(
    *((run.parameters, run.tokens) for run in runs), strict=True
  ))  if runs else (set(), set())  # fmt: skip
  if len(runs) < 5 or len(sizes) < 2 or len(texts) < 2:
    raise UserError(
      f'a law of five numbers needs five runs or more, of two sizes and two numbers of tokens; there are {len(runs)}'
    )
  log_n, log_d, log_l = (np.log([getattr(run, name) for run in runs]) for name in ('parameters', 'tokens', 'loss'))

  def objective(x: np.ndarray) -> tuple[float, np.ndarray]:
    a, b, e, alpha, beta = x
    terms = np.stack([a - alpha * log_n, b - beta * log_d, np.full_like(log_n, e)])
    largest = terms.max(0)
    shares = np.exp(terms - largest)
    total = shares.sum(0)
    error = largest + np.log(total) - log_l
    shares /= total
    slope = np.clip(error, -_HUBER, _HUBER)
    value = np.where(np.abs(error) <= _HUBER, error**2 / 2, _HUBER * (np.abs(error) - _HUBER / 2)).sum()
    gradient = [slope @ shares[0], slope @ shares[1], slope @ shares[2]]
    gradient += [-(slope * shares[0]) @ log_n, -(slope * shares[1]) @ log_d]
    return value, np.array(gradient)

  starts = []
  for alpha, beta in itertools.product(np.geomspace(0.05, 1.5, 16), repeat=2):
    columns = np.stack([np.exp(-alpha * log_n), np.exp(-beta * log_d), np.ones_like(log_n)], axis=1)
    largest = columns.max(0)
    factors, error = nnls(columns / largest / np.exp(log_l)[:, None], np.ones_like(log_l))
    starts.append((error, [*np.log(np.maximum(factors / largest, 1e-12)), alpha, beta]))
  starts.sort()
  # Scaled up: the sums of small squares would end the search before it began.
  scaled = lambda x: tuple(1e6 * part for part in objective(x))
  # Beyond these exponents a term says nothing but that one size, or one length, was worse than all others.
  options: dict[str, Any] = {'bounds': [(None, None)] * 3 + [(0.01, 2.0)] * 2, 'options': {'maxiter': 400}}
  found = [minimize(scaled, np.array(x), jac=True, method='L-BFGS-B', **options) for _, x in starts[:3]]
  a, b, e, alpha, beta = min(found, key=lambda each: each.fun).x
  return ScalingLaw(math.exp(e), math.exp(a), math.exp(b), float(alpha), float(beta))


def best_of_budget(runs: Sequence[ScalingRun]) -> float | None:
  """N of the least loss among runs of one number of operations, by a parabola in log N (their section 3.2).

  None where the parabola has no lowest point within the sizes tried: the ladder is too short on one side.
  """
  if len(runs) < 3:
    return None
  sizes = np.log([run.parameters for run in runs])
  curve = np.polyfit(sizes, [run.loss for run in runs], 2)
  if curve[0] <= 0:
    return None
  lowest = -curve[1] / (2 * curve[0])
  return float(np.exp(lowest)) if sizes.min() <= lowest <= sizes.max() else None
