"""Programs whose verdict is known, judged: solutions, attempts with their history, and mutants of all solutions.

    uv run python benchmarks/algorithms_verdicts.py --mutants=6

The verdict that a solution or an attempt must get stands in it. A mutant is a solution with one thing changed (a
comparison, an operator, a number, a condition, a statement left out); what it must get is told by a plain run of it
without a cage or pool: its exit code, its time, and its answers beside the oracle's. Printed are those that the judge
called otherwise, and the mutants that no case catches.
"""

import argparse
import ast
import collections
import pathlib
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile

from mlsd_jax.algorithms import attempts, packages, practice
from mlsd_jax.algorithms.judge import judge
from mlsd_jax.algorithms.languages import build
from mlsd_jax.algorithms.limits import Limits
from mlsd_jax.algorithms.operations import read_operations
from mlsd_jax.algorithms.pool import Pool
from mlsd_jax.algorithms.problem import compare, problems

LIMITS = Limits(time=2.0)
LIBRARY = practice._LIBRARY
DRIVER = pathlib.Path(practice.__file__).with_name('operations.py')
OTHER = {
  ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
  ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.And: ast.Or, ast.Or: ast.And, ast.In: ast.NotIn,
  ast.NotIn: ast.In,
}  # fmt: skip


def places(tree):
  """Where the solution's classes and functions can be changed: (node, what is done to it, the class or function)."""
  found = []
  names = [getattr(top, 'name', '') for top in tree.body]
  for place, top in enumerate(tree.body):
    # What is private behind the oracle helps the generator, and not the solution.
    of_generator = top_name(top).startswith('_') and 'Oracle' in names[:place]
    if of_generator or top_name(top) in ('Oracle', 'operations', 'accepts', 'tree'):
      continue
    before = len(found)
    if isinstance(top, ast.ClassDef | ast.FunctionDef):
      for node in ast.walk(top):
        if isinstance(node, ast.Compare) and type(node.ops[0]) in OTHER:
          found.append((node, 'compare'))
        elif isinstance(node, ast.BinOp | ast.BoolOp | ast.AugAssign) and type(node.op) in OTHER:
          found.append((node, 'operator'))
        elif isinstance(node, ast.Constant) and type(node.value) in (int, bool):
          found.append((node, 'constant'))
        elif isinstance(node, ast.If | ast.While):
          found.append((node, 'condition'))
        elif isinstance(node, ast.FunctionDef):
          body = [*enumerate(node.body)][ast.get_docstring(node) is not None :]
          found += [(node, place) for place, each in body if isinstance(each, ast.Assign | ast.Expr)]
    found[before:] = [(*each, top_name(top)) for each in found[before:]]
  return found


def top_name(top):
  return getattr(top, 'name', 'Oracle')


def mutants(source, count, rng):
  """(what was changed, source, the class or function that was changed) of that many mutants."""
  number = len(places(ast.parse(source)))
  for place in rng.sample(range(number), min(count, number)):
    tree = ast.parse(source)
    node, kind, top = places(tree)[place]
    before = ast.unparse(node).partition('\n')[0]
    if kind == 'compare':
      node.ops[0] = OTHER[type(node.ops[0])]()
    elif kind == 'operator':
      node.op = OTHER[type(node.op)]()
    elif kind == 'constant':
      node.value = (not node.value) if isinstance(node.value, bool) else node.value + 1
    elif kind == 'condition':
      node.test = ast.UnaryOp(ast.Not(), node.test)
    else:
      before = 'without ' + ast.unparse(node.body[kind]).partition('\n')[0]
      node.body[kind] = ast.Pass()
    yield f'line {node.lineno}: {before}', ast.unparse(ast.fix_missing_locations(tree)), top


def limit():
  resource.setrlimit(resource.RLIMIT_CPU, (int(LIMITS.time), 2 * int(LIMITS.time)))


def plain(argv, given, right):
  """The verdict of a run without a cage: exit code, seconds, answers."""
  try:
    done = subprocess.run(argv, input=given, capture_output=True, timeout=10 * LIMITS.time, preexec_fn=limit)
  except subprocess.TimeoutExpired:
    return 'TLE'
  if done.returncode == -signal.SIGXCPU:
    return 'TLE'
  return ('AC' if right(done.stdout) else 'WA') if done.returncode == 0 else 'RE'


def first(verdicts):
  return next((verdict for verdict in verdicts if verdict != 'AC'), 'AC')


def plain_class(problem, path, cases):
  driver = path.with_name(DRIVER.name)
  shutil.copyfile(DRIVER, driver)
  argv = [sys.executable, str(driver), str(path), problem.solution.__name__]

  def verdict(case):
    calls = read_operations(case.input.decode())
    return plain(argv, case.input, lambda output: compare(problem, calls, practice._answers(output)) is None)

  return first(map(verdict, cases))


class Table:
  """What was judged, and what was not as meant."""

  def __init__(self):
    self.judged, self.wrong, self.kinds, self.survivors = 0, 0, collections.Counter(), []

  def add(self, kind, name, meant, verdict):
    self.judged += 1
    self.kinds[kind, verdict] += 1
    # A program that leaks is stopped by the memory limit before the clock or the interpreter would.
    right = meant == verdict or (verdict == 'MLE' and meant in ('RE', 'TLE') and kind.startswith('mutants'))
    if not right:
      self.wrong += 1
      print(f'NOT AS MEANT {name}: {verdict}, not {meant}', flush=True)


def judge_classes(table, pool, folder, number, rng):
  for name, problem in problems().items():
    cases = practice.operations_cases(problem, (3, 12, 60), 400) + practice.edge_cases(problem, 8)
    source = practice.reference(problem).read_text()
    verdict = lambda path, label, way=problem: (
      practice.judge_class(way, path, cases, pool=pool, limits=LIMITS, build_folder=folder / label)[0].verdict
    )
    table.add('solutions', name, 'AC', verdict(practice.reference(problem), name))
    survived = []
    # Mutants import the library, as the solutions do that they are made of, and so must see it.
    practice._LIBRARY = folder.resolve()
    for index, (change, mutant, top) in enumerate(mutants(source, number, rng)):
      # A file with a second solution: a change of that one shows where that one is judged.
      way = next((each for each in problem.ways().values() if each.solution.__name__ == top), problem)
      path = folder / f'{name}_{index}.py'
      path.write_text(mutant)
      meant, given = plain_class(way, path, cases), verdict(path, f'{name}_{index}', way)
      table.add('mutants of classes', f'{name}, {change}', meant, given)
      survived += [f'{name}, {change}'] * (given == 'AC')
    practice._LIBRARY = LIBRARY
    table.survivors += survived


def judge_programs(table, pool, folder, number, rng):
  for name, path in practice.contest_problems().items():
    label = name.replace('/', '_')
    cases = packages.sample_cases(path.parent, path.stem)
    check = practice.contest_check(path, folder / f'check_{label}', pool)
    verdict = lambda source, label: (
      judge(build(source, folder / label, pool), cases, pool=pool, limits=LIMITS, check=check).verdict
    )
    table.add('solutions', name, 'AC', verdict(path, label))
    if path.with_name(f'check_{path.stem}.py').exists():
      continue  # several answers are right, which a plain comparison does not know
    for index, (change, mutant, _) in enumerate(mutants(path.read_text(), number, rng)):
      source = folder / f'{label}_{index}.py'
      source.write_text(mutant)
      tokens = lambda case: case.read(case.answer).split()
      meant = first(
        plain(
          [sys.executable, str(source)], case.read(case.input), lambda output, case=case: output.split() == tokens(case)
        )
        for case in cases
      )
      given = verdict(source, f'm{label}_{index}')
      table.add('mutants of programs', f'{name}, {change}', meant, given)
      table.survivors += [f'{name}, {change}'] * (given == 'AC')


def attempt_cases(problem):
  """Usual cases, edge values, and one that is large."""
  rng = random.Random(1)
  large = practice.operations_case(problem, problem.operations(rng, 250, 30_000), 'large')
  return practice.operations_cases(problem, (4, 24), 400) + practice.edge_cases(problem, 4) + [large]


def judge_attempts(table, pool, folder):
  """Prints the history of each problem's attempts."""
  for where in sorted(path for path in pathlib.Path(attempts.__file__).parent.iterdir() if path.is_dir()):
    if where.name.startswith('_'):
      continue
    problem, order = problems()[where.name], ('first', 'second', 'third', 'fourth', 'fifth', 'sixth')
    cases = attempt_cases(problem)
    for name in order:
      path = folder / f'{where.name}_{name}.py'
      shutil.copyfile(where / f'{name}.py', path)
      meant, _, why = path.read_text().partition('"""')[2].partition('"""')[0].partition(': ')
      report, _ = practice.judge_class(
        problem, path, cases, pool=pool, limits=LIMITS, build_folder=folder / f'{where.name}_{name}'
      )
      print(f'{where.name}, {name:<6} {report.verdict:<4} on {report.results[-1].case.name:<18} {why}', flush=True)
      table.add('attempts', f'{where.name}, {name}', meant, report.verdict)


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--mutants', type=int, default=6, help='of each solution')
  parser.add_argument('--seed', type=int, default=0)
  given = parser.parse_args()
  rng, table = random.Random(given.seed), Table()
  with Pool() as pool, tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    folder.chmod(0o711)
    judge_attempts(table, pool, folder)
    judge_classes(table, pool, folder, given.mutants, rng)
    judge_programs(table, pool, folder, given.mutants, rng)
  for kind in dict.fromkeys(kind for kind, _ in table.kinds):
    found = {verdict: count for (each, verdict), count in sorted(table.kinds.items()) if each == kind}
    print(f'{kind}: {sum(found.values())}, ' + ', '.join(f'{verdict} {count}' for verdict, count in found.items()))
  print('mutants that no case catches:', *(table.survivors or ['none']), sep='\n  ')
  print(f'{table.judged} programs judged, {table.judged - table.wrong} as meant, {table.wrong} not')
  sys.exit(table.wrong > 0)


if __name__ == '__main__':
  main()
