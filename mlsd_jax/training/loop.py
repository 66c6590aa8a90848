"""The one training loop."""

import dataclasses
import functools
import math
import pathlib
import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import optax
from jax.sharding import Mesh

from mlsd_jax.errors import UserError
from mlsd_jax.training import devices, sharding
from mlsd_jax.training.checkpoint import Checkpoints
from mlsd_jax.training.config import DTYPES, TrainConfig
from mlsd_jax.training.evaluation import evaluate, mean_metrics
from mlsd_jax.training.metrics import MetricsWriter, read_metrics
from mlsd_jax.training.optimizers import learning_rate_schedule, make_optimizer
from mlsd_jax.training.preemption import Preemption
from mlsd_jax.training.prefetch import prefetch
from mlsd_jax.training.progress import Progress
from mlsd_jax.training.step import TrainState, init_state, make_eval_step, make_train_step, state_shardings
from mlsd_jax.training.task import EvalData, Metrics, Task, TrainData


class NonFiniteLossError(UserError):
  """The loss or the gradient became NaN or infinite; nothing past the last good checkpoint was kept."""


@dataclasses.dataclass(frozen=True)
class Result:
  """What a run came to.

  Attributes:
    step: updates made.
    params: the final parameters; with keep_best, those of the lowest evaluation loss.
    metrics: the task's metrics on the evaluation data with those parameters.
    train_seconds: time in the loop, over all the sittings of a run that was resumed.
    items_per_second: the task's items a second over this sitting, without compiling, evaluating or saving.
    interrupted: the run was told to stop (SIGTERM, SIGINT) before its last step; its state is saved.
  """

  step: int
  params: Any
  metrics: dict[str, float]
  train_seconds: float
  items_per_second: float
  interrupted: bool


def fit(
  task: Task,
  train_data: TrainData,
  eval_data: EvalData | None,
  config: TrainConfig,
  workdir: str | pathlib.Path,
  *,
  init_params: Any = None,
  metadata: dict[str, Any] | None = None,
) -> Result:
  """Trains `task`, or goes on with the run that `workdir` holds.

  A run stopped at any moment and started again ends with the same parameters, bit for bit, as one left alone.

  Args:
    eval_data: global batches of config.batch_size rows; None trains without evaluation.
    workdir: gets checkpoints/, best/, metrics.jsonl, tensorboard/, profile/.
    init_params: parameters to start from instead of task.init (fine-tuning); ignored when the workdir has a checkpoint.
    metadata: written beside each checkpoint, e.g. how to rebuild the model.

  Raises:
    UserError: settings that do not fit together or the machine, a checkpoint of another model, a full disk.
    NonFiniteLossError: names the step and the last good checkpoint.
  """
  run = _Run(task, config, pathlib.Path(workdir), metadata or {})
  with run.checkpoints, Preemption() as preemption:
    state = run.start(init_params)
    first_step = int(state.step)
    with (
      MetricsWriter(run.workdir, resume_step=first_step) as writer,
      Progress(config.steps, first_step, task.item_name) as progress,
    ):
      state, interrupted = run.train(state, train_data, eval_data, writer, progress, preemption)
      params, metrics = run.finish(state, eval_data, writer, progress, interrupted)
    return Result(int(state.step), params, metrics, run.clock.total, run.clock.items_per_second, interrupted)


class _Clock:
  """Time in the loop, and throughput without what is not training."""

  def __init__(self, items_per_step: int):
    self.items_per_step = items_per_step
    self.before = 0.0  # of earlier sittings
    self.began = time.perf_counter()
    self.steps = 0
    self.seconds = 0.0
    self._mark: float | None = None

  def dispatched(self, steps: int) -> None:
    """A dispatch of `steps` has been waited for. The first after a pause only sets the mark (it may have compiled)."""
    now = time.perf_counter()
    if self._mark is not None:
      self.steps += steps
      self.seconds += now - self._mark
    self._mark = now

  def pause(self) -> None:
    self._mark = None

  @property
  def total(self) -> float:
    return self.before + time.perf_counter() - self.began

  @property
  def items_per_second(self) -> float:
    return self.steps * self.items_per_step / self.seconds if self.seconds else 0.0


class _Run:
  """The parts of one call of `fit`."""

  def __init__(self, task: Task, config: TrainConfig, workdir: pathlib.Path, metadata: dict[str, Any]):
    self.task, self.config, self.workdir = task, config, workdir
    self.mesh: Mesh = sharding.make_mesh(dict(config.mesh))
    sharding.check_batch_size(config.batch_size, config.accumulation, self.mesh)
    self.optimizer: optax.GradientTransformation = make_optimizer(config.optimizer, config.steps)
    self.schedule = learning_rate_schedule(config.optimizer, config.steps)
    dtype = DTYPES[config.dtype]
    self.train_step = make_train_step(
      task, self.optimizer, self.mesh, kind=config.step, accumulation=config.accumulation, dtype=dtype
    )
    self.eval_step = make_eval_step(task, self.mesh, dtype=dtype)
    self.checkpoints = Checkpoints(workdir / 'checkpoints', keep=config.keep_checkpoints, metadata=metadata)
    self.best = Checkpoints(workdir / 'best', keep=1, metadata=metadata) if config.keep_best else None
    self.best_loss = math.inf
    self.clock = _Clock(task.items_per_batch)

  def start(self, init_params: Any) -> TrainState:
    """The last good checkpoint on this mesh, or a fresh state made straight into its shards."""
    make = functools.partial(init_state, self.task, self.optimizer, rng=self.config.rng)
    abstract = jax.eval_shape(make, jax.random.key(self.config.seed))
    shardings = state_shardings(abstract, self.task, self.mesh)
    step = self.checkpoints.latest_good()
    if step is not None:
      place = lambda leaf, where: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where)
      state = self.checkpoints.restore(step, jax.tree.map(place, abstract, shardings))
      self._recall(step)
      return state
    state = jax.jit(make, out_shardings=shardings)(jax.random.key(self.config.seed))
    if init_params is not None:
      params = jax.tree.map(jax.device_put, init_params, shardings.params)
      state = dataclasses.replace(state, params=params)
    return state

  def _recall(self, step: int) -> None:
    """What the metrics file knows of the run up to `step`."""
    records = [record for record in read_metrics(self.workdir) if record['step'] <= step]
    self.best_loss = min((r['val_loss'] for r in records if r.get('val_loss') is not None), default=math.inf)
    self.clock.before = max((r.get('seconds', 0.0) for r in records), default=0.0)

  def train(self, state, train_data, eval_data, writer, progress, preemption) -> tuple[TrainState, bool]:
    config, step = self.config, int(state.step)
    if step:
      progress.print(f'resumed from step {step} of {config.steps}')
    window = _Window(self, writer, progress)
    trace = _ProfilerTrace(self.workdir / 'profile', step) if config.profile else None
    batches = prefetch(self._batches(train_data, step))
    interrupted = False
    try:
      for batch in batches:
        count = next(iter(batch.values())).shape[0]
        state, metrics = self.train_step(state, batch)
        step += count
        window.add(step, metrics)
        if trace:
          trace.stepped(step, state)
        interrupted = step < config.steps and preemption.requested(step)
        evaluating = eval_data is not None and _due(step, config.eval_every) and step < config.steps
        saving = _due(step, config.checkpoint_every) or step == config.steps or interrupted
        if evaluating or saving:
          window.settle()
          self.clock.pause()
        if evaluating:
          self._evaluate(step, state.params, eval_data, writer, progress)
        if saving:
          writer.flush()
          self.checkpoints.save(step, state)
        if interrupted:
          progress.print(f'told to stop: step {step} is being saved; the same command goes on from there')
          break
    finally:
      batches.close()
      if trace:
        trace.close()
    return state, interrupted

  def _batches(self, train_data: TrainData, start: int) -> Iterator[dict[str, jax.Array]]:
    """Global batches stacked by dispatch, already on their devices."""
    rows = sharding.process_rows(self.config.batch_size, self.mesh)
    stream = train_data.batches(start, rows)
    for count in _dispatches(start, self.config):
      group = [next(stream) for _ in range(count)]
      stacked = {name: np.stack([batch[name] for batch in group]) for name in group[0]}
      yield sharding.place_batch(stacked, self.mesh, leading=1)

  def _evaluate(self, step: int, params: Any, eval_data: EvalData, writer, progress) -> dict[str, float]:
    metrics = evaluate(self.eval_step, params, eval_data, self.config.batch_size, self.mesh)
    values = {f'val_{name}': value for name, value in metrics.items()}
    writer.write(step, values | {'seconds': self.clock.total})
    progress.update(step, values)
    if self.best is not None and metrics['loss'] < self.best_loss:
      self.best_loss = metrics['loss']
      self.best.save(step, params)
    return metrics

  def finish(self, state: TrainState, eval_data, writer, progress, interrupted: bool) -> tuple[Any, dict[str, float]]:
    """The parameters to report and their metrics, all files written."""
    metrics: dict[str, float] = {}
    params = state.params
    if eval_data is not None and not interrupted:
      metrics = self._evaluate(int(state.step), params, eval_data, writer, progress)
    if self.best is not None:
      self.best.wait()
      best_step = self.best.latest_good()
      if best_step is not None and best_step != int(state.step) and not interrupted and eval_data is not None:
        shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), params)
        params = self.best.restore(best_step, shapes)
        metrics = evaluate(self.eval_step, params, eval_data, self.config.batch_size, self.mesh)
      self.best.close()
    return params, metrics


class _Window:
  """Training metrics between two log lines, fetched one dispatch late so that the device never waits for Python."""

  def __init__(self, run: _Run, writer, progress):
    self.run, self.writer, self.progress = run, writer, progress
    self.pending: tuple[int, Metrics] | None = None
    self.fetched: list[Metrics] = []
    peaks = [devices.peak_flops(device) for device in run.mesh.devices.flat]
    self.peak_flops = math.fsum(peak for peak in peaks if peak) if all(peaks) else 0.0

  def add(self, step: int, metrics: Metrics) -> None:
    previous, self.pending = self.pending, (step, metrics)
    if previous is not None:
      self._fetch(*previous)

  def settle(self) -> None:
    """Waits for what is under way."""
    if self.pending is not None:
      self._fetch(*self.pending)
      self.pending = None

  def _fetch(self, step: int, metrics: Metrics) -> None:
    values = jax.device_get(metrics)
    count = values['loss'][0].shape[0]
    self.run.clock.dispatched(count)
    self._check_finite(step - count, values)
    self.fetched.append(values)
    every = self.run.config.log_every
    if step // every > (step - count) // every or step == self.run.config.steps:
      self._log(step)

  def _check_finite(self, before: int, values: Metrics) -> None:
    for name in ('loss', 'grad_norm'):
      bad = np.flatnonzero(~np.isfinite(values[name][0]))
      if bad.size:
        checkpoints = self.run.checkpoints
        checkpoints.wait()
        good = checkpoints.latest_good()
        last = (
          f'the last good checkpoint is step {good} in {checkpoints.folder}' if good is not None else 'none is saved'
        )
        raise NonFiniteLossError(f'{name} became {values[name][0][bad[0]]} at step {before + int(bad[0]) + 1}; {last}')

  def _log(self, step: int) -> None:
    stacked = {
      name: tuple(np.concatenate([values[name][i] for values in self.fetched]) for i in (0, 1))
      for name in self.fetched[0]
    }
    self.fetched = []
    values = mean_metrics(stacked)
    clock = self.run.clock
    values['learning_rate'] = float(self.run.schedule(step - 1))
    if clock.items_per_second:
      values[f'{self.run.task.item_name}_per_second'] = clock.items_per_second
      if self.peak_flops and self.run.task.flops_per_batch:
        values['mfu'] = clock.steps / clock.seconds * self.run.task.flops_per_batch / self.peak_flops
    self.writer.write(step, values | {'seconds': clock.total})
    self.progress.update(step, values)


class _ProfilerTrace:
  """A trace of dispatches two to four of a sitting: the first compiles."""

  def __init__(self, folder: pathlib.Path, step: int):
    self.folder, self.calls = folder, 0

  def stepped(self, step: int, state: TrainState) -> None:
    self.calls += 1
    if self.calls == 1:
      jax.block_until_ready(state.step)
      jax.profiler.start_trace(str(self.folder))
    elif self.calls == 4:
      jax.block_until_ready(state.step)
      jax.profiler.stop_trace()

  def close(self) -> None:
    if 1 <= self.calls < 4:
      jax.profiler.stop_trace()


def _due(step: int, every: int) -> bool:
  return every > 0 and step % every == 0


def _dispatches(start: int, config: TrainConfig) -> Iterator[int]:
  """Steps in each dispatch from `start` on: steps_per_dispatch, cut short where something is due.

  A function of the step alone, so that a resumed run groups its steps as the undisturbed run does.
  """
  step = start
  while step < config.steps:
    stops = [config.steps - step, config.steps_per_dispatch - step % config.steps_per_dispatch]
    stops += [every - step % every for every in (config.eval_every, config.checkpoint_every) if every]
    yield min(stops)
    step += min(stops)
