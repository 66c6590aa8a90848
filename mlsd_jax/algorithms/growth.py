"""How the cost of an operation grows with what a structure holds: steps and time, an exponent, a picture.

A step is one bytecode instruction executed in the package's own code, counted by sys.monitoring: the same in every run
and on every machine. What a built-in does inside (a list's shift, heapq, sorting) is one step whatever it costs;
seconds show that."""

import dataclasses
import gc
import inspect
import math
import pathlib
import random
import sys
import time
import tracemalloc
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mlsd_jax import figures
from mlsd_jax.algorithms.operations import Call, perform
from mlsd_jax.algorithms.problem import Problem

TIME_SIZES = (1024, 4096, 16384)
TOLERANCE = 0.15

_COMPLEXITIES: dict[str, tuple[float, Callable[[int], float]]] = {  # the power of n, and the whole
  '1': (0.0, lambda n: 1.0),
  'log n': (0.0, math.log),
  'sqrt n': (0.5, math.sqrt),
  'n': (1.0, float),
  'n log n': (1.0, lambda n: n * math.log(n)),
}


@dataclasses.dataclass(frozen=True)
class Growth:
  """Mean cost a call of one operation, by size.

  Attributes:
    sizes, costs: of each measurement; costs in steps or in seconds.
    stated: the complexity that the problem states.
  """

  operation: str
  stated: str
  sizes: tuple[int, ...]
  costs: tuple[float, ...]

  @property
  def exponent(self) -> float:
    """The a of the power law cost ~ n**a that fits best."""
    return _slope(self.sizes, self.costs)

  @property
  def stated_exponent(self) -> float:
    """The same for the stated complexity at the same sizes: a logarithm is not quite flat."""
    return _slope(self.sizes, [_COMPLEXITIES[self.stated][1](size) for size in self.sizes])

  @property
  def holds(self) -> bool:
    """Whether the exponent is within 0.15 of the stated one. A logarithm may hide inside a built-in, where no step is
    counted, so for O(log n) both the flat and the logarithmic line are as stated."""
    return _COMPLEXITIES[self.stated][0] - TOLERANCE <= self.exponent <= self.stated_exponent + TOLERANCE


def _slope(sizes: Sequence[int], costs: Sequence[float]) -> float:
  x, y = [math.log(size) for size in sizes], [math.log(cost) for cost in costs]
  mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
  return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum((a - mean_x) ** 2 for a in x)


def steps(problem: Problem, sizes: Sequence[int] | None = None, seed: int = 0) -> list[Growth]:
  """Growth of every operation in steps."""
  return _measure(problem, sizes or problem.sizes, seed, _count_steps)


def seconds(problem: Problem, sizes: Sequence[int] = TIME_SIZES, seed: int = 0) -> list[Growth]:
  """Growth of every operation in seconds."""
  return _measure(problem, sizes, seed, _time)


def memory(problem: Problem, sizes: Sequence[int], seed: int = 0) -> list[int]:
  """Bytes that a structure holds after as many operations as its size says, twice over."""
  found = []
  for size in sizes:
    (_, arguments), *calls = _calls(problem, size, seed)
    gc.collect()
    tracemalloc.start()
    target = problem.solution(*arguments)
    for method, each in calls:
      perform(target, method, each)
    found.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
  return found


def _calls(problem: Problem, size: int, seed: int) -> list[Call]:
  return problem.operations(random.Random(seed), 2 * size, size)


def _measure(problem: Problem, sizes: Sequence[int], seed: int, meter: Any) -> list[Growth]:
  costs: dict[str, list[float]] = {name: [] for name in problem.complexity}
  for size in sizes:
    totals: dict[str, float] = dict.fromkeys(problem.complexity, 0.0)
    counts: dict[str, int] = dict.fromkeys(problem.complexity, 0)
    # Structures of few operations (a whole tree at a time) are measured on as many as there are.
    for name, cost in meter(problem, _calls(problem, size, seed)):
      totals[name] += cost
      counts[name] += 1
    for column in (totals, counts):
      shared: Any = sum(column[name] for name in problem.together)
      column.update(dict.fromkeys(problem.together, shared))
    for name in costs:
      costs[name].append(totals[name] / counts[name] if counts[name] else math.nan)
  return [
    Growth(name, problem.complexity[name], tuple(sizes), tuple(values))
    for name, values in costs.items()
    if not any(map(math.isnan, values))
  ]


def _time(problem: Problem, calls: list[Call]) -> Iterator[tuple[str, float]]:
  (_, arguments), *rest = calls
  target = problem.solution(*arguments)
  gc.collect()
  gc.disable()
  clock = time.perf_counter
  try:
    for name, each in rest:
      began = clock()
      perform(target, name, each)
      yield name, clock() - began
  finally:
    gc.enable()


def _count_steps(problem: Problem, calls: list[Call]) -> Iterator[tuple[str, float]]:
  monitoring, count = sys.monitoring, 0

  def on_instruction(code: types.CodeType, offset: int) -> None:
    nonlocal count
    count += 1

  tool = next(number for number in range(6) if monitoring.get_tool(number) is None)
  codes = list(_codes(problem))
  monitoring.use_tool_id(tool, 'growth')
  try:
    monitoring.register_callback(tool, monitoring.events.INSTRUCTION, on_instruction)
    (_, arguments), *rest = calls
    target = problem.solution(*arguments)
    for code in codes:
      monitoring.set_local_events(tool, code, monitoring.events.INSTRUCTION)
    for name, each in rest:
      before = count
      perform(target, name, each)
      yield name, float(count - before)
  finally:
    for code in codes:
      monitoring.set_local_events(tool, code, 0)
    monitoring.register_callback(tool, monitoring.events.INSTRUCTION, None)
    monitoring.free_tool_id(tool)


def _codes(problem: Problem) -> Iterator[types.CodeType]:
  """Every function of the solution's module, and of the package's modules that it imports."""
  package = __name__.rpartition('.')[0]
  modules, waiting = set(), [sys.modules[problem.solution.__module__]]
  while waiting:
    module = waiting.pop()
    if module.__name__ in modules:
      continue
    modules.add(module.__name__)
    for value in vars(module).values():
      home = getattr(value, '__module__', None)
      if isinstance(home, str) and home.startswith(package) and home != f'{package}.problem':
        waiting.append(sys.modules[home])
      if isinstance(value, type) and home == module.__name__ and value is not problem.oracle:
        for each in vars(value).values():
          each = each.fget if isinstance(each, property) else each
          if inspect.isfunction(each):
            yield from _nested(each.__code__)
      elif inspect.isfunction(value) and home == module.__name__:
        yield from _nested(value.__code__)


def _nested(code: types.CodeType) -> Iterator[types.CodeType]:
  yield code
  for constant in code.co_consts:
    if isinstance(constant, types.CodeType):
      yield from _nested(constant)


def draw(growths: Sequence[tuple[str, Growth]], path: pathlib.Path, unit: str) -> None:
  """Cost by size of many operations on logarithmic axes, one panel for each stated complexity.

  Args:
    growths: (problem, growth).
    unit: of the costs, for the axis.
  """
  kinds = [kind for kind in _COMPLEXITIES if any(growth.stated == kind for _, growth in growths)]
  with figures.figure(path, 1, len(kinds), size=(4.2 * len(kinds), 3.8), sharex='col') as (_, axes):
    for axis, kind in zip(axes[0], kinds, strict=True):
      among = [(name, growth) for name, growth in growths if growth.stated == kind]
      for name, growth in among:
        relative = [cost / growth.costs[0] for cost in growth.costs]
        label = f'{name}.{growth.operation}' if len(among) <= 6 else None
        axis.plot(growth.sizes, relative, color=figures.PALETTE[0], alpha=0.35, linewidth=1.2, label=label)
      sizes = among[0][1].sizes
      law = [_COMPLEXITIES[kind][1](size) / _COMPLEXITIES[kind][1](sizes[0]) for size in sizes]
      axis.plot(sizes, law, color=figures.OURS, linewidth=2, linestyle=figures.DASHED, label=f'O({kind})')
      axis.set_xscale('log', base=2)
      axis.set_yscale('log', base=2)
      top = max(max(law), *(max(growth.costs) / growth.costs[0] for _, growth in among))
      axis.set_ylim(0.45, max(4.5, 1.5 * top))
      for each in (axis.xaxis, axis.yaxis):
        each.set_major_formatter('{x:,g}')
      axis.set_title(f'O({kind}): {len(among)} operations', fontsize=10)
      axis.set_xlabel('n')
      axis.legend(fontsize=8, loc='upper left')
    axes[0][0].set_ylabel(f'{unit} a call, relative to the smallest n')
