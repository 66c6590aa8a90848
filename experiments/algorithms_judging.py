"""Judging in experiments.algorithms: a class, a program on cases, a package, two programs against each other."""

import contextlib
import dataclasses
import difflib
import math
import pathlib
from collections.abc import Sequence

from experiments import contract
from experiments.algorithms_bench import bench, console, limits, referees
from experiments.algorithms_contest import folder_of
from mlsd_jax import files
from mlsd_jax.algorithms import contest_folder, packages, practice, stress, verdict_table
from mlsd_jax.algorithms.allowed import keeps_rules
from mlsd_jax.algorithms.expectations import unmet
from mlsd_jax.algorithms.judge import judge
from mlsd_jax.algorithms.languages import build, describe_start, look_at
from mlsd_jax.algorithms.pool import Pool
from mlsd_jax.algorithms.problem import Problem, problems
from mlsd_jax.algorithms.published import form_of
from mlsd_jax.algorithms.verdicts import Case, Report
from mlsd_jax.errors import UserError

EDGES = 8  # cases of edge values that a class is judged on
MAX_LIMIT_FACTOR = 5  # a package without a time limit gets this many times its slowest accepted submission's time


def test(run: contract.Run) -> int:
  """Judges --solution (else the reference) on --problem: a design or contest problem, a folder, a package.

  The exit code is 1 for anything but AC; for a whole package, where a submission gets a verdict that is not meant.
  """
  name, solution = run.flags['problem'], run.flags['solution']
  if not name:
    raise UserError(
      '--mode=test needs --problem=NAME, a folder of samples or a problem package; --mode=list has the names'
    )
  is_class, is_package = name in problems(), packages.is_package(pathlib.Path(name))
  if is_class or is_package:
    _refuse_referees(run, name, 'a design problem' if is_class else 'a problem package')
  _look_at(run, ('solution', 'checker', 'interactor'))
  if is_class and solution:
    _check_class_file(pathlib.Path(solution))
  _say_starts(run, ('solution', 'checker', 'interactor'))
  with bench() as (pool, folder):
    if is_class:
      found = _test_class(run, problems()[name], pathlib.Path(solution) if solution else None, pool, folder)
      failed = found.verdict != 'AC'
    elif is_package:
      found, failed = _test_package(run, pathlib.Path(name), solution, pool, folder)
    else:
      found = _test_program(run, name, solution, pool, folder)
      failed = found.verdict != 'AC'
  path = run.workdir / 'reports' / f'{name.strip("/").replace("/", "_")}.json'
  files.write_json(path, found.to_json())
  run.print(f'wrote {path}')
  return int(failed)


def _refuse_referees(run: contract.Run, name: str, what: str) -> None:
  for flag in ('checker', 'interactor'):
    if run.flags[flag]:
      raise UserError(f'--{flag} has no effect on {name}: {what} says itself what is right')


def _look_at(run: contract.Run, names: Sequence[str]) -> None:
  """Before anything is printed or compiled: whether the programs that flags name can be any."""
  for name in names:
    if run.flags[name]:
      look_at(pathlib.Path(run.flags[name]))


def _say_starts(run: contract.Run, names: Sequence[str]) -> None:
  """Of a folder with several programs only one is judged, which a verdict alone does not tell."""
  for name in names:
    if run.flags[name] and (told := describe_start(pathlib.Path(run.flags[name]))):
      run.print(f'--{name}: {told}')


def _check_class_file(path: pathlib.Path) -> None:
  language = look_at(path)[1]
  if path.is_dir() or language is None or language.name != 'Python':
    raise UserError(f'--solution={path}: a design problem is answered by a class, in one file of Python')


def _test_class(
  run: contract.Run, problem: Problem, solution: pathlib.Path | None, pool: Pool, folder: pathlib.Path
) -> Report:
  run.print(f'{problem.title}\n\n{problem.statement}\n')
  path = solution or practice.reference(problem)
  cases = practice.operations_cases(problem, run.config.sizes, run.config.operations // 4, run.config.seed)
  if form_of(problem, path):
    run.print(f'{path.name} has the signatures that LeetCode publishes, and is judged by them\n')
  else:
    cases += practice.edge_cases(problem, EDGES, run.config.seed)
  found, mismatch = practice.judge_class(
    problem, path, cases, pool=pool, limits=limits(run), build_folder=folder / 'build'
  )
  printed = found.results[-1].outcome.stderr.strip() if found.results else ''
  if printed and found.verdict in ('AC', 'WA'):
    run.print(f'the class printed:\n{printed[-1500:]}\n')
  if mismatch is None:
    verdict_table.print_report(console(), found)
    return found
  again = lambda calls: practice.judge_class(
    problem, path, [practice.operations_case(problem, calls, 'shrunk')], pool=pool, limits=limits(run),
    build_folder=folder / 'build',
  )[1]  # fmt: skip
  smallest = mismatch
  constructor, *rest = mismatch.calls

  def fails(calls):
    nonlocal smallest
    if not keeps_rules(problem, [constructor, *calls]):
      return False
    with contextlib.suppress(Exception):  # fewer calls may break the rules even for the oracle
      shorter = again([constructor, *calls])
      if shorter is not None:
        smallest = shorter
        return True
    return False

  stress.shrink(rest, stress.at_most(300, fails))
  run.print(f'{found.program}: {found.verdict}; {found.results[-1].message}\n')
  verdict_table.print_mismatch(console(), smallest)
  return found


def _test_program(run: contract.Run, name: str, solution: str, pool: Pool, folder: pathlib.Path) -> Report:
  program, cases = _find(run, name, solution)
  check, interactor = referees(run, folder, pool)
  ours = practice.contest_problems().get(name)
  if ours and not run.flags['checker'] and not run.config.compare:
    check = practice.contest_check(ours, folder / 'check', pool)
  built = build(program, folder / 'build', pool)
  found = judge(built, cases, pool=pool, limits=limits(run), check=check, interactor=interactor)
  verdict_table.print_report(console(), found)
  return found


def _find(run: contract.Run, name: str, solution: str) -> tuple[pathlib.Path, list[Case]]:
  """The program and the cases that a name stands for."""
  given = practice.contest_problems().get(name)
  if given is not None:
    return pathlib.Path(solution or given), packages.sample_cases(given.parent, given.stem)
  where = pathlib.Path(name)
  if where.is_dir():
    if not solution:
      there = contest_folder.problems_of(where)
      if there:
        raise UserError(f'{where} has the problems {", ".join(there)}; name one, --problem={where / there[0]}')
      below = [
        each / name for each in sorted(where.iterdir()) if each.is_dir() for name in contest_folder.problems_of(each)
      ]
      if below:
        raise UserError(f'{where} is no problem; name one below it, --problem={below[0]}')
      raise UserError(f'{where} is a folder of samples, and needs --solution=FILE too')
    return pathlib.Path(solution), contest_folder.cases_for(where, pathlib.Path(solution))
  laid_out = contest_folder.find(name, folder_of(run))
  if laid_out is None:
    known = [*problems(), *practice.contest_problems()]
    near = ' or '.join(difflib.get_close_matches(name, known, 3))
    meant = f'do you mean {near}?' if near else 'it is no folder, and no problem of one'
    raise UserError(f'no problem {name!r}: {meant} (--mode=list has the {len(known)} names)')
  programs, cases = laid_out
  if solution:
    return pathlib.Path(solution), cases
  if not programs:
    raise UserError(f'{name} has samples and no program; --solution=FILE names one')
  if len(programs) > 1:
    several = ', '.join(each.name for each in programs)
    raise UserError(f'{name} has several programs, {several}; name one, --problem={programs[0]}')
  return programs[0], cases


def _test_package(
  run: contract.Run, where: pathlib.Path, solution: str, pool: Pool, folder: pathlib.Path
) -> tuple[Report, bool]:
  """One solution on a package, or, without one, all of its submissions against the verdicts they should get."""
  package = packages.load(where, folder / 'package', pool)
  ask = lambda program, limits, stops=package.stops: judge(
    program, package.cases, pool=pool, limits=limits, check=package.check, interactor=package.interactor,
    stop_at_first=stops,
  )  # fmt: skip
  limits = package.limits
  if solution:
    found = ask(build(solution, folder / 'build', pool), limits)
    verdict_table.print_report(console(), found)
    if package.score:
      score = package.score(found)
      run.print(''.join(f'{name}: {points:g}\n' for name, points in score.groups.items()) + f'score {score.points:g}')
    return found, found.verdict != 'AC'
  submissions = sorted(package.submissions, key=lambda each: each.kind != 'accepted')
  slowest, unexpected, found = 0.0, 0, Report(package.name, ())
  for number, submission in enumerate(submissions):
    kind, path = submission.kind, submission.path
    try:
      program = build(path, folder / f'submission{number}', pool, submission.main)
    except UserError as error:
      run.print(f'{"skipped":<10} {kind:<22} {path.name:<32} {error}')
      continue
    if not package.time_is_given:
      wanted = MAX_LIMIT_FACTOR * 2.0 if kind == 'accepted' else max(1.0, math.ceil(MAX_LIMIT_FACTOR * slowest))
      limits = dataclasses.replace(limits, time=wanted)
    found = ask(program, limits, package.stops and not submission.rules)
    spent = max((result.outcome.cpu for result in found.results), default=0.0)
    slowest = max(slowest, spent) if kind == 'accepted' else slowest
    broken = unmet(submission.rules, found)
    right = broken is None if submission.rules else found.verdict in submission.expected
    points = package.score(found).points if package.score else None
    if points is not None and submission.score is not None:
      right = right and abs(points - submission.score) < 0.01  # as many places as DOMjudge's submissions say
    unexpected += not right
    said = f'{found.failure.case.name}: {found.failure.message[:60]}' if found.failure else ''
    said = broken or said
    meant = f' of {submission.score:g}' if points is not None and submission.score is not None else ''
    earned = '' if points is None else f'score {points:g}{meant} '
    run.print(
      f'{"as meant" if right else "UNEXPECTED":<10} {kind:<22} {path.name:<32} {found.verdict:<4}{spent:7.2f} s  '
      f'{earned}{said}'
    )
  run.print(f'{package.name}: {len(submissions)} submissions, {unexpected} with a verdict that was not meant')
  return found, unexpected > 0


def stress_(run: contract.Run) -> int:
  """Pits --solution against --trusted on what --generator SEED prints, and shrinks what they differ on."""
  names = [run.flags[name] for name in ('solution', 'trusted', 'generator')]
  if not all(names):
    raise UserError('--mode=stress needs --solution=FILE, --trusted=FILE and --generator=FILE (called with a seed)')
  _look_at(run, ('solution', 'trusted', 'generator', 'checker', 'interactor'))
  _say_starts(run, ('solution', 'trusted', 'generator', 'checker', 'interactor'))
  with bench() as (pool, folder):
    suspect, trusted, generator = (build(name, folder / f'build{i}', pool) for i, name in enumerate(names))
    for program in (suspect, trusted, generator):
      if program.compile_error is not None:
        raise UserError(f'{program.name} does not compile: {program.compile_error}')
    check, interactor = referees(run, folder, pool)
    found = stress.stress(
      suspect, trusted, generator, pool=pool, limits=limits(run), rounds=run.config.rounds, check=check,
      interactor=interactor, seed=run.config.seed,
    )  # fmt: skip
  if found is None:
    run.print(f'no difference in {run.config.rounds} rounds')
    return 0
  run.print(f'seed {found.seed}: {found.verdict}; {found.message}\n')
  verdict_table.print_case(console(), found.input, found.expected, found.actual)
  path = run.workdir / 'counterexample.in'
  files.write_text(path, found.input.decode(errors='replace'))
  run.print(f'wrote {path}')
  return 1
