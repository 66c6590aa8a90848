"""algorithms: a judge, design problems with proof of their complexity, contest problems.

python -m experiments.algorithms                                                    # lists the problems, judges them
python -m experiments.algorithms --mode=test --problem=lru_cache --solution=mine.py
python -m experiments.algorithms --mode=test --problem=path/to/package --solution=mine.cpp
python -m experiments.algorithms --mode=new --contest=2044 --problems=A-D
python -m experiments.algorithms --mode=listen --contest=2044                        # samples from the browser
python -m experiments.algorithms --mode=stress --solution=mine.cpp --trusted=slow.py --generator=gen.py
python -m experiments.algorithms --mode=prove --problem=lsm_tree                     # 100,000 random operations
python -m experiments.algorithms --mode=growth --problem=lru_cache                   # steps, seconds and bytes by size
"""

import pathlib
import sys
import time
from collections.abc import Sequence
from typing import Annotated

from absl import flags
from rich.table import Table

from experiments import contract, sections
from experiments.algorithms_bench import bench, console, limits
from experiments.algorithms_contest import listen, new
from experiments.algorithms_design import growth_, prove
from experiments.algorithms_judging import stress_, test
from mlsd_jax import files, reading, sealed
from mlsd_jax.algorithms import packages, practice, stress, verdict_table
from mlsd_jax.algorithms.contest_folder import PORT
from mlsd_jax.algorithms.judge import judge
from mlsd_jax.algorithms.languages import build
from mlsd_jax.algorithms.problem import problems
from mlsd_jax.printable import as_text
from mlsd_jax.schema import Positive, above

FREE = ('prove_operations', 'sizes', 'rounds', 'growth_seconds', 'compare')


def list_(run: contract.Run) -> None:
  """Lists all problems with their complexity, judges the reference solutions, and reports."""
  config = run.config
  allowed = limits(run)
  run.check(FREE)
  finished, metrics = run.result(), run.workdir / 'metrics.jsonl'
  if finished:
    sealed.check_file(metrics)
    _print_rows([row for _, row in reading.strict(reading.json_lines(metrics))])
    return run.print_finished(_summary(finished))
  run.claim(FREE)
  began = time.perf_counter()
  rows = []
  for name, problem in problems().items():
    started = time.perf_counter()
    proofs = (stress.prove(way, config.operations, config.seed) for way in problem.ways().values())
    mismatch = next(filter(None, proofs), None)
    complexity = ', '.join(f'{each} O({cost})' for each, cost in problem.complexity.items())
    rows.append(_row(name, problem.title, 'design', 'WA' if mismatch else 'AC', complexity, started))
    if mismatch:
      verdict_table.print_mismatch(console(), mismatch)
  with bench() as (pool, folder):
    for name, path in practice.contest_problems().items():
      started = time.perf_counter()
      program = build(path, folder / name.replace('/', '_'), pool)
      check = practice.contest_check(path, folder / f'check_{name.replace("/", "_")}', pool)
      found = judge(program, packages.sample_cases(path.parent, path.stem), pool=pool, limits=allowed, check=check)
      rows.append(_row(name, _first_line(path), 'contest', found.verdict, '', started))
      if found.verdict != 'AC':
        verdict_table.print_report(console(), found)
  _print_rows(rows)
  sealed.write_file(metrics, lambda target: files.write_json_lines(target, rows))
  passed = sum(row['verdict'] == 'AC' for row in rows)
  run.write_result(
    {
      'problems': len(rows),
      'passed': passed,
      'failed': len(rows) - passed,
      'operations': config.operations,
      'seconds': round(time.perf_counter() - began, 2),
    }
  )
  return run.print(f'{run.workdir}: {_summary(run.result() or {})}')


def _row(name: str, title: str, kind: str, verdict: str, complexity: str, started: float) -> dict[str, str | float]:
  seconds = round(time.perf_counter() - started, 3)
  return {'name': name, 'title': title, 'kind': kind, 'verdict': verdict, 'complexity': complexity, 'seconds': seconds}


def _print_rows(rows: Sequence[dict[str, str | float]]) -> None:
  table = Table(box=None, header_style='bold', pad_edge=False)
  for column in ('problem', 'status', 'complexity in n things held, or title'):
    table.add_column(column)
  for row in rows:
    text = str(row['complexity'] or row['title'])
    table.add_row(as_text(str(row['name'])), verdict_table.verdict_text(str(row['verdict'])), as_text(text))
  console().print(table)


def _first_line(path: pathlib.Path) -> str:
  return path.read_text(encoding='utf-8').lstrip('"').partition('\n')[0].rstrip('."')


def _summary(result: dict[str, float]) -> str:
  return f'{result["problems"]} problems, {result["passed"]} passed, {result["failed"]} failed, {result["seconds"]} s'


def _define_flags(values: flags.FlagValues) -> None:
  for name, help_ in (
    ('problem', 'name of a problem, folder of samples, or problem package'),
    ('solution', 'source file or executable to judge'),
    ('trusted', 'program that is right, for --mode=stress'),
    ('generator', 'program that prints an input for the seed it is given, for --mode=stress'),
    ('contest', 'name of the contest folder that --mode=new lays out'),
    ('problems', 'problems of that contest, such as A-D or A,C1,C2'),
    ('folder', 'where contests are (default: contests)'),
    ('samples', 'file or folder of samples for --mode=new: .prob of cph, or JSON of competitive-companion'),
    ('port', 'that --mode=listen waits on'),
    ('checker', 'program that tells whether an answer is right'),
    ('interactor', 'program that talks to the solution and judges it'),
    ('convention', 'how those are called, kattis or testlib (default: testlib for who includes testlib.h)'),
  ):
    defaults = {'problems': 'A-F', 'port': str(PORT)}
    if name == 'convention':
      flags.DEFINE_enum(name, None, ('kattis', 'testlib'), help_, flag_values=values)
    else:
      flags.DEFINE_string(name, defaults.get(name, ''), help_, flag_values=values)


def _idle(run: contract.Run) -> dict[str, str]:
  """What each kind of problem leaves without effect in --mode=test."""
  name = run.flags['problem']
  if run.flags['mode'] != 'test' or not name:
    return {}
  if name in problems():
    return {'compare': f'{name} is a design problem, whose answers must be equal'}
  if not pathlib.Path(name).exists():
    return {}  # which is a mistake of its own
  idle = dict.fromkeys(('operations', 'sizes', 'seed'), f'{name} is no design problem: its cases are files')
  if packages.is_package(pathlib.Path(name)):
    idle |= dict.fromkeys(('limits', 'compare'), f'{name} is a problem package, which says it itself')
  return idle


_REFEREES = ('checker', 'interactor', 'convention')
MODES = {
  'list': contract.Mode(list_, ('operations', 'seed', 'limits')),
  'test': contract.Mode(
    test, ('operations', 'sizes', 'seed', 'limits', 'compare'), flags=('problem', 'solution', 'folder', *_REFEREES)
  ),
  'new': contract.Mode(new, flags=('contest', 'problems', 'folder', 'samples')),
  'listen': contract.Mode(listen, flags=('contest', 'folder', 'port')),
  'stress': contract.Mode(
    stress_, ('rounds', 'seed', 'limits', 'compare'), flags=('solution', 'trusted', 'generator', *_REFEREES)
  ),
  'prove': contract.Mode(prove, ('prove_operations', 'seed'), flags=('problem',)),
  'growth': contract.Mode(growth_, ('growth_seconds',), flags=('problem',)),
}

SECTIONS: dict[str, sections.Section] = {
  '': sections.keys(
    operations=Positive,
    prove_operations=Positive,
    seed=int,
    sizes=tuple[Positive, ...],
    rounds=Positive,
    growth_seconds=bool,
    compare=str,
  ),
  'limits': sections.keys(time=Annotated[float, above(0)], memory=Positive, output=Positive),
}


def main(argv: Sequence[str] | None = None) -> int:
  no_jax = lambda run: False
  return contract.launch(
    'algorithms',
    MODES,
    'quickstart',
    define_flags=_define_flags,
    uses_jax=no_jax,
    idle=_idle,
    sections=SECTIONS,
    argv=argv,
  )


if __name__ == '__main__':
  sys.exit(main())
