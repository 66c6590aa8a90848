"""Rooted trees: lowest common ancestors, and paths as ranges by heavy-light decomposition. Without recursion."""

from collections.abc import Iterator, Sequence

from mlsd_jax.algorithms.contests.sparse_table import SparseTable


def rooted(graph: Sequence[Sequence[int]], root: int) -> tuple[list[int], list[int]]:
  """(parent of each node, -1 for the root; the nodes in preorder)."""
  parent, order, stack = [-1] * len(graph), [], [root]
  while stack:
    node = stack.pop()
    order.append(node)
    for other in graph[node]:
      if other != parent[node]:
        parent[other] = node
        stack.append(other)
  return parent, order


class LowestCommonAncestor:
  """In preorder, the parent of the shallowest node behind one and up to the other. O(1) after O(n log n)."""

  def __init__(self, graph: Sequence[Sequence[int]], root: int = 0):
    self.parent, order = rooted(graph, root)
    self.place = [0] * len(graph)
    self.depth = [0] * len(graph)
    for place, node in enumerate(order):
      self.place[node] = place
      self.depth[node] = self.depth[self.parent[node]] + 1 if self.parent[node] >= 0 else 0
    self.order = order
    # A parent comes before its children in preorder, so the shallowest has the parent that comes first.
    self.table = SparseTable([self.place[self.parent[node]] if self.parent[node] >= 0 else 0 for node in order])

  def find(self, a: int, b: int) -> int:
    if a == b:
      return a
    first, last = sorted((self.place[a], self.place[b]))
    return self.order[self.table.minimum(first + 1, last + 1)]

  def distance(self, a: int, b: int) -> int:
    return self.depth[a] + self.depth[b] - 2 * self.depth[self.find(a, b)]


class HeavyLight:
  """Numbers the nodes so that a path is O(log n) ranges of numbers, and a subtree is one.

  Attributes:
    place: the number of each node.
    size: how many nodes its subtree has: those numbered place to place + size - 1.
  """

  def __init__(self, graph: Sequence[Sequence[int]], root: int = 0):
    self.parent, order = rooted(graph, root)
    count = len(graph)
    self.size = [1] * count
    for node in order[:0:-1]:
      self.size[self.parent[node]] += self.size[node]
    self.head, self.place, self.depth = list(range(count)), [0] * count, [0] * count
    for node in order:
      place = self.place[node] + 1
      children = [other for other in graph[node] if other != self.parent[node]]
      heavy = max(children, key=self.size.__getitem__, default=-1)
      for child in [heavy, *(each for each in children if each != heavy)] if children else []:
        self.place[child], place = place, place + self.size[child]
        self.depth[child] = self.depth[node] + 1
      if heavy >= 0:
        self.head[heavy] = self.head[node]

  def ranges(self, a: int, b: int) -> Iterator[tuple[int, int]]:
    """The path between two nodes as ranges (first, last + 1) of numbers, in no particular order."""
    while self.head[a] != self.head[b]:
      if self.depth[self.head[a]] < self.depth[self.head[b]]:
        a, b = b, a
      yield self.place[self.head[a]], self.place[a] + 1
      a = self.parent[self.head[a]]
    first, last = sorted((self.place[a], self.place[b]))
    yield first, last + 1
