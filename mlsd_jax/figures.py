"""Pictures drawn with matplotlib, which is imported only when one is drawn."""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any

from mlsd_jax import files

EDGE, GRID = '#94a3b8', '#e2e8f0'


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
  style: Any = {'font.size': font_size, 'axes.edgecolor': EDGE, 'axes.spines.top': frame, 'axes.spines.right': frame}
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
