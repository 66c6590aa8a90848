"""The loop over workers: each is handed one part at a time, and a new one takes the place of one that died."""

import collections
import concurrent.futures
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from mlsd_jax.errors import UserError

type Note = Mapping[str, Any]
_LOOK_SECONDS = 1.0


class LostWorkerError(Exception):
  """A worker has died; the argument says of what, in a line."""


class Slot(Protocol):
  """A place for one worker at a time."""

  def start(self) -> concurrent.futures.Future[None]:
    """Begins a worker, in the place of one that died."""

  def make(self, name: str, task: Any) -> concurrent.futures.Future[Note]:
    """Has the worker make and seal a part; its note. The future raises LostWorkerError if the worker dies."""

  def stop(self) -> None:
    """Ends the worker, whatever it is at."""


def run(
  slots: Sequence[Slot],
  tasks: Mapping[str, Any],
  names: Sequence[str],
  on_part: Callable[[str, Note], object],
  *,
  find: Callable[[str], Note | None],
  attempts: int,
  start_seconds: float,
  wanted: str = '',
) -> None:
  """Makes every part of `names` once; those of a worker that died are made by another.

  A worker has one part at a time, so that a death costs one part at most. A worker that cannot be placed (its machine
  is gone, and the others are full) holds up nothing: parts go to those that are there, also to one that had run out of
  parts when another's worker died.

  Args:
    on_part: called as each is made, in any order.
    find: the note of a part that is sealed, None if it is not: a worker may die after it has sealed.
    attempts: workers that may die over one part, or one after the other before they have begun.
    start_seconds: within which a first worker has begun.
    wanted: what a worker asks for, for the error.

  Raises:
    UserError: of a worker; or workers died `attempts` times; or none could be started.
  """
  waiting = collections.deque(names)
  running: dict[concurrent.futures.Future[Any], tuple[Slot, str | None]] = {}
  idle: list[Slot] = []  # their workers keep what they reserved, so that one that died may find no room
  losses: collections.Counter[str] = collections.Counter()
  began, started, in_a_row = time.monotonic(), False, 0
  try:
    for slot in slots[: len(waiting)]:
      running[slot.start()] = (slot, None)
    while waiting or any(name is not None for _, name in running.values()):
      done, _ = concurrent.futures.wait(running, _LOOK_SECONDS, concurrent.futures.FIRST_COMPLETED)
      if not done and not started and time.monotonic() - began > start_seconds:
        raise UserError(f'no worker could be started within {start_seconds:g} s{wanted}')
      for future in done:
        slot, name = running.pop(future)
        try:
          note = future.result()
        except LostWorkerError as lost:
          if name is None:
            in_a_row += 1
            if in_a_row >= attempts:
              raise UserError(f'{in_a_row} workers died before they had begun: {lost}') from lost
          elif (found := find(name)) is not None:
            on_part(name, found)
          else:
            losses[name] += 1
            if losses[name] >= attempts:
              raise UserError(
                f'part {name}: {losses[name]} workers died over it ({lost}); what is made stays, and the same command '
                'goes on from there'
              ) from lost
            waiting.appendleft(name)
          running[slot.start()] = (slot, None)
          continue
        started, in_a_row = True, 0
        if name is not None:
          on_part(name, note)
        idle.append(slot)
      while waiting and idle:
        slot, name = idle.pop(), waiting.popleft()
        running[slot.make(name, tasks[name])] = (slot, name)
  finally:
    for slot in slots:
      slot.stop()
