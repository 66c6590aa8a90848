"""--mode=compile meets programs that do not fit: what is tried, in which order, and what is said."""

import dataclasses
import functools

import pytest

from configs.gpt2 import gpt2_124m, gpt2_xl
from experiments import compile_mode, gpt2
from mlsd_jax import compilation
from mlsd_jax.compilation import hardware
from mlsd_jax.training import devices

SMALL = [
  *('--config=configs/gpt2/quickstart.py', '--mode=compile', '--hardware=8xcpu', '--program=train'),
  *('--config.model.context_length=64', '--config.model.num_layers=1', '--config.model.embed_dim=32'),
  *('--config.model.num_heads=2', '--config.model.vocab_multiple=1', '--config.train.steps_per_dispatch=1'),
  *('--config.data.tokenizer=bpe:4096', '--config.train.batch_size=128'),
]


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(devices, 'configure_backend', lambda **_: None)
  monkeypatch.chdir(tmp_path)

  def call(usable, *arguments):
    original = hardware._open_cpu
    narrow = lambda name, count: dataclasses.replace(original(name, count), usable=usable)
    with monkeypatch.context() as patch:
      patch.setattr(hardware, '_open_cpu', narrow)
      code = gpt2.main([*SMALL, *arguments])
    out, error = capsys.readouterr()
    assert (code, error) == (0, '')
    return out

  return call


@pytest.fixture
def reported(monkeypatch):
  """Reports of what was really compiled, in order."""
  reports, compile_program = [], compilation.compile_program

  def compile_(program, machine):
    reports.append(compile_program(program, machine))
    return reports[-1]

  monkeypatch.setattr(compilation, 'compile_program', compile_)
  return reports


def test_the_first_change_that_fits_is_found_by_compiling(call, reported):
  """Most of it are logits: chunks of the loss make it fit into half."""
  assert 'and fits' in call(2**40)
  needed = reported.pop().needed
  out = call(needed // 2)
  assert 'DOES NOT FIT' in out
  assert 'fits with --config.model.loss_chunks=8\n' in out
  assert [report.fits for report in reported] == [False, True]


LESS = {  # of 100, by what is changed
  'model.loss_chunks': lambda value: 20 * (value == 8),
  'train.mesh.fsdp': lambda value: 30 * (value == -1),
  'model.remat': lambda value: {'none': 0, 'dots': 32, 'full': 40}[value],
  'train.accumulation': lambda value: {1: 0, 2: 42, 4: 45, 8: 46, 16: 47}[value],
}


def plain():
  config = gpt2_124m.get_config()
  config.model.update(loss_chunks=1, remat='none')
  return config


@pytest.mark.parametrize(
  ('usable', 'found'),
  [
    (90, '--config.model.loss_chunks=8'),
    (75, '--config.train.mesh.data=1 --config.train.mesh.fsdp=-1'),
    (69, '--config.model.remat=dots'),
    (65, '--config.model.remat=full'),
    (58, '--config.train.accumulation=2'),
    (54, '--config.train.accumulation=8'),
  ],
)
def test_what_costs_least_time_is_tried_first(usable, found):
  config = plain()

  def needed(change):
    tree = compile_mode.changed(config, change)
    return 100 - sum(
      less(functools.reduce(lambda node, part: node[part], key.split('.'), tree)) for key, less in LESS.items()
    )

  fitting = (change for change in compile_mode.training_changes(config) if needed(change) <= usable)
  assert compile_mode._as_flags(next(fitting)) == found


def test_where_nothing_alone_suffices_all_is_tried_together():
  changes = compile_mode.training_changes(plain())
  first = next(change for change in changes if {'model.loss_chunks', 'model.remat'} <= {*change})
  assert {*first} == {'model.loss_chunks', 'model.remat', 'train.mesh.data', 'train.mesh.fsdp'}
  after = changes[changes.index(first) + 1 :]
  assert [change['train.accumulation'] for change in after] == [2, 4, 8, 16]
  assert all(first.items() <= change.items() for change in after)


def test_of_a_config_that_has_all_of_it_microbatches_alone_are_left():
  config = gpt2_xl.get_config()
  assert [{*change} for change in compile_mode.training_changes(config)] == [{'train.accumulation'}] * 4
