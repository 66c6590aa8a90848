"""Memory of a process that serves for weeks and replaces its models: what is freed goes back to the system."""

import contextlib
import ctypes
import gc
from collections.abc import Iterator

_MAPPED = -3  # M_MMAP_THRESHOLD of glibc's malloc.h
_LARGE = 2**20  # bytes
_freezes = False  # see `freeze_loaded`


@contextlib.contextmanager
def arrays_apart() -> Iterator[None]:
  """While a model is loaded, an array of a MiB or more that the heap has no room for gets pages of its own, which go
  back when it is freed.

  The C library does so of itself until the first of them is freed; from then on it takes arrays of that size out of the
  heap, where one that stays holds what was freed below it. What answers requests is to have the heap: it takes and
  frees the same sizes all the time, and new pages cost more than that.
  """
  limit = getattr(ctypes.CDLL(None), 'mallopt', None)
  if limit is None:
    yield
    return
  limit(_MAPPED, _LARGE)
  try:
    yield
  finally:
    limit(_MAPPED, 32 * 2**20)  # the most that the C library would have come to by itself


def freeze_loaded() -> None:
  """Keeps from Python's collector of cycles all that is loaded, now and by later replacements; of a process that serves
  and does nothing else.

  Models, indexes and programs stay. To the collector they are half a second of work, which it would do in the midst of
  one request in a hundred.
  """
  global _freezes
  _freezes = True
  gc.collect()
  gc.freeze()


def give_memory_back(*, was_closed: bool = False) -> None:
  """Collects what nothing refers to, and gives freed memory to the system: the C library keeps what lies between blocks
  that are in use, which after each version's end is more. After `freeze_loaded`, what is left is frozen, too.

  Args:
    was_closed: a version has ended, which refers to itself and may be frozen: all that is frozen is gone through once.
  """
  if _freezes and was_closed:
    gc.unfreeze()
  gc.collect()
  if _freezes:
    gc.freeze()
  trim = getattr(ctypes.CDLL(None), 'malloc_trim', None)  # glibc's
  if trim is not None:
    trim(0)
