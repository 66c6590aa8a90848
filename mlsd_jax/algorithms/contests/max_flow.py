"""Greatest flow and smallest cut (Dinic, 1970). O(n^2 m), O(m sqrt n) where every capacity is 1."""

from collections import deque


class MaxFlow:
  """Edges in pairs: edge e and its reverse e ^ 1."""

  def __init__(self, nodes: int):
    self.edges: list[list[int]] = [[] for _ in range(nodes)]
    self.head: list[int] = []
    self.room: list[int] = []

  def add(self, a: int, b: int, capacity: int, back: int = 0) -> int:
    """Adds an edge; its number, for `flow_on`."""
    number = len(self.head)
    self.edges[a].append(number)
    self.edges[b].append(number + 1)
    self.head += (b, a)
    self.room += (capacity, back)
    return number

  def flow(self, source: int, sink: int) -> int:
    total = 0
    while True:
      level = self._levels(source)
      if level[sink] < 0:
        return total
      place = [0] * len(self.edges)
      while pushed := self._push(source, sink, level, place):
        total += pushed

  def cut(self, source: int) -> list[bool]:
    """After `flow`: which nodes are on the source's side of a smallest cut."""
    return [level >= 0 for level in self._levels(source)]

  def flow_on(self, number: int) -> int:
    """What flows over an edge that was added without a capacity back."""
    return self.room[number ^ 1]

  def _levels(self, source: int) -> list[int]:
    level = [-1] * len(self.edges)
    level[source] = 0
    queue = deque([source])
    while queue:
      node = queue.popleft()
      for number in self.edges[node]:
        other = self.head[number]
        if self.room[number] and level[other] < 0:
          level[other] = level[node] + 1
          queue.append(other)
    return level

  def _push(self, source: int, sink: int, level: list[int], place: list[int]) -> int:
    """Sends what one path takes, always one level on; what leads nowhere is not tried again."""
    way: list[int] = []
    node = source
    while node != sink:
      while place[node] < len(self.edges[node]):
        number = self.edges[node][place[node]]
        if self.room[number] and level[self.head[number]] == level[node] + 1:
          way.append(number)
          node = self.head[number]
          break
        place[node] += 1
      else:
        if not way:
          return 0
        node = self.head[way.pop() ^ 1]
        place[node] += 1
    amount = min(self.room[number] for number in way)
    for number in way:
      self.room[number] -= amount
      self.room[number ^ 1] += amount
    return amount
