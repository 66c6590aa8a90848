"""Points in the plane in two classes, made with NumPy."""

import numpy as np

from mlsd_jax.errors import UserError


def make(name: str, count: int, noise: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
  """A data set by name.

  Args:
    name: moons (two half circles that reach into each other), circles (one inside the other), spiral (two arms).
    count: points of both classes together.
    noise: standard deviation of the Gaussian added to both coordinates.

  Returns:
    points (count, 2) and labels (count,), -1 or 1, in random order.

  Raises:
    UserError: no such data set, fewer than two points, or a negative noise.
  """
  if name not in SHAPES:
    raise UserError(f'no data set {name!r}; there are {", ".join(SHAPES)}')
  if count < 2:
    raise UserError(f'{count} points are too few for two classes')
  if noise < 0:
    raise UserError(f'noise is a standard deviation, {noise} is below 0')
  random = np.random.default_rng(seed)
  labels = np.where(np.arange(count) % 2, 1.0, -1.0)
  along = random.uniform(0, 1, count)
  points = SHAPES[name](along, labels > 0) + random.normal(0, noise, (count, 2))
  order = random.permutation(count)
  return points[order], labels[order]


def _moons(along: np.ndarray, second: np.ndarray) -> np.ndarray:
  angle = np.pi * along
  x, y = np.cos(angle), np.sin(angle)
  return np.stack([np.where(second, 1 - x, x), np.where(second, 0.5 - y, y)], 1)


def _circles(along: np.ndarray, second: np.ndarray) -> np.ndarray:
  angle = 2 * np.pi * along
  radius = np.where(second, 0.5, 1.0)
  return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)


def _spiral(along: np.ndarray, second: np.ndarray) -> np.ndarray:
  """One and three quarter turns; the root spreads the points evenly along the arm."""
  turn = 0.1 + 0.9 * np.sqrt(along)
  angle = 3.5 * np.pi * turn + np.pi * second
  return np.stack([turn * np.cos(angle), turn * np.sin(angle)], 1)


SHAPES = {'moons': _moons, 'circles': _circles, 'spiral': _spiral}
