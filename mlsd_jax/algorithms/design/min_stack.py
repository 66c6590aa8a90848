"""Min stack.

A stack of numbers with `push`, `pop`, `top` and `get_min()`, the smallest number in it. All but `push` need a stack
that is not empty."""

import random

from mlsd_jax.algorithms.problem import Call, Problem


class MinStack:
  """Each value with the smallest so far."""

  def __init__(self):
    self.stack: list[tuple[int, int]] = []

  def push(self, value: int) -> None:
    self.stack.append((value, min(value, self.stack[-1][1]) if self.stack else value))

  def pop(self) -> None:
    self.stack.pop()

  def top(self) -> int:
    return self.stack[-1][0]

  def get_min(self) -> int:
    return self.stack[-1][1]


class Oracle:
  """A list."""

  def __init__(self):
    self.values = []

  def push(self, value):
    self.values.append(value)

  def pop(self):
    self.values.pop()

  def top(self):
    return self.values[-1]

  def get_min(self):
    return min(self.values)


def operations(rng: random.Random, count: int, size: int) -> list[Call]:
  calls: list[Call] = [('MinStack', [])]
  held = 0
  for _ in range(count):
    if held == 0 or (held < size and rng.random() < 0.5):
      calls.append(('push', [rng.randrange(-size, size)]))
      held += 1
    else:
      name = rng.choice(('pop', 'top', 'get_min'))
      held -= name == 'pop'
      calls.append((name, []))
  return calls


PROBLEM = Problem(MinStack, Oracle, operations, {'push': '1', 'pop': '1', 'top': '1', 'get_min': '1'})
