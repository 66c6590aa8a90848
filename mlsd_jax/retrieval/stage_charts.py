"""Pictures of a corpus and of how well it is searched."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from mlsd_jax import figures
from mlsd_jax.resampling import Estimate

_COLORS = ('#94a3b8', '#38bdf8', '#2563eb', '#7c3aed')
_PALETTE = (
  '#2563eb',
  '#f97316',
  '#16a34a',
  '#dc2626',
  '#7c3aed',
  '#0891b2',
  '#ca8a04',
  '#db2777',
  '#65a30d',
  '#475569',
)


def stages(measures: Mapping[str, Mapping[str, Estimate]], path: pathlib.Path, title: str) -> None:
  """Bars of each measure by stage, with 95% intervals."""
  names = list(measures)
  columns = list(measures[names[0]])
  width = 0.8 / len(names)
  with figures.figure(path, size=(7, 3.8), grid='y') as (_, axes):
    for number, (name, color) in enumerate(zip(names, _COLORS, strict=False)):
      values = [measures[name][column] for column in columns]
      x = np.arange(len(columns)) + (number - (len(names) - 1) / 2) * width
      error = [[v.mean - v.low for v in values], [v.high - v.mean for v in values]]
      bars = axes[0, 0].bar(x, [v.mean for v in values], width, color=color, label=name, yerr=error, ecolor='#334155')
      axes[0, 0].bar_label(bars, [f'{v.mean:.3f}' for v in values], label_type='center', fontsize=8, color='white')
    axes[0, 0].set_xticks(range(len(columns)), columns)
    axes[0, 0].set_ylim(0, 1)
    axes[0, 0].set_title(title, loc='left')
    axes[0, 0].legend(loc='upper left', ncols=len(names), frameon=False)


def latency(milliseconds: Mapping[str, np.ndarray], path: pathlib.Path) -> None:
  """Median and 99th percentile of each stage, on a logarithmic axis."""
  names = list(milliseconds)
  middle = [float(np.percentile(milliseconds[name], 50)) for name in names]
  late = [float(np.percentile(milliseconds[name], 99)) for name in names]
  with figures.figure(path, size=(7, 0.5 * len(names) + 1.3), grid='x') as (_, axes):
    y = np.arange(len(names))[::-1]
    axes[0, 0].hlines(y, middle, late, color='#94a3b8', linewidth=3)
    axes[0, 0].plot(middle, y, 'o', color='#2563eb', label='median')
    axes[0, 0].plot(late, y, 's', color='#f97316', label='99th percentile')
    axes[0, 0].set_yticks(y, names)
    axes[0, 0].set_xscale('log')
    axes[0, 0].xaxis.set_major_formatter('{x:g}')
    axes[0, 0].set_xlabel('milliseconds a query')
    axes[0, 0].legend(frameon=False)


def fusion(weights: Sequence[float], measured: Mapping[str, Sequence[float]], path: pathlib.Path, title: str) -> None:
  """nDCG@10 of each fusion by the weight of the dense ranking."""
  with figures.figure(path, size=(6, 3.6)) as (_, axes):
    for (name, values), color in zip(measured.items(), _PALETTE, strict=False):
      axes[0, 0].plot(weights, values, 'o-', color=color, label=name, markersize=4)
    axes[0, 0].set_xlabel('weight of the dense ranking')
    axes[0, 0].set_ylabel('nDCG@10')
    axes[0, 0].set_title(title, loc='left')
    axes[0, 0].legend(frameon=False)


def embedding_map(vectors: np.ndarray, folders: Sequence[str], path: pathlib.Path, title: str) -> None:
  """Pages in the plane of their first two principal components, the folders with most pages coloured.

  Args:
    vectors: [N, D], one a page.
  """
  centred = vectors - vectors.mean(axis=0)
  _, _, axes_ = np.linalg.svd(centred[:: max(len(centred) // 5000, 1)], full_matrices=False)
  x, y = (centred @ axes_[:2].T).T
  names, counts = np.unique(np.array(folders, object).astype(str), return_counts=True)
  common = names[np.argsort(-counts, kind='stable')][: len(_PALETTE)]
  with figures.figure(path, size=(8, 6), grid='none', frame=True) as (_, axes):
    plot = axes[0, 0]
    rest = ~np.isin(folders, common)
    plot.scatter(x[rest], y[rest], s=4, color='#cbd5e1', linewidths=0, label=f'{len(names) - len(common)} others')
    for name, color in zip(common, _PALETTE, strict=False):
      mine = np.array(folders, object) == name
      plot.scatter(x[mine], y[mine], s=7, color=color, linewidths=0, label=f'{name or "(top)"} ({mine.sum()})')
    plot.set_xticks([])
    plot.set_yticks([])
    plot.set_title(title, loc='left')
    plot.legend(loc='center left', bbox_to_anchor=(1, 0.5), frameon=False, markerscale=2.5, fontsize=8)
