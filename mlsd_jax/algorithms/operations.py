"""Operations on a class, as LeetCode has them: two JSON lists in, an answer each out.

Standard library only: the judge copies this file beside a solution and runs it in the cage,
`python operations.py SOLUTION.py CLASS`. Operations come on standard input and answers, a JSON line each, go to what
standard output was; what the class itself prints goes to standard error.
"""

import contextlib
import importlib.util
import inspect
import json
import os
import pathlib
import re
import sys
import types
from collections.abc import Callable, Iterable, Sequence
from typing import Any

type Call = tuple[str, list[Any]]  # a method and its arguments; the first of a list names the class
_RAISED = (ValueError, KeyError, IndexError, StopIteration)
# What LeetCode's Python has imported before a solution begins.
_IMPORTED = ('typing', 'collections', 'heapq', 'bisect', 'functools', 'itertools', 'math', 'operator', 'string', 're')
_MODULES = (*_IMPORTED, 'random', 'copy', 'datetime', 'statistics', 'time', 'json', 'sys')


class MissingMethodError(Exception):
  """The class lacks a method that is called."""


def perform(target: Any, method: str, arguments: Sequence[Any]) -> Any:
  """One call's answer in JSON types; an exception that a statement may ask for answers as its name.

  Raises:
    MissingMethodError: there is no such method.
  """
  bound = _method(target, method)
  try:
    answer = bound(*arguments)
  except _RAISED as error:
    return f'raises {type(error).__name__}'
  return plain(answer)


def plain(value: Any) -> Any:
  """As JSON would give it back: tuples are lists."""
  if isinstance(value, list | tuple):
    return [plain(item) for item in value]
  if isinstance(value, dict):
    return {str(key): plain(item) for key, item in value.items()}
  return value


def _method(target: Any, name: str) -> Callable[..., Any]:
  """A method by its name, spelled as here (get_random) or as in Java (getRandom)."""
  snake = re.sub(r'(?<!^)(?=[A-Z])', '_', name).lower()
  head, *rest = name.split('_')
  found = [each for each in (name, snake, head + ''.join(map(str.title, rest))) if hasattr(target, each)]
  if not found:
    raise MissingMethodError(f'{type(target).__name__} has no method {name}')
  return getattr(target, found[0])


def read_operations(text: str) -> list[Call]:
  """Calls from two JSON lists, of method names and of argument lists: `["LRUCache","put"] [[2],[1,1]]`.

  Raises:
    ValueError: it is something else.
  """
  decoder, lists, rest = json.JSONDecoder(), [], text.strip()
  try:
    while rest:
      value, end = decoder.raw_decode(rest)
      lists.append(value)
      rest = rest[end:].lstrip(' \t\r\n,')
  except json.JSONDecodeError as error:
    raise ValueError(f'operations are two JSON lists, of names and of arguments: {error}') from error
  if len(lists) != 2 or not all(isinstance(each, list) for each in lists) or len(lists[0]) != len(lists[1]):
    raise ValueError('operations are two JSON lists of one length: ["LRUCache","put"] and [[2],[1,1]]')
  return list(zip(*lists, strict=True))


def write_operations(calls: Iterable[Call]) -> str:
  """The two JSON lists that `read_operations` reads."""
  names, arguments = zip(*calls, strict=True)
  return f'{json.dumps(names)}\n{json.dumps(arguments)}\n'


def _load(path: pathlib.Path) -> types.ModuleType:
  """The solution as a module, with the names that LeetCode gives it."""
  spec = importlib.util.spec_from_file_location(path.stem, path)
  assert spec is not None
  assert spec.loader is not None
  module = importlib.util.module_from_spec(spec)
  for name in _MODULES:
    setattr(module, name, importlib.import_module(name))
  for name in _IMPORTED:
    given = importlib.import_module(name)
    public = getattr(given, '__all__', None) or [each for each in vars(given) if not each.startswith('_')]
    # By getattr: typing of Python 3.13 makes some of its names when they are asked for.
    vars(module).update({each: getattr(given, each) for each in public if each not in _MODULES})
  if b'Sorted' in path.read_bytes():
    with contextlib.suppress(ImportError):
      sorted_ = importlib.import_module('sortedcontainers')
      vars(module).update({each: getattr(sorted_, each) for each in ('SortedList', 'SortedDict', 'SortedSet')})
  sys.modules[path.stem] = module
  spec.loader.exec_module(module)
  return module


def main() -> None:
  # To where no print() gets: the class has standard output for itself, and its text is shown beside the verdict.
  answers = os.fdopen(os.dup(1), 'w', encoding='utf-8')
  os.dup2(2, 1)
  (name, arguments), *calls = read_operations(sys.stdin.read())
  path = pathlib.Path(sys.argv[1])
  kind = getattr(_load(path), sys.argv[2] if len(sys.argv) > 2 else name, None)
  if not inspect.isclass(kind):
    sys.exit(f'{path.name} defines no class {sys.argv[2] if len(sys.argv) > 2 else name}')
  target = kind(*arguments)
  try:
    for method, each in calls:
      answers.write(json.dumps(perform(target, method, each)) + '\n')
  except MissingMethodError as error:
    sys.exit(str(error))
  finally:
    answers.flush()


if __name__ == '__main__':
  main()
