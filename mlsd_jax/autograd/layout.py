"""A layered drawing of a directed acyclic graph, left to right (Sugiyama, Tagawa and Toda 1981).

Each node stands one layer left of the nearest that uses it; an edge over several layers is led through a free place in
each of them; the order within layers follows the mean position of neighbours; heights then move as near to those of the
neighbours as the boxes let them (least squares under a minimum distance, by pooling adjacent violators).
"""

import dataclasses
import itertools
from collections.abc import Sequence

_GAP_X, _GAP_Y, _BEND = 56.0, 18.0, 12.0  # pixels: between layers, between boxes, room an edge takes within a layer
_MARGIN, _SWEEPS = 24.0, 12


@dataclasses.dataclass(frozen=True)
class Placed:
  """Where things stand: the centre of each box, the points of each edge (in the order given), the picture's size."""

  centres: list[tuple[float, float]]
  paths: list[list[tuple[float, float]]]
  size: tuple[float, float]


def layered(widths: Sequence[float], height: float, edges: Sequence[tuple[int, int]]) -> Placed:
  """Places boxes.

  Args:
    widths: of the boxes; all have `height`.
    edges: (from, to) with from < to: boxes are numbered so that no edge goes backwards.
  """
  count = len(widths)
  users: list[list[int]] = [[] for _ in widths]
  for start, end in edges:
    users[start].append(end)
  from_right = [0] * count
  for node in range(count - 1, -1, -1):
    from_right[node] = 1 + max((from_right[each] for each in users[node]), default=-1)
  depth = max(from_right)
  layer = [depth - each for each in from_right]

  chains = []  # of each edge: its start, a bend in each layer between, its end
  neighbours: dict[int, tuple[list[int], list[int]]] = {i: ([], []) for i in range(count)}
  for start, end in edges:
    bends = list(range(len(layer), len(layer) + layer[end] - layer[start] - 1))
    layer += range(layer[start] + 1, layer[end])
    chain = [start, *bends, end]
    neighbours |= {bend: ([], []) for bend in bends}
    for a, b in itertools.pairwise(chain):
      neighbours[a][1].append(b)
      neighbours[b][0].append(a)
    chains.append(chain)
  rows: list[list[int]] = [[] for _ in range(depth + 1)]
  for node, at in enumerate(layer):
    rows[at].append(node)

  sizes = [height if node < count else _BEND for node in range(len(layer))]
  _order(rows, neighbours)
  y = _heights(rows, neighbours, sizes)
  low = min(y[node] - sizes[node] / 2 for node in y)
  right, x_of = _MARGIN, []
  for row in rows:
    width = max((widths[node] for node in row if node < count), default=0.0)
    x_of.append((right, width))
    right += width + _GAP_X
  y = {node: at - low + _MARGIN for node, at in y.items()}
  middle = lambda node: x_of[layer[node]][0] + x_of[layer[node]][1] / 2
  paths = []
  for start, *bends, end in chains:
    points = [(middle(start) + widths[start] / 2, y[start])]
    for bend in bends:
      left, width = x_of[layer[bend]]
      points += [(left, y[bend]), (left + width, y[bend])]
    paths.append([*points, (middle(end) - widths[end] / 2, y[end])])
  bottom = max(y[node] + sizes[node] / 2 for node in y)
  centres = [(middle(node), y[node]) for node in range(count)]
  return Placed(centres, paths, (right - _GAP_X + _MARGIN, bottom + _MARGIN))


def _order(rows: list[list[int]], neighbours: dict[int, tuple[list[int], list[int]]]) -> None:
  """Sorts each row by the mean place of its neighbours, sweeping to and fro; the order with fewest crossings stays."""
  best, fewest = [list(row) for row in rows], _crossings(rows, neighbours)
  for sweep in range(_SWEEPS):
    side = sweep % 2
    for row in rows[::-1] if side else rows:
      place = {node: i / max(len(each) - 1, 1) for each in rows for i, node in enumerate(each)}
      mean = {}
      for node in row:
        near = neighbours[node][side]
        mean[node] = sum(place[each] for each in near) / len(near) if near else place[node]
      row.sort(key=mean.__getitem__)
    crossings = _crossings(rows, neighbours)
    if crossings < fewest:
      best, fewest = [list(row) for row in rows], crossings
  rows[:] = best


def _crossings(rows: list[list[int]], neighbours: dict[int, tuple[list[int], list[int]]]) -> int:
  place = {node: i for row in rows for i, node in enumerate(row)}
  total = 0
  for row in rows:
    ends: list[int] = []
    for node in row:
      mine = sorted(place[each] for each in neighbours[node][1])
      total += sum(earlier > each for each in mine for earlier in ends)
      ends += mine
  return total


def _heights(
  rows: list[list[int]], neighbours: dict[int, tuple[list[int], list[int]]], sizes: list[float]
) -> dict[int, float]:
  y: dict[int, float] = {}
  for row in rows:
    at = 0.0
    for node in row:
      y[node] = at
      at += sizes[node] + _GAP_Y
  for sweep in range(2 * _SWEEPS):
    for row in rows if sweep % 2 else rows[::-1]:
      wanted = []
      for node in row:
        left, right = neighbours[node]
        near = (left + right) if sweep > _SWEEPS else (left if sweep % 2 else right)
        wanted.append(sum(y[each] for each in near) / len(near) if near else y[node])
      y.update(zip(row, _apart(wanted, [sizes[node] for node in row]), strict=True))
  return y


def _apart(wanted: list[float], sizes: list[float]) -> list[float]:
  """The positions nearest to those wanted (least squares) with neighbours _GAP_Y apart, in the given order."""
  offsets, at = [], 0.0
  for i, size in enumerate(sizes):
    at += (sizes[i - 1] + size) / 2 + _GAP_Y if i else 0.0
    offsets.append(at)
  pools: list[tuple[float, int]] = []  # mean and size; means rise
  for want, offset in zip(wanted, offsets, strict=True):
    mean, many = want - offset, 1
    while pools and pools[-1][0] > mean:
      before, more = pools.pop()
      mean, many = (mean * many + before * more) / (many + more), many + more
    pools.append((mean, many))
  means = [mean for mean, many in pools for _ in range(many)]
  return [mean + offset for mean, offset in zip(means, offsets, strict=True)]
