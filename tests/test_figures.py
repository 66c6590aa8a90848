"""Labels beside lines can be read."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.text import Text

from mlsd_jax import figures


@given(st.lists(st.floats(0, 5), min_size=1, max_size=12), st.floats(0.01, 1))
def test_labels_never_overlap_keep_their_order_and_stay_above_the_axis(values, gap):
  places = figures.spread(values, gap, low=0.0)
  assert [*np.argsort(values, kind='stable')] == [*np.argsort(places, kind='stable')]
  assert all(after - before >= gap - 1e-9 for before, after in itertools.pairwise(sorted(places)))
  assert min(places) >= 0


@given(st.lists(st.integers(0, 50), min_size=1, max_size=12, unique=True))
def test_labels_with_room_stay_beside_their_lines(values):
  assert figures.spread(values, 1.0) == pytest.approx(values)


@pytest.mark.parametrize('scale', ['linear', 'log'])
def test_labels_of_a_figure_do_not_overlap(tmp_path, scale):
  values = [2.534, 2.487, 2.485, 2.441, 1.98, 4.17]
  with figures.figure(tmp_path / 'a.png', size=(8, 4)) as (drawn, ((axes,),)):
    axes.set(xlim=(0, 10), ylim=(1.5, 4.5), yscale=scale)
    figures.label_ends(axes, [(10, value, f'{value}  a rung', figures.GREY) for value in values])
    drawn.canvas.draw()
    boxes = [Text.get_window_extent(text) for text in axes.texts]  # an annotation's own takes in its leader
    boxes.sort(key=lambda box: box.y0)
    assert len(boxes) == len(values)
    assert all(below.y1 <= above.y0 + 1 for below, above in itertools.pairwise(boxes))


def test_a_label_of_what_lies_far_outside_leaves_room_for_the_axes(tmp_path):
  with figures.figure(tmp_path / 'a.png', size=(8, 4)) as (drawn, ((axes,),)):
    axes.set(xlim=(0, 3), ylim=(2.5, 3))
    figures.label_ends(axes, [(3, 0.01, 'below', figures.GREY), (3, 99.0, 'above', figures.GREY)])
    drawn.canvas.draw()  # matplotlib warns, which is an error here, where labels leave the axes no room
    assert axes.get_position().height > 0.5


def test_colours_of_the_palette_differ_also_to_who_does_not_tell_red_from_green():
  """Distances after projecting out the red-green axis (deuteranopia, Viénot, Brettel and Mollon 1999)."""
  linear = [[_linear(int(colour[i : i + 2], 16) / 255) for i in (1, 3, 5)] for colour in figures.PALETTE]
  to_lms = np.array([[17.8824, 43.5161, 4.11935], [3.45565, 27.1554, 3.86714], [0.0299566, 0.184309, 1.46709]])
  seen = np.array([[1, 0, 0], [0.494207, 0, 1.24827], [0, 0, 1]])
  simulated = np.array(linear) @ (np.linalg.inv(to_lms) @ seen @ to_lms).T
  for one, other in itertools.combinations(range(len(simulated)), 2):
    assert math.dist(simulated[one], simulated[other]) > 0.1, (figures.PALETTE[one], figures.PALETTE[other])


def _linear(value: float) -> float:
  return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
