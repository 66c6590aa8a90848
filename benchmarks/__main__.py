"""Every comparison with a peer, one after the other, as one table of this machine.

    uv run python -m benchmarks                                   # all of them, about an hour on two idle cores
    uv run python -m benchmarks --only decode encoder --quick
    uv run python -m benchmarks --against=benchmarks/measured/MACHINE.json

Makes the peers' environments where they are missing, runs each pair (its sides take turns), prints ours, peer, ratio
and share of what the machine allows, and writes the rows as JSON to benchmarks/measured/MACHINE.json and as a table
into docs/explanation/performance.md. Rows of pairs that were not run stay as they were. --quick shows that every pair
runs: its figures are small and are written nowhere unless --out is given.
"""

import argparse
import dataclasses
import datetime
import json
import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import record
from runner import machine, pages, peers, table
from runner.pairs import PAIRS, Pair

from mlsd_jax import files
from mlsd_jax.errors import UserError


def parse(argv: list[str] | None) -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    'python -m benchmarks', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  names = [pair.name for pair in PAIRS]
  parser.add_argument('--only', nargs='+', choices=names, metavar='PAIR', help=f'of {", ".join(names)}')
  parser.add_argument('--quick', action='store_true', help='small sizes and few rounds')
  parser.add_argument('--out', type=pathlib.Path, help='the JSON; default benchmarks/measured/MACHINE.json')
  parser.add_argument(
    '--against', type=pathlib.Path, metavar='FILE', help='exit 1 if a ratio fell by more than a tenth'
  )
  parser.add_argument('--peer_python', help='an interpreter with torch, transformers, sentence-transformers')
  parser.add_argument('--makemore', help='makemore.py of a clone of karpathy/makemore, names.txt beside it')
  parser.add_argument('--list', action='store_true', help='the pairs, their peers and minutes')
  parser.add_argument('--page', action='store_true', help='only write the tables into the documentation')
  return parser.parse_args(argv)


def command(pair: Pair, options: argparse.Namespace) -> list[str]:
  """The command line of a pair.

  Raises:
    UserError: its peer cannot be had here.
  """
  python = [sys.executable]
  if pair.packages:
    packages = [word for package in pair.packages for word in ('--with', package)]
    python = [peers.require_uv(), 'run', '--quiet', '--project', str(HERE.parent), *packages, 'python']
  arguments = [*pair.arguments, *(pair.quick if options.quick else ())]
  if pair.peer:
    peer = options.peer_python or os.environ.get('MLSD_PEER_PYTHON') or peers.environment(pair.peer, say)
    arguments.append(f'--peer_python={peer}')
  if pair.flag:
    value = getattr(options, pair.flag)
    if not value:
      raise UserError(f'needs --{pair.flag}, a file of the peer that no package index has')
    arguments.append(f'--{pair.flag}={value}')
  if pair.tool and not any((pathlib.Path(folder) / pair.tool).exists() for folder in os.get_exec_path()):
    raise UserError(f'{pair.tool} is not installed')
  return [*python, str(HERE / pair.program), *arguments]


def run(pair: Pair, options: argparse.Namespace) -> list[table.Row]:
  """Runs a pair, its output passed on, and reads what it recorded.

  Raises:
    UserError: it died, or recorded nothing.
  """
  line = command(pair, options)
  others = machine.share_in_use()
  if others > machine.BUSY:
    say(f'others use {others:.0%} of the processors: the ratios of {pair.name} are soft')
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / 'record.jsonl'
    environment = os.environ | {record.FILE: str(path)}
    with subprocess.Popen(line, env=environment, stderr=subprocess.PIPE, text=True) as process:
      assert process.stderr is not None
      last = ''
      for text in process.stderr:
        last = text.strip() or last
    code = process.returncode
    lines = path.read_text().splitlines() if path.exists() else []
  if code:
    raise UserError(f'ended with exit code {code}: {last}')
  if not lines:
    raise UserError('recorded no comparison')
  return [table.make_row(pair.name, json.loads(text), others) for text in lines]


def is_there(path: pathlib.Path) -> bool:
  """Whether a file is there; UserError if that cannot be known."""
  try:
    return path.exists()
  except OSError as error:
    raise UserError(f'{path} cannot be read: {error.strerror}') from error


def say(text: str) -> None:
  print(text, flush=True)


def main(argv: list[str] | None = None) -> int:
  options = parse(argv)
  if options.list:
    for pair in PAIRS:
      beside = ', '.join(peers.ENVIRONMENTS.get(pair.peer, ()) or pair.packages) or pair.tool
      say(f'{pair.name:<18} {pair.minutes:4.0f} min   {pair.program} {" ".join(pair.arguments)}   beside {beside}')
    return 0
  try:
    if options.page:
      pages.write()
      return 0
    before = pages.read(options.against)[1] if options.against else []
    here = machine.describe()
    out = options.out or (None if options.quick else pages.MEASURED / f'{here.slug}.json')
    rows = {row.key: row for row in pages.read(out)[1]} if out and is_there(out) else {}
    if out:
      with files.atomic_path(out.with_name(f'.{out.name}.tried')):  # that it can be written, before an hour's work
        pass
      out.with_name(f'.{out.name}.tried').unlink()
  except UserError as error:
    print(error, file=sys.stderr)
    return 2
  say(f'{here.name}; {", ".join(f"{name} {version}" for name, version in here.versions.items())}')
  measured, failed = {}, []
  for pair in PAIRS:
    if options.only and pair.name not in options.only:
      continue
    say(f'\n== {pair.name}: {pair.program} {" ".join(pair.arguments)}')
    try:
      found = run(pair, options)
    except UserError as error:
      say(f'{pair.name} was not measured: {error}')
      failed.append(pair.name)
      continue
    measured |= {row.key: row for row in found}
    rows = {key: row for key, row in rows.items() if key[0] != pair.name} | {row.key: row for row in found}
    if out:  # after each pair: a run that is cut off loses only the pair it was at
      document = {'machine': here.name, 'versions': here.versions, 'date': datetime.date.today().isoformat()}
      files.write_json(out, document | {'rows': [dataclasses.asdict(row) for row in in_order(rows.values())]})
  say('\n' + table.terminal(in_order(measured.values())))
  if failed:
    say(f'not measured: {", ".join(failed)}')
  if out and not options.out:
    pages.write()
    say(f'written to {out.relative_to(HERE.parent)} and docs/explanation/performance.md')
  kept = [row for row in before if not options.only or row.pair in options.only]
  lines = table.fallen(list(measured.values()), kept)
  for line in lines:
    say(f'fell: {line}')
  return 1 if lines or not measured else 0


def in_order(rows) -> list[table.Row]:
  order = [pair.name for pair in PAIRS]
  return sorted(rows, key=lambda row: order.index(row.pair) if row.pair in order else len(order))


if __name__ == '__main__':
  sys.exit(main())
