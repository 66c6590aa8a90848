"""The chart of a ladder: the top rung's curves over the dashed lines of the rungs below, and every rung by time."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from mlsd_jax import figures
from mlsd_jax.training.metrics import Record
from mlsd_jax.training.plots import BASELINE, TRAIN, VALIDATION, smooth


def draw(
  records: Sequence[Record], path: pathlib.Path, *, title: str, label: str, baselines: Mapping[str, float]
) -> None:
  """Training and validation loss of the top rung by step, over a dashed line a rung; a PNG, written atomically.

  Args:
    records: of the top rung's metrics.jsonl.
    label: of the top rung.
    baselines: label of a lower rung -> its validation loss, in nats a token.
  """
  train = np.array([(r['step'], r['loss']) for r in records if r.get('loss') is not None], float).reshape(-1, 2)
  val = np.array([(r['step'], r['val_loss']) for r in records if r.get('val_loss') is not None], float).reshape(-1, 2)
  last = max([*train[:, 0], *val[:, 0], 1.0])
  lines = [*baselines.values(), *val[-1:, 1]]
  low, high = min([*lines, *train[:, 1], *val[:, 1]]), max([*lines, *val[:, 1]])
  with figures.figure(path, size=(8.5, 5), dpi=120, grid='y') as (_, ((axes,),)):
    axes.plot(*train.T, color=TRAIN, linewidth=0.8, alpha=0.35)
    axes.plot(train[:, 0], smooth(train[:, 1]), color=TRAIN, linewidth=1.8)
    axes.plot(*val.T, color=VALIDATION, linewidth=1.8, marker='o', markersize=3.5)
    axes.set(title=title, xlabel='step', ylabel='loss, nats a character', xlim=(0, last))
    axes.set_ylim(low - 0.05 * (high - low), high + 0.06 * (high - low))
    for loss in baselines.values():
      axes.axhline(loss, color=BASELINE, linewidth=1, linestyle=figures.DASHED)
    ends = [(last, loss, f'{loss:.3f}  {name}', BASELINE) for name, loss in baselines.items()]
    ends += [(last, loss, f'{loss:.3f}  {label}', VALIDATION) for loss in val[-1:, 1]]
    ends += [(last, loss, f'{loss:.3f}  the same, training', TRAIN) for loss in smooth(train[:, 1])[-1:]]
    figures.label_ends(axes, ends)


def draw_by_time(curves: Mapping[str, Sequence[Record]], path: pathlib.Path, *, title: str) -> None:
  """Validation loss of every rung by seconds of training (logarithmic); a PNG, written atomically.

  Args:
    curves: label -> records of metrics.jsonl.
  """
  plt = figures.pyplot()
  # As far as the scale is dark enough for labels in it.
  colours = plt.get_cmap('viridis')(np.linspace(0.0, 0.72, max(len(curves), 1)))
  with figures.figure(path, size=(8.5, 5), dpi=120) as (_, ((axes,),)):
    ends = []
    for (label, records), colour in zip(curves.items(), colours, strict=True):
      points = np.array([(r['seconds'], r['val_loss']) for r in records if r.get('val_loss') is not None], float)
      if len(points):
        axes.plot(*points.T, color=colour, linewidth=1.6, marker='o', markersize=3)
        ends.append((*points[-1], f'{points[-1, 1]:.3f}  {label}', colour))
    axes.set(title=title, xlabel='seconds of training, compiling included', ylabel='validation loss, nats a character')
    axes.set_xscale('log')
    figures.plain_ticks(axes.xaxis)
    axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())
    figures.label_ends(axes, ends)
