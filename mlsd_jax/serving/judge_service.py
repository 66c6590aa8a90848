"""Programs of strangers, judged on this library's problems in the judge's cage, one at a time and within limits."""

import ast
import asyncio
import functools
import inspect
import pathlib
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mlsd_jax.algorithms import Limits, judge, packages, practice
from mlsd_jax.algorithms.languages import LANGUAGES, build, command
from mlsd_jax.algorithms.limits import MEBIBYTE
from mlsd_jax.algorithms.pool import Pool
from mlsd_jax.algorithms.problem import problems
from mlsd_jax.algorithms.verdicts import VERDICTS, Case, Report
from mlsd_jax.errors import UserError
from mlsd_jax.serving.errors import ApiError, too_busy

SUFFIXES = {'python': '.py', 'cpp': '.cpp', 'c': '.c', 'java': '.java', 'rust': '.rs', 'javascript': '.js'}
LIMITS = Limits(time=2.0, memory=256 * MEBIBYTE, output=4 * MEBIBYTE, processes=16)
_SIZES, _OPERATIONS = (4, 32, 256), 250  # of a design problem's cases: things held, calls
_SHOWN = 1000  # characters of a sample, of a compiler's complaint


class JudgeService:
  """Verdicts on submitted programs.

  It judges only where the cage holds: `open` refuses a machine that lacks a layer.

  Attributes:
    name: 'judge'.
  """

  name = 'judge'

  def __init__(self, pool: Pool, *, max_waiting: int = 16):
    self._pool, self._waiting, self._max_waiting = pool, 0, max_waiting
    self._thread = ThreadPoolExecutor(1, 'judge')

  @classmethod
  def open(cls, *, max_waiting: int = 16, pool: Pool | None = None) -> 'JudgeService':
    """A judge with one supervisor, which has run a program to see what its cage has.

    Raises:
      UserError: the cage lacks a layer here, named with the reason.
    """
    pool = pool or Pool(1)
    pool.run(command(['true']).process(LIMITS))
    gaps = pool.gaps()
    if gaps:
      pool.__exit__(None, None, None)
      raise UserError(f'the judge serves only where its cage is whole, and here it is without {gaps[0]}')
    return cls(pool, max_waiting=max_waiting)

  @property
  def waiting(self) -> int:
    """Programs that are judged or wait."""
    return self._waiting

  def describe(self) -> dict[str, Any]:
    """Problems with what they ask, limits of a run in seconds and bytes, languages."""
    languages = [name for name, suffix in SUFFIXES.items() if _is_installed(suffix)]
    limits = {'time_seconds': LIMITS.time, 'memory_bytes': LIMITS.memory, 'output_bytes': LIMITS.output}
    return {'problems': _problems(), 'limits': limits, 'languages': languages, 'verdicts': VERDICTS}

  async def judge(self, problem: str, source: str, language: str) -> dict[str, Any]:
    """{'problem', 'verdict', 'compile_error', 'cpu_seconds', 'memory_bytes', 'cases'}; cases in their order.

    A program that has begun is judged to its end, within its limits, whether or not somebody still waits.

    Raises:
      ApiError: no such problem (404); too many programs wait (429).
      UserError: a language that the problem or this machine cannot take.
    """
    if problem not in problems() and problem not in practice.contest_problems():
      raise ApiError(404, f'there is no problem {problem[:100]!r}; GET /v1/judge lists them', param='problem')
    if problem in problems() and language != 'python':
      raise ApiError(400, f'{problem} asks for a class in Python', param='language')
    if self._waiting >= self._max_waiting:
      raise too_busy('the judge', 5)
    self._waiting += 1
    work = asyncio.get_running_loop().run_in_executor(self._thread, self._judge, problem, source, language)
    work.add_done_callback(self._done)
    return await work

  def _done(self, work: asyncio.Future[Any]) -> None:
    self._waiting -= 1
    if not work.cancelled():
      work.exception()  # told to who waits; nobody else needs to hear of it

  def _judge(self, problem: str, source: str, language: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix='served-', ignore_cleanup_errors=True) as made:
      folder = pathlib.Path(made)
      folder.chmod(0o711)  # for programs of another user, who are told the names of what they may read
      path = folder / f'solution{SUFFIXES[language]}'
      path.write_text(source, encoding='utf-8')
      try:
        report = self._report(problem, path, folder)
      except UserError as error:
        raise UserError(str(error).replace(f'{folder}/', '')) from None
    told = report.to_json()
    del told['program']
    return {'problem': problem} | told | {'compile_error': _complaint(told['compile_error'])}

  def _report(self, problem: str, path: pathlib.Path, folder: pathlib.Path) -> Report:
    if problem in problems():
      cases = _design_cases(problem)
      options: dict[str, Any] = dict(pool=self._pool, limits=LIMITS, build_folder=folder / 'build')
      return practice.judge_class(problems()[problem], path, cases, **options)[0]
    ours = practice.contest_problems()[problem]
    check = practice.contest_check(ours, folder / 'check', self._pool)
    program = build(path, folder / 'build', self._pool)
    cases = packages.sample_cases(ours.parent, ours.stem)
    return judge(program, cases, pool=self._pool, limits=LIMITS, check=check, stop_at_first=False)

  async def close(self) -> None:
    self._thread.shutdown(wait=False, cancel_futures=True)
    await asyncio.to_thread(self._pool.__exit__, None, None, None)


@functools.cache
def _problems() -> list[dict[str, Any]]:
  told: list[dict[str, Any]] = []
  for name, problem in problems().items():
    about: dict[str, Any] = {'statement': problem.statement, 'start': _skeleton(problem.solution), 'samples': []}
    told.append({'name': name, 'kind': 'design', 'title': problem.title} | about)
  for name, path in practice.contest_problems().items():
    title, _, statement = (ast.get_docstring(ast.parse(path.read_bytes())) or name).partition('\n')
    samples = [
      {key: Case.read(getattr(case, key) or b'').decode(errors='replace')[:_SHOWN] for key in ('input', 'answer')}
      for case in packages.sample_cases(path.parent, path.stem)
    ]
    about = {'statement': statement.strip(), 'start': '', 'samples': samples}
    told.append({'name': name, 'kind': 'contest', 'title': title.rstrip('.')} | about)
  return told


def _complaint(said: str | None) -> str | None:
  """What a compiler says of the program; not where it lies in the cage, nor how our check of Python came upon it."""
  if said is None:
    return None
  own = said[said.rindex('  File "') :] if said.startswith('Traceback') and '  File "' in said else said
  return own.replace('/program/source/', '').strip()[:_SHOWN]


def _skeleton(solution: type) -> str:
  """The class that is asked for, without what it does."""
  lines = [f'class {solution.__name__}:']
  for name, method in inspect.getmembers(solution, inspect.isfunction):
    if name == '__init__' or not name.startswith('_'):
      lines.append(f'  def {name}({", ".join(inspect.signature(method).parameters)}):\n    pass\n')
  return '\n'.join(lines)


@functools.cache
def _design_cases(problem: str) -> list[Case]:
  return practice.operations_cases(problems()[problem], _SIZES, _OPERATIONS)


def _is_installed(suffix: str) -> bool:

  language = next(each for each in LANGUAGES if suffix in each.suffixes)
  return all(any(shutil.which(name) for name in names) for names in language.tools)
