"""Compiles every config for the machines that it is meant for, and writes docs/reference/compiled.md.

    uv run python -m benchmarks.compiled_table                           # the rows that are not there yet
    uv run python -m benchmarks.compiled_table --only=gpt2_xl --again    # those whose name has this in it, anew
    uv run python -m benchmarks.compiled_table --draw                    # the page alone, of the rows that there are

Each row is written to docs/reference/compiled.json as soon as it is made, with its date, versions and flags; one that
was made by the same versions with the same flags is not made again. A row after the other, on one core, in 2 to 4 GB.
"""

import argparse
import collections
import datetime
import importlib.metadata
import itertools
import json
import pathlib
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.compiled_rows import Row, list_rows
from mlsd_jax import files, sealed
from mlsd_jax.training import compiler_flags

PAGE = pathlib.Path(__file__).parent.parent / 'docs' / 'reference' / 'compiled.md'
ROWS = PAGE.with_suffix('.json')
_GIB = 2**30
_WIDTH = 160  # of a line of the page
_SHORT = {
  'none of a MiB or more': '',
  ' in a loop': '\\*',
  'all-gather': 'AG',
  'reduce-scatter': 'RS',
  'all-reduce': 'AR',
  'all-to-all': 'A2A',
  'collective-permute': 'CP',
}
_REFUSED = 2  # exit code of a user's mistake

type Entry = dict[str, Any]  # a program of a row; 'outdated' where the step has changed since


def compile_row(row: Row, seconds: int) -> list[Entry]:
  """The reports of a row's programs; of one that did not come to its end, a line that says so."""
  plugin = 'jax[cuda13]' if row.hardware[0].isdigit() else 'jax[tpu]'
  unfinished = False
  with tempfile.TemporaryDirectory() as folder:
    report = pathlib.Path(folder, 'report.json')
    command = ['uv', 'run', '--with', plugin, 'python', '-m', f'experiments.{row.experiment}', '--mode=compile']
    command += [f'--hardware={row.hardware}', '--notry_changes', f'--report={report}', f'--workdir={folder}/run']
    try:
      done = subprocess.run([*command, *row.flags], capture_output=True, text=True, timeout=seconds, check=False)
      said = (done.stderr.strip().splitlines() or ['?'])[-1]
      ending = '' if done.returncode == 0 else f'refused: {said}' if done.returncode == _REFUSED else said
    except subprocess.TimeoutExpired:
      ending, unfinished = f'not compiled within {seconds} s', True
    made = json.loads(report.read_text()) if report.exists() else []
  today = datetime.datetime.now(datetime.UTC).date().isoformat()
  common = _identity(row) | {'experiment': row.experiment, 'date': today}
  failed = {'program': '', 'failure': ending, 'unfinished': unfinished}
  return [common | each for each in made] + ([common | failed] if ending else [])


def read_rows() -> list[Entry]:
  """The programs that were compiled so far."""
  return sealed.read_json(ROWS)['rows'] if ROWS.exists() else []


def is_made(row: Row, kept: Sequence[Entry]) -> bool:
  """Whether a row is there, made by these versions with these flags, to its end."""
  own = [each for each in kept if _is_of(each, row)]
  made = lambda each: not each.get('unfinished') and not each.get('outdated')
  return bool(own) and all(_identity(row).items() <= each.items() and made(each) for each in own)


def replaced(kept: Sequence[Entry], row: Row, made: Sequence[Entry]) -> list[Entry]:
  """`kept` with the row's programs as they now are, in the order of the rows; rows that are no more are left out."""
  order = {(each.name, each.hardware): place for place, each in enumerate(list_rows())}
  entries = [each for each in kept if not _is_of(each, row)] + [*made]
  place = lambda each: order.get((each['row'], each['hardware']), -1)
  return sorted((each for each in entries if place(each) >= 0 or _is_of(each, row)), key=place)


def _is_of(entry: Mapping[str, Any], row: Row) -> bool:
  return (entry['row'], entry['hardware']) == (row.name, row.hardware)


def _identity(row: Row) -> Entry:
  made_with = [f'{name} {importlib.metadata.version(name)}' for name in ('jax', 'jaxlib')]
  platform = 'cuda' if row.hardware[0].isdigit() else 'tpu'
  compiler = [str(flag) for flag in compiler_flags.of_platform(platform)]
  identity = {'row': row.name, 'hardware': row.hardware, 'flags': [*row.flags]}
  return identity | {'made_with': [*made_with, *compiler]}


def draw(rows: Sequence[Entry], wanted: Sequence[Row]) -> str:
  """The page.

  Args:
    wanted: all that there are to be; those that are not there are named at its end.
  """
  versions = sorted({each['versions'] for each in rows if each.get('versions')})
  there = {(each['row'], each['hardware']) for each in rows}
  missing = sorted((row for row in wanted if (row.name, row.hardware) not in there), key=lambda row: row.hardware)
  lines = [
    '# Compiled, not run',
    '',
    'Programs compiled for machines that were not there ([how](../how-to/will_it_fit.md)): bytes a device,',
    'exchanges of a MiB or more a step. Nothing here was run or measured.',
    'The page is made by `uv run python -m benchmarks.compiled_table`; '
    f'{len(there)} of its {len(wanted)} rows are there.',
    'Each has the flags it was compiled with in compiled.json beside this page.',
    '',
    *(f'- {version}' for version in versions),
    '',
    'GiB a device: arguments (parameters, optimiser state, a batch) + temporaries; all of it fits where nothing else',
    'is said. AG all-gather, RS reduce-scatter, AR all-reduce, A2A all-to-all, CP collective-permute, each with its',
    'axes of the mesh (`?`: devices that no axis joins); `*`: in a loop, over layers or microbatches. "2 layers": the',
    'config at its real width with two of its layers.',
    '',
  ]
  for section, entries in _sections(rows).items():
    lines += [f'## {section}', '', '| row | program | mesh | GiB | exchanges |', '| --- | --- | --- | --- | --- |']
    for name, programs in itertools.groupby(entries, lambda each: each['row']):
      first, *others = programs
      whole = _line(name, first)
      lines += [whole] if len(whole) <= _WIDTH else [f'| {name} | | | | |', _line('', first)]
      lines += [_line('', each) for each in others]
    lines.append('')
  if missing:
    lines += ['## Not compiled yet', '']
  for hardware, group in itertools.groupby(missing, lambda row: row.hardware):
    names = f'- **{hardware}**: {"; ".join(row.name for row in group)}'
    lines += textwrap.wrap(names, 150, subsequent_indent='  ', break_on_hyphens=False)
  return '\n'.join([*lines, ''] if missing else lines)


def _sections(rows: Sequence[Entry]) -> Mapping[str, list[Entry]]:
  sections: dict[str, list[Entry]] = collections.defaultdict(list)
  for each in rows:
    sections[each['hardware']].append(each)
  return sections


def _line(name: str, each: Entry) -> str:
  if each.get('failure'):
    return f'| {name} | {each["program"]} | | | **{each["failure"][:80]}** |'
  sizes = f'{each["arguments"] / _GIB:.2f} + {each["temporaries"] / _GIB:.2f}'
  sizes += '' if each['fits'] else f', **not** within {each["usable"] / _GIB:.0f}'
  mesh = each['mesh'].replace(' x ', ', ')
  since = ' (before the step was changed)' if each.get('outdated') else ''
  return f'| {name} | {each["program"]} | {mesh} | {sizes} | {_abbreviated(each["collectives"])}{since} |'


def _abbreviated(collectives: str) -> str:
  """'2 AG fsdp\\*, 1 AR data' of '2 all-gather fsdp in a loop, 1 all-reduce data'."""
  for word, short in _SHORT.items():
    collectives = collectives.replace(word, short)
  return collectives


def main(argv: Sequence[str] | None = None) -> None:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--only', default='', help='rows whose "name on machine" has this in it')
  parser.add_argument('--again', action='store_true', help='also rows that are there')
  parser.add_argument('--draw', action='store_true', help='compile nothing')
  parser.add_argument('--seconds', type=int, default=900, help='of a row, at most')
  options = parser.parse_args(argv)
  rows = [*list_rows()]
  for row in () if options.draw else rows:
    if options.only not in f'{row.name} on {row.hardware}' or (is_made(row, read_rows()) and not options.again):
      continue
    made = compile_row(row, options.seconds)
    sealed.write_json(ROWS, {'rows': replaced(read_rows(), row, made)})
    files.write_text(PAGE, draw(read_rows(), rows))
    print(row.name, row.hardware, *(each.get('failure') or 'compiled' for each in made), flush=True, file=sys.stderr)
  files.write_text(PAGE, draw(read_rows(), rows))


if __name__ == '__main__':
  main()
