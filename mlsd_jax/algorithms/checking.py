"""Programs that judge programs: checkers and interactors, by Kattis's convention or testlib's."""

import dataclasses
import math
import os
import pathlib
import re
import shutil
import stat

from mlsd_jax.algorithms.languages import Program
from mlsd_jax.algorithms.limits import MEBIBYTE, Limits, Outcome
from mlsd_jax.algorithms.pool import Pool
from mlsd_jax.algorithms.verdicts import Case

CHECKER_LIMITS = Limits(time=60, wall=120, memory=2048 * MEBIBYTE)
_RIGHT_AND_WRONG = {'kattis': ((42,), (43,)), 'testlib': ((0, 7), (1, 2, 4, 8))}  # exit codes of a checker
_MESSAGE_KEPT = 1 << 14  # bytes
_NEXT_INPUT_KEPT = 64 * MEBIBYTE


@dataclasses.dataclass(frozen=True)
class Checker:
  """A program that says whether an answer is right.

  Attributes:
    convention: 'kattis' calls `checker input answer feedback_folder < output`, 42 is right and 43 wrong; 'testlib'
      calls `checker input output answer`, 0 is right, 7 right with points, 1, 2, 4 and 8 are wrong. Any other ending is
      the checker's own fault.
    flags: further arguments.
    passes: how many times a program may be run on a case, each time on what the checker has written to nextpass.in.
  """

  program: Program
  convention: str = 'kattis'
  flags: tuple[str, ...] = ()
  passes: int = 1


def convention_of(source: pathlib.Path) -> str:
  """'testlib' for sources that include testlib.h, else 'kattis'."""
  files = [each for each in source.rglob('*') if each.is_file()] if source.is_dir() else [source]
  return 'testlib' if any(re.search(rb'#\s*include\s*[<"]testlib', each.read_bytes()) for each in files) else 'kattis'


@dataclasses.dataclass(frozen=True)
class Judgement:
  """What a checker says.

  Attributes:
    score: points, or with `multiplies` a share of those that the case has; None where it gave none.
    next_input: of the program's next pass; None when this was the last.
  """

  verdict: str
  message: str
  score: float | None = None
  multiplies: bool = False
  next_input: bytes | None = None


@dataclasses.dataclass(frozen=True)
class Desk:
  """What lies before a checker or an interactor: copies of a case, and a folder to write into.

  Attributes:
    case, feedback: the two folders, which are /case and /feedback where the checker has a root of its own.
  """

  checker: Checker
  case: pathlib.Path
  feedback: pathlib.Path
  flags: tuple[str, ...]

  @classmethod
  def lay(cls, folder: pathlib.Path, checker: Checker, case: Case) -> 'Desk':
    desk = cls(checker, folder / 'case', folder / 'feedback', checker.flags if case.flags is None else case.flags)
    desk.case.mkdir()
    desk.feedback.mkdir()
    desk.feedback.chmod(0o777)  # in a folder of ours that nobody else enters
    desk.put('input', case.input)
    desk.put('answer', case.answer or b'')
    return desk

  def put(self, name: str, content: pathlib.Path | bytes) -> None:
    path = self.case / name
    if isinstance(content, bytes):
      path.write_bytes(content)
    else:
      shutil.copyfile(content, path)
    path.chmod(0o644)

  def args(self, output: str | None = None) -> list[str]:
    """Args: output: name of the file with what the program wrote; None for an interactor."""
    given, answer = str(self.case / 'input'), str(self.case / 'answer')
    if self.checker.convention == 'kattis':
      return [given, answer, f'{self.feedback}/', *self.flags]
    return [given, output or str(self.feedback / 'output'), answer, *self.flags]

  def ask(self, output: bytes, pool: Pool) -> Judgement:
    """Runs the checker on what a program wrote."""
    self.put('output', output)
    args = self.args(str(self.case / 'output'))
    process = self.checker.program.process(CHECKER_LIMITS, output, args, case=self.case, feedback=self.feedback)
    return self.judgement(pool.run(process)[0])

  def judgement(self, outcome: Outcome) -> Judgement:
    """What a checker or an interactor has said by its end and its files."""
    right, wrong = _RIGHT_AND_WRONG[self.checker.convention]
    said = read_made(self.feedback / 'judgemessage.txt', _MESSAGE_KEPT)
    text = outcome.stderr if said is None else said.decode(errors='replace')
    message = ' '.join(text.split())[:300]
    if outcome.killed is not None or outcome.exit_code not in (*right, *wrong):
      ended = f'the checker ended with {outcome.killed or outcome.ending}'
      return Judgement('JE', ended + (f': {message}' if message else ''))
    next_input = read_made(self.feedback / 'nextpass.in', _NEXT_INPUT_KEPT)
    if outcome.exit_code in wrong and next_input is not None:
      return Judgement('JE', 'nextpass.in beside a wrong answer')
    if outcome.exit_code == 7 and (points := re.match(r'points ([\d.eE+-]+)', outcome.stderr)):
      return Judgement('AC', message, float(points[1]))
    scores = {name: read_made(self.feedback / name, 100) for name in ('score.txt', 'score_multiplier.txt')}
    given = [(name, text) for name, text in scores.items() if text is not None]
    try:
      values = [float(text) for _, text in given]
    except ValueError:
      values = [math.nan]
    if outcome.exit_code in wrong:  # DOMjudge counts the points of a wrong answer, too
      return Judgement('WA', message, values[0] if len(values) == 1 and math.isfinite(values[0]) else None)
    if len(values) > 1 or not all(map(math.isfinite, values)):
      return Judgement('JE', f'the checker gave no usable score: {scores}')
    if next_input is not None:
      (self.feedback / 'nextpass.in').unlink()
    score = values[0] if values else None
    return Judgement('AC', message, score, bool(given) and given[0][0] == 'score_multiplier.txt', next_input)


def read_made(path: pathlib.Path, limit: int) -> bytes | None:
  """The beginning of a file that a program has made; None if it made none, or something else of that name."""
  try:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
  except OSError:
    return None
  try:
    return os.read(descriptor, limit) if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
  finally:
    os.close(descriptor)
