"""How far reading or downloading has come: a bar on a terminal, now and then a plain line elsewhere."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from mlsd_jax.printable import printable

_SECONDS_BETWEEN_LINES = 30


@contextlib.contextmanager
def progress_bar(
  description: str, total: int | None, done: int = 0, unit: str = 'bytes'
) -> Iterator[Callable[[int], None]]:
  """Yields a function that is called with each number of bytes, or other units, that was dealt with.

  Args:
    description: what is being done, such as 'preparing novels'.
    total: bytes or units in all, None if that is not known.
    done: those that an earlier run has dealt with.
    unit: what is counted, if not bytes: 'chunks', 'steps'.
  """
  description = printable(description)
  if not sys.stderr.isatty():
    yield _plain(description, total, done, unit)
    return
  from rich import console, progress

  columns = (
    progress.TextColumn('{task.description}', markup=False),
    progress.BarColumn(),
    *(
      (progress.DownloadColumn(), progress.TransferSpeedColumn())
      if unit == 'bytes'
      else (progress.MofNCompleteColumn(),)
    ),
    progress.TimeRemainingColumn(elapsed_when_finished=True),
  )
  with progress.Progress(*columns, console=console.Console(stderr=True), transient=True) as bar:
    task = bar.add_task(description, total=total, completed=done)
    yield lambda num_bytes: bar.advance(task, num_bytes)


def _plain(description: str, total: int | None, done: int, unit: str) -> Callable[[int], None]:
  shown = time.monotonic()

  def advance(num_bytes: int) -> None:
    nonlocal done, shown
    done += num_bytes
    if time.monotonic() - shown >= _SECONDS_BETWEEN_LINES:
      shown = time.monotonic()
      show = (lambda number: f'{number / 1e6:.0f}') if unit == 'bytes' else (lambda number: f'{number:,}')
      of_all = f' of {show(total)}' if total else ''
      print(f'{description}: {show(done)}{of_all} {"MB" if unit == "bytes" else unit}', file=sys.stderr, flush=True)

  return advance
