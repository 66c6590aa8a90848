"""How sure a mean over queries or users is: bootstrap intervals, and a paired test between two systems."""

import dataclasses

import numpy as np

_BLOCK = 10_000_000  # numbers drawn at a time


@dataclasses.dataclass(frozen=True)
class Estimate:
  """A mean and the bounds of its 95% interval."""

  mean: float
  low: float
  high: float

  def __str__(self) -> str:
    return f'{self.mean:.4f} [{self.low:.4f}, {self.high:.4f}]'


def bootstrap(values: np.ndarray, *, rounds: int = 1000, seed: int = 0) -> Estimate:
  """Mean of [N] values with the percentile bootstrap's interval (Efron 1979); of no values NaN."""
  if not len(values):
    return Estimate(*[float('nan')] * 3)
  rng = np.random.default_rng(seed)
  # How often each value is drawn: multinomial counts, in blocks to keep them small.
  block = max(1, _BLOCK // len(values))
  share = np.full(len(values), 1 / len(values))
  drawn = [
    rng.multinomial(len(values), share, size=min(block, rounds - start)) @ values / len(values)
    for start in range(0, rounds, block)
  ]
  low, high = np.quantile(np.concatenate(drawn), [0.025, 0.975])
  return Estimate(float(values.mean()), float(low), float(high))


def sign_flip_p(difference: np.ndarray, *, rounds: int = 10_000, seed: int = 0) -> float:
  """Two-sided p of a mean difference of 0, the signs of [N] paired differences flipped at random (Fisher 1935).

  What information retrieval calls the paired randomisation test (Smucker, Allan and Carterette 2007).
  """
  rng = np.random.default_rng(seed)
  seen = abs(difference.sum())
  extreme, block = 0, max(1, _BLOCK // max(len(difference), 1))
  for start in range(0, rounds, block):
    signs = rng.choice(np.array([-1, 1], np.int8), size=(min(block, rounds - start), len(difference)))
    extreme += int((abs(signs @ difference) >= seen - 1e-12).sum())
  return (extreme + 1) / (rounds + 1)
