"""Finds an input on which two programs differ, and makes it as small as it can."""

import dataclasses
import random
import re
from collections.abc import Callable, Sequence
from typing import Any

from mlsd_jax.algorithms.allowed import edge_operations, keeps_rules
from mlsd_jax.algorithms.checking import Checker
from mlsd_jax.algorithms.comparison import Comparison, Difference
from mlsd_jax.algorithms.judge import Check, judge
from mlsd_jax.algorithms.languages import Program
from mlsd_jax.algorithms.limits import Limits
from mlsd_jax.algorithms.operations import Call
from mlsd_jax.algorithms.pool import Pool
from mlsd_jax.algorithms.problem import Mismatch, Problem, check
from mlsd_jax.algorithms.verdicts import Case, CaseResult, verdict_of
from mlsd_jax.errors import UserError

_PROOF_ROUND = 2_000  # calls
_PROOF_SIZES = (4, 24, 128, 512)
_EDGE_SHARE = 300  # one small structure with edge values for so many operations


@dataclasses.dataclass(frozen=True)
class Counterexample:
  """An input on which a program is not right.

  Attributes:
    seed: that the generator made the first such input from.
    verdict: 'WA', or what else became of the program.
    expected, actual: outputs of the trusted and of the suspected program.
  """

  seed: int
  input: bytes
  verdict: str
  message: str
  expected: bytes
  actual: bytes
  difference: Difference | None


def shrink[Item](items: Sequence[Item], fails: Callable[[list[Item]], bool]) -> list[Item]:
  """A sublist that still fails and of which no single item can be left out (ddmin, Zeller and Hildebrandt, 2002)."""
  kept, parts = list(items), 2
  while len(kept) > 1:
    size = -(-len(kept) // parts)
    for start in range(0, len(kept), size):
      without = kept[:start] + kept[start + size :]
      if without and fails(without):
        kept, parts = without, max(2, parts - 1)
        break
    else:
      if parts >= len(kept):
        break
      parts = min(len(kept), 2 * parts)
  if len(kept) == 1 and fails([]):
    return []
  return kept


def at_most[Item](tries: int, fails: Callable[[list[Item]], bool]) -> Callable[[list[Item]], bool]:
  """`fails`, which says no without looking once it has been asked so many times."""
  left = tries

  def limited(items: list[Item]) -> bool:
    nonlocal left
    left -= 1
    return left >= 0 and fails(items)

  return limited


def smallest_mismatch(problem: Problem, kind: type, mismatch: Mismatch, fails_fast: int = 2000) -> Mismatch:
  """The mismatch with as few calls, and as small numbers in them, as still show it.

  Args:
    fails_fast: how many times the calls may be played in all.
  """
  constructor, *rest = mismatch.calls
  left = fails_fast

  def broken(calls: list[Call]) -> Mismatch | None:
    nonlocal left
    left -= 1
    if left < 0:
      return None
    try:
      if keeps_rules(problem, [constructor, *calls]):
        return check(problem, kind, [constructor, *calls])
    except Exception:  # an oracle may choke on less than it was given
      pass
    return None

  rest = shrink(rest, lambda calls: broken(calls) is not None)
  for index, (name, arguments) in enumerate(rest):
    for place, value in enumerate(arguments):
      for smaller in _smaller(value):
        trial = [*arguments[:place], smaller, *arguments[place + 1 :]]
        calls = [*rest[:index], (name, trial), *rest[index + 1 :]]
        if broken(calls):
          rest, arguments = calls, trial
          break
  left = 1
  return broken(rest) or mismatch


def _smaller(value: Any) -> list[Any]:
  if isinstance(value, int) and not isinstance(value, bool):
    return sorted({0, 1, value // 2, value - 1} - {value}, key=abs) if value > 0 else []
  return []


def prove(problem: Problem, operations: int, seed: int = 0) -> Mismatch | None:
  """Plays so many random operations, on structures from tiny to middling, against the oracle; a smallest mismatch.

  Edge values come first. A structure plays at most _PROOF_ROUND operations: of one that only grows, a plain oracle
  would take ever longer. A generator that gives fewer than it is asked for is asked again for smaller
  structures, and at last taken at its word.
  """
  for number in range(-(-operations // _EDGE_SHARE)):
    calls = edge_operations(problem, random.Random(f'{seed}/{number}'))
    mismatch = check(problem, problem.solution, calls)
    if mismatch:
      return smallest_mismatch(problem, problem.solution, mismatch)
  share = operations // len(_PROOF_SIZES)
  for number, first in enumerate(_PROOF_SIZES):
    for start in range(0, share, _PROOF_ROUND):
      size, count = first, min(_PROOF_ROUND, share - start)
      random_ = lambda: random.Random(1000 * seed + number + 10 * start)
      calls = problem.operations(random_(), count, size)
      while len(calls) - 1 < count and size > 1:  # some generators give few large calls at large sizes
        size //= 2
        calls = problem.operations(random_(), count, size)
      mismatch = check(problem, problem.solution, calls)
      if mismatch:
        return smallest_mismatch(problem, problem.solution, mismatch)
  return None


def stress(
  suspect: Program,
  trusted: Program,
  generator: Program,
  *,
  pool: Pool,
  limits: Limits,
  rounds: int,
  check: Check = Comparison(),  # noqa: B008
  interactor: Checker | None = None,
  seed: int = 0,
  on_round: Callable[[int], None] = lambda number: None,
) -> Counterexample | None:
  """Runs both programs on inputs that `generator SEED` prints until they differ, then shrinks the input.

  Raises:
    UserError: the generator or the trusted program failed.
  """
  arena = _Arena(suspect, trusted, pool, limits, check, interactor)
  for number in range(seed, seed + rounds):
    given = arena.output_of(generator, b'', [str(number)])
    if given is None:
      raise UserError(f'the generator {generator.name} failed on seed {number}: {arena.trouble}')
    found = arena.try_input(number, given)
    if found is None and arena.trouble:
      raise UserError(f'the trusted program {trusted.name} failed on seed {number}: {arena.trouble}')
    on_round(number)
    if found:
      return shrink_input(found, lambda data: arena.try_input(found.seed, data))
  return None


class _Arena:
  """Two programs and the means to run them on an input."""

  def __init__(self, suspect, trusted, pool, limits, check, interactor):
    self.suspect, self.trusted = suspect, trusted
    self.pool, self.limits, self.check, self.interactor = pool, limits, check, interactor
    self.trouble = ''

  def output_of(self, program: Program, given: bytes, args: Sequence[str] = ()) -> bytes | None:
    outcome = self.pool.run(program.process(self.limits, given, args))[0]
    self.trouble = ': '.join(part for part in verdict_of(outcome, self.limits) if part)
    return None if self.trouble else outcome.output

  def try_input(self, seed: int, given: bytes) -> Counterexample | None:
    if self.interactor is not None:  # there is nothing to write down; the trusted program must pass itself
      own = self._judge(self.trusted, Case(f'seed {seed}', given))
      self.trouble = '' if own.verdict == 'AC' else f'{own.verdict}: {own.message}'
      expected = None if self.trouble else b''
    else:
      expected = self.output_of(self.trusted, given)
    if expected is None:
      return None
    result = self._judge(self.suspect, Case(f'seed {seed}', given, expected))
    if result.verdict == 'JE':
      raise UserError(f'the checker or interactor failed on seed {seed}: {result.message}')
    if result.verdict == 'AC':
      return None
    return Counterexample(seed, given, result.verdict, result.message, expected, result.output, result.difference)

  def _judge(self, program: Program, case: Case) -> CaseResult:
    found = judge(program, [case], pool=self.pool, limits=self.limits, check=self.check, interactor=self.interactor)
    return found.results[0]


def shrink_input(
  found: Counterexample, again: Callable[[bytes], Counterexample | None], tries: int = 400
) -> Counterexample:
  """A smaller input that fails in the same way: fewer lines, fewer numbers in a line, smaller numbers.

  A count at the head of lines or numbers follows what is left out. What the trusted program chokes on is no input.
  """
  best, left = found, tries

  def fails(data: bytes) -> bool:
    nonlocal best, left
    left -= 1
    if left < 0 or len(data) > len(best.input) or data == best.input:
      return False
    smaller = again(data)
    if smaller is None or smaller.verdict != found.verdict:
      return False
    best = smaller
    return True

  improved = True
  while improved and left > 0:
    unchanged = best.input
    lines = best.input.split(b'\n')
    for count_line in range(min(2, len(lines))):
      _shrink_lines(best.input.split(b'\n'), count_line, fails)
    for number in range(len(best.input.split(b'\n'))):
      _shrink_line(best.input.split(b'\n'), number, fails)
    for match in list(re.finditer(rb'\d+', best.input))[::-1]:
      for value in (b'0', b'1', b'%d' % (int(match[0]) // 2)):
        if len(value) <= len(match[0]) and int(value) < int(match[0]):
          text = best.input
          if text[match.start() : match.end()] == match[0] and fails(
            text[: match.start()] + value + text[match.end() :]
          ):
            break
    improved = best.input != unchanged
  return best


def _shrink_lines(lines: list[bytes], count_line: int, fails: Callable[[bytes], bool]) -> None:
  """Leaves out lines below the one that may hold their number."""
  head, rest = lines[: count_line + 1], [line for line in lines[count_line + 1 :] if line]

  def build(kept: list[bytes]) -> bytes:
    words = head[-1].split()
    counted = [b'%d' % len(kept) if word == b'%d' % len(rest) else word for word in words[:1]] + words[1:]
    return b'\n'.join([*head[:-1], b' '.join(counted), *kept]) + b'\n'

  shrink(rest, lambda kept: fails(build(kept)))


def _shrink_line(lines: list[bytes], number: int, fails: Callable[[bytes], bool]) -> None:
  """Leaves out words of a line; the line above may begin with their number."""
  if number >= len(lines):
    return
  words = lines[number].split()
  above = lines[number - 1].split() if number else []

  def build(kept: list[bytes]) -> bytes:
    changed = list(lines)
    changed[number] = b' '.join(kept)
    if above and above[0] == b'%d' % len(words):
      changed[number - 1] = b' '.join([b'%d' % len(kept), *above[1:]])
    return b'\n'.join(changed)

  if len(words) > 1:
    shrink(words, lambda kept: fails(build(kept)))
