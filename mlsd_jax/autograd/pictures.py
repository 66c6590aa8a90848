"""The decision boundary while it is learned: four moments as PNG, the whole training as GIF."""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from mlsd_jax import figures, files
from mlsd_jax.autograd.classifier import History

_NEGATIVE, _POSITIVE, _INK = '#1d4ed8', '#ea580c', figures.INK
_POINTS = '#1e3a8a', '#9a3412'  # darker than any shade: a point is seen on the full colour of its own class
_BORDER = 0.3  # around the points, in their own units
_LEVELS = np.array([-9, -3, -2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2, 3, 9.0])


@dataclasses.dataclass(frozen=True)
class Scene:
  """A training to be drawn.

  Attributes:
    scores: (parameters, points (n, 2)) -> (n,).
  """

  name: str
  points: np.ndarray
  labels: np.ndarray
  history: History
  scores: Callable[[np.ndarray, np.ndarray], np.ndarray]

  @property
  def steps(self) -> int:
    return len(self.history.losses)

  def accuracy(self, step: int) -> float:
    """Of the training points after `step` steps."""
    return float(np.mean((self.scores(self.history.parameters[step], self.points) > 0) == (self.labels > 0)))

  def heading(self, step: int) -> str:
    return f'{"1 step" if step == 1 else f"{step:,} steps"}, {self.accuracy(step):.1%} of those drawn right'


def moments(scene: Scene, path: pathlib.Path, *, title: str) -> None:
  """Four panels: before training, and after a hundredth, a tenth and all of the steps."""
  steps = sorted({0, max(scene.steps // 100, 1), max(scene.steps // 10, 1), scene.steps})
  width, height = np.ptp(scene.points, axis=0) + 2 * _BORDER
  size = (3.3 * len(steps) + 0.8, 3.2 * height / width + 0.8)
  with figures.figure(path, 1, len(steps), size=size, grid='none', frame=True) as (figure, axes):
    figure.get_layout_engine().set(wspace=0.04)
    shades = None
    for each, step in zip(axes.flat, steps, strict=True):
      shades = _boundary(each, scene, step)
      each.set_title(scene.heading(step), fontsize=10, color=_INK)
    bar = figure.colorbar(shades, ax=axes, ticks=range(-3, 4), pad=0.01)
    bar.minorticks_off()
    bar.set_label('score: line 0, dashed ±1', fontsize=9)
    bar.outline.set_visible(False)
    figure.suptitle(title, fontsize=12, fontweight='bold', color=_INK)


def animation(scene: Scene, path: pathlib.Path, *, frames: int = 40, dpi: int = 90) -> None:
  """The boundary above the loss, from the first step to the last; early steps, where most changes, get more frames."""
  plt = figures.pyplot()
  from matplotlib.animation import PillowWriter

  steps = np.unique(np.round(scene.steps * np.linspace(0, 1, frames) ** 2).astype(int))
  figure, (above, below) = plt.subplots(2, 1, figsize=(4.2, 4.8), dpi=dpi, layout='constrained', height_ratios=(4, 1))
  losses = scene.history.losses
  below.plot(losses, color=figures.GREY, linewidth=1.2)
  (dot,) = below.plot([0], [losses[0]], 'o', color=_POSITIVE, markersize=5)
  below.set(xlim=(-0.01 * len(losses), 1.01 * len(losses)), yscale='log')
  below.set_xlabel('step', fontsize=8)
  below.set_ylabel('loss', fontsize=8)
  below.tick_params(labelsize=7)
  below.minorticks_off()
  below.spines[['top', 'right']].set_visible(False)
  writer = PillowWriter(fps=10)
  with files.atomic_path(path) as temporary, writer.saving(figure, temporary, dpi):
    for step in [*steps, *[steps[-1]] * 10]:  # the end stands still for a second
      above.clear()
      _boundary(above, scene, step)
      above.set_title(f'{scene.name}: {scene.heading(step)}', fontsize=10, color=_INK)
      at = min(step, len(losses) - 1)
      dot.set_data([at], [losses[at]])
      writer.grab_frame()
  plt.close(figure)


def _boundary(axes: Any, scene: Scene, step: int) -> Any:
  """Scores as shades, the boundary as a line, the margins (-1 and 1) dashed, the training points by class."""
  from matplotlib.colors import BoundaryNorm, LinearSegmentedColormap

  low, high = scene.points.min(0) - _BORDER, scene.points.max(0) + _BORDER
  x, y = np.meshgrid(np.linspace(low[0], high[0], 120), np.linspace(low[1], high[1], 120))
  grid = np.stack([x.ravel(), y.ravel()], 1)
  scores = np.clip(scene.scores(scene.history.parameters[step], grid), -8.9, 8.9).reshape(x.shape)
  colours = LinearSegmentedColormap.from_list('classes', [_NEGATIVE, '#dbeafe', '#ffedd5', _POSITIVE])
  norm = BoundaryNorm(_LEVELS, colours.N)
  shades = axes.contourf(x, y, scores, levels=_LEVELS, cmap=colours, norm=norm, alpha=0.75)
  for level, style, width in ((-1, '--', 0.8), (1, '--', 0.8), (0, '-', 1.8)):
    if scores.min() < level < scores.max():
      axes.contour(x, y, scores, levels=[level], colors=_INK, linestyles=style, linewidths=width)
  for label, colour in zip((-1, 1), _POINTS, strict=True):
    chosen = scene.points[scene.labels == label]
    axes.scatter(*chosen.T, s=20, color=colour, edgecolors='white', linewidths=0.7, zorder=3)
  axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect='equal', xticks=[], yticks=[])
  axes.spines[:].set_visible(False)
  return shades
