"""Memory of a process that serves for weeks and replaces its models: what is freed goes back to the system."""

import contextlib
import ctypes
import gc
import threading
import time
from collections.abc import Iterator

_MAPPED = -3  # M_MMAP_THRESHOLD of glibc's malloc.h
_LARGE = 2**20  # bytes
_freezes = False  # see `freeze_loaded`
_one_at_a_time = threading.Lock()  # what one thread has unfrozen another may not freeze before it is gone through


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
  _collect()
  gc.freeze()


def give_memory_back(*, was_closed: bool = False) -> None:
  """Collects what nothing refers to, and gives freed memory to the system: the C library keeps what lies between blocks
  that are in use, which after each version's end is more. After `freeze_loaded`, what is left is frozen, too.

  Args:
    was_closed: a version has ended, which refers to itself and may be frozen: all that is frozen is gone through once.
  """
  with _one_at_a_time:
    if _freezes and was_closed:
      gc.unfreeze()
    _collect()
    if _freezes:
      gc.freeze()
  trim = getattr(ctypes.CDLL(None), 'malloc_trim', None)  # glibc's
  if trim is not None:
    trim(0)


def _collect() -> None:
  """A full collection that begins now. `gc.collect` alone does nothing, and does not say so, while another thread is in
  the midst of one: what has become free since that one began would stay."""
  begun, here = [], threading.get_ident()

  def note(phase: str, info: dict[str, int]) -> None:
    if phase == 'start' and info['generation'] == 2:
      begun.append(threading.get_ident())

  gc.callbacks.append(note)
  try:
    gc.collect()
    while here not in begun:
      time.sleep(0.001)
      gc.collect()
  finally:
    gc.callbacks.remove(note)
