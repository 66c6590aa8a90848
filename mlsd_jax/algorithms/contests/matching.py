"""Matchings: greatest in a bipartite graph (Hopcroft and Karp, 1973), cheapest assignment (Kuhn, Munkres)."""

import math
from collections import deque
from collections.abc import Sequence


def bipartite_matching(edges: Sequence[Sequence[int]], right: int) -> list[int]:
  """For each node on the left its partner on the right, -1 for none; as many pairs as can be. O(m sqrt n).

  Args:
    edges: for each node on the left its neighbours on the right.
    right: how many nodes there are on the right.
  """
  mate, back = [-1] * len(edges), [-1] * right

  def layers() -> list[int]:
    level = [0 if mate[node] < 0 else -1 for node in range(len(edges))]
    queue = deque(node for node in range(len(edges)) if mate[node] < 0)
    while queue:
      node = queue.popleft()
      for other in edges[node]:
        following = back[other]
        if following >= 0 and level[following] < 0:
          level[following] = level[node] + 1
          queue.append(following)
    return level

  def augment(root: int, level: list[int], place: list[int]) -> bool:
    way = [root]
    while way:
      node = way[-1]
      if place[node] == len(edges[node]):
        level[node] = -1
        way.pop()
        continue
      other = edges[node][place[node]]
      place[node] += 1
      following = back[other]
      if following < 0:
        for each in way[::-1]:
          other, mate[each] = mate[each], other
          back[mate[each]] = each
        return True
      if level[following] == level[node] + 1:
        way.append(following)
    return False

  while True:
    level, place = layers(), [0] * len(edges)
    if not sum(augment(node, level, place) for node in range(len(edges)) if mate[node] < 0):
      return mate


def assignment(cost: Sequence[Sequence[float]]) -> tuple[float, list[int]]:
  """(cost, column of each row) of the cheapest assignment of rows to different columns; rows <= columns. O(n^2 m)."""
  rows, columns = len(cost), len(cost[0]) if cost else 0
  row_price, column_price = [0.0] * (rows + 1), [0.0] * (columns + 1)
  owner = [0] * (columns + 1)  # row (from 1) of each column (from 1); column 0 stands for the row that is being placed
  for row in range(1, rows + 1):
    owner[0], column = row, 0
    slack, before, used = [math.inf] * (columns + 1), [0] * (columns + 1), [False] * (columns + 1)
    while owner[column]:
      used[column] = True
      least, best = math.inf, 0
      for other in range(1, columns + 1):
        if not used[other]:
          reduced = cost[owner[column] - 1][other - 1] - row_price[owner[column]] - column_price[other]
          if reduced < slack[other]:
            slack[other], before[other] = reduced, column
          if slack[other] < least:
            least, best = slack[other], other
      for other in range(columns + 1):
        if used[other]:
          row_price[owner[other]] += least
          column_price[other] -= least
        else:
          slack[other] -= least
      column = best
    while column:
      owner[column] = owner[before[column]]
      column = before[column]
  chosen = [-1] * rows
  for column in range(1, columns + 1):
    if owner[column]:
      chosen[owner[column] - 1] = column - 1
  return sum(cost[row][column] for row, column in enumerate(chosen)), chosen
