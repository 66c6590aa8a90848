"""Beside an estimate of memory stands what the compiler said of the same config, mesh and hardware."""

import pytest

from experiments import estimate, estimate_compiled
from mlsd_jax import sealed

XL = '--config=configs/gpt2/gpt2_xl.py'
ENTRY = {
  'row': 'gpt2_xl, whole',
  'experiment': 'gpt2',
  'hardware': '8xh100',
  'flags': [XL, '--config.model.attention=cudnn', '--program=train', '--config.train.step=shard_map'],
  'program': 'train step',
  'date': '2026-11-29',
  'failure': '',
  'needed': 20_000_000_000,
  'arguments': 2_000_000_000,
  'temporaries': 18_000_000_000,
}


@pytest.fixture
def say(tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(estimate_compiled, 'TABLE', tmp_path / 'compiled.json')

  def say(*arguments, entries=(ENTRY,)):
    sealed.write_json(estimate_compiled.TABLE, {'rows': [*entries]})
    code = estimate.main(['--system=gpt2', *arguments])
    out, error = capsys.readouterr()
    assert (code, error) == (0, '')
    groups = [group for group in out.split('\n\n') if group.startswith(estimate_compiled.TITLE)]
    assert len(groups) == 1
    estimated = next(line for line in out.splitlines() if line.strip().startswith('in all'))
    return groups[0], float(estimated.split()[2]) * 1e9

  return say


def test_the_same_config_by_the_compiler_with_the_error(say):
  group, estimated = say(XL, '--hardware=8xh100')
  assert 'gpt2_xl, whole' in group
  assert '20 GB' in group
  assert '2 GB of arguments + 18 GB of temporaries' in group
  assert f'the estimate is {estimated / 20e9 - 1:+.0%}' in group


def test_flags_of_a_row_are_compared_as_the_run_reads_them(say):
  """Rows of 16 layers are no rows of 48; said of both, they are one config."""
  entry = ENTRY | {'flags': [*ENTRY['flags'], '--config.model.num_layers=16', '--config.train.accumulation=2']}
  assert 'no row' in say(XL, '--hardware=8xh100', entries=[entry])[0]
  changed = '--config.model.num_layers=16', '--config.train.accumulation=2'
  assert '18 GB of temporaries' in say(XL, '--hardware=8xh100', *changed, entries=[entry])[0]


@pytest.mark.parametrize(
  'arguments',
  [
    (XL, '--hardware=16xh100'),
    (XL, '--hardware=8xh200'),
    (XL, '--hardware=8xh100', '--config.train.mesh.fsdp=4', '--config.train.mesh.data=2'),
    (XL, '--hardware=8xh100', '--config.model.remat=none'),
    ('--config=configs/gpt2/gpt2_124m.py', '--hardware=8xh100'),
  ],
)
def test_of_another_machine_mesh_or_model_there_is_no_row(say, arguments):
  assert 'no row of docs/reference/compiled.md is of this config' in say(*arguments)[0]


def test_a_tpu_slice_is_so_many_chips(say):
  entry = ENTRY | {'hardware': 'v6e:4x4', 'flags': [XL, '--config.model.attention=splash', '--program=train']}
  assert '18 GB of temporaries' in say(XL, '--hardware=16xv6e', entries=[entry])[0]


def test_what_does_not_compile_is_said(say):
  entry = ENTRY | {'failure': 'out of memory: the compiler uses 18 GiB of 16', 'needed': 0}
  assert 'out of memory: the compiler uses 18 GiB' in say(XL, '--hardware=8xh100', entries=[entry])[0]


def test_rows_of_configs_that_are_no_more_are_passed_over(say):
  entries = [ENTRY | {'flags': ['--config=configs/gpt2/gone.py']}, ENTRY | {'flags': ['--config.model.gone=1']}]
  assert 'no row' in say(XL, '--hardware=8xh100', entries=entries)[0]
