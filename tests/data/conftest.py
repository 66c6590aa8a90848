"""A user cache of its own for each test, real data where this machine has it, hypothesis without a clock."""

import os
import pathlib

import hypothesis
import pytest

from mlsd_jax.data import python_docs

hypothesis.settings.register_profile('untimed', deadline=None)
hypothesis.settings.load_profile('untimed')

_REAL_DATA = os.environ.get('MLSD_DATA_DIR')


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path_factory) -> pathlib.Path:
  """The cache folder; nothing of the user's is seen."""
  folder = tmp_path_factory.mktemp('cache')
  monkeypatch.setenv('MLSD_CACHE_DIR', str(folder))
  for variable in ('MLSD_DATA_DIR', 'TIKTOKEN_CACHE_DIR', 'TFDS_DATA_DIR'):
    monkeypatch.delenv(variable, raising=False)
  return folder


@pytest.fixture
def real_data(monkeypatch) -> pathlib.Path:
  """$MLSD_DATA_DIR, set again for the test."""
  if not _REAL_DATA:
    pytest.skip('MLSD_DATA_DIR names no folder of real data')
  monkeypatch.setenv('MLSD_DATA_DIR', _REAL_DATA)
  return pathlib.Path(_REAL_DATA)


@pytest.fixture(scope='session')
def built_docs() -> dict[str, str]:
  """python_docs, built once."""
  return python_docs.build()
