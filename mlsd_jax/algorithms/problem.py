"""A design problem: a structure with named operations, checked against an oracle that is too simple to be wrong."""

import dataclasses
import functools
import importlib
import pkgutil
import random
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from mlsd_jax.algorithms.operations import Call, perform
from mlsd_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Problem:
  """What is asked, an answer, and the means to check any answer. Title and statement are the module's docstring.

  Attributes:
    solution: the reference, whose operations cost what `complexity` says.
    oracle: the same operations by brute force.
    operations: (rng, count, size) -> that many calls on a structure that holds about `size` things, the first the
      constructor. None of them breaks the rules of the statement.
    complexity: of each operation, in n things held: '1', 'log n', 'sqrt n', 'n'. What does not grow with n, the length
      of an argument or of the answer, is left out. Amortised where the module says so.
    accepts: (oracle, method, arguments, answer, oracle's answer) -> whether an answer is right, for operations that
      may answer in several ways; None where only the oracle's own answer will do.
    sizes: at which growth is measured in steps.
    together: operations that pay for each other's work, so that only their common mean tells how it grows.
    others: further solutions, with the complexity of their operations.
  """

  solution: type
  oracle: type
  operations: Callable[[random.Random, int, int], list[Call]]
  complexity: Mapping[str, str]
  accepts: Callable[[Any, str, Sequence[Any], Any, Any], bool] | None = None
  sizes: tuple[int, ...] = (512, 2048, 8192)
  together: tuple[str, ...] = ()
  others: Mapping[type, Mapping[str, str]] = dataclasses.field(default_factory=dict)

  @property
  def name(self) -> str:
    return self.solution.__module__.rpartition('.')[2]

  def ways(self) -> dict[str, 'Problem']:
    """The problem with each of its solutions as the reference, by names such as 'heap' and 'heap/HeapTree'."""
    others = {
      f'{self.name}/{kind.__name__}': dataclasses.replace(self, solution=kind, complexity=complexity, others={})
      for kind, complexity in self.others.items()
    }
    return {self.name: self, **others}

  @property
  def title(self) -> str:
    return _documentation(self).partition('\n')[0].rstrip('.')

  @property
  def statement(self) -> str:
    return _documentation(self).partition('\n')[2].strip()


def _documentation(problem: Problem) -> str:
  return sys.modules[problem.solution.__module__].__doc__ or ''


@dataclasses.dataclass(frozen=True)
class Mismatch:
  """The first call whose answer is wrong, with the calls up to it."""

  calls: list[Call]
  expected: Any
  actual: Any


@functools.cache
def problems() -> dict[str, Problem]:
  """Every problem of the design folder by name."""
  from mlsd_jax.algorithms import design

  names = [each.name for each in pkgutil.iter_modules(design.__path__) if not each.name.startswith('_')]
  return {name: importlib.import_module(f'{design.__name__}.{name}').PROBLEM for name in sorted(names)}


def find(name: str) -> Problem:
  """The problem of that name.

  Raises:
    UserError: there is none.
  """
  if name not in problems():
    raise UserError(f'no design problem {name!r}; there are {", ".join(problems())}')
  return problems()[name]


def answers(kind: type, calls: Iterable[Call]) -> list[Any]:
  """The answer to every call but the constructor's."""
  (_, arguments), *rest = calls
  target = kind(*arguments)
  return [perform(target, method, each) for method, each in rest]


def compare(problem: Problem, calls: list[Call], given: Sequence[Any]) -> Mismatch | None:
  """The first answer that the oracle contradicts.

  Args:
    given: answers to calls[1:], perhaps fewer of them.
  """
  oracle = problem.oracle(*calls[0][1])
  for index, (method, arguments) in enumerate(calls[1:]):
    expected = perform(oracle, method, arguments)
    actual = given[index] if index < len(given) else 'no answer'
    if actual == expected:
      continue
    if problem.accepts is None or not problem.accepts(oracle, method, arguments, actual, expected):
      return Mismatch(calls[: index + 2], expected, actual)
  return None


def check(problem: Problem, kind: type, calls: list[Call]) -> Mismatch | None:
  """Plays the calls on `kind` and on the oracle, side by side."""
  return compare(problem, calls, answers(kind, calls))
