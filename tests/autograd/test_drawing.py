"""Graphs as SVG: everything is there, and no box lies on another."""

import itertools
import random
import shutil
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsd_jax.autograd import drawing, layout
from mlsd_jax.autograd.engine import Value, topological
from mlsd_jax.autograd.nn import MLP, Neuron
from mlsd_jax.errors import UserError

SVG = '{http://www.w3.org/2000/svg}'


def assert_boxes_apart(root):
  boxes = [
    [float(each.get(name)) for name in ('x', 'y', 'width', 'height')]
    for each in root.iter(f'{SVG}rect')
    if each.get('x')
  ]
  for i, (x, y, width, height) in enumerate(boxes):
    for x2, y2, width2, height2 in boxes[:i]:
      assert x + width <= x2 or x2 + width2 <= x or y + height <= y2 or y2 + height2 <= y
  width, height = float(root.get('width')), float(root.get('height'))
  assert all(x >= 0 and y >= 0 and x + w <= width and y + h <= height for x, y, w, h in boxes)
  return boxes


@pytest.mark.parametrize('build', [lambda: Neuron(3)([1.0, -2.0, 0.5]), lambda: MLP(2, [3, 2, 1])([1.0, 2.0])])
def test_a_network_is_drawn(build):
  random.seed(0)
  out = build()
  out.label = 'a <b> & "c"'
  out.backward()
  root = ET.fromstring(drawing.to_svg(out))
  assert len(assert_boxes_apart(root)) == len(topological(out))
  texts = [each.text for each in root.iter(f'{SVG}text')]
  assert 'a <b> & "c"' in texts
  assert 'grad 1' in texts
  assert texts.count('*') == sum(node._op == '*' for node in topological(out))


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=30))
def test_no_boxes_overlap(pairs):
  edges = sorted({(a, a + 1 + b % 5) for a, b in pairs})
  count = max(end for _, end in edges) + 1
  placed = layout.layered([100.0] * count, 40.0, edges)
  for i, (x, y) in enumerate(placed.centres):
    assert all(abs(x - x2) >= 100 or abs(y - y2) >= 40 for x2, y2 in placed.centres[:i])
  for (start, end), path in zip(edges, placed.paths, strict=True):
    assert path[0] == pytest.approx((placed.centres[start][0] + 50, placed.centres[start][1]))
    assert path[-1] == pytest.approx((placed.centres[end][0] - 50, placed.centres[end][1]))
    assert all(a[0] < b[0] for a, b in itertools.pairwise(path))


def test_write_svg(tmp_path, monkeypatch):
  out = Value(2.0, label='x') ** 2
  monkeypatch.setattr(shutil, 'which', lambda name: None)
  assert drawing.write_svg(out, tmp_path / 'g.svg') == 'own'
  assert (tmp_path / 'g.svg').read_text().startswith('<svg')
  with pytest.raises(UserError, match='not on the PATH'):
    drawing.write_svg(out, tmp_path / 'g.svg', engine='dot')
  with pytest.raises(UserError, match='auto, dot, own'):
    drawing.write_svg(out, tmp_path / 'g.svg', engine='crayon')
  for _ in range(drawing.MOST_NODES):
    out = -out
  with pytest.raises(UserError, match='too large to draw'):
    drawing.write_svg(out, tmp_path / 'g.svg')


def test_graphviz_gets_its_own_language(tmp_path, monkeypatch):
  """By a stand-in for dot, which gives back what it was told."""
  dot = tmp_path / 'dot'
  dot.write_text('#!/bin/sh\ncat\n')
  dot.chmod(0o755)
  monkeypatch.setattr(shutil, 'which', lambda name: str(dot))
  x = Value(2.0, label='a|b')
  out = x * x
  assert drawing.write_svg(out, tmp_path / 'g.svg') == 'dot'
  text = (tmp_path / 'g.svg').read_text()
  assert text.startswith('digraph {')
  assert 'a\\|b' in text
  assert text.count('n0 -> n1_op') == 2
