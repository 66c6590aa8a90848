"""The graph of an expression as SVG: by graphviz where it is installed, else by a layout of our own (layout.py)."""

import html
import itertools
import os
import pathlib
import shutil
import subprocess

from mlsd_jax import files
from mlsd_jax.autograd import layout
from mlsd_jax.autograd.engine import Value, operands, topological
from mlsd_jax.errors import UserError

MOST_NODES = 1000
_HEIGHT, _CHARACTER, _BADGE = (
  54.0,
  7.3,
  15.0,
)  # pixels: of a box, of a letter of 12 px monospace, radius of an operation
_BOX = {True: ('#fff7ed', '#c2410c'), False: ('#f1f5f9', '#475569')}  # leaf or not: fill, line


def write_svg(root: Value, path: str | os.PathLike[str], *, engine: str = 'auto') -> str:
  """Draws the graph under `root`, left to right: a box for each node with its label, data and grad.

  Args:
    engine: dot (graphviz), own, or auto: dot where it is installed.

  Returns:
    The engine that drew it.

  Raises:
    UserError: an unknown engine, dot without graphviz, or more than MOST_NODES nodes.
  """
  check_engine(engine)
  count = len(topological(root))
  if count > MOST_NODES:
    raise UserError(f'a graph of {count:,} nodes is too large to draw; at most {MOST_NODES:,}')
  binary = shutil.which('dot') if engine != 'own' else None
  if binary:
    done = subprocess.run([binary, '-Tsvg'], input=to_dot(root), capture_output=True, text=True, check=True)
    files.write_text(pathlib.Path(path), done.stdout)
    return 'dot'
  files.write_text(pathlib.Path(path), to_svg(root))
  return 'own'


def check_engine(engine: str) -> None:
  """
  Raises:
    UserError: no such engine, or dot where graphviz is not installed.
  """
  if engine not in ('auto', 'dot', 'own'):
    raise UserError(f'no drawing engine {engine!r}; there are auto, dot, own')
  if engine == 'dot' and shutil.which('dot') is None:
    raise UserError("graphviz's dot is not on the PATH; install it, or draw with engine own")


def to_dot(root: Value) -> str:
  """The graph in graphviz's language."""
  nodes = topological(root)
  name = {node: f'n{i}' for i, node in enumerate(nodes)}
  lines = ['digraph {', 'rankdir=LR; node [fontname=monospace fontsize=11 style=filled]']
  for node in nodes:
    fill, line = _BOX[not operands(node)]
    text = '|'.join(_escaped(each) for each in _text(node))
    lines.append(f'{name[node]} [shape=record label="{text}" fillcolor="{fill}" color="{line}"]')
    if operands(node):
      lines.append(f'{name[node]}_op [shape=circle label="{_escaped(node._op)}" fillcolor=white color="{line}"]')
      lines.append(f'{name[node]}_op -> {name[node]}')
      lines += [f'{name[operand]} -> {name[node]}_op' for operand in operands(node)]
  return '\n'.join([*lines, '}'])


def to_svg(root: Value) -> str:
  """The graph as SVG text, laid out here."""
  nodes = topological(root)
  number = {node: i for i, node in enumerate(nodes)}
  edges = [(number[operand], number[node]) for node in nodes for operand in dict.fromkeys(operands(node))]
  # Of a box with an operation, the badge hangs half out at the left.
  widths = [max(map(len, _text(node))) * _CHARACTER + 20 + (_BADGE if operands(node) else 0) for node in nodes]
  placed = layout.layered(widths, _HEIGHT, edges)
  parts = [_edge(path) for path in placed.paths]
  parts += [_box(node, *placed.centres[i], widths[i]) for i, node in enumerate(nodes)]
  width, height = placed.size
  return '\n'.join(
    [
      f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
      f'height="{height:.0f}" font-family="ui-monospace, Menlo, DejaVu Sans Mono, monospace" font-size="12">',
      '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
      '<path d="M0 0L8 4L0 8z" fill="#64748b"/></marker></defs>',
      f'<rect width="{width:.0f}" height="{height:.0f}" fill="white"/>',
      *parts,
      '</svg>\n',
    ]
  )


def _text(node: Value) -> list[str]:
  return [*([node.label] if node.label else []), f'data {node.data:.4g}', f'grad {node.grad:.4g}']


def _escaped(text: str) -> str:
  return ''.join(f'\\{letter}' if letter in '\\"{}|<> ' else letter for letter in text)


def _box(node: Value, x: float, y: float, width: float) -> str:
  fill, line = _BOX[not operands(node)]
  left = x - width / 2
  lines = _text(node)
  shift = _BADGE / 2 if operands(node) else 0
  parts = [
    f'<rect x="{left:.1f}" y="{y - _HEIGHT / 2:.1f}" width="{width:.1f}" height="{_HEIGHT:.1f}" rx="6" '
    f'fill="{fill}" stroke="{line}"/>'
  ]
  for i, text in enumerate(lines):
    weight = ' font-weight="bold"' if node.label and i == 0 else ''
    at = y + 16 * (i - (len(lines) - 1) / 2)
    parts.append(
      f'<text x="{x + shift:.1f}" y="{at:.1f}" text-anchor="middle" dominant-baseline="central" '
      f'fill="#0f172a"{weight}>{html.escape(text)}</text>'
    )
  if operands(node):
    size = 13 if len(node._op) < 3 else 8
    parts.append(f'<circle cx="{left:.1f}" cy="{y:.1f}" r="{_BADGE}" fill="white" stroke="{line}"/>')
    parts.append(
      f'<text x="{left:.1f}" y="{y:.1f}" text-anchor="middle" dominant-baseline="central" font-size="{size}" '
      f'font-weight="bold" fill="{line}">{html.escape(node._op)}</text>'
    )
  return ''.join(parts)


def _edge(path: list[tuple[float, float]]) -> str:
  """A smooth line through the points of a path, level at each; the last stops at the rim of the badge."""
  *before, (x, y) = path
  path = [*before, (x - _BADGE, y)]
  curve = [f'M{path[0][0]:.1f} {path[0][1]:.1f}']
  for (x0, y0), (x1, y1) in itertools.pairwise(path):
    middle = (x0 + x1) / 2
    curve.append(f'C{middle:.1f} {y0:.1f} {middle:.1f} {y1:.1f} {x1:.1f} {y1:.1f}')
  return f'<path d="{"".join(curve)}" fill="none" stroke="#64748b" stroke-width="1.2" marker-end="url(#arrow)"/>'
