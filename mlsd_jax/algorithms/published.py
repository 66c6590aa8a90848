"""Classes by the signatures that LeetCode publishes, where a problem here asks for more or spells its arguments else.

A solution that lacks what only we ask for, and has what LeetCode asks for, is judged on calls that both know.
"""

import ast
import dataclasses
import inspect
import pathlib
import re
from collections.abc import Callable, Iterable, Mapping

from mlsd_jax.algorithms.operations import Call, perform
from mlsd_jax.algorithms.problem import Problem

HIT_WINDOW = 300  # seconds, of LeetCode's HitCounter


@dataclasses.dataclass(frozen=True)
class Published:
  """LeetCode's form of a problem.

  Attributes:
    arguments: how many each method takes, '__init__' among them.
    ours: calls in our form -> those that both forms know, still in ours.
    theirs: one of them in LeetCode's form.
  """

  arguments: Mapping[str, int]
  ours: Callable[[list[Call]], Iterable[Call]]
  theirs: Callable[[Call], Call]


def form_of(problem: Problem, solution: pathlib.Path) -> Published | None:
  """LeetCode's form, if a solution is of that and not of ours; None for ours.

  The source is read and not run: a method counts if the class itself defines it.
  """
  published = PUBLISHED.get(problem.name)
  if published is None:
    return None
  name = problem.solution.__name__
  try:
    tree = ast.parse(solution.read_bytes())
  except (SyntaxError, ValueError, RecursionError):
    return None
  classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == name]
  if not classes:
    return None
  defined = {
    _snake(each.name): each.args
    for each in classes[-1].body
    if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
  }
  methods = inspect.getmembers(problem.solution, inspect.isfunction)
  wanted = {
    each: len(inspect.signature(method).parameters) - 1
    for each, method in methods
    if each == '__init__' or not each.startswith('_')
  }
  fits = lambda asked: all(_takes(defined.get(_snake(method)), count, method) for method, count in asked.items())
  return published if fits(published.arguments) and not fits(wanted) else None


def _takes(arguments: ast.arguments | None, count: int, method: str) -> bool:
  if arguments is None:
    return method == '__init__' and count == 0
  most = len(arguments.posonlyargs) + len(arguments.args) - 1
  return most - len(arguments.defaults) <= count and (count <= most or arguments.vararg is not None)


def _snake(name: str) -> str:
  return name if name.startswith('__') else re.sub(r'(?<!^)(?=[A-Z])', '_', name).lower()


def shared_calls(problem: Problem, published: Published, calls: list[Call]) -> list[Call]:
  """The calls that both forms know. What raises here, and changes nothing, LeetCode promises not to ask."""
  constructor, *rest = published.ours(calls)
  oracle = problem.oracle(*constructor[1])
  kept = [constructor]
  for method, arguments in rest:
    answer = perform(oracle, method, arguments)
    if not (isinstance(answer, str) and answer.startswith('raises ')):
      kept.append((method, arguments))
  return kept


def _without(*names: str) -> Callable[[list[Call]], list[Call]]:
  return lambda calls: [call for call in calls if call[0] not in names]


def _same(call: Call) -> Call:
  return call


def _cell(name: str) -> tuple[int, str]:
  """'B3' is row 3 of column 'B'."""
  column, row = re.fullmatch(r'([A-Z]+)(\d+)', name).groups()  # type: ignore[union-attr]
  return int(row), column


def _excel(call: Call) -> Call:
  method, arguments = call
  if method == 'Excel':
    rows, columns = arguments
    return method, [rows, chr(ord('A') + columns - 1)]
  cell, *rest = arguments
  return method, [*_cell(cell), *rest]


def _file_system(call: Call) -> Call:
  names = {'add_content': 'addContentToFile', 'read': 'readContentFromFile'}
  return names.get(call[0], call[0]), call[1]


def _hits(calls: list[Call]) -> Iterable[Call]:
  """Times stretched with the window, and some a second later, so that hits stand on both sides of its edge."""
  (name, (window,)), *rest = calls
  yield name, [HIT_WINDOW]
  latest = 0
  for method, (time,) in rest:
    latest = max(latest, time * HIT_WINDOW // window + (time * 2654435761 >> 7 & 1))  # Knuth's multiplier, a random bit
    yield method, [latest]


def _for_good(calls: list[Call]) -> Iterable[Call]:
  for method, arguments in calls:
    yield (method, [*arguments[:3], 0]) if method == 'set' else (method, arguments)


def _without_trying(calls: list[Call]) -> Iterable[Call]:
  """try_enqueue becomes enqueue where there is a place, try_dequeue dequeue where there is an item."""
  (_, (capacity,)), held = calls[0], 0
  for method, arguments in calls:
    method = method.removeprefix('try_')
    if (method == 'enqueue' and held == capacity) or (method == 'dequeue' and not held):
      continue
    held += (method == 'enqueue') - (method == 'dequeue')
    yield method, arguments


PUBLISHED: Mapping[str, Published] = {
  'excel_sum': Published({'__init__': 2, 'set': 3, 'get': 2, 'sum': 3}, _without(), _excel),
  'file_system': Published(
    {'__init__': 0, 'ls': 1, 'mkdir': 1, 'addContentToFile': 2, 'readContentFromFile': 1},
    _without('rm', 'mv'),
    _file_system,
  ),
  'hit_counter': Published(
    {'__init__': 0, 'hit': 1, 'getHits': 1}, _hits, lambda call: (call[0], []) if call[0] == 'HitCounter' else call
  ),
  'time_map': Published(
    {'__init__': 0, 'set': 3, 'get': 2},
    _for_good,
    lambda call: (call[0], call[1][:3]) if call[0] == 'set' else call,
  ),
  'text_editor': Published(
    {'__init__': 0, 'addText': 1, 'deleteText': 1, 'cursorLeft': 1, 'cursorRight': 1}, _without('undo', 'redo'), _same
  ),
  'bounded_queue': Published({'__init__': 1, 'enqueue': 1, 'dequeue': 0, 'size': 0}, _without_trying, _same),
}
