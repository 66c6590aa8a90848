"""Shortest paths: Dijkstra, Bellman-Ford, 0-1 breadth first, Floyd-Warshall. Unreachable is infinite."""

import heapq
import math
from collections import deque
from collections.abc import Sequence

type Graph = Sequence[Sequence[tuple[int, float]]]  # for each node (neighbour, length)


def dijkstra(graph: Graph, source: int) -> tuple[list[float], list[int]]:
  """(distance, node before, -1 for none) of every node; lengths are not negative. O((n + m) log n)."""
  distance: list[float] = [math.inf] * len(graph)
  before = [-1] * len(graph)
  distance[source] = 0
  heap: list[tuple[float, int]] = [(0, source)]
  while heap:
    far, node = heapq.heappop(heap)
    if far > distance[node]:
      continue
    for other, length in graph[node]:
      if far + length < distance[other]:
        distance[other], before[other] = far + length, node
        heapq.heappush(heap, (far + length, other))
  return distance, before


def path(before: Sequence[int], target: int) -> list[int]:
  """The nodes from the source to the target."""
  nodes = [target]
  while before[nodes[-1]] >= 0:
    nodes.append(before[nodes[-1]])
  return nodes[::-1]


def bellman_ford(graph: Graph, source: int) -> list[float]:
  """Distances with lengths of any sign; -inf where a negative cycle can be passed through. O(n m)."""
  distance: list[float] = [math.inf] * len(graph)
  distance[source] = 0
  for step in range(2 * len(graph)):
    for node, edges in enumerate(graph):
      for other, length in edges:
        if distance[node] + length < distance[other]:
          # Who still gets nearer after n - 1 rounds is behind a negative cycle, and so is what is behind him.
          distance[other] = distance[node] + length if step < len(graph) - 1 else -math.inf
  return distance


def zero_one(graph: Graph, source: int) -> list[float]:
  """Distances where every length is 0 or 1. O(n + m)."""
  distance: list[float] = [math.inf] * len(graph)
  distance[source] = 0
  queue = deque([source])
  while queue:
    node = queue.popleft()
    for other, length in graph[node]:
      if distance[node] + length < distance[other]:
        distance[other] = distance[node] + length
        if length:
          queue.append(other)
        else:
          queue.appendleft(other)
  return distance


def floyd_warshall(graph: Graph) -> list[list[float]]:
  """Distances between all pairs; without negative cycles. O(n^3)."""
  count = len(graph)
  distance = [[0 if a == b else math.inf for b in range(count)] for a in range(count)]
  for node, edges in enumerate(graph):
    for other, length in edges:
      distance[node][other] = min(distance[node][other], length)
  for middle in range(count):
    through = distance[middle]
    for row in distance:
      if row[middle] < math.inf:
        first = row[middle]
        row[:] = [min(known, first + second) for known, second in zip(row, through, strict=True)]
  return distance
