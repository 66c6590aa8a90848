"""Pictures of a run, drawn from its metrics.jsonl."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlsd_jax import figures

TRAIN, VALIDATION, BASELINE = figures.PALETTE[0], figures.OURS, figures.GREY


def loss_curve(
  records: Sequence[Mapping[str, Any]],
  path: pathlib.Path,
  *,
  title: str,
  baselines: Mapping[str, float] | None = None,
  unit: str = 'nats a token',
) -> None:
  """Training and validation loss by step, over dashed lines of each baseline; a PNG, written atomically.

  Args:
    records: objects of metrics.jsonl ('step' with 'loss' or 'val_loss').
    baselines: label -> loss.
  """
  train = np.array([(r['step'], r['loss']) for r in records if r.get('loss') is not None], float).reshape(-1, 2)
  val = np.array([(r['step'], r['val_loss']) for r in records if r.get('val_loss') is not None], float).reshape(-1, 2)
  with figures.figure(path, size=(8, 4.5), dpi=150, grid='y') as (_, ((axes,),)):
    axes.plot(*train.T, color=TRAIN, linewidth=0.8, alpha=0.35)
    axes.plot(train[:, 0], smooth(train[:, 1]), color=TRAIN, linewidth=1.8)
    marker = 'o' if len(val) <= 40 else None
    axes.plot(*val.T, color=VALIDATION, linewidth=1.8, marker=marker, markersize=4, clip_on=False)
    last = max([*train[:, 0], *val[:, 0], 1])
    low = min([*smooth(train[:, 1]), *val[:, 1], *(baselines or {}).values()], default=0.0)
    high = max([*train[:, 1], *val[:, 1], *(baselines or {}).values()], default=1.0)
    axes.set(title=title, xlabel='step', ylabel=f'loss, {unit}', xlim=(0, last))
    span = high - low or 1.0
    axes.set_ylim(low - 0.08 * span, high + 0.05 * span)
    ends = [(last, loss, f'{loss:.2f}  {label}', BASELINE) for label, loss in (baselines or {}).items()]
    for _, loss, *_ in ends:
      axes.axhline(loss, color=BASELINE, linewidth=1, linestyle=figures.DASHED)
    if len(val):
      step, best = val[val[:, 1].argmin()]
      ends.append((step, best, f'{best:.3f}  validation', VALIDATION))
    if len(train):
      ends.append((train[-1, 0], smooth(train[:, 1])[-1], f'{smooth(train[:, 1])[-1]:.3f}  training', TRAIN))
    figures.label_ends(axes, ends)


def smooth(values: np.ndarray, share: float = 0.03) -> np.ndarray:
  """A centred moving average over `share` of the points, narrower towards the ends."""
  half = int(len(values) * share / 2)
  if half < 1:
    return values
  sums = np.concatenate([[0.0], np.cumsum(values)])
  index = np.arange(len(values))
  reach = np.minimum(np.minimum(index, index[::-1]), half)
  return (sums[index + reach + 1] - sums[index - reach]) / (2 * reach + 1)
