"""Work over several processes or threads, its results in order."""

import collections
import concurrent.futures
import contextlib
import os
import pathlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

_LOOK_SECONDS = 2.0


def process_pool(workers: int, start: Callable[..., object] | None = None, *arguments: Any) -> Any:
  """loky's executor: plain interpreters that import what they are sent, and no more.

  multiprocessing's would run the caller's main module again in each of them, and with it import JAX; and it waits for
  ever for a worker that the system has killed, where this one raises loky.process_executor.TerminatedWorkerError.

  Args:
    start: called as start(*arguments) in each worker before its first item.
  """
  import loky

  # The program's own sys.path: packages that were found beside the caller's script are found in the workers too.
  environment = {'PYTHONPATH': os.pathsep.join(path or str(pathlib.Path.cwd()) for path in sys.path)}
  context = loky.backend.get_context('loky')  # 'loky_init_main' would run the main module in the workers
  return loky.ProcessPoolExecutor(
    workers, context=context, initializer=_start, initargs=(os.getpid(), start, arguments), env=environment
  )


def _start(parent: int, start: Callable[..., object] | None, arguments: tuple[Any, ...]) -> None:
  threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
  if start is not None:
    start(*arguments)


def _end_with(parent: int) -> None:
  """Ends this process once its parent was killed, which could not end it; else it would wait for work for ever."""
  while os.getppid() == parent:
    time.sleep(_LOOK_SECONDS)
  os._exit(1)


def map_in_order[X, Y](
  executor: Any, function: Callable[..., Y], items: Iterable[X], *arguments: Any, ahead: int
) -> Iterator[Y]:
  """function(item, *arguments) of each item, in order, with at most `ahead` items read before they are asked for."""
  pending: collections.deque[concurrent.futures.Future[Y]] = collections.deque()
  try:
    for item in items:
      with _without_interrupts():
        pending.append(executor.submit(function, item, *arguments))
      if len(pending) > ahead:
        yield pending.popleft().result()
    while pending:
      yield pending.popleft().result()
  finally:
    for future in pending:
      future.cancel()


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
  """Processes started within do not see Ctrl-C, as they inherit what is blocked; this one sees it at the end."""
  before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
  try:
    yield
  finally:
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
