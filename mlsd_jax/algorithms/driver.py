"""Plays LeetCode-style operations from standard input on a class: python driver.py SOLUTION.py [CLASS].

The judge runs it as the program of a design problem: one JSON line an answer goes to standard output.
"""

import importlib.util
import inspect
import json
import pathlib
import sys

from mlsd_jax.algorithms.problem import perform, read_operations


def main() -> None:
  path = pathlib.Path(sys.argv[1])
  spec = importlib.util.spec_from_file_location(path.stem, path)
  assert spec is not None
  assert spec.loader is not None
  module = importlib.util.module_from_spec(spec)
  sys.modules[path.stem] = module
  spec.loader.exec_module(module)
  (name, arguments), *calls = read_operations(sys.stdin.read())
  kind = getattr(module, sys.argv[2] if len(sys.argv) > 2 else name, None)
  if not inspect.isclass(kind):
    sys.exit(f'{path.name} defines no class {name}')
  target = kind(*arguments)
  for method, each in calls:
    print(json.dumps(perform(target, method, each)), flush=False)


if __name__ == '__main__':
  main()
