"""The fastest way to search a built index at a wanted recall."""

import dataclasses
import numbers
import pathlib
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from mlsd_jax import figures
from mlsd_jax.ann import checks
from mlsd_jax.ann.index import Index
from mlsd_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Point:
  """What one setting gave: recall@k against exact search, and queries per second."""

  leaves_to_search: int
  reorder: int
  recall: float
  queries_per_second: float


@dataclasses.dataclass(frozen=True)
class Curve:
  """All settings tried, exact search beside them, and the fastest of the wanted recall."""

  k: int
  wanted: float
  exact_queries_per_second: float
  points: list[Point]
  chosen: Point

  def front(self) -> list[Point]:
    """The points that no other beats in both recall (by a thousandth) and speed, by rising recall."""
    front: list[Point] = []
    for point in sorted(self.points, key=lambda point: (-point.queries_per_second, -point.recall)):
      if not front or point.recall > front[-1].recall + 1e-3 or point == self.chosen:
        front.append(point)
    return front

  def table(self) -> str:
    """The front as lines of text."""
    lines = [f'{"leaves":>8}{"reorder":>9}{f"recall@{self.k}":>12}{"queries/s":>12}{"of exact":>10}']
    for point in self.front():
      ratio = point.queries_per_second / self.exact_queries_per_second
      lines.append(
        f'{point.leaves_to_search:>8,}{point.reorder:>9,}{point.recall:>12.4f}{point.queries_per_second:>12,.0f}'
        f'{ratio:>9.1f}x{"  <- chosen" if point == self.chosen else ""}'
      )
    return '\n'.join([*lines, f'{"exact":>17}{1:>12.4f}{self.exact_queries_per_second:>12,.0f}{1:>9.1f}x'])


def recall(found: Iterable[np.ndarray], truth: Iterable[np.ndarray]) -> float:
  """The mean share of each query's true neighbours that were found; 1 for a query that has none."""
  pairs = [(set(a.tolist()), set(b.tolist())) for a, b in zip(found, truth, strict=True)]
  return float(np.mean([len(a & b) / len(b) if b else 1.0 for a, b in pairs]))


def tune(index: Index, queries: Any, k: int = 10, *, wanted: float = 0.95) -> Curve:
  """Measures `leaves_to_search` and `reorder`, and sets the fastest of the wanted recall in `index.settings`.

  For each number of reordered candidates, more and more partitions are searched until the recall wanted is passed, then
  some between. Take a few hundred queries that were not used to build anything; recall is uncertain by about
  1 / sqrt(10 Q). `index.save()` keeps what was chosen.

  Args:
    index: a built one with a segment that is not exact.
    queries: floating point [Q, D].
    k: neighbours a query.
    wanted: recall@k, over 0 and at most 1.

  Raises:
    UserError: all of the index is searched exactly, so that there is nothing to tune; the recall is not reached; bad
      queries or k.
  """
  k = checks.count('k', k)
  if not isinstance(wanted, numbers.Real) or isinstance(wanted, bool) or not 0 < wanted <= 1:
    raise UserError(f'wanted={checks.shown(wanted)}: a recall is over 0 and at most 1')
  parts = index.describe()
  largest = max((part['leaves'] for part in parts), default=0)
  if all(part['kind'] == 'exact' for part in parts):
    raise UserError('an index that is searched exactly has nothing to tune')
  if len(checks.queries(queries, index.metric, index.dim)[0]) == 0:
    raise UserError('no queries to tune with: give a few hundred')
  queries = np.asarray(queries)
  began = time.perf_counter()
  truth = index.search(queries, k, exact=True).rows
  exact_rate = len(queries) / (time.perf_counter() - began)
  points: list[Point] = []
  for reorder in sorted({2 * k, 5 * k, 10 * k, 20 * k, 50 * k}):
    points += _climb(lambda leaves: _measure(index, queries, k, leaves, reorder, truth), _ladder(largest), wanted)
  enough = [point for point in points if point.recall >= wanted]
  if not enough:
    best = max(points, key=lambda point: point.recall)
    raise UserError(
      f'recall@{k} of {wanted} is not reached: {best.recall:.4f} at most; build with a finer reorder_dtype'
    )
  chosen = max(enough, key=lambda point: point.queries_per_second)
  # Without partitions nothing was learned of how many to search: a later compaction may make some.
  leaves = chosen.leaves_to_search if largest else index.settings.leaves_to_search
  index.settings = dataclasses.replace(index.settings, leaves_to_search=leaves, reorder=chosen.reorder)
  return Curve(k, wanted, exact_rate, points, chosen)


def _climb(measure: Callable[[int], Point], ladder: list[int], wanted: float) -> list[Point]:
  """Points for more and more partitions, to one step past the recall wanted, and two between the steps around it."""
  points: list[Point] = []
  for leaves in ladder:
    points.append(measure(leaves))
    if len(points) > 1 and points[-2].recall >= wanted:
      break
    if len(points) > 1 and points[-1].recall - points[-2].recall < 1e-4 and points[-1].recall > 0.5:
      break  # more partitions bring nothing more
  for _ in range(2):
    below = max((point.leaves_to_search for point in points if point.recall < wanted), default=0)
    above = min((point.leaves_to_search for point in points if point.recall >= wanted), default=0)
    if above - below > 1:
      points.append(measure((below + above) // 2))
  return points


def _ladder(leaves: int) -> list[int]:
  """Numbers of partitions to try, each about 1.4 times the last; one for an index without."""
  return sorted({max(1, round(leaves * 2 ** (-step / 2))) for step in range(20)}) if leaves else [1]


def _measure(index: Index, queries: Any, k: int, leaves: int, reorder: int, truth: list[np.ndarray]) -> Point:
  seconds = []
  for _ in range(2):  # the first also brings what it needs into memory
    began = time.perf_counter()
    found = index.search(queries, k, leaves_to_search=leaves, reorder=reorder)
    seconds.append(time.perf_counter() - began)
  return Point(leaves, reorder, recall(found.rows, truth), len(queries) / min(seconds))


def plot(curve: Curve, path: pathlib.Path, title: str = '') -> None:
  """Recall against queries per second: all points, their front, what was chosen, and exact search."""
  with figures.figure(path, size=(7.2, 4.4)) as (_, axes):
    axis = axes[0, 0]
    front = curve.front()
    rates = lambda points: [point.queries_per_second for point in points]
    recalls = lambda points: [point.recall for point in points]
    chosen = curve.chosen
    axis.semilogy(recalls(curve.points), rates(curve.points), '.', color=figures.GREY, label='tried')
    axis.semilogy(recalls(front), rates(front), '-o', color=figures.PALETTE[0], ms=4, label='best')
    label = f'chosen: {chosen.queries_per_second:,.0f}/s at {chosen.recall:.3f}'
    axis.plot(chosen.recall, chosen.queries_per_second, '*', color=figures.OURS, ms=15, ls='none', label=label)
    label = f'exact: {curve.exact_queries_per_second:,.0f}/s'
    axis.axhline(curve.exact_queries_per_second, color=figures.GREY, ls=figures.DASHED, lw=1.4, label=label)
    axis.axvline(curve.wanted, color=figures.GREY, ls=':', lw=1.2)
    axis.legend(loc='center left')
    figures.plain_ticks(axis.yaxis)
    axis.set(xlabel=f'recall@{curve.k}', ylabel='queries per second', title=title)
