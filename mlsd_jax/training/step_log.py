"""What happens to the metrics of a dispatch: fetched late, checked, averaged, written, shown."""

import math
import time
from collections.abc import Callable

import jax
import numpy as np

from mlsd_jax.errors import UserError
from mlsd_jax.training.evaluation import mean_metrics
from mlsd_jax.training.metrics import MetricsWriter
from mlsd_jax.training.progress import Progress, Throughput
from mlsd_jax.training.task import Metrics, Task


class NonFiniteLossError(UserError):
  """The loss or the gradient became NaN or infinite."""


class StepLog:
  """Training metrics between two log lines, fetched one dispatch late so that the device never waits for Python."""

  def __init__(
    self,
    task: Task,
    *,
    log_every: int,
    last_step: int,
    learning_rate: Callable[[int], float],
    peak_flops: float,
    seconds_before: float,
    writer: MetricsWriter,
    progress: Progress,
    last_good: Callable[[], str],
  ):
    """
    Args:
      learning_rate: of the update that follows a number of updates.
      peak_flops: of all devices together, per second; 0 where it is not known (no MFU is shown).
      seconds_before: time spent in earlier sittings of a resumed run.
      last_good: describes the last good checkpoint, for the message of a run that has blown up.
    """
    self.task, self.log_every, self.last_step = task, log_every, last_step
    self.learning_rate, self.peak_flops = learning_rate, peak_flops
    self.writer, self.progress, self.last_good = writer, progress, last_good
    self.throughput = Throughput(math.inf)
    self._began = time.perf_counter() - seconds_before
    self._pending: tuple[int, Metrics] | None = None
    self._fetched: list[Metrics] = []

  @property
  def seconds(self) -> float:
    """Time in the run so far, over all its sittings."""
    return time.perf_counter() - self._began

  @property
  def items_per_second(self) -> float:
    return (self.throughput.steps_per_second or 0.0) * self.task.items_per_batch

  def add(self, step: int, metrics: Metrics) -> None:
    """Takes the metrics of the dispatch that ended at `step`, still being computed.

    Raises:
      NonFiniteLossError: an earlier dispatch's loss or gradient was not finite.
    """
    previous, self._pending = self._pending, (step, metrics)
    if previous is not None:
      self._fetch(*previous)

  def settle(self) -> None:
    """Waits for what is under way; what follows until the next dispatch does not count as training time.

    Raises:
      NonFiniteLossError: so that what blew up is never evaluated or saved.
    """
    if self._pending is not None:
      self._fetch(*self._pending)
      self._pending = None
    self.throughput.pause()

  def _fetch(self, step: int, metrics: Metrics) -> None:
    values = jax.device_get(metrics)
    count = values['loss'][0].shape[0]
    self.throughput.mark(step)
    self._check_finite(step - count, values)
    self._fetched.append(values)
    passed = self.log_every > 0 and step // self.log_every > (step - count) // self.log_every
    if passed or step == self.last_step:
      self._log(step)

  def _check_finite(self, before: int, values: Metrics) -> None:
    for name in ('loss', 'grad_norm'):
      bad = np.flatnonzero(~np.isfinite(values[name][0]))
      if bad.size:
        at = before + int(bad[0]) + 1
        raise NonFiniteLossError(f'{name} became {values[name][0][bad[0]]} at step {at}; {self.last_good()}')

  def _log(self, step: int) -> None:
    concatenate = lambda *parts: np.concatenate(parts)
    values = mean_metrics(jax.tree.map(concatenate, *self._fetched))
    self._fetched = []
    values['learning_rate'] = self.learning_rate(step - 1)
    if self.items_per_second:
      values[f'{self.task.item_name}_per_second'] = self.items_per_second
      if self.peak_flops and self.task.flops_per_batch and self.throughput.steps_per_second:
        values['mfu'] = self.throughput.steps_per_second * self.task.flops_per_batch / self.peak_flops
    self.writer.write(step, values | {'seconds': self.seconds})
    self.progress.update(step, values)
