"""Where data lies on this machine."""

import os
import pathlib


def data_folder() -> pathlib.Path | None:
  """$MLSD_DATA_DIR: one folder a source, laid down by the user; None when it is not set."""
  folder = os.environ.get('MLSD_DATA_DIR')
  return pathlib.Path(folder).expanduser() if folder else None


def cache_folder() -> pathlib.Path:
  """$MLSD_CACHE_DIR, else ~/.cache/mlsd_jax: what was downloaded or built and can be had again."""
  folder = os.environ.get('MLSD_CACHE_DIR')
  return pathlib.Path(folder).expanduser() if folder else pathlib.Path.home() / '.cache' / 'mlsd_jax'
