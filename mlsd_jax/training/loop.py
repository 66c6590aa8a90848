"""The one training loop."""

import dataclasses
import functools
import math
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from mlsd_jax import tuning
from mlsd_jax.sealed import Versions
from mlsd_jax.training import devices, microbatches, sharding
from mlsd_jax.training.checkpoint import Checkpoints, origin
from mlsd_jax.training.config import TrainConfig
from mlsd_jax.training.evaluation import evaluate
from mlsd_jax.training.metrics import MetricsWriter, read_metrics
from mlsd_jax.training.optimizers import learning_rate_schedule, make_optimizer
from mlsd_jax.training.preemption import Preemption
from mlsd_jax.training.prefetch import prefetch
from mlsd_jax.training.profiler import Trace
from mlsd_jax.training.progress import Progress
from mlsd_jax.training.step import (
  DTYPES,
  TrainState,
  init_state,
  make_eval_step,
  make_train_step,
  place_frozen,
  state_shardings,
)
from mlsd_jax.training.step_log import StepLog
from mlsd_jax.training.task import EvalData, Task, TrainData


@dataclasses.dataclass(frozen=True)
class Result:
  """What a run came to.

  Attributes:
    step: updates made.
    params: the final parameters; with keep_best, those of the lowest evaluation loss.
    metrics: the task's metrics on the evaluation data with those parameters.
    train_seconds: time in the loop, over all the sittings of a run that was resumed.
    items_per_second: the task's items a second over this sitting, without compiling, evaluating or saving.
    interrupted: the run was requested to stop (SIGTERM, SIGINT) before its last step; its state is saved.
    checkpoint_step: the step whose parameters these are.
    damaged_checkpoints: those, as 'checkpoints/40', in whose place an older one was used; on process 0.
  """

  step: int
  params: Any
  metrics: dict[str, float]
  train_seconds: float
  items_per_second: float
  interrupted: bool
  checkpoint_step: int
  damaged_checkpoints: tuple[str, ...] = ()

  def origin(self, prefix: str = '') -> dict[str, Any]:
    """What a result says of the parameters: checkpoint_step, and damaged_checkpoints where there were any.

    Args:
      prefix: of these two names, where one result holds several models.
    """
    return {f'{prefix}{key}': value for key, value in origin(self.checkpoint_step, self.damaged_checkpoints).items()}


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
    workdir: gets checkpoints/, best/, metrics.jsonl, tensorboard/, profile/; choices.json, where something was left to
      the machine.
    init_params: parameters to start from instead of task.init (fine-tuning); ignored when the workdir has a checkpoint.
    metadata: written beside each checkpoint, e.g. how to rebuild the model.

  Raises:
    UserError: settings that do not fit together or the machine, a checkpoint of another model, a full disk.
    NonFiniteLossError: names the step and the last good checkpoint.
  """
  with tuning.keep_in(workdir, is_resumed=bool(Versions(pathlib.Path(workdir) / 'checkpoints').numbers())):
    config = microbatches.settle(task, train_data, config, check_settings(config)[0])
  run = _Run(task, config, pathlib.Path(workdir), metadata or {})
  with run.checkpoints, run.best, Preemption() as preemption:
    state = run.start(init_params)
    first_step = int(state.step)
    with (
      MetricsWriter(run.workdir, resume_step=first_step) as writer,
      Progress(config.steps, first_step, task.item_name, items_per_step=task.items_per_batch) as progress,
    ):
      log = run.step_log(writer, progress)
      state, interrupted = run.train(state, train_data, eval_data, log, preemption)
      step = int(state.step)
      params, metrics, params_step = (state.params, {}, step) if interrupted else run.finish(state, eval_data)
    damaged = run.checkpoints.damaged() + run.best.damaged()
    return Result(step, params, metrics, log.seconds, log.items_per_second, interrupted, params_step, tuple(damaged))


def check_settings(config: TrainConfig) -> tuple[Mesh, optax.GradientTransformation]:
  """The mesh and the optimizer of a training; what can be wrong with its settings on this machine comes out here.

  Raises:
    UserError: a mesh that the devices do not give, a batch that it does not divide, a schedule that does not fit.
  """
  mesh = sharding.make_mesh(dict(config.mesh))
  sharding.check_batch_size(config.batch_size, max(config.accumulation, 1), mesh)
  return mesh, make_optimizer(config.optimizer, config.steps)


class _Run:
  """The parts of one call of `fit`."""

  def __init__(self, task: Task, config: TrainConfig, workdir: pathlib.Path, metadata: dict[str, Any]):
    self.task, self.config, self.workdir = task, config, workdir
    self.mesh, self.optimizer = check_settings(config)
    dtype = DTYPES[config.dtype]
    self.train_step = make_train_step(
      task,
      self.optimizer,
      self.mesh,
      kind=config.step,
      accumulation=config.accumulation,
      dtype=dtype,
      by_rows=config.optimizer.by_rows,
    )
    self.eval_step = make_eval_step(task, self.mesh, dtype=dtype)
    self.frozen = place_frozen(task, self.mesh)
    self.checkpoints = Checkpoints(workdir / 'checkpoints', keep=config.keep_checkpoints, metadata=metadata)
    self.best = Checkpoints(workdir / 'best', keep=1, metadata=metadata)
    self.best_loss = math.inf
    self.last_metrics: dict[str, float] | None = None
    self.seconds_before = 0.0
    self.undivided: list[str] = []

  def start(self, init_params: Any) -> TrainState:
    """The last good checkpoint on this mesh, or a fresh state made straight into its shards."""
    make = functools.partial(init_state, self.task, self.optimizer, rng=self.config.rng)
    abstract = jax.eval_shape(make, jax.random.key(self.config.seed))
    # Where each array lies is known before there is any: a state too large for one device is never on one.
    shardings = state_shardings(abstract, self.task, self.mesh)
    self.undivided = sharding.find_undivided(abstract.params, self.task.sharding_rules, self.mesh)
    step = self.checkpoints.latest_good()
    if step is not None:
      place = lambda leaf, where: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where)
      self._recall(step)
      return self.checkpoints.restore(step, jax.tree.map(place, abstract, shardings))
    state = jax.jit(make, out_shardings=shardings)(jax.random.key(self.config.seed))
    if init_params is None:
      return state
    # Copied under jit: what device_put returns may share memory with the caller's arrays, and the step donates it.
    place_params = jax.jit(
      lambda tree: jax.tree.map(lambda x: jnp.copy(x).astype(jnp.float32), tree), out_shardings=shardings.params
    )
    return dataclasses.replace(state, params=place_params(init_params))

  def _recall(self, step: int) -> None:
    """What the metrics file knows of the run up to `step`."""
    records = [record for record in read_metrics(self.workdir, tell=False) if record['step'] <= step]
    self.best_loss = min((r['val_loss'] for r in records if r.get('val_loss') is not None), default=math.inf)
    self.seconds_before = max((r.get('seconds') or 0.0 for r in records), default=0.0)

  def step_log(self, writer: MetricsWriter, progress: Progress) -> StepLog:
    schedule = learning_rate_schedule(self.config.optimizer, self.config.steps)
    peaks = [devices.peak_flops(device) for device in self.mesh.devices.flat]
    return StepLog(
      self.task,
      log_every=self.config.log_every,
      last_step=self.config.steps,
      learning_rate=lambda count: float(schedule(count)),
      peak_flops=math.fsum(peak or 0.0 for peak in peaks) if all(peaks) else 0.0,
      seconds_before=self.seconds_before,
      writer=writer,
      progress=progress,
      last_good=self._last_good,
    )

  def _last_good(self) -> str:
    self.checkpoints.wait()
    step = self.checkpoints.latest_good()
    return 'no checkpoint is saved' if step is None else f'the last good checkpoint is {self.checkpoints.folder}/{step}'

  def train(
    self, state: TrainState, train_data: TrainData, eval_data: EvalData | None, log: StepLog, preemption: Preemption
  ) -> tuple[TrainState, bool]:
    """Steps until the last, or until requested to stop; whether it was is the second value."""
    config, step = self.config, int(state.step)
    if step:
      log.progress.print(f'resumed from step {step} of {config.steps}')
    for line in self.undivided:
      log.progress.print(line)
    trace = Trace(self.workdir / 'profile') if config.profile else None
    # Ahead of need, in a thread: the next batch is read and copied to the devices while they compute this one.
    batches = prefetch(self._batches(train_data, step))
    try:
      for count, batch in batches:
        state, metrics = self.train_step(state, batch, *self.frozen)  # returns at once; the devices work on
        step += count  # counted here, as asking the state for it would wait for them
        log.add(step, metrics)
        if trace:
          trace.dispatched(metrics)
        last = step == config.steps
        interrupted = not last and preemption.requested(step)
        evaluating = eval_data is not None and (last or _due(step, config.eval_every))
        saving = last or interrupted or _due(step, config.checkpoint_every)
        if evaluating or saving:
          log.settle()  # a loss that is not finite must stop the run before its state is saved
          with log.progress.paused():
            if evaluating and eval_data is not None:
              self.last_metrics = self._evaluate(step, state.params, eval_data, log)
            if saving:
              log.writer.flush()
              if config.keep_best:
                self.best.wait()  # a run that goes on from this checkpoint counts on the best up to it
              self.checkpoints.save(step, state)
        if interrupted:
          log.progress.print(f'stop requested: step {step} is being saved; the same command goes on from there')
          return state, True
    finally:
      batches.close()
      if trace:
        trace.close()
    return state, False

  def _batches(self, train_data: TrainData, start: int) -> Iterator[tuple[int, dict[str, jax.Array]]]:
    """Global batches stacked by dispatch, already on their devices, each with its number of steps."""
    rows = sharding.process_rows(self.config.batch_size, self.mesh)
    stream = train_data.batches(start, rows)
    for count in _dispatches(start, self.config):
      group = [next(stream) for _ in range(count)]
      stacked = {name: np.stack([batch[name] for batch in group]) for name in group[0]}
      yield count, sharding.place_batch(stacked, self.mesh, leading=1)

  def _evaluate(self, step: int, params: Any, eval_data: EvalData, log: StepLog) -> dict[str, float]:
    metrics = self._metrics(params, eval_data)
    values = {f'val_{name}': value for name, value in metrics.items()}
    log.writer.write(step, values | {'seconds': log.seconds})
    log.progress.update(step, values)
    if metrics['loss'] < self.best_loss:
      self.best_loss = metrics['loss']
      if self.config.keep_best:
        self.best.save(step, {'params': params})
    return metrics

  def _metrics(self, params: Any, eval_data: EvalData) -> dict[str, float]:
    step = lambda params, batch: self.eval_step(params, batch, *self.frozen)
    return evaluate(step, params, eval_data, self.config.batch_size, self.mesh)

  def finish(self, state: TrainState, eval_data: EvalData | None) -> tuple[Any, dict[str, float], int]:
    """The parameters to report, their metrics on the evaluation data, and their step."""
    last = int(state.step)
    if eval_data is None:
      return state.params, {}, last
    metrics = self.last_metrics or self._metrics(state.params, eval_data)  # none if resumed at the last step
    if not self.config.keep_best or metrics['loss'] <= self.best_loss:
      return state.params, metrics, last
    self.best.wait()
    step = self.best.latest_good()
    if step is None:
      return state.params, metrics, last
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state.params)
    params = self.best.restore_params(step, shapes)
    return params, self._metrics(params, eval_data), step


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
