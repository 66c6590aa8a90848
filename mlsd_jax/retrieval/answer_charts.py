"""Pictures of how well a corpus's answers know what they do not know."""

import pathlib

import numpy as np

from mlsd_jax import figures
from mlsd_jax.retrieval.calibration import KNOWN_SHARE

_BINS = 10


def reliability(known: np.ndarray, hidden: np.ndarray, path: pathlib.Path, title: str) -> None:
  """Share of queries whose page was there by the confidence they were answered with, and how many had it.

  Both kinds have the shares that the calibration assumes of them, so that a good one is on the diagonal.

  Args:
    known, hidden: [N] confidences with the page there, and hidden.
  """
  edges = np.linspace(0, 1, _BINS + 1)
  counts = [np.histogram(values, edges)[0] for values in (known, hidden)]
  weights = KNOWN_SHARE / len(known), (1 - KNOWN_SHARE) / len(hidden)
  total = weights[0] * counts[0] + weights[1] * counts[1]
  there = total > 0
  sums = [np.histogram(values, edges, weights=values)[0] for values in (known, hidden)]
  confidence = weights[0] * sums[0] + weights[1] * sums[1]
  with figures.figure(path, rows=2, size=(5.5, 5.5)) as (_, axes):
    curve, bars = axes[0, 0], axes[1, 0]
    curve.plot([0, 1], [0, 1], color=figures.RULE, linewidth=1)
    curve.plot(
      confidence[there] / total[there],
      weights[0] * counts[0][there] / total[there],
      'o-',
      color=figures.OURS,
      markersize=4,
    )
    curve.set_ylabel('share with their page there')
    curve.set_title(title)
    middle, width = (edges[1:] + edges[:-1]) / 2, 0.4 / _BINS
    for number, (name, count) in enumerate((('page there', counts[0]), ('page hidden', counts[1]))):
      bars.bar(middle + (number - 0.5) * width, count, width, color=figures.PALETTE[number], label=name)
    bars.set_xlabel('confidence')
    bars.set_ylabel('queries')
    bars.legend()


def risk_coverage(
  known: np.ndarray, hidden: np.ndarray, right: np.ndarray | None, least: float, path: pathlib.Path, title: str
) -> None:
  """Share of answers that are wrong by the share of queries that are answered, over all thresholds of the confidence.

  An answer is wrong if the page was hidden, and where it is known what answers, if the first citation lacks it
  (El-Yaniv and Wiener 2010).

  Args:
    right: bool [N], whether the first citation answers; None if that is not known.
    least: the threshold in use, which is marked.
  """
  confidence = np.concatenate([known, hidden])
  lines = {'page hidden': np.repeat([False, True], [len(known), len(hidden)])}
  if right is not None:
    lines['or first citation wrong'] = np.concatenate([~right, np.ones(len(hidden), bool)])
  order = np.argsort(-confidence, kind='stable')
  number = np.arange(1, len(order) + 1)
  at = int((confidence >= least).sum())
  with figures.figure(path, size=(5.5, 3.8)) as (_, axes):
    for (name, wrong), color in zip(lines.items(), figures.PALETTE, strict=False):
      risk = np.cumsum(wrong[order]) / number
      axes[0, 0].plot(number / len(order), risk, color=color, label=name)
      if at:
        axes[0, 0].plot(at / len(order), risk[at - 1], 'o', color=color)
    axes[0, 0].set_xlabel('share of queries answered (half of them with their page hidden)')
    axes[0, 0].set_ylabel('share of the answers wrong')
    axes[0, 0].set_ylim(0, None)
    axes[0, 0].set_title(f'{title}; dots: confidence {least:g}')
    axes[0, 0].legend()
