"""Pictures of a corpus and of how well it is searched."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from mlsd_jax import figures
from mlsd_jax.resampling import Estimate

_NAMES = {'bm25': 'BM25'}


def stages(measures: Mapping[str, Mapping[str, Estimate]], path: pathlib.Path, title: str) -> None:
  """Bars of each measure by stage, with 95% intervals."""
  names = list(measures)
  columns = list(measures[names[0]])
  width = 0.8 / len(names)
  with figures.figure(path, size=(7, 3.8), grid='y') as (_, axes):
    for number, (name, color) in enumerate(zip(names, figures.PALETTE, strict=False)):
      values = [measures[name][column] for column in columns]
      x = np.arange(len(columns)) + (number - (len(names) - 1) / 2) * width
      error = [[v.mean - v.low for v in values], [v.high - v.mean for v in values]]
      bars = axes[0, 0].bar(
        x, [v.mean for v in values], width, color=color, label=_NAMES.get(name, name), yerr=error, ecolor=figures.INK
      )
      axes[0, 0].bar_label(bars, [f'{v.mean:.3f}' for v in values], label_type='center', fontsize=8, color='white')
    axes[0, 0].set_xticks(range(len(columns)), columns)
    axes[0, 0].set_ylim(0, 1)
    axes[0, 0].set_title(title)
    axes[0, 0].legend(loc='upper left', ncols=len(names))


def latency(milliseconds: Mapping[str, np.ndarray], path: pathlib.Path) -> None:
  """Median and 99th percentile of each stage, on a logarithmic axis."""
  names = list(milliseconds)
  middle = [float(np.percentile(milliseconds[name], 50)) for name in names]
  late = [float(np.percentile(milliseconds[name], 99)) for name in names]
  with figures.figure(path, size=(7, 0.5 * len(names) + 1.3), grid='x') as (_, axes):
    y = np.arange(len(names))[::-1]
    axes[0, 0].hlines(y, middle, late, color=figures.RULE, linewidth=3)
    axes[0, 0].plot(middle, y, 'o', color=figures.PALETTE[0], label='median')
    axes[0, 0].plot(late, y, 's', color=figures.OURS, label='99th percentile')
    axes[0, 0].set_yticks(y, [_NAMES.get(name, name) for name in names])
    axes[0, 0].set_xscale('log')
    figures.plain_ticks(axes[0, 0].xaxis)
    axes[0, 0].set_xlabel('milliseconds a query')
    axes[0, 0].legend()


def fusion(weights: Sequence[float], measured: Mapping[str, Sequence[float]], path: pathlib.Path, title: str) -> None:
  """nDCG@10 of each fusion by the weight of the dense ranking."""
  with figures.figure(path, size=(6, 3.6)) as (_, axes):
    for (name, values), color in zip(measured.items(), figures.PALETTE, strict=False):
      axes[0, 0].plot(weights, values, 'o-', color=color, label=name, markersize=4)
    axes[0, 0].set_xlabel('weight of the dense ranking')
    axes[0, 0].set_ylabel('nDCG@10')
    axes[0, 0].set_title(title)
    axes[0, 0].legend()


def embedding_map(vectors: np.ndarray, folders: Sequence[str], path: pathlib.Path, title: str) -> None:
  """Pages in the plane of their first two principal components, the folders with most pages coloured.

  Args:
    vectors: [N, D], one a page.
  """
  centred = vectors - vectors.mean(axis=0)
  _, _, axes_ = np.linalg.svd(centred[:: max(len(centred) // 5000, 1)], full_matrices=False)
  x, y = (centred @ axes_[:2].T).T
  names, counts = np.unique(np.array(folders, object).astype(str), return_counts=True)
  common = names[np.argsort(-counts, kind='stable')][: len(figures.PALETTE)]
  with figures.figure(path, size=(8, 6), grid='none', frame=True) as (_, axes):
    plot = axes[0, 0]
    rest = ~np.isin(folders, common)
    plot.scatter(x[rest], y[rest], s=4, color=figures.GRID, linewidths=0, label=f'{len(names) - len(common)} others')
    for name, color in zip(common, figures.PALETTE, strict=False):
      mine = np.array(folders, object) == name
      plot.scatter(x[mine], y[mine], s=7, color=color, linewidths=0, label=f'{name or "(top)"} ({mine.sum()})')
    plot.set_xticks([])
    plot.set_yticks([])
    plot.set_title(title)
    plot.legend(loc='center left', bbox_to_anchor=(1, 0.5), markerscale=2.5, fontsize=8)
