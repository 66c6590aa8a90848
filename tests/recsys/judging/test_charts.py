"""Pictures of the recommender: names beside lines can be read."""

import numpy as np
import pytest

from mlsd_jax.recsys.judging import charts


@pytest.mark.parametrize('ends', [[0.6], [0.6, 0.4, 0.2], [0.6, 0.52, 0.52, 0.02, 0.0], [0.1] * 9, [0.0, 0.0]])
def test_names_are_apart_and_above_the_axis(ends):
  places = np.array(charts._apart(ends, 0.03))
  assert (-np.diff(places) > 0.03 - 1e-9).all()
  assert places[-1] >= 0.015
  room = np.diff([1.0, *ends, 0.0]) < -0.03  # to the name above, then to the one below
  alone = room[:-1] & room[1:]
  np.testing.assert_array_equal(places[alone], np.array(ends)[alone])
