"""Stopping a run from outside without losing it: SIGTERM from a scheduler, Ctrl-C from a person."""

import itertools
import os
import signal
import threading
from types import FrameType
from typing import Any, Self

import jax
from jax.experimental import multihost_utils

# JAX's sync point is the highest number any process has asked about, plus one, and is hit by exactly that number. So
# the numbers must be consecutive, which steps are not when several run in one dispatch, and never start over.
_calls = itertools.count()


class Preemption:
  """While entered, SIGTERM and the first SIGINT ask the run to stop; the loop finds out by `requested`.

  A second SIGINT kills at once (checkpoints survive that, see checkpoint.py). With several processes a signal to any
  one of them stops all of them after the same step, by JAX's preemption service, which listens for SIGTERM itself from
  jax.distributed.initialize() on.
  """

  def __init__(self) -> None:
    self._requested = False
    self._previous: dict[int, Any] = {}
    self._several = False

  def __enter__(self) -> Self:
    self._several = jax.process_count() > 1
    if threading.current_thread() is threading.main_thread():  # Python lets no other thread set handlers
      self._previous[signal.SIGINT] = signal.signal(signal.SIGINT, self._interrupted)
      if not self._several:
        self._previous[signal.SIGTERM] = signal.signal(signal.SIGTERM, self._terminated)
    return self

  def __exit__(self, *_: object) -> None:
    for number, handler in self._previous.items():
      # None: the handler was set outside Python and cannot be put back from here.
      signal.signal(number, signal.SIG_DFL if handler is None else handler)
    self._previous = {}

  def requested(self, step: int) -> bool:
    """Whether the run is to stop after `step`. Every process must call it after the same steps; all get one answer."""
    del step  # see _calls
    if self._several and not self._requested:
      self._requested = bool(multihost_utils.reached_preemption_sync_point(next(_calls)))
    return self._requested

  def _terminated(self, number: int, frame: FrameType | None) -> None:
    self._requested = True

  def _interrupted(self, number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if self._several:
      os.kill(os.getpid(), signal.SIGTERM)  # to the preemption service, which tells the other processes
    else:
      self._requested = True
