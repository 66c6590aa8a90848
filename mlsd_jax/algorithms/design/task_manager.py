"""Task manager.

`TaskManager(tasks)` holds tasks [user, task, priority]. `add(user, task, priority)` adds one, `edit(task, priority)`
gives it another priority, `rmv(task)` takes it out, `exec_top()` takes out the task of highest priority (of equal ones
the highest number) and answers its user, -1 when there is no task."""

import heapq
import random

from mlsd_jax.algorithms.problem import Call, Problem


class TaskManager:
  """A heap in which entries that are no longer true are skipped. Amortised."""

  def __init__(self, tasks: list[list[int]]):
    self.tasks: dict[int, tuple[int, int]] = {}  # priority, user
    self.heap: list[tuple[int, int, int]] = []
    for user, task, priority in tasks:
      self.add(user, task, priority)

  def add(self, user: int, task: int, priority: int) -> None:
    self.tasks[task] = (priority, user)
    heapq.heappush(self.heap, (-priority, -task, user))

  def edit(self, task: int, priority: int) -> None:
    self.add(self.tasks[task][1], task, priority)

  def rmv(self, task: int) -> None:
    del self.tasks[task]

  def exec_top(self) -> int:
    while self.heap:
      priority, task, user = heapq.heappop(self.heap)
      if self.tasks.get(-task) == (-priority, user):
        del self.tasks[-task]
        return user
    return -1


class Oracle:
  """A dictionary that is searched through."""

  def __init__(self, tasks):
    self.tasks = {task: (priority, user) for user, task, priority in tasks}

  def add(self, user, task, priority):
    self.tasks[task] = (priority, user)

  def edit(self, task, priority):
    self.tasks[task] = (priority, self.tasks[task][1])

  def rmv(self, task):
    del self.tasks[task]

  def exec_top(self):
    if not self.tasks:
      return -1
    task = max(self.tasks, key=lambda each: (self.tasks[each][0], each))
    return self.tasks.pop(task)[1]


def operations(rng: random.Random, count: int, size: int) -> list[Call]:
  oracle = _Model()
  first = [[rng.randrange(9), oracle.fresh(), rng.randrange(20)] for _ in range(rng.randint(1, size))]
  calls: list[Call] = [('TaskManager', [first])]
  for _, task, priority in first:
    oracle.put(task, priority)
  for _ in range(count):
    kind = rng.random()
    if (kind < 0.4 and len(oracle.priority) < size) or not oracle.priority:
      task, priority = oracle.fresh(), rng.randrange(20)
      calls.append(('add', [rng.randrange(9), task, priority]))
      oracle.put(task, priority)
    elif kind < 0.6:
      task, priority = oracle.any(rng), rng.randrange(20)
      calls.append(('edit', [task, priority]))
      oracle.put(task, priority)
    elif kind < 0.8:
      task = oracle.any(rng)
      calls.append(('rmv', [task]))
      oracle.drop(task)
    else:
      calls.append(('exec_top', []))
      oracle.drop(max(oracle.priority, key=lambda each: (oracle.priority[each], each)))
  return calls


class _Model:
  """Which tasks there are, so that the operations keep to the rules."""

  def __init__(self):
    self.priority: dict[int, int] = {}
    self.number = 0

  def fresh(self) -> int:
    self.number += 1
    return self.number

  def any(self, rng: random.Random) -> int:
    return rng.choice(list(self.priority)) if len(self.priority) < 50 else self._probe(rng)

  def _probe(self, rng: random.Random) -> int:
    while (task := rng.randint(1, self.number)) not in self.priority:
      pass
    return task

  def put(self, task: int, priority: int) -> None:
    self.priority[task] = priority

  def drop(self, task: int) -> None:
    del self.priority[task]


PROBLEM = Problem(TaskManager, Oracle, operations, {'add': 'log n', 'edit': 'log n', 'rmv': '1', 'exec_top': 'log n'})
