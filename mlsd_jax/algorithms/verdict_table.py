"""Verdicts for the reader's eye: a table, and the failing case with expected and actual side by side."""

import itertools
import json

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mlsd_jax.algorithms.limits import MEBIBYTE
from mlsd_jax.algorithms.problem import Mismatch
from mlsd_jax.algorithms.verdicts import VERDICTS, Case, Report
from mlsd_jax.printable import as_text

_STYLES = {'AC': 'green', 'CE': 'magenta', 'JE': 'magenta'}
_SHOWN_LINES, _SHOWN_WIDTH = 24, 100


def verdict_text(verdict: str) -> Text:
  return as_text(verdict or '-', style=_STYLES.get(verdict, 'red' if verdict else 'dim'))


def print_report(console: Console, report: Report, shown: int = 40) -> None:
  """A row a case (the first ones and all that failed), then the verdict, then the first failing case in full."""
  if report.compile_error is not None:
    console.print(as_text(report.compile_error))
  else:
    table = Table(box=None, header_style='bold', pad_edge=False)
    for name in ('case', 'verdict', 'cpu s', 'clock s', 'MiB', 'what'):
      table.add_column(name, justify='right' if name in ('cpu s', 'clock s', 'MiB') else 'left')
    for number, result in enumerate(report.results):
      if number < shown or result.verdict not in ('AC', ''):
        outcome = result.outcome
        table.add_row(
          as_text(result.case.name),
          verdict_text(result.verdict),
          f'{outcome.cpu:.3f}',
          f'{outcome.wall:.3f}',
          f'{outcome.memory / MEBIBYTE:.1f}',
          as_text(result.message[:100]),
        )
    console.print(table)
    if len(report.results) > shown:
      console.print(f'... {len(report.results):,} cases in all')
  program, meaning = as_text(f'{report.program}: '), f' ({VERDICTS[report.verdict]})'
  console.print(Text.assemble(program, verdict_text(report.verdict), meaning))
  if report.failure is not None:
    failure = report.failure
    expected = Case.read(failure.case.answer) if failure.case.answer is not None else b''
    console.print()
    print_case(console, Case.read(failure.case.input), expected, failure.output)
    if failure.outcome.stderr:
      console.print(Text('standard error', style='bold'))
      console.print(as_text(failure.outcome.stderr[-1500:].rstrip()))


def print_case(console: Console, given: bytes, expected: bytes, actual: bytes) -> None:
  """The input, and the two outputs side by side with the lines that differ marked."""
  console.print(Text('input', style='bold'))
  console.print(as_text(_clip(given)))
  table = Table(box=None, header_style='bold', pad_edge=False)
  table.add_column('expected', min_width=20)
  table.add_column('actual', min_width=20)
  right, mine = (text.removesuffix(b'\n').split(b'\n') if text else [] for text in (expected, actual))
  pairs = list(itertools.zip_longest(right, mine))
  first = next((i for i, (a, b) in enumerate(pairs) if _differ(a, b)), 0)
  start = max(0, first - _SHOWN_LINES // 2)
  if start:
    table.add_row(f'... {start} equal lines', '')
  for a, b in pairs[start : start + _SHOWN_LINES]:
    differs, place = _differ(a, b), _first_difference(a, b)
    cells = ['(nothing)' if line is None else _window(line, place) for line in (a, b)]
    table.add_row(as_text(cells[0], 'green' if differs else ''), as_text(cells[1], 'red' if differs else ''))
  console.print(table)


def _differ(right: bytes | None, mine: bytes | None) -> bool:
  return (right or b'').split() != (mine or b'').split()


def _first_difference(right: bytes | None, mine: bytes | None) -> int:
  if right is None or mine is None:
    return 0
  common = zip(right, mine, strict=False)
  return next((i for i, (a, b) in enumerate(common) if a != b), min(len(right), len(mine)))


def _window(line: bytes, place: int) -> str:
  """Of a long line the part around a place. Bytes that are no text are escapes, control characters their pictures."""
  start = max(0, min(place - _SHOWN_WIDTH // 2, len(line) - _SHOWN_WIDTH))
  text = line[start : start + _SHOWN_WIDTH].decode(errors='backslashreplace')
  return '... ' * (start > 0) + text + ' ...' * (start + _SHOWN_WIDTH < len(line))


def print_mismatch(console: Console, mismatch: Mismatch) -> None:
  """The calls that lead to a wrong answer, and what the last of them should have answered."""
  console.print(Text(f'smallest failing input: {len(mismatch.calls)} calls', style='bold'))
  names, arguments = [name for name, _ in mismatch.calls], [list(each) for _, each in mismatch.calls]
  console.print(as_text(_clip(f'{json.dumps(names)}\n{json.dumps(arguments)}'.encode())))
  table = Table(box=None, header_style='bold', pad_edge=False)
  for name in ('call', 'expected', 'actual'):
    table.add_column(name)
  name, last = mismatch.calls[-1]
  shown = ', '.join(map(repr, last))
  table.add_row(
    as_text(f'{name}({shown[:80]})'),
    as_text(repr(mismatch.expected)[:300], 'green'),
    as_text(repr(mismatch.actual)[:300], 'red'),
  )
  console.print(table)


def _lines(text: bytes) -> list[str]:
  return text.decode(errors='backslashreplace').splitlines()


def _clip(text: bytes) -> str:
  lines = _lines(text)
  more = [f'... {len(lines):,} lines in all'] if len(lines) > _SHOWN_LINES else []
  return '\n'.join([line if len(line) <= 500 else line[:500] + ' ...' for line in lines[:_SHOWN_LINES]] + more)
