"""Pictures drawn with matplotlib, which is imported only when one is drawn: one style, one palette, labels apart."""

import contextlib
import math
import pathlib
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from mlsd_jax import files

# One grey for what is only context; every other colour says something. Okabe and Ito's hues, which a reader who does
# not tell red from green tells apart, darkened until thin lines and small type are legible on white.
INK, GREY, RULE, GRID = '#0f172a', '#64748b', '#94a3b8', '#e2e8f0'
OURS = '#c2410c'
PALETTE = ('#0072b2', '#e69f00', '#009e73', '#cc79a7', '#56b4e9', '#c2410c', '#7c3aed', '#65a30d', '#0f172a')
DASHED = (0, (5, 3))
_LEADER = '#cbd5e1'


def pyplot() -> Any:
  """matplotlib.pyplot, drawing to files only."""
  import matplotlib

  matplotlib.use('Agg')
  import matplotlib.pyplot as plt

  return plt


@contextlib.contextmanager
def figure(
  path: pathlib.Path,
  rows: int = 1,
  columns: int = 1,
  *,
  size: tuple[float, float],
  dpi: int = 130,
  font_size: int = 10,
  grid: str = 'both',
  frame: bool = False,
  **options: Any,
) -> Iterator[tuple[Any, Any]]:
  """A figure and its axes [rows, columns], written to `path` on leaving; a reader never sees half of it.

  Args:
    size: width and height in inches.
    grid: lines behind the data: 'both', 'x', 'y' or 'none'.
    frame: edges above and on the right too.
    options: of matplotlib's subplots.
  """
  plt = pyplot()
  style: Any = {
    'font.size': font_size,
    'axes.edgecolor': RULE,
    'axes.spines.top': frame,
    'axes.spines.right': frame,
    'axes.titlelocation': 'left',
    'axes.titlesize': font_size + 1,
    'axes.labelcolor': INK,
    'axes.prop_cycle': plt.cycler(color=PALETTE),
    'xtick.color': RULE,
    'ytick.color': RULE,
    'xtick.labelcolor': INK,
    'ytick.labelcolor': INK,
    'legend.frameon': False,
  }
  with plt.rc_context(style):
    drawn, axes = plt.subplots(rows, columns, figsize=size, dpi=dpi, layout='constrained', squeeze=False, **options)
    try:
      for each in axes.flat:
        each.set_axisbelow(True)
        if grid != 'none':
          each.grid(axis=grid, color=GRID, linewidth=0.8)
      yield drawn, axes
      with files.atomic_path(path) as temporary:
        drawn.savefig(temporary)
    finally:
      plt.close(drawn)


def label_ends(axes: Any, ends: Sequence[tuple[float, float, str, Any]], *, x: float | None = None) -> None:
  """Writes a label to the right of the axes for each (x, y, text, colour), apart from each other, a thin line to each.

  Call it when the limits of both axes are final.

  Args:
    x: where the labels begin, in data units; None is a little right of the axes.
  """
  if not ends:
    return
  left, right = axes.get_xlim()
  bottom, top = axes.get_ylim()
  logarithmic = axes.get_yscale() == 'log'
  height = math.log10 if logarithmic else float
  inverse = (lambda h: 10.0**h) if logarithmic else float
  if x is None:
    x = right * (right / left) ** 0.03 if axes.get_xscale() == 'log' else right + 0.03 * (right - left)
  inches = axes.get_position().height * axes.figure.get_size_inches()[1]
  size = axes.xaxis.label.get_size()
  gap = 1.35 * size / 72 / max(inches, 1e-6) * (height(top) - height(bottom))
  # What lies outside of the axes is pointed to at their edge: a leader to it would leave no room for them.
  shown = [min(max(y, bottom), top) for _, y, *_ in ends]
  places = spread([height(y) for y in shown], gap, low=height(bottom))
  for (end, _, text, colour), y, place in zip(ends, shown, places, strict=True):
    axes.annotate(
      text,
      xy=(end, y),
      xytext=(x, inverse(place)),
      color=colour,
      va='center',
      annotation_clip=False,
      arrowprops=dict(arrowstyle='-', color=_LEADER, linewidth=0.8, shrinkA=2, shrinkB=0, relpos=(0, 0.5)),
    )


def plain_ticks(axis: Any) -> None:
  """Ticks of a logarithmic axis at 1, 2 and 5 times powers of ten, written as people write them."""
  plt = pyplot()
  write = plt.FuncFormatter(lambda value, _: f'{value:,g}' if f'{value:e}'[0] in '125' else '')
  axis.set_major_formatter(write)
  axis.set_minor_formatter(write)
  # Minor ticks are shorter; their numbers stand on one line with those of the major ones.
  name = f'{axis.axis_name}tick'
  reach = plt.rcParams[f'{name}.major.size'] + plt.rcParams[f'{name}.major.pad']
  axis.set_tick_params(which='minor', pad=reach - plt.rcParams[f'{name}.minor.size'])


def spread(values: Sequence[float], gap: float, low: float = -math.inf) -> list[float]:
  """The values moved as little as needed, in their order, so that neighbours are `gap` apart and none below `low`."""
  order = sorted(range(len(values)), key=lambda place: values[place])
  groups: list[list[float]] = []  # neighbours that touch, each evenly spaced around the mean of its own
  for place in order:
    groups.append([float(values[place])])
    while len(groups) > 1 and _lowest(groups[-1], gap, low) - _highest(groups[-2], gap, low) < gap:
      groups[-2:] = [groups[-2] + groups[-1]]
  heights = (_lowest(group, gap, low) + gap * i for group in groups for i in range(len(group)))
  by_place = dict(zip(order, heights, strict=True))
  return [by_place[place] for place in range(len(values))]


def _lowest(group: list[float], gap: float, low: float) -> float:
  return max(statistics.fmean(group) - gap * (len(group) - 1) / 2, low)


def _highest(group: list[float], gap: float, low: float) -> float:
  return _lowest(group, gap, low) + gap * (len(group) - 1)
