"""Design problems of experiments.algorithms: proof against an oracle, growth of their cost."""

import time

from experiments import contract
from experiments.algorithms_bench import console
from mlsd_jax import files
from mlsd_jax.algorithms import growth, stress, verdict_table
from mlsd_jax.algorithms.problem import Problem, find, problems


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
      verdict_table.print_mismatch(console(), mismatch)
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
  chosen = [find(name)] if name else problems().values()
  return {each: way for problem in chosen for each, way in problem.ways().items()}
