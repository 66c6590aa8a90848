"""algorithms: a judge, design problems with proof of their complexity, contest problems.

python -m experiments.algorithms                                                    # lists the problems, judges them
python -m experiments.algorithms --mode=test --problem=lru_cache --solution=mine.py
python -m experiments.algorithms --mode=test --problem=path/to/package --solution=mine.cpp
python -m experiments.algorithms --mode=new --contest=2044 --problems=A-D
python -m experiments.algorithms --mode=stress --solution=mine.cpp --trusted=slow.py --generator=gen.py
python -m experiments.algorithms --mode=prove --problem=lsm_tree                     # 100,000 random operations
python -m experiments.algorithms --mode=growth --problem=lru_cache                   # steps, seconds and bytes by size
"""

import contextlib
import dataclasses
import math
import pathlib
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Annotated

from absl import flags
from rich.console import Console
from rich.table import Table

from experiments import contract, sections
from mlsd_jax import files, reading
from mlsd_jax.algorithms import growth, packages, practice, stress, verdict_table
from mlsd_jax.algorithms.comparison import Comparison
from mlsd_jax.algorithms.judge import Report, judge
from mlsd_jax.algorithms.languages import build
from mlsd_jax.algorithms.limits import MEBIBYTE, Limits
from mlsd_jax.algorithms.pool import Pool
from mlsd_jax.algorithms.problem import Problem, find, problems
from mlsd_jax.errors import UserError
from mlsd_jax.printable import as_text
from mlsd_jax.schema import Positive, above

FREE = ('prove_operations', 'sizes', 'rounds', 'growth_seconds', 'compare')
MAX_LIMIT_FACTOR = 5  # a package without a time limit gets this many times its slowest accepted submission's time


def list_(run: contract.Run) -> None:
  """Lists all problems with their complexity, judges the reference solutions, and reports."""
  config = run.config
  limits = _limits(run)
  run.check(FREE)
  finished = run.result()
  if finished:
    _print_rows([row for _, row in reading.strict(reading.json_lines(run.workdir / 'metrics.jsonl'))])
    return run.print_finished(_summary(finished))
  run.claim(FREE)
  began = time.perf_counter()
  rows = []
  for name, problem in problems().items():
    started = time.perf_counter()
    mismatch = stress.prove(problem, config.operations, config.seed)
    complexity = ', '.join(f'{each} O({cost})' for each, cost in problem.complexity.items())
    rows.append(_row(name, problem.title, 'design', 'WA' if mismatch else 'AC', complexity, started))
    if mismatch:
      verdict_table.print_mismatch(_console(), mismatch)
  with _bench() as (pool, folder):
    for name, path in practice.contest_problems().items():
      started = time.perf_counter()
      program = build(path, folder / name.replace('/', '_'), pool)
      found = judge(program, packages.sample_cases(path.parent, path.stem), pool=pool, limits=limits)
      rows.append(_row(name, _first_line(path), 'contest', found.verdict, '', started))
      if found.verdict != 'AC':
        verdict_table.print_report(_console(), found)
  _print_rows(rows)
  files.write_json_lines(run.workdir / 'metrics.jsonl', rows)
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


def test(run: contract.Run) -> None:
  """Judges --solution (else the reference) on --problem: a design or contest problem, a folder, a package."""
  name, solution = run.flags['problem'], run.flags['solution']
  if not name:
    raise UserError(
      '--mode=test needs --problem=NAME, a folder of samples or a problem package; --mode=list has the names'
    )
  with _bench() as (pool, folder):
    if name in problems():
      found = _test_class(run, problems()[name], pathlib.Path(solution) if solution else None, pool, folder)
    else:
      found = _test_program(run, name, solution, pool, folder)
  path = run.workdir / 'reports' / f'{name.strip("/").replace("/", "_")}.json'
  files.write_json(path, found.to_json())
  run.print(f'wrote {path}')


def _test_class(
  run: contract.Run, problem: Problem, solution: pathlib.Path | None, pool: Pool, folder: pathlib.Path
) -> Report:
  run.print(f'{problem.title}\n\n{problem.statement}\n')
  cases = practice.operations_cases(problem, run.config.sizes, run.config.operations // 4, run.config.seed)
  path = solution or practice.reference(problem)
  found, mismatch = practice.judge_class(
    problem, path, cases, pool=pool, limits=_limits(run), build_folder=folder / 'build'
  )
  if mismatch is None:
    verdict_table.print_report(_console(), found)
    return found
  again = lambda calls: practice.judge_class(
    problem, path, [practice.operations_case(problem, calls, 'shrunk')], pool=pool, limits=_limits(run),
    build_folder=folder / 'build',
  )[1]  # fmt: skip
  smallest = mismatch
  constructor, *rest = mismatch.calls

  def fails(calls):
    nonlocal smallest
    with contextlib.suppress(Exception):  # fewer calls may break the rules even for the oracle
      shorter = again([constructor, *calls])
      if shorter is not None:
        smallest = shorter
        return True
    return False

  stress.shrink(rest, stress.at_most(300, fails))
  run.print(f'{found.program}: {found.verdict}; {found.results[-1].message}\n')
  verdict_table.print_mismatch(_console(), smallest)
  return found


def _test_program(run: contract.Run, name: str, solution: str, pool: Pool, folder: pathlib.Path) -> Report:
  given = practice.contest_problems().get(name)
  where = pathlib.Path(name)
  if (where / 'problem.yaml').exists():
    return _test_package(run, where, solution, pool, folder)
  if given is None and not where.is_dir():
    known = ', '.join([*problems(), *practice.contest_problems()])
    raise UserError(f'no problem {name!r}: it is no folder, and there are {known}')
  if given is None and not solution:
    raise UserError('a folder of samples needs --solution=FILE too')
  cases = packages.sample_cases(given.parent, given.stem) if given else packages.sample_cases(where)
  limits = _limits(run)
  program = build(solution or str(given), folder / 'build', pool)
  found = judge(program, cases, pool=pool, limits=limits, check=_check(run))
  verdict_table.print_report(_console(), found)
  return found


def _test_package(run: contract.Run, where: pathlib.Path, solution: str, pool: Pool, folder: pathlib.Path) -> Report:
  """One solution on a package, or, without one, all of its submissions against the verdicts they should get."""
  package = packages.load(where, folder / 'package', pool)
  ask = lambda program, limits: judge(
    program, package.cases, pool=pool, limits=limits, check=package.check, interactor=package.interactor,
    stop_at_first=package.stops,
  )  # fmt: skip
  limits = package.limits
  if solution:
    found = ask(build(solution, folder / 'build', pool), limits)
    verdict_table.print_report(_console(), found)
    if package.groups:
      run.print(f'score {package.score(found):g}')
    return found
  submissions = sorted(package.submissions(), key=lambda each: each[0] != 'accepted')
  slowest, unexpected, found = 0.0, 0, Report(package.name, ())
  for number, (kind, path) in enumerate(submissions):
    try:
      program = build(path, folder / f'submission{number}', pool)
    except UserError as error:
      run.print(f'{"skipped":<10} {kind:<22} {path.name:<32} {error}')
      continue
    if not package.time_is_given:
      wanted = MAX_LIMIT_FACTOR * 2.0 if kind == 'accepted' else max(1.0, math.ceil(MAX_LIMIT_FACTOR * slowest))
      limits = dataclasses.replace(limits, time=wanted)
    found = ask(program, limits)
    spent = max((result.outcome.cpu for result in found.results), default=0.0)
    slowest = max(slowest, spent) if kind == 'accepted' else slowest
    right = found.verdict in packages.EXPECTED.get(kind, {found.verdict})
    unexpected += not right
    said = f'{found.failure.case.name}: {found.failure.message[:60]}' if found.failure else ''
    score = f'score {package.score(found):g} ' if package.groups else ''
    run.print(
      f'{"as meant" if right else "UNEXPECTED":<10} {kind:<22} {path.name:<32} {found.verdict:<4}{spent:7.2f} s  '
      f'{score}{said}'
    )
  run.print(f'{package.name}: {len(submissions)} submissions, {unexpected} with a verdict that was not meant')
  return found


def new(run: contract.Run) -> None:
  """Lays out --contest with a program and samples to fill in for each of --problems=A-D."""
  contest = run.flags['contest']
  if not contest:
    raise UserError('--mode=new needs --contest=NAME, and --problems=A-D or the like')
  folder = pathlib.Path(run.flags['folder'] or 'contests') / contest
  made = practice.new_contest(folder, practice.letters(run.flags['problems']))
  run.print(''.join(f'wrote {path}\n' for path in made) + f'{folder}: {len(made)} new files')
  run.print(
    f'fill in the samples, then: python -m experiments.algorithms --mode=test --problem={folder} --solution=FILE'
  )


def stress_(run: contract.Run) -> None:
  """Pits --solution against --trusted on what --generator SEED prints, and shrinks what they differ on."""
  names = [run.flags[name] for name in ('solution', 'trusted', 'generator')]
  if not all(names):
    raise UserError('--mode=stress needs --solution=FILE, --trusted=FILE and --generator=FILE (called with a seed)')
  with _bench() as (pool, folder):
    suspect, trusted, generator = (build(name, folder / f'build{i}', pool) for i, name in enumerate(names))
    for program in (suspect, trusted, generator):
      if program.compile_error is not None:
        raise UserError(f'{program.name} does not compile: {program.compile_error}')
    check = _check(run)
    found = stress.stress(
      suspect, trusted, generator, pool=pool, limits=_limits(run), rounds=run.config.rounds, comparison=check,
      seed=run.config.seed,
    )  # fmt: skip
  if found is None:
    return run.print(f'no difference in {run.config.rounds} rounds')
  run.print(f'seed {found.seed}: {found.verdict}; {found.message}\n')
  verdict_table.print_case(_console(), found.input, found.expected, found.actual)
  path = run.workdir / 'counterexample.in'
  files.write_text(path, found.input.decode(errors='replace'))
  return run.print(f'wrote {path}')


def prove(run: contract.Run) -> None:
  """Plays 100,000 random operations on each design problem (or --problem) and on its oracle."""
  failed = 0
  for name, problem in _chosen(run).items():
    started = time.perf_counter()
    mismatch = stress.prove(problem, run.config.prove_operations, run.config.seed)
    run.print(f'{"FAILED" if mismatch else "passed":<7} {name:<24} {run.config.prove_operations:,} operations, '
              f'{time.perf_counter() - started:.1f} s')  # fmt: skip
    if mismatch:
      failed += 1
      verdict_table.print_mismatch(_console(), mismatch)
  run.print(f'{len(_chosen(run)) - failed} passed, {failed} failed')


def growth_(run: contract.Run) -> None:
  """Measures how steps, seconds and bytes of --problem (or all) grow with n, fits exponents, draws plots."""
  timing = run.config.growth_seconds
  lines = [
    '| problem | operation | stated | exponent | by steps |' + ' by time |' * timing,
    '| --- ' * (5 + timing) + '|',
  ]
  by_steps, by_time, off = [], [], 0
  for name, problem in _chosen(run).items():
    steps = growth.steps(problem)
    timed = {each.operation: each for each in growth.seconds(problem)} if timing else {}
    for each in steps:
      by_steps.append((name, each))
      off += not each.holds
      seconds = timed.get(each.operation)
      shown = f' {seconds.exponent:.2f} |' if seconds else ''
      if seconds:
        by_time.append((name, seconds))
      mark = '' if each.holds else ' (off)'
      lines.append(
        f'| {name} | {each.operation} | O({each.stated}) | {each.stated_exponent:.2f} | '
        f'{each.exponent:.2f}{mark} |{shown}'
      )
    held = growth.memory(problem, problem.sizes)
    run.print(f'{name:<24} ' + ', '.join(f'{each.operation} {each.exponent:+.2f}' for each in steps))
    run.print(
      f'{"":<24} bytes held: ' + ', '.join(f'{n:,}: {size:,}' for n, size in zip(problem.sizes, held, strict=True))
    )
  plots = run.workdir / 'plots'
  growth.draw(by_steps, plots / 'growth_steps.png', 'steps')
  if by_time:
    growth.draw(by_time, plots / 'growth_seconds.png', 'time')
  files.write_text(run.workdir / 'growth.md', '\n'.join(lines) + '\n')
  run.print(
    f'{len(by_steps)} operations, {off} with an exponent by steps not within {growth.TOLERANCE} of the stated one'
  )
  run.print(f'wrote {run.workdir}/growth.md and {plots}')


def _chosen(run: contract.Run) -> dict[str, Problem]:
  name = run.flags['problem']
  return {name: find(name)} if name else problems()


@contextlib.contextmanager
def _bench() -> Iterator[tuple[Pool, pathlib.Path]]:
  with Pool() as pool, tempfile.TemporaryDirectory(prefix='algorithms-') as folder:
    pathlib.Path(folder).chmod(0o711)  # for programs of another user, who are told the names of what they may read
    yield pool, pathlib.Path(folder)
    for gap in pool.gaps():
      print(f'the cage here is without {gap}', file=sys.stderr)


def _limits(run: contract.Run) -> Limits:
  given = run.config.limits
  return Limits(time=given.time, memory=given.memory * MEBIBYTE, output=given.output * MEBIBYTE)


def _check(run: contract.Run) -> Comparison:
  return Comparison.from_flags(run.config.compare.split()) if run.config.compare else Comparison()


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
  _console().print(table)


def _first_line(path: pathlib.Path) -> str:
  return path.read_text(encoding='utf-8').lstrip('"').partition('\n')[0].rstrip('."')


def _console() -> Console:
  return Console(width=None if sys.stdout.isatty() else 140, highlight=False, markup=False, emoji=False)


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
    ('folder', 'where --mode=new puts it (default: contests)'),
  ):
    flags.DEFINE_string(name, 'A-F' if name == 'problems' else '', help_, flag_values=values)


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
  if (pathlib.Path(name) / 'problem.yaml').exists():
    idle |= dict.fromkeys(('limits', 'compare'), f'{name} is a problem package, which says it itself')
  return idle


MODES = {
  'list': contract.Mode(list_, ('operations', 'seed', 'limits')),
  'test': contract.Mode(test, ('operations', 'sizes', 'seed', 'limits', 'compare'), flags=('problem', 'solution')),
  'new': contract.Mode(new, flags=('contest', 'problems', 'folder')),
  'stress': contract.Mode(stress_, ('rounds', 'seed', 'limits', 'compare'), flags=('solution', 'trusted', 'generator')),
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
