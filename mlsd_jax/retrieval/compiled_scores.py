"""The loop over a term's postings as machine code: a third of the time that NumPy takes with its six passes.

Compiling, or loading what was compiled before, takes a second or less at the first query, so that small indexes do
without; `bm25.py` decides, and does the same in NumPy where there is no machine code.
"""

import functools
from typing import Any

import numpy as np

from mlsd_jax.tokenizers import machine_code


@functools.cache
def load() -> Any:
  """add(scores [N], rows [P], counts [P], saturation [N], weight): scores[rows] += weight c / (c + saturation[rows]).

  The sums are those of NumPy in float32, bit for bit. None where Numba cannot make or read its machine code.
  """
  try:

    @machine_code.jit()
    def add(scores, rows, counts, saturation, weight):
      for place in range(len(rows)):
        row, often = rows[place], np.float32(counts[place])
        scores[row] += weight * often / (often + saturation[row])

    add(np.zeros(1, np.float32), np.zeros(1, np.int32), np.ones(1, np.uint16), np.ones(1, np.float32), np.float32(1))
  except Exception:  # a full disk, damaged files: whatever Numba raises, scores hang on none of it
    machine_code.forget()
    return None
  return add
