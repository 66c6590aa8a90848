"""Binary tree as text.

`serialize(tree)` writes a tree, given as [value, left, right] with None for no tree, as text, and `deserialize(text)`
reads it back. Trees may be as deep as they are large. The text is free to choose; what counts is that
`round_trip(tree)` answers the tree again, and that `size(tree)`, the length of its text, stays below 16 characters a
node for values of up to six digits."""

import copy
import random
from typing import Any

from mlsd_jax.algorithms.problem import Call, Problem

Tree = list[Any] | None


class Codec:
  """The nodes in preorder, '#' for no tree, without recursion. Time and text grow with the tree alone."""

  def serialize(self, tree: Tree) -> str:
    words: list[str] = []
    stack = [tree]
    while stack:
      node = stack.pop()
      if node is None:
        words.append('#')
      else:
        value, left, right = node
        words.append(str(value))
        stack += (right, left)
    return ' '.join(words)

  def deserialize(self, text: str) -> Tree:
    holder: list[Any] = [None]
    places: list[tuple[list[Any], int]] = [(holder, 0)]
    for word in text.split():
      parent, index = places.pop()
      if word != '#':
        node: list[Any] = [int(word), None, None]
        parent[index] = node
        places += ((node, 2), (node, 1))
    return holder[0]

  def round_trip(self, tree: Tree) -> Tree:
    return self.deserialize(self.serialize(tree))

  def size(self, tree: Tree) -> bool:
    return len(self.serialize(tree)) < 16 * (1 + _nodes(tree))


def _nodes(tree: Tree) -> int:
  count, stack = 0, [tree]
  while stack:
    node = stack.pop()
    if node is not None:
      count += 1
      stack += node[1:]
  return count


class Oracle:
  """Gives back a copy."""

  def round_trip(self, tree):
    return copy.deepcopy(tree)

  def size(self, tree):
    return True


def tree(rng: random.Random, nodes: int) -> Tree:
  """A random tree: each node in turn takes a random free place."""
  holder: list[Any] = [None]
  places = [(holder, 0)]
  for _ in range(nodes):
    place = rng.randrange(len(places))
    places[place], places[-1] = places[-1], places[place]
    parent, index = places.pop()
    node: list[Any] = [rng.randint(-999, 999_999), None, None]
    parent[index] = node
    places += ((node, 1), (node, 2))
  return holder[0]


def operations(rng: random.Random, count: int, size: int) -> list[Call]:
  sizes = [size if size > 64 else rng.randint(0, min(size, 24)) for _ in range(count if size <= 64 else 6)]
  return [('Codec', []), *((rng.choice(('round_trip', 'size')), [tree(rng, nodes)]) for nodes in sizes)]


PROBLEM = Problem(Codec, Oracle, operations, {'round_trip': 'n', 'size': 'n'})
