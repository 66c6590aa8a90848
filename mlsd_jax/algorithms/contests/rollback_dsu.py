"""Disjoint sets with undo, and connectivity of a graph whose edges come and go, offline."""

from collections import defaultdict


class RollbackDSU:
  """Union by size without path compression: O(log n) an operation, and each union can be taken back."""

  def __init__(self, count: int):
    self.parent = list(range(count))
    self.size = [1] * count
    self.sets = count
    self.done: list[int] = []  # the root that was hung under another by each union; -1 for none

  def find(self, item: int) -> int:
    while self.parent[item] != item:
      item = self.parent[item]
    return item

  def union(self, a: int, b: int) -> bool:
    a, b = self.find(a), self.find(b)
    if a == b:
      self.done.append(-1)
      return False
    if self.size[a] < self.size[b]:
      a, b = b, a
    self.parent[b] = a
    self.size[a] += self.size[b]
    self.sets -= 1
    self.done.append(b)
    return True

  def undo(self) -> None:
    """Takes the latest union back."""
    child = self.done.pop()
    if child >= 0:
      self.size[self.parent[child]] -= self.size[child]
      self.parent[child] = child
      self.sets += 1


def dynamic_components(count: int, events: list[tuple[str, int, int]]) -> list[int]:
  """The number of components at each ('count', 0, 0) among events ('add', a, b), ('remove', a, b), ('count', 0, 0).

  Divides time: an edge is joined at the O(log n) nodes of a segment tree over time that its life covers, and undone on
  the way back: O(n log^2 n) for n events."""
  length = max(1, len(events))
  lives: dict[int, list[tuple[int, int]]] = defaultdict(list)
  since: dict[tuple[int, int], list[int]] = defaultdict(list)

  def cover(node: int, low: int, high: int, start: int, end: int, edge: tuple[int, int]) -> None:
    if start >= high or end <= low:
      return
    if start <= low and high <= end:
      lives[node].append(edge)
      return
    middle = (low + high) // 2
    cover(2 * node, low, middle, start, end, edge)
    cover(2 * node + 1, middle, high, start, end, edge)

  for time, (kind, a, b) in enumerate(events):
    edge = (min(a, b), max(a, b))
    if kind == 'add':
      since[edge].append(time)
    elif kind == 'remove':
      cover(1, 0, length, since[edge].pop(), time, edge)
  for edge, starts in since.items():
    for start in starts:
      cover(1, 0, length, start, length, edge)

  dsu, answers = RollbackDSU(count), []

  def walk(node: int, low: int, high: int) -> None:
    for edge in lives[node]:
      dsu.union(*edge)
    if high - low == 1:
      if low < len(events) and events[low][0] == 'count':
        answers.append(dsu.sets)
    else:
      middle = (low + high) // 2
      walk(2 * node, low, middle)
      walk(2 * node + 1, middle, high)
    for _ in lives[node]:
      dsu.undo()

  walk(1, 0, length)
  return answers
