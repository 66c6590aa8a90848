"""The runner of the comparisons: what it makes of what benchmarks record, and of those that die."""

import importlib.util
import json
import pathlib
import sys

import pytest

from benchmarks import compiled_table
from mlsd_jax.errors import UserError

BENCHMARKS = pathlib.Path(__file__).resolve().parent.parent / 'benchmarks'


@pytest.fixture(scope='module')
def runner():
  """benchmarks/__main__.py as a module."""
  before = list(sys.path)
  spec = importlib.util.spec_from_file_location('benchmarks_main', BENCHMARKS / '__main__.py')
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  sys.path[:] = before
  return module


def recorded(ours, peer, **more):
  line = {'what': 'a step', 'ours': ours, 'peer': peer, 'against': 'torch', 'unit': 'ms'}
  return line | {'more_is_better': False, 'limit': None} | more


def test_ratio_of_times_and_of_rates(runner):
  row = runner.table.make_row('pair', recorded([2.0, 4.0, 3.0], [6.0, 8.0, 9.0], limit=1.5), others=0.0)
  assert (row.ratio, row.low, row.high, row.of_limit) == (8 / 3, 2.0, 3.0, 0.5)
  row = runner.table.make_row('pair', recorded([20.0], [10.0], more_is_better=True, limit=40.0), others=0.0)
  assert (row.ratio, row.of_limit) == (2.0, 0.5)


@pytest.mark.parametrize('value', [0.0, -1.0, float('nan'), float('inf')])
def test_figures_that_are_none_are_refused(runner, value):
  with pytest.raises(UserError, match='a step'):
    runner.table.make_row('pair', recorded([value], [1.0]), others=0.0)


def test_what_fell_by_more_than_a_tenth_beyond_the_spread(runner):
  row = lambda ratio, what='a step': runner.table.make_row('pair', recorded([1.0], [ratio], what=what), others=0.0)
  assert not runner.table.fallen([row(1.81)], [row(2.0)])
  assert runner.table.fallen([row(1.79)], [row(2.0)]) == ['a step: 1.79 times as fast, 2.00 before, spread 0.00']
  wide = runner.table.make_row('pair', recorded([1.0, 1.0, 1.0], [1.9, 2.0, 2.1]), others=0.0)
  assert not runner.table.fallen([row(1.75)], [wide])
  assert runner.table.fallen([], [row(2.0)]) == ['a step: not measured this time, 2.00 before']


@pytest.mark.parametrize(
  ('cpuinfo', 'expected'),
  [
    ('model name\t: Intel(R) Xeon(R) 6\nflags\t\t: avx2 avx512f avx512_bf16 amx_bf16\n', 'Intel Xeon 6, AVX-512 bf16'),
    ('model name\t: AMD EPYC 9\nflags\t\t: avx2 avx512f\n', 'AMD EPYC 9, AVX2 and AVX-512'),
    ('', ''),
  ],
)
def test_machine_is_named_by_processor_and_instructions(runner, cpuinfo, expected):
  found = runner.machine.describe(cpuinfo)
  assert found.name.startswith(expected)
  assert found.slug
  assert not set(found.slug) & set(' /(),')
  assert 'jax' in found.versions


PROGRAMS = {
  'good': "import record\nrecord.pair('a step', [1.0, 1.0], [2.0, 3.0], against='peer', unit='ms')",
  'dies': "import record\nrecord.pair('half', [1.0], [2.0], against='peer', unit='ms')\nraise SystemExit('no memory')",
  'silent': '',
  'last': "import record\nrecord.pair('rate', [9.0], [3.0], against='p', unit='MB/s', more_is_better=True, limit=10)",
}


@pytest.fixture
def made(runner, monkeypatch, tmp_path):
  """A runner of four small programs, none of which measures anything."""
  for name, text in PROGRAMS.items():
    path = f'import sys\nsys.path.insert(0, {str(BENCHMARKS)!r})\n'
    (tmp_path / f'{name}.py').write_text(path + text)
  pairs = [runner.Pair(name, str(tmp_path / f'{name}.py')) for name in PROGRAMS]
  monkeypatch.setattr(runner, 'PAIRS', [*pairs, runner.Pair('without', 'x.py', tool='no-such-program')])
  monkeypatch.setattr(runner.machine, 'share_in_use', lambda: 0.5)
  return runner


def test_a_benchmark_that_dies_does_not_stop_the_others(made, tmp_path, capsys):
  out = tmp_path / 'table.json'
  assert made.main([f'--out={out}']) == 0
  printed = capsys.readouterr().out
  assert 'dies was not measured: ended with exit code 1: no memory' in printed
  assert 'silent was not measured: recorded no comparison' in printed
  assert 'without was not measured: no-such-program is not installed' in printed
  assert 'not measured: dies, silent, without' in printed
  assert 'others use 50% of the processors: the ratios of good are soft' in printed
  rows = json.loads(out.read_text())['rows']
  assert [(row['what'], row['ratio']) for row in rows] == [('a step', 2.5), ('rate', 3.0)]
  assert '90%' in printed


def test_pairs_that_are_run_later_are_put_beside_the_others(made, tmp_path, capsys):
  out = tmp_path / 'table.json'
  assert made.main([f'--out={out}', '--only', 'last']) == 0
  assert made.main([f'--out={out}', '--only', 'good']) == 0
  assert [row['pair'] for row in json.loads(out.read_text())['rows']] == ['good', 'last']


def test_against_a_table_that_was_faster_fails(made, tmp_path, capsys):
  out = tmp_path / 'table.json'
  made.main([f'--out={out}', '--only', 'last'])
  assert made.main(['--only', 'last', '--quick', f'--against={out}']) == 0
  document = json.loads(out.read_text())
  document['rows'][0] |= {'ratio': 4.0, 'low': 4.0, 'high': 4.0}
  out.write_text(json.dumps(document))
  assert made.main(['--only', 'last', '--quick', f'--against={out}']) == 1
  assert 'fell: rate: 3.00 times as fast, 4.00 before' in capsys.readouterr().out


GOOD = {'pair': 'a', 'what': 'b', 'ours': 1.0, 'peer': 2.0, 'against': 'c', 'unit': 'ms', 'ratio': 2.0, 'low': 2.0}
GOOD |= {'high': 2.0, 'of_limit': None, 'others': 0.0}


def damaged(**row):
  return json.dumps({'machine': 'm', 'date': 'd', 'versions': {}, 'rows': [GOOD | row]})


@pytest.mark.parametrize(
  'text',
  [
    *(
      None,
      '{}',
      '[]',
      '{"rows": [{"pair": "a"}]}',
      'no JSON',
      '{"machine": "", "date": "", "versions": {}, "rows": []}',
    ),
    *(damaged(ratio='2.0'), damaged(ratio=None), damaged(low=float('nan')), damaged(pair=['a']), damaged(more=1)),
  ],
)
def test_a_file_that_is_no_table_is_refused_before_work(made, tmp_path, capsys, text):
  path = tmp_path / 'table.json'
  if text is not None:
    path.write_text(text)
  assert made.main([f'--against={path}']) == 2
  assert str(path) in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_refused_before_work(made, tmp_path, capsys):
  (tmp_path / 'file').write_text('')
  assert made.main([f'--out={tmp_path}/file/table.json']) == 2
  read = capsys.readouterr()
  assert read.err.count('\n') == 1
  assert '==' not in read.out


def test_page_shows_the_tables_that_are_kept(runner):
  text = runner.pages.PAGE.read_text()
  assert '<!-- benchmarks -->' in text
  assert runner.pages.filled(text) == text


def test_every_pair_names_a_program_that_records(runner):
  for pair in runner.PAIRS:
    text = (BENCHMARKS / pair.program).read_text()
    assert 'record.pair(' in text, pair.name
    for flag in (*pair.arguments, *pair.quick):
      assert not flag.startswith('--') or flag.split('=')[0] in text, (pair.name, flag)


def test_page_of_compiled_programs_is_that_of_its_rows():
  rows = compiled_table.read_rows()
  assert rows
  assert compiled_table.PAGE.read_text() == compiled_table.draw(rows, [*compiled_table.list_rows()])
