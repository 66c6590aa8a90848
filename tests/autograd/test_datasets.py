"""The three data sets."""

import numpy as np
import pytest

from mlsd_jax.autograd import datasets
from mlsd_jax.errors import UserError


@pytest.mark.parametrize('name', datasets.SHAPES)
def test_two_classes_from_a_seed(name):
  points, labels = datasets.make(name, 101, 0.1, 3)
  assert points.shape == (101, 2)
  assert sorted(np.unique(labels, return_counts=True)[1]) == [50, 51]
  np.testing.assert_array_equal(points, datasets.make(name, 101, 0.1, 3)[0])
  assert not np.array_equal(points, datasets.make(name, 101, 0.1, 4)[0])


def test_shapes():
  points, labels = datasets.make('circles', 50, 0.0, 0)
  np.testing.assert_allclose(np.hypot(*points.T), np.where(labels > 0, 0.5, 1))
  points, labels = datasets.make('moons', 50, 0.0, 0)
  centre = np.where(labels > 0, 1, 0), np.where(labels > 0, 0.5, 0)
  np.testing.assert_allclose(np.hypot(*(points.T - centre)), 1)
  points, labels = datasets.make('spiral', 50, 0.0, 0)
  radius = np.hypot(*points.T)
  turned = 3.5 * np.pi * radius + np.pi * (labels > 0)
  np.testing.assert_allclose(points, np.stack([radius * np.cos(turned), radius * np.sin(turned)], 1), atol=1e-12)


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (('swirl', 9, 0.1, 0), 'moons, circles, spiral'),
    (('moons', 1, 0.1, 0), 'too few'),
    (('moons', 9, -1, 0), 'below 0'),
  ],
)
def test_bad_input(arguments, message):
  with pytest.raises(UserError, match=message):
    datasets.make(*arguments)
