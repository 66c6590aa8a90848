"""Where tiktoken's rank files are, if this machine has them; hypothesis without a clock."""

import hashlib
import os
import pathlib

import hypothesis
import pytest

from mlsd_jax.tokenizers.openai import ENCODINGS

hypothesis.settings.register_profile('untimed', deadline=None)
hypothesis.settings.load_profile('untimed')


@pytest.fixture(scope='session')
def rank_files() -> pathlib.Path:
  """The folder with the files of all encodings."""
  names = [hashlib.sha1(url.encode()).hexdigest() for files in ENCODINGS.values() for url in files]
  candidates = [os.environ.get('TIKTOKEN_CACHE_DIR'), f'{os.environ.get("MLSD_DATA_DIR", "")}/tiktoken']
  for folder in candidates:
    if folder and all((pathlib.Path(folder) / name).exists() for name in names):
      return pathlib.Path(folder)
  pytest.skip('tiktoken rank files are in neither $TIKTOKEN_CACHE_DIR nor $MLSD_DATA_DIR/tiktoken')
