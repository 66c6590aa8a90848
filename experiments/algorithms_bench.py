"""What the modes of experiments.algorithms judge with: a pool, limits, a comparison or a checker, a console."""

import contextlib
import pathlib
import sys
import tempfile
from collections.abc import Iterator

from rich.console import Console

from experiments import contract
from mlsd_jax.algorithms.checking import Checker, convention_of
from mlsd_jax.algorithms.comparison import Comparison
from mlsd_jax.algorithms.languages import build
from mlsd_jax.algorithms.limits import MEBIBYTE, Limits
from mlsd_jax.algorithms.pool import Pool
from mlsd_jax.errors import UserError
from mlsd_jax.printable import printable


@contextlib.contextmanager
def bench() -> Iterator[tuple[Pool, pathlib.Path]]:
  """A pool and a folder to build in; what the cage lacks here is said once, at the end."""
  with Pool() as pool, tempfile.TemporaryDirectory(prefix='algorithms-') as folder:
    pathlib.Path(folder).chmod(0o711)  # for programs of another user, who are told the names of what they may read
    yield pool, pathlib.Path(folder)
    for gap in pool.gaps():
      print(printable(f'the cage here is without {gap}'), file=sys.stderr)


def limits(run: contract.Run) -> Limits:
  given = run.config.limits
  return Limits(time=given.time, memory=given.memory * MEBIBYTE, output=given.output * MEBIBYTE)


def referees(run: contract.Run, folder: pathlib.Path, pool: Pool) -> tuple[Comparison | Checker, Checker | None]:
  """What tells a right answer: --checker, else --config.compare; and --interactor."""
  flags = run.config.compare.split()
  checker, interactor = (_referee(run, name, folder, pool) for name in ('checker', 'interactor'))
  if (checker or interactor) and flags:
    raise UserError('--config.compare has no effect beside --checker or --interactor')
  return checker or (Comparison.from_flags(flags) if flags else Comparison()), interactor


def _referee(run: contract.Run, name: str, folder: pathlib.Path, pool: Pool) -> Checker | None:
  if not run.flags[name]:
    return None
  path = pathlib.Path(run.flags[name])
  program = build(path, folder / name, pool)
  if program.compile_error:
    raise UserError(f'--{name}={path} does not compile: {program.compile_error}')
  return Checker(program, run.flags['convention'] or convention_of(path))


def console() -> Console:
  return Console(width=None if sys.stdout.isatty() else 140, highlight=False, markup=False, emoji=False)
