"""Loops compiled by Numba, and where their machine code is kept."""

import functools
import shutil
from typing import Any

from mlsd_jax.folders import cache_folder


def jit() -> Any:
  """numba.njit, which keeps machine code in the cache folder; where no folder can be written, each process compiles."""
  import numba

  settings: Any = numba.config
  settings.CACHE_DIR = settings.CACHE_DIR or str(cache_folder() / 'numba')  # NUMBA_CACHE_DIR, if that is set
  try:
    numba.njit(cache=True)(lambda: 0)
  except RuntimeError:
    return numba.njit
  return functools.partial(numba.njit, cache=True)


def forget() -> None:
  """Removes what is kept, as it may be damaged: Numba reads it without a checksum. The next process compiles anew."""
  shutil.rmtree(cache_folder() / 'numba', ignore_errors=True)
