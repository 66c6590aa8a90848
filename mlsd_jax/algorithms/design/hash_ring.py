"""Consistent hashing ring.

`HashRing(points)`: `add_node(node, weight)` puts a node on a ring of 64-bit numbers at points * weight places, the
hashes of 'node#0', 'node#1', ...; one that is there gets the new weight, and one whose weight is 0 or less has no
place. `remove_node(node)` takes it off, if it is there. `get(key)` answers the node at the first place from the
key's hash upward, around the end; `replicas(key, k)` the first k (0 or more) nodes from there that differ, or all
when there are fewer. '' and [] on an empty ring. The hash of a text is the first 8 bytes of its BLAKE2b, big end
first. A node that comes or goes moves only the keys that come to it or were on it."""

import hashlib
import random

from mlsd_jax.algorithms.problem import Call, Problem
from mlsd_jax.algorithms.sorted_list import SortedList


def ring_hash(text: str) -> int:
  return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), 'big')


class HashRing:
  """The places in order, and whose each is."""

  def __init__(self, points: int):
    self.points = points
    self.places = SortedList()
    self.owner: dict[int, str] = {}
    self.weight: dict[str, int] = {}

  def add_node(self, node: str, weight: int) -> None:
    self.remove_node(node)
    if self.points * weight <= 0:
      return
    self.weight[node] = weight
    for place in self._places(node):
      self.places.add(place)
      self.owner[place] = node

  def remove_node(self, node: str) -> None:
    if node not in self.weight:
      return
    for place in self._places(node):
      self.places.remove(place)
      del self.owner[place]
    del self.weight[node]

  def get(self, key: str) -> str:
    if not self.places:
      return ''
    rank = self.places.bisect_left(ring_hash(key))
    return self.owner[self.places[rank if rank < len(self.places) else 0]]

  def replicas(self, key: str, k: int) -> list[str]:
    found: dict[str, None] = {}
    rank = self.places.bisect_left(ring_hash(key))
    k = min(k, len(self.weight))
    while len(found) < k:
      found[self.owner[self.places[rank % len(self.places)]]] = None
      rank += 1
    return list(found)

  def _places(self, node: str) -> list[int]:
    return [ring_hash(f'{node}#{number}') for number in range(self.points * self.weight[node])]


class Oracle:
  """Measures the way to every place."""

  def __init__(self, points):
    self.points, self.owner = points, {}

  def add_node(self, node, weight):
    self.remove_node(node)
    self.owner |= {self._hash(f'{node}#{i}'): node for i in range(self.points * weight)}

  def remove_node(self, node):
    self.owner = {place: each for place, each in self.owner.items() if each != node}

  def get(self, key):
    return next(iter(self.replicas(key, 1)), '')

  def replicas(self, key, k):
    start = self._hash(key)
    order = sorted(self.owner, key=lambda place: (place - start) % 2**64)
    return list(dict.fromkeys(self.owner[place] for place in order))[:k]

  def _hash(self, text):
    return int(hashlib.blake2b(text.encode(), digest_size=8).hexdigest(), 16)


def operations(rng: random.Random, count: int, size: int) -> list[Call]:
  calls: list[Call] = [('HashRing', [4 if size > 8 else rng.choice((1, 4))])]
  nodes: list[str] = []
  for number in range(count):
    kind = rng.random()
    if kind < 0.3 and len(nodes) < size:
      nodes.append(f'node{number}')
      calls.append(('add_node', [nodes[-1], rng.randint(1, 2)]))
    elif kind < 0.4 and len(nodes) > size // 2:
      place = rng.randrange(len(nodes))
      nodes[place], nodes[-1] = nodes[-1], nodes[place]
      calls.append(('remove_node', [nodes.pop()]))
    elif kind < 0.42:
      node = rng.choice(nodes) if nodes else 'nobody'
      weight = rng.randrange(-1, 3)
      calls.append(('add_node', [node, weight]))
      if nodes and weight <= 0:
        nodes.remove(node)
    elif kind < 0.43:
      calls.append(('remove_node', ['nobody']))
    elif kind < 0.8:
      calls.append(('get', [f'key{rng.randrange(1000)}']))
    else:
      calls.append(('replicas', [f'key{rng.randrange(1000)}', rng.randint(0, 3)]))
  return calls


PROBLEM = Problem(
  HashRing, Oracle, operations, {'add_node': 'log n', 'remove_node': 'log n', 'get': 'log n', 'replicas': 'log n'}
)
