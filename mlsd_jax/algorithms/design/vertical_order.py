"""Vertical-order traversal.

`VerticalOrder(values)`: a binary tree by levels, as LeetCode writes it: the root, then the children of each node
that is there, None where one is missing. The root has row 0 and column 0, a left child the next row and the column
before, a right child the next row and the column after. `columns()` answers the values of each column from left to
right, in a column from the top, and at one place in their own order."""

import random
from collections import deque

from mlsd_jax.algorithms.problem import Call, Problem


class VerticalOrder:
  """Goes through the levels once; the columns are sorted when they are asked for."""

  def __init__(self, values: list[int | None]):
    self.places: dict[int, list[tuple[int, int]]] = {}
    rest = iter(values)
    root = next(rest, None)
    waiting = deque([(0, 0)] if root is not None else [])
    if root is not None:
      self.places[0] = [(0, root)]
    while waiting:
      row, column = waiting.popleft()
      for side in (-1, 1):
        value = next(rest, None)
        if value is not None:
          self.places.setdefault(column + side, []).append((row + 1, value))
          waiting.append((row + 1, column + side))

  def columns(self) -> list[list[int]]:
    return [[value for _, value in sorted(self.places[number])] for number in sorted(self.places)]


class Oracle:
  """Builds the tree, then asks every node for its place."""

  def __init__(self, values):
    nodes = []  # (value, row, column)
    queue, index = [], 1
    if values and values[0] is not None:
      queue, nodes = [(0, 0)], [(values[0], 0, 0)]
    while queue:
      row, column = queue.pop(0)
      for side in (-1, 1):
        if index < len(values) and values[index] is not None:
          nodes.append((values[index], row + 1, column + side))
          queue.append((row + 1, column + side))
        index += 1
    self.nodes = nodes

  def columns(self):
    numbers = sorted({column for _, _, column in self.nodes})
    pick = lambda number: sorted((row, value) for value, row, column in self.nodes if column == number)
    return [[value for _, value in pick(number)] for number in numbers]


def operations(rng: random.Random, count: int, size: int) -> list[Call]:
  values: list[int | None] = [rng.randrange(20)]
  open_, nodes = 2, 1  # places below nodes that are there
  if rng.random() < 0.05:
    values, open_ = [], 0
  while open_ > 0 and nodes < size:
    missing = rng.random() < 0.25 and open_ > 1
    values.append(None if missing else rng.randrange(20))
    open_ += -1 if missing else 1
    nodes += not missing
  calls: list[Call] = [('VerticalOrder', [values])]
  calls += [('columns', [])] * (count if size <= 32 else min(count, 4000 // size))
  return calls


PROBLEM = Problem(VerticalOrder, Oracle, operations, {'columns': 'n'}, sizes=(128, 512, 2048))
