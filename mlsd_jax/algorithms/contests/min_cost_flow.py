"""Cheapest flow: shortest paths one after the other, with potentials (Edmonds and Karp, 1972). O(flow * m log n)."""

import heapq
import math


class MinCostFlow:
  """Edges in pairs: edge e and its reverse e ^ 1. Costs may be negative, cycles of negative cost may not be there."""

  def __init__(self, nodes: int):
    self.edges: list[list[int]] = [[] for _ in range(nodes)]
    self.head: list[int] = []
    self.room: list[int] = []
    self.cost: list[int] = []

  def add(self, a: int, b: int, capacity: int, cost: int) -> int:
    number = len(self.head)
    self.edges[a].append(number)
    self.edges[b].append(number + 1)
    self.head += (b, a)
    self.room += (capacity, 0)
    self.cost += (cost, -cost)
    return number

  def flow(self, source: int, sink: int, limit: float = math.inf) -> tuple[int, int]:
    """(flow, cost) of the cheapest greatest flow, or of the cheapest one of at most `limit`."""
    potential = self._first_potential(source)
    total = cost = 0
    while total < limit:
      distance, through = self._shortest(source, potential)
      if distance[sink] == math.inf:
        break
      potential = [p + d if d < math.inf else p for p, d in zip(potential, distance, strict=True)]
      way, node = [], sink
      while node != source:
        way.append(through[node])
        node = self.head[through[node] ^ 1]
      amount = int(min(limit - total, min(self.room[number] for number in way)))
      for number in way:
        self.room[number] -= amount
        self.room[number ^ 1] += amount
        cost += amount * self.cost[number]
      total += amount
    return total, cost

  def _first_potential(self, source: int) -> list[float]:
    """Bellman and Ford's distances, which make every reduced cost non-negative."""
    distance = [math.inf] * len(self.edges)
    distance[source] = 0
    for _ in self.edges:
      for number, room in enumerate(self.room):
        tail, head = self.head[number ^ 1], self.head[number]
        if room and distance[tail] + self.cost[number] < distance[head]:
          distance[head] = distance[tail] + self.cost[number]
    return [each if each < math.inf else 0 for each in distance]

  def _shortest(self, source: int, potential: list[float]) -> tuple[list[float], list[int]]:
    distance, through = [math.inf] * len(self.edges), [-1] * len(self.edges)
    distance[source] = 0
    heap: list[tuple[float, int]] = [(0, source)]
    while heap:
      far, node = heapq.heappop(heap)
      if far > distance[node]:
        continue
      for number in self.edges[node]:
        other = self.head[number]
        length = far + self.cost[number] + potential[node] - potential[other]
        if self.room[number] and length < distance[other]:
          distance[other], through[other] = length, number
          heapq.heappush(heap, (length, other))
    return distance, through
