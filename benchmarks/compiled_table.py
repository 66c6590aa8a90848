"""Compiles every config for the machines that it is meant for, and writes docs/reference/compiled.md.

    uv run python -m benchmarks.compiled_table --only=gpt2_124m          # rows whose name has this in it
    uv run python -m benchmarks.compiled_table --draw                    # the page alone, of the rows that there are

Rows are kept, each with its date, in docs/reference/compiled.json; a row that is compiled again replaces the old one.
"""

import argparse
import datetime
import json
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from mlsd_jax import files

PAGE = pathlib.Path(__file__).parent.parent / 'docs' / 'reference' / 'compiled.md'
ROWS = PAGE.with_suffix('.json')
_GIB = 2**30


class Row(NamedTuple):
  """A config as it is to be compiled: flags of its experiment beside the config's own values."""

  name: str
  experiment: str
  hardware: str
  flags: tuple[str, ...] = ()


_MESHES = {
  'data': (),
  'fsdp': ('--config.train.mesh.data=1', '--config.train.mesh.fsdp=-1'),
  'fsdp x tensor 2': ('--config.train.mesh.data=1', '--config.train.mesh.fsdp=-1', '--config.train.mesh.tensor=2'),
}
_ATTENTION = {'8xh100': 'cudnn', '16xh100': 'cudnn', '32xh100': 'cudnn', 'v5e:4x4': 'splash', 'v6e:4x4': 'splash'}
_TWO_LAYERS = '--config.model.num_layers=2'


def list_rows() -> Iterator[Row]:
  """What the page is to hold: two layers at the width of the 124M in every form, whole configs, then the others."""
  for hardware in ('8xh100', 'v5e:4x4'):
    for mesh, flags in _MESHES.items():
      for step in ('jit', 'shard_map', *(('pmap',) if mesh == 'data' else ())):
        yield _gpt2(
          'gpt2_124m', hardware, f'2 layers, {step}, {mesh}', _TWO_LAYERS, f'--config.train.step={step}', *flags
        )
  for hardware in ('8xh100', '32xh100', '16xh100', 'v5e:4x4', 'v6e:4x4'):
    yield _gpt2('gpt2_124m', hardware, 'whole')
    yield _gpt2('gpt2_xl', hardware, 'whole')
  for hardware in ('1xh100', 'v5e:2x4'):
    for program in ('prefill', 'decode'):
      flags = '--config=configs/gpt2/gpt2_124m.py', _TWO_LAYERS, f'--program={program}'
      yield Row(f'gpt2_124m, 2 layers, {program}', 'gpt2', hardware, flags)
  for hardware in ('8xh100', 'v5e:4x4'):
    yield Row('encoder', 'encoder', hardware)
    yield Row('mingpt', 'mingpt', hardware)
    yield Row('makemore', 'makemore', hardware)
    sizes = ('--num_items=105542', '--num_users=1371980')
    for mesh in ('data', 'fsdp'):
      flags = [flag.replace('config.', f'config.{part}.') for part in ('tower', 'ranker') for flag in _MESHES[mesh]]
      padded = [f'--config.{part}.model.rows_multiple=128' for part in ('tower', 'ranker')]
      yield Row(f'recsys, H&M, {mesh}', 'recsys', hardware, ('--config=configs/recsys/hm.py', *sizes, *flags, *padded))


def _gpt2(config: str, hardware: str, what: str, *flags: str) -> Row:
  attention = f'--config.model.attention={_ATTENTION[hardware]}'
  return Row(
    f'{config}, {what}', 'gpt2', hardware, (f'--config=configs/gpt2/{config}.py', attention, '--program=train', *flags)
  )


def compile_row(row: Row, seconds: int) -> list[dict[str, Any]]:
  """The reports of a row's programs; of one that did not come to its end, a line that says so."""
  plugin = 'jax[cuda13]' if row.hardware[0].isdigit() else 'jax[tpu]'
  with tempfile.TemporaryDirectory() as folder:
    report = pathlib.Path(folder, 'report.json')
    command = ['uv', 'run', '--with', plugin, 'python', '-m', f'experiments.{row.experiment}', '--mode=compile']
    command += [f'--hardware={row.hardware}', '--notry_changes', f'--report={report}', f'--workdir={folder}/run']
    try:
      done = subprocess.run([*command, *row.flags], capture_output=True, text=True, timeout=seconds, check=False)
      ending = '' if done.returncode == 0 else (done.stderr.strip().splitlines() or ['?'])[-1]
    except subprocess.TimeoutExpired:
      ending = f'not compiled within {seconds} s'
    made = json.loads(report.read_text()) if report.exists() else []
  today = datetime.datetime.now(datetime.UTC).date().isoformat()
  common = {'row': row.name, 'hardware': row.hardware, 'date': today}
  return [common | each for each in made] + ([common | {'program': '', 'failure': ending}] if ending else [])


def draw(rows: Sequence[dict[str, Any]]) -> str:
  """The page."""
  versions = sorted({each['versions'] for each in rows if each.get('versions')})
  lines = [
    '# Compiled, not run',
    '',
    'Programs compiled for machines that were not there ([how](../how-to/will_it_fit.md)): bytes a device,',
    'exchanges of a MiB or more a step. Nothing here was run or measured.',
    'The page is made by `uv run python -m benchmarks.compiled_table`.',
    '',
    *(f'- {version}' for version in versions),
    '',
    'Arguments (parameters, optimiser state, a batch) + temporaries, in GiB a device:',
    '',
  ]
  for each in rows:
    lines.append(f'- **{each["row"]}** on {each["hardware"]}, {each["date"]}:')
    if each.get('failure'):
      lines.append(f'  {each["program"]} does **not** compile: {each["failure"][:100]}')
      continue
    fits = 'fits' if each['fits'] else f'does **not** fit into {each["usable"] / _GIB:.0f}'
    sizes = f'{each["arguments"] / _GIB:.2f} + {each["temporaries"] / _GIB:.2f}'
    lines.append(f'  {each["program"]}, {each["mesh"]}: {sizes}, {fits};')
    lines.append(f'  {each["collectives"]}')
  return '\n'.join(lines) + '\n'


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--only', default='', help='rows whose name or machine has this in it')
  parser.add_argument('--draw', action='store_true', help='compile nothing')
  parser.add_argument('--seconds', type=int, default=300, help='of a row, at most')
  options = parser.parse_args()
  kept = json.loads(ROWS.read_text()) if ROWS.exists() else []
  for row in list_rows():
    if options.draw or not any(options.only in text for text in (row.name, row.hardware)):
      continue
    made = compile_row(row, options.seconds)
    kept = [each for each in kept if (each['row'], each['hardware']) != (row.name, row.hardware)] + made
    files.write_json(ROWS, kept)
    print(row.name, row.hardware, *(each.get('failure') or 'compiled' for each in made), flush=True, file=sys.stderr)
  order = {(row.name, row.hardware): place for place, row in enumerate(list_rows())}
  kept = sorted(kept, key=lambda each: order.get((each['row'], each['hardware']), len(order)))
  files.write_text(PAGE, draw(kept))


if __name__ == '__main__':
  main()
