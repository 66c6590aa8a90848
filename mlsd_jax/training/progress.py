"""How a run shows itself: a bar on a terminal, plain lines elsewhere."""

import collections
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

from mlsd_jax.printable import as_text
from mlsd_jax.training import distributed

_WINDOW_SECONDS = 30.0


class Throughput:
  """Steps a second over the recent past, without compiling, evaluating or saving.

  `mark` is told of steps as they are finished; time counts from one mark to the next, but not before the first, nor
  before the first after a `pause`: that interval holds what is not training. A window of math.inf is the whole run.
  """

  def __init__(self, window_seconds: float = _WINDOW_SECONDS, clock: Any = time.perf_counter):
    self._clock = clock
    self._window = window_seconds
    self._intervals: collections.deque[tuple[int, float]] = collections.deque()  # (steps, seconds) that may still go
    self._steps, self._seconds = 0, 0.0  # of the window
    self._last: tuple[int, float] | None = None

  def mark(self, step: int) -> None:
    """`step` is finished. A step that was marked already counts once."""
    now = self._clock()
    if self._last is not None and step > self._last[0]:
      self._add(step - self._last[0], now - self._last[1])
    if self._last is None or step > self._last[0]:
      self._last = (step, now)

  def pause(self) -> None:
    self._last = None

  def _add(self, steps: int, seconds: float) -> None:
    self._steps, self._seconds = self._steps + steps, self._seconds + seconds
    if self._window == math.inf:
      return
    self._intervals.append((steps, seconds))
    while len(self._intervals) > 1 and self._seconds > self._window:
      steps, seconds = self._intervals.popleft()
      self._steps, self._seconds = self._steps - steps, self._seconds - seconds

  @property
  def steps_per_second(self) -> float | None:
    """None until two marks have been made."""
    return self._steps / self._seconds if self._seconds > 0 else None


class Progress:
  """Shows step, losses, throughput, MFU and the time left. Only process 0 prints.

  with Progress(config.steps, start_step, 'tokens', items_per_step=16384) as progress:
    progress.update(step, {'loss': 3.2})
    progress.print('validation loss 3.1')
  """

  def __init__(
    self,
    total_steps: int,
    start_step: int = 0,
    item_name: str = 'examples',
    *,
    items_per_step: float = 0,
    console: Any = None,
  ):
    """
    Args:
      items_per_step: items a step takes, for items a second; 0 leaves that to the values given to `update`, which go
        first: 'ITEM_per_second' and 'mfu' (a fraction).
      console: a rich.console.Console; by default one on standard output.
    """
    self._total, self._step = total_steps, start_step
    self._item_name = item_name
    self._items_per_step = items_per_step
    self._values: dict[str, float] = {}
    self._began = time.perf_counter()
    self._console = console
    self._bar: Any = None
    self._task: Any = None
    self.throughput = Throughput()

  def __enter__(self) -> Self:
    self._began = time.perf_counter()
    if not distributed.is_main():
      return self
    from rich import console, progress, table

    if self._console is None:
      self._console = console.Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
    if self._console.is_terminal:
      self._bar = progress.Progress(
        progress.TextColumn('{task.completed}/{task.total}'),
        progress.BarColumn(bar_width=None, table_column=table.Column(ratio=1)),  # what the words leave
        progress.TextColumn('{task.fields[shown]}'),
        console=self._console,
        expand=True,
        refresh_per_second=4,
      )
      self._task = self._bar.add_task('', total=self._total, completed=self._step, shown='compiling')
      self._bar.start()
    return self

  def __exit__(self, *_: object) -> None:
    if self._bar is not None:
      self._bar.stop()
      self._bar = None

  def update(self, step: int, values: Mapping[str, float]) -> None:
    """`step` is finished; `values` are host numbers and stay shown until they are given anew."""
    self.throughput.mark(step)
    self._step = max(step, self._step)
    self._values.update(values)
    if self._console is None:
      return
    if self._bar is not None:
      self._bar.update(self._task, completed=self._step, shown='  '.join(self._fields(self._values)))
    else:  # a line tells what is new at this step, not what a much earlier line has told
      self.print('  '.join([f'step {step}/{self._total}', *self._fields(values)]))

  def print(self, line: str) -> None:
    """One line of text, above the bar if there is one."""
    if self._console is not None:
      self._console.print(as_text(line), highlight=False, soft_wrap=True)
      if self._bar is None:
        self._console.file.flush()

  @contextmanager
  def paused(self) -> Iterator[None]:
    """What happens inside, such as an evaluation, does not count as training time."""
    self.throughput.pause()
    yield
    self.throughput.pause()

  @property
  def items_per_second(self) -> float | None:
    rate = self.throughput.steps_per_second
    return rate * self._items_per_step if rate and self._items_per_step else None

  def _fields(self, values: Mapping[str, float]) -> Iterator[str]:
    for name, label in (('loss', 'loss'), ('val_loss', 'val loss')):
      if name in values:
        yield f'{label} {values[name]:.4f}'
    rate = values.get(f'{self._item_name}_per_second', self.items_per_second)
    if rate:
      yield f'{_short(rate)} {self._item_name}/s'
    if 'mfu' in values:
      yield f'MFU {values["mfu"]:.1%}'
    yield f'{_clock(time.perf_counter() - self._began)} elapsed'
    left = self._seconds_left()
    if left is not None:
      yield f'{_clock(left)} left'

  def _seconds_left(self) -> float | None:
    rate = self.throughput.steps_per_second
    return (self._total - self._step) / rate if rate else None


def _short(number: float) -> str:
  """Three or four significant digits: 12.3, 4,560, 123k, 4.56M."""
  for size, suffix in ((1e9, 'G'), (1e6, 'M'), (1e5, 'k')):
    if number >= size:
      scaled = number / (1e3 if suffix == 'k' else size)
      return f'{scaled:.0f}{suffix}' if scaled >= 100 else f'{scaled:.3g}{suffix}'
  return f'{number:,.0f}' if number >= 100 else f'{number:.3g}'


def _clock(seconds: float) -> str:
  minutes, second = divmod(round(seconds), 60)
  hours, minute = divmod(minutes, 60)
  return f'{hours}:{minute:02}:{second:02}' if hours else f'{minute}:{second:02}'
