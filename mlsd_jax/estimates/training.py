"""Training on paper: state, activations, traffic, step time, days, dollars; what bounds a step, and whether it fits.

Names as in transformer.py; B sequences of a step, T tokens each, S steps. Sources: PaLM's appendix B (operations, MFU),
 nanoGPT's sizing notebook (12 B of checkpoint a parameter, days), Korthikanti et al. 2022 (activations), the JAX
scaling book, chapters 3 and 5 (what all-gather, reduce-scatter and all-reduce send).
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping

from mlsd_jax.errors import UserError
from mlsd_jax.estimates.hardware import BYTES, Hardware
from mlsd_jax.estimates.table import Group, Row
from mlsd_jax.estimates.transformer import Transformer
from mlsd_jax.estimates.units import DAY, show

AXES = ('data', 'fsdp', 'tensor')
# Of moments a parameter, float32. Muon keeps one a weight of the blocks' matrices, and Adam's two of everything else.
_MOMENTS = {'adamw': 8, 'adam': 8, 'sgd': 4, 'rowwise_adagrad': 8, 'muon': 8}


@dataclasses.dataclass(frozen=True)
class Plan:
  """What a config trains, and how.

  Attributes:
    model: sizes.
    length: T, tokens of a sequence.
    batch_size: B, sequences of a step over all devices.
    steps: S.
    accumulation: microbatches a step.
    mesh: devices of each axis; one may be -1, which takes what is left.
    dtype: of the forward and backward pass; state is float32.
    remat: none, dots or full.
    fused_attention: whether attention keeps no weights for the backward pass (cuDNN, splash).
    loss_chunks: parts in which logits are made.
    optimizer: adamw, adam, sgd, muon or rowwise_adagrad.
  """

  model: Transformer
  length: int
  batch_size: int
  steps: int
  accumulation: int = 1
  mesh: Mapping[str, int] = dataclasses.field(default_factory=lambda: {'data': -1})
  dtype: str = 'float32'
  remat: str = 'none'
  fused_attention: bool = False
  loss_chunks: int = 1
  optimizer: str = 'adamw'

  @property
  def tokens_per_step(self) -> int:
    return self.batch_size * self.length

  @property
  def flops_per_step(self) -> float:
    return self.model.training_flops(self.length) * self.tokens_per_step


def optimizer_bytes(model: Transformer, optimizer: str) -> float:
  """Bytes of moments a parameter, on average.

  Raises:
    UserError: an optimiser of which that is not known.
  """
  if optimizer not in _MOMENTS:
    raise UserError(f'optimizer.name={optimizer!r} is not one of {", ".join(_MOMENTS)}')
  matrices = model.layers * (model.attention_matrices + model.mlp_matrices) if optimizer == 'muon' else 0
  return _MOMENTS[optimizer] - 4.0 * matrices / model.parameters


def resolve_mesh(mesh: Mapping[str, int], devices: int) -> dict[str, int]:
  """Devices of each axis, as training/sharding.py's make_mesh has them.

  Raises:
    UserError: the axes do not multiply to the number of devices.
  """
  sizes = {axis: int(mesh.get(axis, 1)) for axis in AXES}
  known = math.prod(size for size in sizes.values() if size != -1)
  open_axes = [axis for axis, size in sizes.items() if size == -1]
  if len(open_axes) > 1 or known <= 0 or devices % known or (not open_axes and known != devices):
    wanted = ' x '.join(f'{axis}={size}' for axis, size in sizes.items())
    raise UserError(f'train.mesh: {wanted} does not fit {devices} devices; one axis may be -1 to take what is left')
  return {axis: devices // known if size == -1 else size for axis, size in sizes.items()}


def check_batch(plan: Plan, mesh: Mapping[str, int]) -> None:
  """Raises UserError unless every microbatch splits evenly over the mesh."""
  ways = mesh['data'] * mesh['fsdp']
  if plan.batch_size % (plan.accumulation * ways):
    raise UserError(
      f'train.batch_size {plan.batch_size} is not divisible by {plan.accumulation} accumulation steps x {ways} ways of '
      f'the mesh (data={mesh["data"]} x fsdp={mesh["fsdp"]})'
    )


def parameters_on_device(model: Transformer, mesh: Mapping[str, int]) -> float:
  """Parameters that one device keeps: fsdp splits the width of all, tensor heads, the MLP's width and the vocabulary.

  A dimension that its axis does not divide is left whole, as the trainer does it (training/sharding.py).
  """
  fsdp = mesh['fsdp'] if model.width % mesh['fsdp'] == 0 else 1
  ways = lambda size: mesh['tensor'] if size % mesh['tensor'] == 0 else 1
  blocks = model.attention_matrices / ways(model.heads) + model.mlp_matrices / ways(model.mlp_width)
  split = model.layers * blocks + model.width * model.table_rows * (2 - model.tied) / ways(model.table_rows)
  matrices = model.layers * (model.attention_matrices + model.mlp_matrices)
  rest = model.parameters - matrices - model.width * model.table_rows * (2 - model.tied)
  return (split + rest) / fsdp


def memory(plan: Plan, mesh: Mapping[str, int]) -> dict[str, float]:
  """Bytes on one device by what they hold.

  State is 16 B a parameter with Adam: 4 of the parameter, 4 of its gradient, 8 of the two moments. What is kept for the
  backward pass is of one microbatch. Logits are in the dtype of the pass, and in float32 once for the softmax.
  Gradients of gathered weights are whole until they are scattered, in the dtype of the pass; their sum over
  microbatches is float32, and scattered once a step.
  """
  own = parameters_on_device(plan.model, mesh)
  gathered = own * (mesh['fsdp'] if plan.model.width % mesh['fsdp'] == 0 else 1)
  element = BYTES[plan.dtype]
  is_copy = plan.dtype != 'float32' or mesh['fsdp'] > 1
  tokens = plan.tokens_per_step / (plan.accumulation * mesh['data'] * mesh['fsdp'])
  kept = plan.model.activation_elements(plan.length, plan.remat, not plan.fused_attention)
  logits = plan.model.table_rows * (element + 4) / plan.loss_chunks if plan.model.causal else 0.0
  return {
    'weights': 4 * own,
    'gradients': 4 * own,
    'optimiser': optimizer_bytes(plan.model, plan.optimizer) * own,
    'gathered weights': element * gathered if is_copy else 0.0,
    'whole gradients': (element + 4 * (plan.accumulation > 1)) * gathered if gathered > own else 0.0,
    'activations': element * tokens * (kept / mesh['tensor'] + plan.model.width),
    'logits': tokens * logits / mesh['tensor'],
  }


def traffic(plan: Plan, mesh: Mapping[str, int]) -> dict[str, float]:
  """Bytes that one device sends in a step, by axis of the mesh.

  All-gather and reduce-scatter of V bytes over n devices send V (n - 1) / n, an all-reduce twice that. data: an
  all-reduce of the float32 gradients that the device keeps. fsdp: an all-gather of the weights in the dtype of the
  pass, a reduce-scatter of float32 gradients. tensor: four all-reduces of activations a layer, two forward and two
  backward (Megatron-LM, arXiv:1909.08053, section 3).
  """
  own = parameters_on_device(plan.model, mesh)
  gathered = own * mesh['fsdp']
  share = {axis: (size - 1) / size for axis, size in mesh.items()}
  tokens = plan.tokens_per_step / (mesh['data'] * mesh['fsdp'])
  reduced = BYTES[plan.dtype] * tokens * plan.model.width * plan.model.layers
  return {
    'data': 2 * share['data'] * 4 * own,
    'fsdp': share['fsdp'] * (BYTES[plan.dtype] + 4) * gathered,
    'tensor': 4 * 2 * share['tensor'] * reduced,
  }


def seconds(plan: Plan, hardware: Hardware, mesh: Mapping[str, int]) -> dict[str, float]:
  """Of a step, were it nothing but compute, memory or network: the roofline (Williams et al. 2009).

  Compute: with remat=full every block's forward pass is made again, 4/3 of the operations (which MFU leaves out).
  Memory: weights are read three times a microbatch (forward, and for both gradients), activations written and read,
  the optimiser passes over 28 B a parameter of Adam.
  """
  held, sent = memory(plan, mesh), traffic(plan, mesh)
  own = parameters_on_device(plan.model, mesh)
  element = BYTES[plan.dtype]
  reads = 3 * plan.accumulation * element * own * mesh['fsdp'] + 2 * plan.accumulation * held['activations']
  reads += (12 + 2 * optimizer_bytes(plan.model, plan.optimizer)) * own
  inner = {'tensor': mesh['tensor'], 'fsdp': mesh['tensor'] * mesh['fsdp'], 'data': hardware.count}
  return {
    'compute': plan.flops_per_step
    * (4 / 3 if plan.remat == 'full' else 1)
    / (hardware.count * hardware.device.peak_of(plan.dtype)),
    'memory': reads / hardware.device.bandwidth,
    'network': sum(sent[axis] / hardware.speed(inner[axis]) for axis in AXES),
  }


def expected_step(bounds: Mapping[str, float], mfu: float) -> float:
  """Seconds: compute at the given share of the peak, unless memory or network alone take longer."""
  return max(bounds['compute'] / mfu, bounds['memory'], bounds['network'])


def estimate(plan: Plan, hardware: Hardware, mfu: float) -> list[Group]:
  """Everything about a training run, in groups to print.

  Args:
    mfu: share of the peak that the products of a step reach (PaLM's model FLOPs utilisation), 0 to 1.

  Raises:
    UserError: the mesh does not fit the hardware, or the batch not the mesh.
  """
  mesh = resolve_mesh(plan.mesh, hardware.count)
  check_batch(plan, mesh)
  return [_model(plan), _memory(plan, hardware, mesh), _step(plan, hardware, mesh, mfu)]


def _model(plan: Plan) -> Group:
  model, tokens = plan.model, plan.steps * plan.tokens_per_step
  number = model.parameters
  per_token = model.training_flops(plan.length)
  short = 6.0 * number + 12.0 * model.layers * plan.length * model.width
  return Group(
    'model',
    (
      Row('parameters N', number, 'count', 'counted: tables, blocks with biases and norms, final norm'),
      Row('N approximately', model.approximate_parameters, 'count', '12 L D^2 + V D + T D'),
      Row('FLOPs a token', per_token, 'flop', '6 x weights in products + 12 L H K T, forward and backward'),
      Row('by the short formula', short, 'flop', '6 N + 12 L T D'),
      Row('tokens a step', plan.tokens_per_step, 'count', 'B T'),
      Row('tokens of the run', tokens, 'count', 'S B T'),
      Row('tokens a parameter', tokens / number, 'count', 'about 20 is compute-optimal (Chinchilla, arXiv:2203.15556)'),
      Row('FLOPs of the run', per_token * tokens, 'flop', 'FLOPs a token x S B T'),
      Row(
        'checkpoint', (4 + optimizer_bytes(plan.model, plan.optimizer)) * number, 'bytes', '12 B a parameter with Adam'
      ),
    ),
  )


def _memory(plan: Plan, hardware: Hardware, mesh: Mapping[str, int]) -> Group:
  held = memory(plan, mesh)
  total, capacity = sum(held.values()), hardware.device.memory
  formulas = {
    'weights': '4 B x parameters kept here (over fsdp x tensor)',
    'gradients': '4 B x parameters kept here',
    'optimiser': f'{optimizer_bytes(plan.model, plan.optimizer):.3g} B x parameters kept here ({plan.optimizer})',
    'gathered weights': f'{BYTES[plan.dtype]} B x N / tensor, the copy that the pass reads',
    'whole gradients': f'{BYTES[plan.dtype]} B x N / tensor before they are scattered'
    + (', 4 B of their sum over microbatches' if plan.accumulation > 1 else ''),
    'activations': f'{BYTES[plan.dtype]} B x tokens of a microbatch x L x (16 D), remat={plan.remat}'
    + ('' if plan.fused_attention else ', and H T / 2 of attention weights'),
    'logits': f'({BYTES[plan.dtype]} + 4) B x tokens x V / {plan.loss_chunks} chunks',
  }
  rows = [Row(name, size, 'bytes', formulas[name]) for name, size in held.items() if size]
  rows += [Row('in all', total, 'bytes', f'of {show(capacity, "bytes")} on each {hardware.device.name}')]
  return Group(f'memory a device, {_shown(mesh)}', tuple(rows), (_fit(plan, hardware, total),))


def misfit(plan: Plan, hardware: Hardware) -> str | None:
  """What is too much on a device and what would make it fit, in a line; None if it fits."""
  mesh = resolve_mesh(plan.mesh, hardware.count)
  excess = sum(memory(plan, mesh).values()) - hardware.device.memory
  if excess <= 0:
    return None
  found = list(_remedies(plan, hardware, mesh))
  return f'it does not fit: {show(excess, "bytes")} too much on each of {hardware}; what would make it fit: ' + (
    ' or '.join(found) if found else 'more devices, or one with more memory'
  )


def _fit(plan: Plan, hardware: Hardware, total: float) -> str:
  left = hardware.device.memory - total
  return misfit(plan, hardware) or f'it fits: {show(left, "bytes")} of {show(hardware.device.memory, "bytes")} are left'


def _remedies(plan: Plan, hardware: Hardware, mesh: Mapping[str, int]) -> Iterator[str]:
  """Flags that make it fit, each way by itself: the cheapest of its kind."""
  capacity, ways = hardware.device.memory, mesh['data'] * mesh['fsdp']
  sharded = {'data': 1, 'fsdp': ways, 'tensor': mesh['tensor']}
  parts = [n for n in range(1, plan.batch_size // ways + 1) if plan.batch_size % (n * ways) == 0]
  seen: set[str] = set()
  for remat in dict.fromkeys((plan.remat, 'full')):
    for other in (mesh, sharded):
      for accumulation in parts:
        changed = dataclasses.replace(plan, remat=remat, accumulation=accumulation)
        if sum(memory(changed, other).values()) > capacity:
          continue
        flags = [f'--config.train.accumulation={accumulation}'] if accumulation > plan.accumulation else []
        flags += [f'--config.model.remat={remat}'] if remat != plan.remat else []
        flags += [f'--config.train.mesh.fsdp={ways} --config.train.mesh.data=1'] if other != mesh else []
        said = ' '.join(flags)
        if accumulation >= plan.accumulation and said not in seen:
          seen.add(said)
          yield said
          break


def _step(plan: Plan, hardware: Hardware, mesh: Mapping[str, int], mfu: float) -> Group:
  bounds, sent = seconds(plan, hardware, mesh), traffic(plan, mesh)
  step = expected_step(bounds, mfu)
  run = step * plan.steps
  peak = hardware.count * hardware.device.peak_of(plan.dtype)
  reached = plan.flops_per_step / step / peak
  operation = {'data': 'all-reduce', 'fsdp': 'all-gather and reduce-scatter', 'tensor': 'all-reduces'}
  rows = [
    Row(f'sent over {axis}', sent[axis], 'bytes', f'{operation[axis]} over {mesh[axis]}, a device and step')
    for axis in AXES
    if mesh[axis] > 1
  ]
  rows += [
    Row(
      'by compute',
      bounds['compute'],
      'seconds',
      f'FLOPs{" x 4/3 (remat)" if plan.remat == "full" else ""} / (devices x {show(peak / hardware.count, "flop/s")})',
    ),
    Row(
      'by memory', bounds['memory'], 'seconds', f'bytes read and written / {show(hardware.device.bandwidth, "bytes/s")}'
    ),
    Row('by network', bounds['network'], 'seconds', 'bytes sent / bandwidth of links or network'),
    Row('step', step, 'seconds', f'max(compute / {mfu:g}, memory, network)'),
    Row('tokens/s', plan.tokens_per_step / step, 'count', 'B T / step'),
    Row('MFU', reached, 'share', 'FLOPs / (step x devices x peak)'),
    Row(
      'time of the run',
      run,
      'seconds',
      f'S x step = {run / DAY:,.3g} days, without evaluation and checkpoints',
    ),
    Row('device hours', run / 3600 * hardware.count, 'count', 'devices x hours'),
    Row(
      'dollars',
      run / 3600 * hardware.dollars_per_hour,
      'dollars',
      f'at ${hardware.device.dollars_per_hour:g} an hour ({hardware.device.price})',
    ),
  ]
  largest = max(bounds, key=lambda name: bounds[name] / (mfu if name == 'compute' else 1.0))
  ratio = ', '.join(f'{name} {bounds[name] / step:.0%}' for name in bounds if name != largest)
  return Group(f'a step on {hardware}', tuple(rows), (f'{largest} bounds it ({ratio} of the step)',))


def _shown(mesh: Mapping[str, int]) -> str:
  return ' x '.join(f'{axis}={size}' for axis, size in mesh.items())
