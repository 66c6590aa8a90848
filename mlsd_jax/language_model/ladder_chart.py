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
    axes.plot(train[:, 0], smooth(train[:, 1]), color=TRAIN, linewidth=1.8, label=f'{label}, training')
    axes.plot(*val.T, color=VALIDATION, linewidth=1.8, marker='o', markersize=3.5, label=f'{label}, validation')
    bottom, top = low - 0.05 * (high - low), high + 0.06 * (high - low)
    texts = [(loss, name, BASELINE) for name, loss in baselines.items()]
    texts += [(loss, label, VALIDATION) for loss in val[-1:, 1]]
    for loss in baselines.values():
      axes.axhline(loss, color=BASELINE, linewidth=1, linestyle=(0, (5, 3)))
    places = spread([loss for loss, *_ in texts], 0.042 * (top - bottom))
    for (loss, name, colour), place in zip(texts, places, strict=True):
      axes.annotate(
        f'{loss:.3f}  {name}',
        xy=(last, loss),
        xytext=(last * 1.03, place),
        color=colour,
        va='center',
        annotation_clip=False,
        arrowprops=dict(arrowstyle='-', color='#cbd5e1', linewidth=0.8, shrinkA=2, shrinkB=0, relpos=(0, 0.5)),
      )
    axes.set(title=title, xlabel='step', ylabel='loss, nats a character', xlim=(0, last), ylim=(bottom, top))
    axes.legend(frameon=False, loc='upper right', bbox_to_anchor=(1, 0.93))


def draw_by_time(curves: Mapping[str, Sequence[Record]], path: pathlib.Path, *, title: str) -> None:
  """Validation loss of every rung by seconds of training (logarithmic); a PNG, written atomically.

  Args:
    curves: label -> records of metrics.jsonl.
  """
  plt = figures.pyplot()
  colours = plt.get_cmap('viridis')(np.linspace(0.0, 0.88, max(len(curves), 1)))
  with figures.figure(path, size=(8.5, 5), dpi=120) as (_, ((axes,),)):
    ends = []
    for (label, records), colour in zip(curves.items(), colours, strict=True):
      points = np.array([(r['seconds'], r['val_loss']) for r in records if r.get('val_loss') is not None], float)
      if len(points):
        axes.plot(*points.T, color=colour, linewidth=1.6, marker='o', markersize=3)
        ends.append((points[-1], label, colour))
    axes.set(title=title, xlabel='seconds of training, compiling included', ylabel='validation loss, nats a character')
    axes.set_xscale('log')
    plain = plt.FuncFormatter(lambda seconds, _: f'{seconds:g}' if f'{seconds:e}'[0] in '125' else '')
    axes.xaxis.set_major_formatter(plain)
    axes.xaxis.set_minor_formatter(plain)
    right, (bottom, top) = axes.get_xlim()[1], axes.get_ylim()
    places = spread([end[0][1] for end in ends], 0.042 * (top - bottom))
    for (point, label, colour), place in zip(ends, places, strict=True):
      axes.annotate(
        f'{point[1]:.3f}  {label}',
        xy=point,
        xytext=(right * 1.05, place),
        color=colour,
        va='center',
        annotation_clip=False,
        arrowprops=dict(arrowstyle='-', color='#cbd5e1', linewidth=0.8, shrinkA=2, shrinkB=0, relpos=(0, 0.5)),
      )


def spread(values: Sequence[float], gap: float) -> list[float]:
  """The values moved as little as needed, in their order, so that neighbours are `gap` apart or more."""
  order = np.argsort(values, kind='stable')
  groups: list[list[float]] = []  # neighbours that touch, each evenly spaced around the mean of its own
  for value in np.asarray(values, float)[order]:
    groups.append([value])
    while len(groups) > 1 and _low(groups[-1], gap) - _high(groups[-2], gap) < gap:
      groups[-2:] = [groups[-2] + groups[-1]]
  placed = [_low(group, gap) + gap * i for group in groups for i in range(len(group))]
  out = np.empty(len(order))
  out[order] = placed
  return out.tolist()


def _low(group: list[float], gap: float) -> float:
  return float(np.mean(group)) - gap * (len(group) - 1) / 2


def _high(group: list[float], gap: float) -> float:
  return float(np.mean(group)) + gap * (len(group) - 1) / 2
