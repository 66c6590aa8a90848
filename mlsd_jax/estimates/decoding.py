"""Serving a language model on paper: KV cache, a step's roofline, critical batch, prefill, load, replicas, dollars.

Names as in transformer.py; B requests that are continued together, context: tokens that each holds. Sources: the JAX
scaling book, chapter 7 (inference); Pope et al. 2022, arXiv:2211.05102; Little 1961 (L = lambda W).
"""

import dataclasses
import math

from mlsd_jax.errors import UserError
from mlsd_jax.estimates.hardware import BYTES, Hardware
from mlsd_jax.estimates.table import Group, Row
from mlsd_jax.estimates.transformer import Transformer
from mlsd_jax.estimates.units import show


@dataclasses.dataclass(frozen=True)
class Load:
  """What is asked of the server, and how it is set.

  Attributes:
    qps: requests a second.
    prompt_tokens, new_tokens: of a request.
    batch: requests continued together on a device; 0 takes as many as memory holds, at most the critical batch.
    dtype: of weights and cache.
    mfu: share of the peak that reading a prompt reaches.
  """

  qps: float
  prompt_tokens: int
  new_tokens: int
  batch: int = 0
  dtype: str = 'bfloat16'
  mfu: float = 0.4


def weight_bytes(model: Transformer, dtype: str) -> float:
  """bytes x N."""
  return float(BYTES[dtype] * model.parameters)


def read_bytes(model: Transformer, dtype: str) -> float:
  """Of the weights that a step reads: all but the position table, and of an own token table, which is looked up."""
  looked_up = model.width * (model.positions + model.types) + (0 if model.tied else model.width * model.table_rows)
  return float(BYTES[dtype] * (model.parameters - looked_up))


def step_seconds(model: Transformer, hardware: Hardware, dtype: str, batch: float, context: float) -> float:
  """max(operations / peak, bytes / bandwidth) of one token for each of `batch` requests.

  Operations are 2 a weight and 4 L H K context of attention; bytes are the weights once, whatever the batch, and the
  cache of every request.
  """
  compute = batch * model.forward_flops(context) / hardware.device.peak_of(dtype)
  cache = batch * context * model.kv_bytes(BYTES[dtype])
  return max(compute, (read_bytes(model, dtype) + cache) / hardware.device.bandwidth)


def critical_batch(hardware: Hardware, dtype: str) -> float:
  """B at which 2 B N / peak = bytes x N / bandwidth: below it a step waits for memory, above for arithmetic.

  240 on a TPU v5e and 295 on an H100 in bfloat16. The cache, which grows with B too, moves it up.
  """
  return hardware.device.peak_of(dtype) * BYTES[dtype] / (2.0 * hardware.device.bandwidth)


def critical_with_cache(model: Transformer, hardware: Hardware, dtype: str, context: float) -> float:
  """B from which a step is bound by arithmetic when each request also has its cache read; infinite where none is.

  B f / peak = (weights + B c) / bandwidth, f operations a token and c bytes of cache a request.
  """
  arithmetic = model.forward_flops(context) / hardware.device.peak_of(dtype)
  cache = context * model.kv_bytes(BYTES[dtype]) / hardware.device.bandwidth
  if arithmetic <= cache:
    return math.inf
  return read_bytes(model, dtype) / hardware.device.bandwidth / (arithmetic - cache)


def prefill_seconds(model: Transformer, hardware: Hardware, dtype: str, tokens: int, mfu: float) -> float:
  """2 N P / (peak x MFU), with attention to half of the prompt on average; never less than reading the weights."""
  compute = tokens * model.forward_flops(tokens / 2) / (hardware.device.peak_of(dtype) * mfu)
  return max(compute, read_bytes(model, dtype) / hardware.device.bandwidth)


def estimate(model: Transformer, hardware: Hardware, load: Load) -> list[Group]:
  """Everything about serving `model` on replicas of one device, in groups to print.

  Raises:
    UserError: the weights do not fit a device, or a request is longer than the model's positions.
  """
  context = load.prompt_tokens + load.new_tokens
  if model.context and context > model.context:
    raise UserError(
      f'--prompt_tokens={load.prompt_tokens} and --new_tokens={load.new_tokens} are {context} tokens, more than the '
      f'{model.context} of config.model.context_length'
    )
  device, element = hardware.device, BYTES[load.dtype]
  weights, per_token = weight_bytes(model, load.dtype), model.kv_bytes(element)
  space = device.memory - weights
  held = int(space // max(per_token * context, 1.0))
  if held < 1:
    raise UserError(
      f'weights of {show(weights, "bytes")} and a request of {context} tokens, {show(per_token * context, "bytes")}, '
      f'do not fit {device.name}: {show(weights + per_token * context - device.memory, "bytes")} too much; a device '
      'with more memory, or a narrower --serve_dtype, would make it fit'
    )
  critical = critical_batch(hardware, load.dtype)
  if load.batch > held:
    raise UserError(
      f'--batch={load.batch} requests of {context} tokens need {show(load.batch * per_token * context, "bytes")} of '
      f'cache, {show(load.batch * per_token * context - space, "bytes")} more than a {device.name} has beside the '
      f'weights; {held} fit'
    )
  batch = load.batch or max(1, min(held, math.floor(critical)))
  mean_context = load.prompt_tokens + load.new_tokens / 2
  step = step_seconds(model, hardware, load.dtype, batch, mean_context)
  alone = step_seconds(model, hardware, load.dtype, 1, mean_context)
  prefill = prefill_seconds(model, hardware, load.dtype, load.prompt_tokens, load.mfu)
  # A device does one thing at a time: while it reads a prompt, those that it continues wait.
  busy_a_request = prefill + load.new_tokens * step / batch
  qps_device = 1.0 / busy_a_request
  latency = batch * prefill + load.new_tokens * step  # = B / QPS, as Little's law has it
  replicas = math.ceil(load.qps / qps_device)
  tokens_device = qps_device * load.new_tokens
  dollars = device.dollars_per_hour / 3600 / tokens_device * 1e6
  own_critical = critical_with_cache(model, hardware, load.dtype, mean_context)
  compute_bound = batch * model.forward_flops(mean_context) / device.peak_of(load.dtype) >= step
  bound = 'compute' if compute_bound else 'memory'
  what = 'the weights' if read_bytes(model, load.dtype) > batch * mean_context * per_token else 'the cache'
  request = f'{load.prompt_tokens} + {load.new_tokens} tokens'
  return [
    Group(
      f'serving, {load.dtype}, requests of {request}',
      (
        Row('weights', weights, 'bytes', f'{element} B x N'),
        Row('KV a token', per_token, 'bytes', '2 x bytes x G x K x L'),
        Row('KV a request', per_token * context, 'bytes', 'KV a token x tokens'),
        Row('requests that fit', held, 'count', f'({show(device.memory, "bytes")} - weights) / KV a request'),
        Row('critical batch', critical, 'count', 'peak x bytes / (2 x bandwidth)'),
        Row('with the cache', own_critical, 'count', 'weights / (FLOPs x bandwidth / peak - KV of a request)'),
        Row('prefill', prefill, 'seconds', f'2 N P / (peak x {load.mfu:g}): the first token'),
        Row('step alone', alone, 'seconds', 'bytes of weights and cache / bandwidth'),
        Row(f'step of {batch}', step, 'seconds', 'max(2 B N / peak, (bytes x N + B x T x KV) / bandwidth)'),
        Row('tokens/s a request', load.new_tokens / latency, 'count', 'new / latency'),
        Row('tokens/s a device', tokens_device, 'count', 'B new / (new x step + B x prefill)'),
        Row('latency', latency, 'seconds', 'B x prefill + new x step, at full load'),
        Row('QPS a device', qps_device, 'count', '1 / (prefill + new x step / B)'),
      ),
      (f'{bound} bounds a step of {batch}' + ('' if compute_bound else f': most of what is read is {what}'),),
    ),
    Group(
      f'for {show(load.qps, "count")} requests a second',
      (
        Row('replicas', replicas, 'count', 'QPS / QPS a device, rounded up, no reserve'),
        Row('in flight', load.qps * latency, 'count', "QPS x latency (Little's law)"),
        Row(
          'dollars a month',
          replicas * device.dollars_per_hour * 730,
          'dollars',
          f'at ${device.dollars_per_hour:g} an hour ({device.price})',
        ),
        Row('dollars a million tokens', dollars, 'dollars', 'written, on a device that is never idle'),
      ),
    ),
  ]
