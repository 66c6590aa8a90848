"""Tree with any number of children as text.

`serialize(tree)` writes a tree [value, [child, ...]], or None, as text and `deserialize(text)` reads it back; values
are texts of any characters. Trees may be as deep as they are large. `round_trip(tree)` answers the tree again."""

import copy
import random
from typing import Any

from mlsd_jax.algorithms.problem import Call, Problem

Tree = list[Any] | None


class Codec:
  """In preorder 'children:length:value' for each node, so that a value may hold any character. Without recursion."""

  def serialize(self, tree: Tree) -> str:
    pieces: list[str] = []
    stack = [tree] if tree is not None else []
    while stack:
      value, children = stack.pop()
      pieces.append(f'{len(children)}:{len(value)}:{value}')
      stack += reversed(children)
    return ''.join(pieces)

  def deserialize(self, text: str) -> Tree:
    root: list[Any] = []
    open_nodes = [(root, 1)]  # where children go, and how many are still to come
    place = 0
    while place < len(text):
      colon = text.index(':', place)
      second = text.index(':', colon + 1)
      end = second + 1 + int(text[colon + 1 : second])
      node: list[Any] = [text[second + 1 : end], []]
      while open_nodes[-1][1] == 0:
        open_nodes.pop()
      children, missing = open_nodes.pop()
      children.append(node)
      open_nodes += ((children, missing - 1), (node[1], int(text[place:colon])))
      place = end
    return root[0] if root else None

  def round_trip(self, tree: Tree) -> Tree:
    return self.deserialize(self.serialize(tree))


class Oracle:
  """Gives back a copy."""

  def round_trip(self, tree):
    return copy.deepcopy(tree)


def tree(rng: random.Random, nodes: int) -> Tree:
  """A random tree: each node in turn becomes a child of a random earlier one."""
  if not nodes:
    return None
  made: list[list[Any]] = []
  for _ in range(nodes):
    node: list[Any] = [''.join(rng.choices('ab:# 1\n\u00e9', k=rng.randint(0, 4))), []]
    if made:
      rng.choice(made)[1].append(node)
    made.append(node)
  return made[0]


def operations(rng: random.Random, count: int, size: int) -> list[Call]:
  sizes = [size if size > 64 else rng.randint(0, min(size, 24)) for _ in range(count if size <= 64 else 6)]
  return [('Codec', []), *(('round_trip', [tree(rng, nodes)]) for nodes in sizes)]


PROBLEM = Problem(Codec, Oracle, operations, {'round_trip': 'n'})
