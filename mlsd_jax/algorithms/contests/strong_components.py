"""Strongly connected components (Tarjan, 1972), without recursion, and 2-SAT on top of them. O(n + m)."""

from collections.abc import Sequence


def strong_components(graph: Sequence[Sequence[int]]) -> tuple[int, list[int]]:
  """(how many, the component of each node); edges between components go from a higher number to a lower."""
  count, found = len(graph), 0
  order, low, component = [-1] * count, [0] * count, [-1] * count
  stack: list[int] = []
  time = 0
  for root in range(count):
    if order[root] >= 0:
      continue
    walk = [(root, iter(graph[root]))]
    order[root] = low[root] = time
    time += 1
    stack.append(root)
    while walk:
      node, edges = walk[-1]
      for other in edges:
        if order[other] < 0:
          order[other] = low[other] = time
          time += 1
          stack.append(other)
          walk.append((other, iter(graph[other])))
          break
        if component[other] < 0:
          low[node] = min(low[node], order[other])
      else:
        walk.pop()
        if walk:
          low[walk[-1][0]] = min(low[walk[-1][0]], low[node])
        if low[node] == order[node]:
          while component[node] < 0:
            component[stack.pop()] = found
          found += 1
  return found, component


class TwoSat:
  """Clauses of two literals; literal x is variable x, literal ~x its negation (Aspvall, Plass and Tarjan, 1979)."""

  def __init__(self, variables: int):
    self.variables = variables
    self.implies: list[list[int]] = [[] for _ in range(2 * variables)]

  def add(self, a: int, b: int) -> None:
    """Demands a or b."""
    for first, second in ((a, b), (b, a)):
      self.implies[self._node(~first)].append(self._node(second))

  def solve(self) -> list[bool] | None:
    """Values of the variables that fulfil every clause; None when there are none."""
    _, component = strong_components(self.implies)
    if any(component[2 * x] == component[2 * x + 1] for x in range(self.variables)):
      return None
    # What is implied has the lower number: a literal is true if it comes behind its negation.
    return [component[2 * x] < component[2 * x + 1] for x in range(self.variables)]

  def _node(self, literal: int) -> int:
    return 2 * literal if literal >= 0 else 2 * ~literal + 1
