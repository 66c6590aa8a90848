"""Pictures of the recommender."""

import itertools
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from mlsd_jax import figures
from mlsd_jax.resampling import Estimate

DEPTHS = (12, 25, 50, 100, 200, 500, 1000)
_READABLE = {
  'covisit': 'bought together',
  'tower': 'two towers',
  'sequence': 'in order',
  'place': 'popular at the place',
}


def draw_recall_curves(curves: Mapping[str, Sequence[float]], path: pathlib.Path) -> None:
  """Recall at DEPTHS by source and stage; a PNG."""
  with figures.figure(path, size=(8.5, 5), font_size=9) as (_, ((axes,),)):
    ends = []
    for (name, recalls), color in zip(curves.items(), itertools.cycle(figures.PALETTE), strict=False):
      width = 2.6 if name in ('blend', 'ranker') else 1.5
      axes.plot(DEPTHS, recalls, color=color, linewidth=width, marker='o', markersize=3)
      ends.append((DEPTHS[-1], recalls[-1], f'{recalls[-1]:.3f}  {_READABLE.get(name, name)}', color))
    axes.set(xscale='log', xlim=(DEPTHS[0], DEPTHS[-1]), ylim=(0, None), xlabel='items a user', ylabel='recall')
    axes.set_xticks(DEPTHS, [f'{depth:,}' for depth in DEPTHS])
    axes.minorticks_off()
    axes.set_title("Recall of next week's purchases by source and stage")
    figures.label_ends(axes, ends)


def draw_funnel(table: Mapping[str, Mapping[str, Estimate]], path: pathlib.Path) -> None:
  """MAP@12, recall@100 and recall@1000 of each stage, with 95% intervals; a PNG."""
  names = list(table)[::-1]
  size = (11, 1.2 + 0.42 * len(names))
  with figures.figure(path, 1, 3, size=size, font_size=9, grid='x', sharey=True) as (_, axes):
    for panel, metric in zip(axes[0], ('map@12', 'recall@100', 'recall@1000'), strict=True):
      means = np.array([table[name][metric].mean for name in names])
      low = means - [table[name][metric].low for name in names]
      high = [table[name][metric].high for name in names] - means
      colors = [{'ranker': figures.OURS, 'blend': figures.INK}.get(name, figures.GREY) for name in names]
      panel.barh(np.arange(len(names)), means, 0.62, color=colors, xerr=[low, high], error_kw=dict(linewidth=1))
      for place, (mean, up) in enumerate(zip(means, high, strict=True)):
        panel.annotate(f'{mean:.3f}', (mean + up, place), (4, 0), textcoords='offset points', va='center')
      panel.set(title=metric, xlim=(0, 1.22 * max(means + high)))
    axes[0][0].set_yticks(np.arange(len(names)), [_READABLE.get(name, name) for name in names])


def draw_reliability(probability: np.ndarray, bought: np.ndarray, path: pathlib.Path, bins: int = 15) -> None:
  """Share bought by predicted probability, on logarithmic axes, buckets of equal size; a PNG."""
  parts = np.array_split(np.argsort(probability, kind='stable'), min(bins, len(probability)))
  predicted = np.array([probability[part].mean() for part in parts])
  observed = np.array([max(bought[part].mean(), 0.5 / len(part)) for part in parts])
  error = np.array(
    [1.96 * np.sqrt(share * (1 - share) / len(part)) for share, part in zip(observed, parts, strict=True)]
  )
  with figures.figure(path, size=(5.2, 5), font_size=9) as (_, ((axes,),)):
    low, top = 0.7 * min(predicted.min(), observed.min()), 1.4 * max(predicted.max(), observed.max())
    axes.plot([low, top], [low, top], color=figures.GREY, linewidth=1, linestyle=figures.DASHED)
    bars = np.minimum(error, 0.99 * observed)
    axes.errorbar(predicted, observed, yerr=bars, color=figures.OURS, marker='o', markersize=4, linewidth=1.4)
    axes.set(xscale='log', yscale='log')
    ticks = [tick for exponent in range(-6, 1) for tick in np.array([1, 3]) * 10.0**exponent if low <= tick <= top]
    for axis in (axes.xaxis, axes.yaxis):
      axis.set_ticks(ticks, [f'{tick:g}' for tick in ticks])
      axis.set_ticks([], minor=True)  # matplotlib names these too where there are few decades, one over the other
    axes.set(xlim=(low, top), ylim=(low, top))
    axes.set(title='Reliability at the natural rate', xlabel='predicted probability', ylabel='share bought')


def draw_loss_and_recall(
  losses: Sequence[tuple[float, float]], recalls: Sequence[tuple[float, float]], path: pathlib.Path, title: str
) -> None:
  """Training loss (left axis) and recall of the week held out (right axis) by step; a PNG."""
  with figures.figure(path, size=(8, 4.4), font_size=9, grid='y', frame=True) as (_, ((axes,),)):
    axes.plot(*np.array(losses, float).T, color=figures.GREY, linewidth=1.8)
    axes.set(title=title, xlabel='step')
    axes.set_ylabel('training loss, nats', color=figures.GREY)
    beside = axes.twinx()
    beside.plot(*np.array(recalls, float).T, color=figures.OURS, linewidth=2, marker='o', markersize=4)
    beside.set_ylabel('recall@1000', color=figures.OURS)
    beside.set_ylim(0, 1.15 * max(value for _, value in recalls))


def draw_embedding_map(vectors: np.ndarray, groups: Sequence[str], path: pathlib.Path) -> None:
  """Items by the first two principal components, the largest nine categories coloured; a PNG."""
  centred = vectors - vectors.mean(0)
  x, y = (centred @ np.linalg.svd(centred[:5000], full_matrices=False)[2][:2].T).T
  named = np.array(list(groups))
  names, counts = np.unique(named, return_counts=True)
  largest = names[np.argsort(-counts, kind='stable')[: len(figures.PALETTE)]]
  with figures.figure(path, size=(8.5, 5.4), font_size=9, grid='none') as (_, ((axes,),)):
    other = ~np.isin(named, largest)
    axes.scatter(x[other], y[other], s=3, color=figures.GRID, linewidths=0)
    for color, name in zip(figures.PALETTE, largest, strict=False):
      mine = named == name
      axes.scatter(x[mine], y[mine], s=5, color=color, linewidths=0, alpha=0.6, label=f'{name} ({mine.sum():,})')
    axes.legend(loc='center left', bbox_to_anchor=(1, 0.5), markerscale=3)
    axes.set(title='Items as the towers see them, by category', xlabel='first component', ylabel='second component')
