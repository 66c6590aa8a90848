"""Orbax's CheckpointManager as checkpoint.py needs it: quiet, and never waiting for a process that failed."""

import hashlib
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable
from typing import Any

import jax

from mlsd_jax.sealed import Versions
from mlsd_jax.training import distributed


class OtherProcessError(Exception):
  """Another process gave up the save that this one was taking part in."""


def make_manager(files: Versions, item: str) -> Any:
  """Orbax's CheckpointManager, quiet, and without its own retention and preemption handling."""
  from orbax import checkpoint as ocp  # 0.4 s: only for those who save or restore

  _quieten()

  class Manager(ocp.CheckpointManager):
    def reached_preemption(self, step: int) -> bool:
      # It would ask JAX's sync point from a background thread, with numbers of its own (see preemption.py).
      return False

  several = jax.process_count() > 1
  multiprocessing = ocp.options.MultiprocessingOptions(
    # Named processes make Orbax wait at barriers of the coordination service, not at collectives on the devices.
    active_processes=set(range(jax.process_count())) if several else None,
    barrier_sync_key_prefix=hashlib.sha256(str(files.folder).encode()).hexdigest()[:12] if several else None,
  )
  return Manager(
    files.folder,
    item_names=(item,),
    # Weights hardly compress: leaving it out costs a tenth more bytes and saves the processor for the training.
    item_handlers={item: ocp.PyTreeCheckpointHandler(use_compression=False, multiprocessing_options=multiprocessing)},
    options=ocp.CheckpointManagerOptions(
      create=False,
      multiprocessing_options=multiprocessing,
      async_options=ocp.AsyncOptions(barrier_sync_fn=_breakable_barrier(files.folder) if several else None),
      lightweight_initialize=True,
    ),
  )


def _breakable_barrier(folder: os.PathLike[str]) -> Callable[..., None]:
  """A barrier for Orbax's background threads at which a process does not wait for one that has failed.

  A process whose write fails skips the barrier of those who wrote and goes to the one where a save ends. With plain
  barriers all would wait until the timeout, 20 minutes; here they tell each other where they are, and if that differs,
  give up together.
  """
  broken = False

  def wait(*, key: str, timeout_ms: int) -> None:
    nonlocal broken
    if not broken:
      places = distributed.gather_json(f'{folder}/orbax', re.sub(r'\d+', '', key), timeout_ms / 1000)
      broken = len(set(places)) > 1
    if broken:
      raise OtherProcessError

  return wait


def _quieten() -> None:
  """Drops Orbax's log records, and the complaints of TensorStore's callbacks and of coroutines after a failed write.

  What matters of them reaches the user as one UserError.
  """
  if not any(isinstance(each, _NotOrbax) for each in logging.getLogger('absl').filters):
    for name in ('absl', 'asyncio'):
      logging.getLogger(name).addFilter(_NotOrbax())
    previous = sys.unraisablehook

    def hook(unraisable: Any) -> None:
      if str(unraisable.exc_value) != 'Event loop is closed':
        previous(unraisable)

    sys.unraisablehook = hook
  # When the first array of several cannot be written, those of the others are dropped unawaited. Not once for all:
  # pytest and others put their own filters in place of these.
  warnings.filterwarnings('ignore', r"coroutine '.*(serialize|write)\S*' was never awaited", RuntimeWarning)


class _NotOrbax(logging.Filter):
  def filter(self, record: logging.LogRecord) -> bool:
    orbax = f'{os.sep}orbax{os.sep}'
    message = record.getMessage() if record.name == 'asyncio' else ''
    return orbax not in record.pathname and orbax not in message and 'OCDBT' not in message
