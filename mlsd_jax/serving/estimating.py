"""The estimator over HTTP: what a decoder takes to train and to serve on given hardware, and what bounds it."""

import dataclasses
import math
from typing import Any

from mlsd_jax.errors import UserError
from mlsd_jax.estimates import decoding, hardware, table, training, transformer
from mlsd_jax.estimates.hardware import BYTES
from mlsd_jax.serving.requests import EstimateRequest


def list_hardware() -> dict[str, Any]:
  """What an estimate may be requested for: the table of devices, in bytes, bytes/s and FLOP/s."""
  return {'hardware': {name: dataclasses.asdict(device) for name, device in hardware.DEVICES.items()}}


def show_estimate(body: EstimateRequest) -> dict[str, Any]:
  """Every quantity with its unit and formula; the shares of what bounds a step, and what would make it fit.

  Raises:
    UserError: hardware that is not known, a mesh or a batch that does not fit it, a model whose weights do not.
  """
  if body.embed_dim % body.num_heads:
    raise UserError(f'embed_dim {body.embed_dim} is not divisible by num_heads {body.num_heads}')
  machine = hardware.find(body.hardware, body.dollars_per_hour)
  shape = body.model_dump(include={'num_layers', 'num_heads', 'embed_dim', 'context_length', 'vocab_multiple'})
  model = transformer.of_gpt(shape, body.vocab_size)
  plan = training.Plan(
    model,
    length=body.context_length,
    batch_size=body.batch_size,
    steps=body.steps,
    accumulation=body.accumulation,
    mesh={'data': body.data, 'fsdp': body.fsdp, 'tensor': body.tensor},
    dtype=body.dtype,
    remat=body.remat,
    fused_attention=body.fused_attention,
    loss_chunks=body.loss_chunks,
  )
  load = decoding.Load(
    qps=body.qps,
    prompt_tokens=body.prompt_tokens or max(body.context_length // 2, 1),
    new_tokens=body.new_tokens or max(body.context_length // 4, 1),
    batch=body.batch,
    dtype=body.serve_dtype,
    mfu=body.mfu,
  )
  groups = training.estimate(plan, machine, body.mfu) + decoding.estimate(model, machine, load)
  seconds = training.seconds(plan, machine, training.resolve_mesh(plan.mesh, machine.count))
  seconds['compute'] /= body.mfu
  context = load.prompt_tokens + load.new_tokens / 2
  read = decoding.read_bytes(model, load.dtype) / machine.device.bandwidth
  cache = context * model.kv_bytes(BYTES[load.dtype]) / machine.device.bandwidth
  arithmetic = model.forward_flops(context) / machine.device.peak_of(load.dtype)
  return {
    'groups': [_finite(group) for group in table.to_json(groups)],
    'bounds': {
      'training_step': seconds,
      'decoding_step_alone': {'weights': read, 'cache': cache, 'compute': arithmetic},
    },
    'misfit': training.misfit(plan, machine),
  }


def _finite(group: dict[str, Any]) -> dict[str, Any]:
  """JSON has no infinity: null, beside what is shown of it."""
  is_endless = lambda value: isinstance(value, float) and not math.isfinite(value)
  rows = [row | {'value': None} if is_endless(row['value']) else row for row in group['rows']]
  return group | {'rows': rows}
