"""The training step: gradient, accumulation, update; in the compiler's global view and in the per-device view.

All forms compute the gradient of the mean loss over the whole global batch. `jit` writes the maths and lets the
compiler place collectives; `shard_map` is what each device does, collectives written out; `pmap` is the same in the
older form, for data parallelism alone.
"""

import contextlib
import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mlsd_jax.errors import UserError
from mlsd_jax.training import row_updates, sharding
from mlsd_jax.training.config import STEP_KINDS as STEP_KINDS
from mlsd_jax.training.config import refuse_mesh_of_pmap
from mlsd_jax.training.task import AxisName, Batch, Metrics, Task

DTYPES = {'float32': jnp.float32, 'bfloat16': jnp.bfloat16}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
  """All that a run is: saved together, restored together."""

  step: jax.Array  # int32: updates made, which is also the number of global batches consumed
  params: Any  # float32
  opt_state: Any
  key: jax.Array  # the run's PRNG key; step i uses fold_in(key, i)


def init_state(
  task: Task, optimizer: optax.GradientTransformation, key: jax.Array, rng: str = 'threefry2x32'
) -> TrainState:
  """A fresh state; under jit with out_shardings every array is made straight into its shards.

  Parameters are drawn by `key` itself (threefry: the same on every mesh); `rng` names the generator of the run's key.
  """
  init_key, run_key = jax.random.split(key)
  params = task.init(init_key)
  run_key = jax.random.wrap_key_data(
    jax.random.bits(run_key, jax.random.key_data(jax.random.key(0, impl=rng)).shape), impl=rng
  )
  # Plain types: a weakly typed scalar would become plain in the first step, and the second be compiled anew for it.
  params, opt_state = jax.tree.map(lambda x: x.astype(x.dtype), (params, optimizer.init(params)))
  return TrainState(jnp.zeros((), jnp.int32), params, opt_state, run_key)


def state_shardings(abstract_state: TrainState, task: Task, mesh: Mesh) -> TrainState:
  """Where each array of the state lives. Optimiser moments lie beside their parameters."""
  return sharding.tree_shardings(abstract_state, task.sharding_rules, mesh)


def cast_floating(tree: Any, dtype: Any) -> Any:
  """Floating-point leaves in `dtype`, others as they are."""
  return jax.tree.map(lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree)


def make_train_step(
  task: Task,
  optimizer: optax.GradientTransformation,
  mesh: Mesh,
  *,
  kind: str = 'jit',
  accumulation: int = 1,
  dtype: Any = jnp.float32,
  by_rows: bool = False,
) -> jax.stages.Wrapped:
  """(state, batches, *place_frozen) -> (state, metrics), compiled; `state` is donated.

  `batches` has a leading axis of steps: all of them run in one dispatch. Every metric is a (sum, weight) pair of arrays
  with that leading axis; 'grad_norm' (before clipping) is added.

  Args:
    kind: one of STEP_KINDS.
    accumulation: microbatches a step; gradients are summed over them in float32.
    dtype: what parameters are cast to for the forward and backward pass.
    by_rows: of large tables only the rows that a batch looks up (task.lookups) are differentiated and updated, which
      is the same for an optimiser that leaves rows without a gradient as they are.

  Gradients are exchanged in the dtype in which they are: that of the pass; summed over microbatches, float32.

  Raises:
    UserError: settings that do not fit the task or the mesh.
  """
  check_step(task, mesh, kind, accumulation)
  gradient_of = {'jit': _global_gradient, 'shard_map': _per_device_gradient, 'pmap': _pmap_gradient}[kind]
  if kind == 'jit' and accumulation > 1 and _ways(mesh) > 1:
    # In the global view there is no sum that is not yet taken over devices: each microbatch would be exchanged.
    gradient_of = _per_device_gradient
  elif kind == 'shard_map' and _ways(mesh) == 1 < mesh.size:
    gradient_of = _global_gradient  # the batch is on one (group of) devices, and there is nothing to be written out

  def one_step(frozen: Any, state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
    # Large tables give way to the few rows that the batch looks up: the optimiser then passes over those alone.
    distinct = row_updates.find_distinct(task, state.params, batch) if by_rows else {}
    params, opt_state = row_updates.take((state.params, state.opt_state), distinct)
    gradient = gradient_of(task, mesh, accumulation, dtype)
    # The key is a function of the step alone: a run that was stopped draws the dropout masks it would have drawn.
    whole = params if task.join is None else {'trained': params, 'frozen': frozen}
    grads, metrics = gradient(whole, batch, jax.random.fold_in(state.key, state.step), distinct)
    # What is frozen has zeros here, which nobody reads: the compiler leaves them out.
    grads = grads if task.join is None else grads['trained']
    weight = metrics['loss'][1]
    # Divided only here, by the weight of the whole batch: means of unlike parts do not average to the mean of all.
    # Where nothing of it counts, the gradient is zero.
    grads = jax.tree.map(lambda g: g / jnp.where(weight > 0, weight, 1.0), grads)
    updates, opt_state = optimizer.update(grads, opt_state, params)
    params = optax.apply_updates(params, updates)
    params, opt_state = row_updates.put((state.params, state.opt_state), (params, opt_state), distinct)
    metrics['grad_norm'] = (optax.tree.norm(grads), jnp.ones(()))
    return TrainState(state.step + 1, params, opt_state, state.key), metrics

  def many_steps(state: TrainState, batches: Batch, frozen: Any = None) -> tuple[TrainState, Metrics]:
    step = functools.partial(one_step, frozen)
    with _known_mesh(mesh, kind):
      if jax.tree.leaves(batches)[0].shape[0] == 1:  # a scan of length one costs a copy of the state
        state, metrics = step(state, jax.tree.map(lambda x: x[0], batches))
        return state, jax.tree.map(lambda x: x[None], metrics)
      return jax.lax.scan(step, state, batches)  # a loop inside the program: Python starts it once for all steps

  abstract = jax.eval_shape(lambda key: init_state(task, optimizer, key), jax.random.key(0))
  shardings = state_shardings(abstract, task, mesh)
  # Donated: the new state is written over the old one, for which there would often be no second place in memory.
  return jax.jit(many_steps, donate_argnums=0, out_shardings=(shardings, sharding.replicated(mesh)))


def place_frozen(task: Task, mesh: Mesh) -> tuple[Any, ...]:
  """What the steps of a task take behind state and batches (parameters and batch): what it has frozen, on the mesh."""
  if task.join is None:
    return ()
  shardings = sharding.tree_shardings(task.frozen, task.sharding_rules, mesh)
  return (jax.jit(lambda tree: tree, out_shardings=shardings)(task.frozen),)


def _whole(task: Task) -> Callable[[Any], Any]:
  """Parameters of the model, of those that are trained and those that are not; only the first have a gradient."""
  join = task.join
  return (
    (lambda params: params)
    if join is None
    else lambda both: join(both['trained'], jax.lax.stop_gradient(both['frozen']))
  )


def _ways(mesh: Mesh) -> int:
  return math.prod(mesh.shape[axis] for axis in sharding.BATCH_AXES)


def _known_mesh(mesh: Mesh, kind: str = 'jit') -> contextlib.AbstractContextManager[Any]:
  """Lets a model that calls kernels of its own find the axes over which to split them."""
  # Of pmap nothing is left to be split.
  return contextlib.nullcontext() if kind == 'pmap' else jax.sharding.use_abstract_mesh(mesh.abstract_mesh)


def check_step(task: Task, mesh: Mesh, kind: str, accumulation: int) -> None:
  """Raises UserError for a form of the step that the mesh does not allow, or microbatches that the task does not."""
  if kind == 'pmap':
    processes = {device.process_index for device in mesh.devices.flat}  # of devices that are not here, too
    refuse_mesh_of_pmap(mesh.shape['fsdp'], mesh.shape['tensor'], len(processes))
  if task.whole_batch:
    refuse_microbatches(accumulation)


def refuse_microbatches(accumulation: int) -> None:
  """Raises UserError for microbatches of a task whose loss depends on the whole batch."""
  if accumulation > 1:
    raise UserError(
      f'train.accumulation={accumulation} would hide the other microbatches from a loss that depends on the whole '
      f'batch (negatives of the batch, batch normalisation, means over several things); set accumulation=1'
    )


def make_eval_step(task: Task, mesh: Mesh, *, dtype: Any = jnp.float32) -> Callable[..., Metrics]:
  """(params, batch, *place_frozen) -> metrics as (sum, weight) pairs, compiled."""

  def evaluate(params, batch, frozen=None):
    params = params if task.join is None else task.join(params, frozen)
    with _known_mesh(mesh):
      return task.evaluate(_gathered(cast_floating(params, dtype), task, mesh), batch)

  return jax.jit(evaluate, out_shardings=sharding.replicated(mesh))


@jax.custom_vjp
def _round_gradient(x: jax.Array) -> jax.Array:
  """x, whose gradient is an array of its own in the dtype of x.

  On a CPU oneDNN would take what is added to it into its product, and narrow it to the product's dtype: the sum over
  microbatches would be kept in bfloat16.
  """
  return x


_round_gradient.defvjp(
  lambda x: (x, None),
  lambda _, g: (jax.lax.platform_dependent(g, cpu=jax.lax.optimization_barrier, default=lambda g: g),),
)


def _weighted_loss(task: Task, dtype: Any, axis_name: AxisName = ()):
  """The gradient of the *sum* over items, so that parts of a batch add up whatever their weights."""
  options = {'axis_name': axis_name} if task.whole_batch else {}
  loss_of_tables = row_updates.looking_up(task)
  whole = _whole(task)

  def loss(params, batch, key, distinct):
    # The cast is differentiated too: the gradient has the dtype of what is handed in.
    narrow = jax.tree.map(
      lambda x: _round_gradient(x) if x.dtype == jnp.bfloat16 else x, cast_floating(whole(params), dtype)
    )
    mean, metrics = loss_of_tables(narrow, batch, key, distinct, **options)
    return mean * jax.lax.stop_gradient(metrics['loss'][1]), metrics

  gradient = jax.grad(loss, has_aux=True)
  if task.whole_batch:  # a device of which nothing counts still has part in the losses of others
    return gradient

  def of_what_counts(params, batch, key, distinct):
    # The mean over a part of which nothing counts may be 0 / 0; the sum over the parts would carry it everywhere.
    grads, metrics = gradient(params, batch, key, distinct)
    return jax.tree.map(lambda g: jnp.where(metrics['loss'][1] > 0, g, jnp.zeros_like(g)), grads), metrics

  return of_what_counts


def _accumulate(grad, params, batch, key, distinct, accumulation: int):
  """Sums `grad` over microbatches; row r belongs to microbatch r mod accumulation.

  (Interleaved, as contiguous rows lie on one device: each device then gives an equal share to every microbatch.)
  """
  if accumulation == 1:
    return grad(params, batch, key, distinct)
  split = lambda x: jnp.swapaxes(x.reshape(x.shape[0] // accumulation, accumulation, *x.shape[1:]), 0, 1)
  microbatches = jax.tree.map(split, batch)

  # A scan, not a Python loop: the compiler holds the activations of one microbatch, not of all.
  def body(total, inputs):
    index, microbatch = inputs
    part = grad(params, microbatch, jax.random.fold_in(key, index), distinct)
    return jax.tree.map(jnp.add, total, cast_floating(part, jnp.float32)), None

  # Zeros of the right shapes to begin with, found without computing a gradient.
  shapes = jax.eval_shape(grad, params, jax.tree.map(lambda x: x[0], microbatches), key, distinct)
  zeros = cast_floating(jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes), jnp.float32)
  return jax.lax.scan(body, zeros, (jnp.arange(accumulation), microbatches))[0]


def _gathered(params: Any, task: Task, mesh: Mesh) -> Any:
  """Parameters gathered over fsdp for use; the transpose scatters their gradients back."""
  if mesh.shape['fsdp'] == 1:
    return params
  specs = sharding.tree_specs(params, task.sharding_rules, mesh)
  return jax.tree.map(lambda x, spec: _gather(x, spec, mesh), params, specs)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _gather(x: jax.Array, spec: PartitionSpec, mesh: Mesh) -> jax.Array:
  # The barrier keeps the cast to bfloat16 before the gather: behind it, twice the bytes would be sent.
  whole = NamedSharding(mesh, sharding.without_axis(spec, 'fsdp'))
  return jax.lax.with_sharding_constraint(jax.lax.optimization_barrier(x), whole)


# Left to itself the gradient would have the layout of the whole: all of it reduced on every device, and cut only then.
_gather.defvjp(
  lambda x, spec, mesh: (_gather(x, spec, mesh), None),
  lambda spec, mesh, _, g: (jax.lax.with_sharding_constraint(g, NamedSharding(mesh, spec)),),
)


def _global_gradient(task: Task, mesh: Mesh, accumulation: int, dtype: Any):
  loss = lambda params, *inputs, **options: task.loss(_gathered(params, task, mesh), *inputs, **options)
  gathering = dataclasses.replace(task, loss=loss)
  grad = _weighted_loss(gathering, dtype)
  return lambda params, batch, key, distinct: _accumulate(grad, params, batch, key, distinct, accumulation)


def _per_device_gradient(task: Task, mesh: Mesh, accumulation: int, dtype: Any):
  """What one device does: gather its parameters, differentiate its rows, reduce what it found.

  Manual over data and fsdp; the tensor axis stays with the compiler, since splitting a matrix product is the model's
  knowledge, not the trainer's.
  """
  grad = _weighted_loss(task, dtype, sharding.BATCH_AXES)
  over_batch = PartitionSpec(sharding.BATCH_AXES)

  def gather(x, spec):
    found = sharding.batch_axes_of(spec)
    # Cast before they are gathered and reduced before they are widened: half the bytes in bfloat16. (Not what is yet to
    # be joined, whose sum would lose in it what the smaller part adds.)
    x = cast_floating(x, dtype) if task.join is None else x
    return x if found is None else jax.lax.all_gather(x, found[1], axis=found[0], tiled=True)

  def reduce(g, spec, like):
    # What every device holds whole is summed over all; of what is split, each device keeps the sum of its own shard.
    found = sharding.batch_axes_of(spec)
    others: tuple[str, ...] = sharding.BATCH_AXES
    if found is not None:
      g = _sum_of_shard(g, found[1], found[0])
      others = tuple(axis for axis in others if axis not in found[1])
    return (jax.lax.psum(g, others) if others else g).astype(like.dtype)

  def differentiate(whole, rows, key, distinct):
    index = jax.lax.axis_index(sharding.BATCH_AXES)  # into the key, else all devices would draw the same masks
    grads, metrics = _accumulate(grad, whole, rows, jax.random.fold_in(key, index), distinct, accumulation)
    return grads, jax.lax.psum(metrics, sharding.BATCH_AXES)

  def mapped(function, in_specs, out_specs, axes=sharding.BATCH_AXES):
    # That parameters are alike on all devices is known from the specs, not from the loss: check_vma=False.
    return jax.shard_map(
      function, mesh=mesh, in_specs=in_specs, out_specs=out_specs, axis_names=set(axes), check_vma=False
    )

  def gradient(params, batch, key, distinct):
    everywhere = sharding.tree_specs(params, task.sharding_rules, mesh)
    specs = jax.tree.map(lambda spec: sharding.of_batch_axes(spec, mesh), everywhere)
    by_rows = any(isinstance(entry, tuple) for spec in jax.tree.leaves(everywhere) for entry in spec)
    if mesh.shape['tensor'] > 1 and not by_rows:  # rows over all axes are not in the order of any one
      return in_three(params, batch, key, distinct, everywhere, specs)

    def device(shards, rows, key, distinct):
      grads, metrics = differentiate(jax.tree.map(gather, shards, specs), rows, key, distinct)
      return jax.tree.map(reduce, grads, specs, shards), metrics

    run = mapped(device, (specs, over_batch, PartitionSpec(), PartitionSpec()), (specs, PartitionSpec()))
    return run(params, batch, key, distinct)

  def in_three(params, batch, key, distinct, everywhere, specs):
    # An exchange over one axis gathers its array over every axis that is left to the compiler. So exchanges stand by
    # themselves, where none is; between them each device's own sum is a row of an array over all of them.
    whole_specs = jax.tree.map(lambda spec: sharding.of_axis(spec, 'tensor'), everywhere)
    rows_of = jax.tree.map(lambda spec: PartitionSpec(sharding.BATCH_AXES, *spec), whole_specs)
    gather_all = mapped(
      lambda shards: jax.tree.map(gather, shards, specs), (everywhere,), whole_specs, sharding.MESH_AXES
    )

    def device(whole, rows, key, distinct):
      whole = jax.tree.map(jax.lax.with_sharding_constraint, whole, whole_specs)
      grads, metrics = differentiate(whole, rows, key, distinct)
      return jax.tree.map(lambda g: g[None], grads), metrics

    differentiated = mapped(
      device, (PartitionSpec(), over_batch, PartitionSpec(), PartitionSpec()), (over_batch, PartitionSpec())
    )
    reduce_all = mapped(
      lambda grads, shards: jax.tree.map(lambda g, spec, x: reduce(g[0], spec, x), grads, specs, shards),
      (rows_of, everywhere),
      everywhere,
      sharding.MESH_AXES,
    )
    grads, metrics = differentiated(gather_all(params), batch, key, distinct)
    return reduce_all(grads, params), metrics

  return gradient


def _sum_of_shard(g: jax.Array, axes: tuple[str, ...], dimension: int) -> jax.Array:
  """The sum over devices of their own shard along a dimension.

  What lies before and behind it is one dimension each meanwhile: a TPU's compiler scatters arrays of up to three; of
  others it reduces the whole on every device, and sends twice the bytes.
  """
  before, size, behind = g.shape[:dimension], g.shape[dimension], g.shape[dimension + 1 :]
  whole = g.reshape(*[math.prod(before)] * bool(before), size, *[math.prod(behind)] * bool(behind))
  own = jax.lax.psum_scatter(whole, axes, scatter_dimension=int(bool(before)), tiled=True)
  return own.reshape(*before, own.shape[int(bool(before))], *behind)


def _pmap_gradient(task: Task, mesh: Mesh, accumulation: int, dtype: Any):
  """The same with jax.pmap: every device has all parameters and differentiates its rows, and the sums are exchanged."""
  axis_name = ('data',)
  grad = _weighted_loss(task, dtype, axis_name)

  def device(params, rows, key_and_distinct):
    key, distinct = key_and_distinct
    key = jax.random.fold_in(key, jax.lax.axis_index(axis_name))  # else all devices would draw the same masks
    params = cast_floating(params, dtype) if task.join is None else params
    found = _accumulate(grad, params, rows, key, distinct, accumulation)
    grads, metrics = jax.lax.psum(found, axis_name)
    return jax.tree.map(lambda g, x: g.astype(x.dtype), grads, params), metrics

  count = mesh.size
  devices = list(mesh.devices.flat)
  on_devices = jax.pmap(device, axis_name[0], in_axes=(None, 0, None), out_axes=None, devices=devices)
  split = lambda x: x.reshape(count, x.shape[0] // count, *x.shape[1:])
  # Key and rows are one argument: pmap splits nothing where an argument has no arrays, as `distinct` of no table.
  return lambda params, batch, key, distinct: on_devices(params, jax.tree.map(split, batch), (key, distinct))
