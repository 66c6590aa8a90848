"""Flags of the compiler reach the environment once, and never over what the user set."""

import os

import pytest

from mlsd_jax.training import compiler_flags

VARIABLES = {'gpu': 'XLA_FLAGS', 'tpu': 'LIBTPU_INIT_ARGS'}


@pytest.fixture(autouse=True)
def environment(monkeypatch):
  for name in VARIABLES.values():
    monkeypatch.setenv(name, '')
    monkeypatch.delenv(name)


def with_plugins(monkeypatch, *kinds):
  monkeypatch.setattr(compiler_flags, '_has_plugin', lambda kind: kind in kinds)


def test_without_a_plugin_and_in_float32_nothing_is_set(monkeypatch):
  with_plugins(monkeypatch)
  compiler_flags.set_flags()
  assert not {*VARIABLES.values()} & {*os.environ}


def test_what_reads_a_flag_is_given_it_once(monkeypatch):
  with_plugins(monkeypatch, 'gpu', 'tpu')
  compiler_flags.set_flags(bfloat16=True)
  compiler_flags.set_flags(bfloat16=True)
  given = os.environ['XLA_FLAGS'].split()
  assert len({*given}) == len(given)
  assert given == [str(flag) for flag in (*compiler_flags.CPU_BFLOAT16, *compiler_flags.GPU)]
  assert os.environ.get('LIBTPU_INIT_ARGS', '').split() == [str(flag) for flag in compiler_flags.TPU]


def test_what_the_user_set_stays(monkeypatch):
  with_plugins(monkeypatch, 'gpu')
  name = compiler_flags.GPU[0].name
  monkeypatch.setenv('XLA_FLAGS', f'--{name}=1 --xla_other=2')
  compiler_flags.set_flags()
  given = os.environ['XLA_FLAGS'].split()
  assert given[:2] == [f'--{name}=1', '--xla_other=2']
  assert sum(part.startswith(f'--{name}=') for part in given) == 1


def test_every_flag_has_a_reason():
  flags = [*compiler_flags.CPU_BFLOAT16, *compiler_flags.GPU, *compiler_flags.TPU]
  assert all(flag.reason and flag.name.startswith('xla_') for flag in flags)
