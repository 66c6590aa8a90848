"""Numbers in numbered containers.

`change(index, number)` puts a number into a container (0 or more) in place of what is there; `find(number)` answers
the lowest index whose container holds the number, -1 when none does."""

import heapq
import random

from mlsd_jax.algorithms.problem import Call, Problem


class NumberContainers:
  """For each number a heap of the containers that have held it; those that hold another now are skipped. Amortised."""

  def __init__(self):
    self.held: dict[int, int] = {}
    self.indices: dict[int, list[int]] = {}

  def change(self, index: int, number: int) -> None:
    if self.held.get(index) != number:
      self.held[index] = number
      heapq.heappush(self.indices.setdefault(number, []), index)

  def find(self, number: int) -> int:
    heap = self.indices.get(number, [])
    while heap and self.held[heap[0]] != number:
      heapq.heappop(heap)
    return heap[0] if heap else -1


class Oracle:
  """A dictionary that is searched through."""

  def __init__(self):
    self.held = {}

  def change(self, index, number):
    self.held[index] = number

  def find(self, number):
    return min((index for index, each in self.held.items() if each == number), default=-1)


def operations(rng: random.Random, count: int, size: int) -> list[Call]:
  numbers = max(2, size // 8)
  calls: list[Call] = [('NumberContainers', [])]
  for _ in range(count):
    number = rng.randrange(numbers)
    calls.append(('change', [rng.randrange(size), number]) if rng.random() < 0.6 else ('find', [number]))
  return calls


PROBLEM = Problem(NumberContainers, Oracle, operations, {'change': 'log n', 'find': 'log n'})
