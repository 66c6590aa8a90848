"""What is free is given back to the system: at full size the next step needs it, and allocators keep it."""

import ctypes
import gc
import sys


def give_back() -> None:
  """Collects what lies in cycles, and where the C library is glibc returns its free pages."""
  gc.collect()
  if sys.platform == 'linux':
    trim = getattr(ctypes.CDLL(None), 'malloc_trim', None)
    if trim is not None:
      trim(0)
