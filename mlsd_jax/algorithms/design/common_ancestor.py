"""Lowest common ancestor, two ways.

`CommonAncestor(parents)`: a binary tree of the nodes 0, 1, 2, ..., where parents[i] < i is the parent of node i and
-1 that of node 0, the root. A node is an ancestor of itself. `by_search(a, b)` answers the lowest node above both,
knowing the children only, in one walk from the root; `by_lifting(a, b)` knows the ancestors 1, 2, 4, 8, ... levels
up, and takes logarithmically many steps."""

import random

from mlsd_jax.algorithms.problem import Call, Problem


class CommonAncestor:
  """Children and depths; ancestors by powers of two."""

  def __init__(self, parents: list[int]):
    self.children: list[list[int]] = [[] for _ in parents]
    self.depth = [0] * len(parents)
    self.above = [[max(parent, 0) for parent in parents]]
    for node, parent in enumerate(parents):
      if parent >= 0:
        self.children[parent].append(node)
        self.depth[node] = self.depth[parent] + 1
    while 1 << len(self.above) <= max(self.depth):
      last = self.above[-1]
      self.above.append([last[each] for each in last])

  def by_search(self, a: int, b: int) -> int:
    """The first node, from below, under which both have been seen. A loop, as a deep tree would end a recursion."""
    seen = [0] * len(self.children)
    order, stack = [], [0]
    while stack:
      node = stack.pop()
      order.append(node)
      stack += self.children[node]
    for node in reversed(order):  # children come before their parents
      seen[node] += (node == a) + (node == b)
      for child in self.children[node]:
        seen[node] += seen[child]
      if seen[node] == 2:
        return node
    raise KeyError(f'no node {max(a, b)}')

  def by_lifting(self, a: int, b: int) -> int:
    if self.depth[a] < self.depth[b]:
      a, b = b, a
    higher = self.depth[a] - self.depth[b]
    for power, above in enumerate(self.above):
      if higher >> power & 1:
        a = above[a]
    if a == b:
      return a
    for above in reversed(self.above):
      if above[a] != above[b]:
        a, b = above[a], above[b]
    return self.above[0][a]


class Oracle:
  """Writes both ways to the root down."""

  def __init__(self, parents):
    self.parents = parents

  def _way(self, node):
    return [node, *self._way(self.parents[node])] if node >= 0 else []

  def by_search(self, a, b):
    way = set(self._way(b))
    return next(node for node in self._way(a) if node in way)

  by_lifting = by_search


def operations(rng: random.Random, count: int, size: int) -> list[Call]:
  free, parents = [0, 0], [-1]
  deep = rng.random() < 0.3 and size < 200
  for node in range(1, size):
    place = len(free) - 1 if deep else rng.randrange(len(free))
    parents.append(free.pop(place))
    free += [node, node]
  pair = lambda: [rng.randrange(size), rng.randrange(size)]
  return [('CommonAncestor', [parents]), *((rng.choice(('by_search', 'by_lifting')), pair()) for _ in range(count))]


PROBLEM = Problem(CommonAncestor, Oracle, operations, {'by_search': 'n', 'by_lifting': 'log n'}, sizes=(128, 512, 2048))
