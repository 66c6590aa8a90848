"""What is set before the backend starts."""

import os
import types

import pytest

from mlsd_jax.training import devices


@pytest.fixture(autouse=True)
def settings(monkeypatch):
  """No setting of this process is changed."""
  monkeypatch.setattr(devices, 'jax', types.SimpleNamespace(config=types.SimpleNamespace(update=lambda *_: None)))
  monkeypatch.setenv('NPROC', '')
  monkeypatch.delenv('NPROC')


@pytest.mark.parametrize(('simulated', 'threads'), [('8', '32'), ('1', None), ('', None)])
def test_simulated_devices_have_threads_for_collectives_that_wait_beside_each_other(simulated, threads, monkeypatch):
  monkeypatch.setenv('JAX_NUM_CPU_DEVICES', simulated)
  devices.configure_backend()
  assert os.environ.get('NPROC') == threads


def test_threads_that_the_user_chose_stay(monkeypatch):
  monkeypatch.setenv('JAX_NUM_CPU_DEVICES', '8')
  monkeypatch.setenv('NPROC', '5')
  devices.configure_backend()
  assert os.environ['NPROC'] == '5'
