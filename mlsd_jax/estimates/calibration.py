"""What a roofline gets wrong, measured on small pieces of the real thing: a step of 1 and 2 layers, products over rows.

A roofline knows a peak and a bandwidth. Products of few rows reach neither, a backward pass has slow layouts, a small
model waits for what starts a step. So the pieces are timed as they are: training by the trainer's own step at one layer
and at two, t(L) = t(1) + (L - 1) (t(2) - t(1)); decoding by each distinct product at its exact number of rows, over as
many different matrices as the model has (else they stay in the cache, as the model's own do not), and by the model's
own attention over its cache. Figures of another minute do not hold on a shared machine: calibrate beside what is
measured, in processor time of one thread (`time.process_time`) where others share it.
"""

import dataclasses
import functools
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mlsd_jax.generation import row_padding
from mlsd_jax.language_model.task import gpt_task
from mlsd_jax.models import attention, families, gpt
from mlsd_jax.models.turned_kernels import TurnedKernel, table_logits
from mlsd_jax.training import sharding, step
from mlsd_jax.training.optimizers import OptimizerConfig, make_optimizer

type Clock = Callable[[], float]


def median_seconds(run: Callable[[], object], rounds: int, clock: Clock = time.perf_counter) -> float:
  """The median of so many calls, after one that does not count."""
  run()
  taken = []
  for _ in range(rounds):
    began = clock()
    run()
    taken.append(clock() - began)
  return statistics.median(taken)


@dataclasses.dataclass(frozen=True)
class Layers:
  """A quantity of a model at one layer and at two.

  Attributes:
    one, two: the quantity, in seconds or bytes.
  """

  one: float
  two: float

  def at(self, layers: int) -> float:
    """t(1) + (L - 1) (t(2) - t(1)): what every layer adds, and what is there once."""
    return self.one + (layers - 1) * (self.two - self.one)


@dataclasses.dataclass(frozen=True)
class TrainStep:
  """A compiled training step.

  Attributes:
    run: makes a dispatch of `steps` steps, and waits for it.
    steps: of a dispatch.
    temporary_bytes: that the program holds beside the state, by XLA's own count.
  """

  run: Callable[[], None]
  steps: int
  temporary_bytes: float


def compile_train_step(
  section: Mapping[str, Any], vocab_size: int, *, batch_size: int, dtype: str, steps: int = 1, accumulation: int = 1,
) -> TrainStep:  # fmt: skip
  """The trainer's own step of a `model` section on random tokens.

  Args:
    steps: in one dispatch, as train.steps_per_dispatch has it.
  """
  config = families.read_config(section, vocab_size=vocab_size)
  length = config.context_length
  task = gpt_task(config, batch_size=batch_size, length=length)
  optimizer = make_optimizer(OptimizerConfig(learning_rate=1e-4, schedule='constant'), 1000)
  mesh = sharding.make_mesh({'data': 1}, jax.devices()[:1])
  state = jax.jit(functools.partial(step.init_state, task, optimizer))(jax.random.key(0))
  state = jax.device_put(state, sharding.replicated(mesh))
  program = step.make_train_step(task, optimizer, mesh, accumulation=accumulation, dtype=step.DTYPES[dtype])
  tokens = np.random.default_rng(0).integers(0, vocab_size, (steps, batch_size, length + 1)).astype(np.int32)
  batch = sharding.place_batch({'tokens': tokens}, mesh, leading=1)
  compiled = program.lower(state, batch).compile()
  held = [state]

  def run():
    held[0], metrics = compiled(held[0], batch)
    jax.block_until_ready((held[0], metrics))

  analysis = compiled.memory_analysis()
  temporary = float(analysis.temp_size_in_bytes) if analysis else float('nan')
  return TrainStep(run, steps, temporary)


def training_by_layers(
  section: Mapping[str, Any], vocab_size: int, *, beside: int = 0, rounds: int = 3, clock: Clock = time.perf_counter,
  **options: Any,
) -> list[tuple[float, float]]:  # fmt: skip
  """(seconds, temporary bytes) of a step of the same model with one layer, with two, and with `beside` where asked.

  The programs take turns, so that what changes on the machine changes for all of them; medians are returned.

  Args:
    beside: layers of a third program, to be compared with what the first two foretell.
    options: of `compile_train_step`.
  """
  layers = (1, 2, *((beside,) if beside else ()))
  programs = [compile_train_step({**section, 'num_layers': n}, vocab_size, **options) for n in layers]
  taken: list[list[float]] = [[] for _ in programs]
  for turn in range(rounds + 1):
    for program, seconds in zip(programs, taken, strict=True):
      began = clock()
      program.run()
      if turn:  # the first one warms up
        seconds.append((clock() - began) / program.steps)
  timed = zip(taken, programs, strict=True)
  return [(statistics.median(seconds), program.temporary_bytes) for seconds, program in timed]


def decoding_by_products(
  config: gpt.GPTConfig, rows: int, context: int, dtype: str, *, rounds: int = 5, clock: Clock = time.perf_counter
) -> float:
  """Seconds of one step of `rows` requests of `context` tokens: its products and its attention, each timed apart."""
  params, rows = _as_generated(config, rows, dtype)
  kind, blocks = params['token_embedding'].dtype, params['blocks']
  stacked = config.scan_layers  # in arrays of all layers
  layers = [jax.tree.map(lambda leaf: leaf[n], blocks) if stacked else blocks[str(n)] for n in range(config.num_layers)]
  multiply = jax.jit(lambda x, kernels: [_multiply(x, each) for each in kernels])
  total = 0.0
  for block, layer, width in (
    ('attention', 'qkv', config.embed_dim), ('attention', 'out', config.embed_dim),
    ('mlp', 'up', config.embed_dim), ('mlp', 'down', 4 * config.embed_dim),
  ):  # fmt: skip
    kernels = [each[block][layer]['kernel'] for each in layers]
    product = functools.partial(multiply, jnp.ones((rows, width), kind), kernels)
    total += median_seconds(lambda: jax.block_until_ready(product()), rounds, clock)
  head, x = jax.jit(table_logits), jnp.ones((rows, 1, config.embed_dim), kind)
  total += median_seconds(lambda: head(x, params['token_embedding']).block_until_ready(), rounds, clock)
  return total + _attention_seconds(config, rows, context, kind, rounds, clock)


def _attention_seconds(config: gpt.GPTConfig, rows: int, context: int, kind: Any, rounds: int, clock: Clock) -> float:
  cache = gpt.init_cache(config, rows, _slots(config), kind)
  index = jnp.full((rows,), context, jnp.int32)
  q = jnp.ones((rows, 1, config.num_heads, config.head_dim), kind)

  @functools.partial(jax.jit, donate_argnums=(0, 1))
  def attend(keys, values):
    held = [attention.update_cache(k, v, q, q, index, None) for k, v in zip(keys, values, strict=True)]
    out = [attention.attend_cached(q, k, v, index) for k, v in held]
    return [k for k, _ in held], [v for _, v in held], out

  held = [cache.keys, cache.values]

  def run():
    held[0], held[1], out = attend(*held)
    jax.block_until_ready(out)

  return median_seconds(run, rounds, clock)


def decode_step(
  config: gpt.GPTConfig, rows: int, context: int, dtype: str, *, rounds: int = 5, clock: Clock = time.perf_counter
) -> float:
  """Seconds of one real step: the whole model over its cache, and the head; what `decoding_by_products` predicts."""
  params, rows = _as_generated(config, rows, dtype)
  cache = gpt.init_cache(config, rows, _slots(config), params['token_embedding'].dtype)
  index, tokens = jnp.full((rows,), context, jnp.int32), jnp.ones((rows, 1), jnp.int32)

  @functools.partial(jax.jit, donate_argnums=1)
  def decode(params, cache):
    hidden, cache = gpt.apply_cached(params, tokens, config, cache, index)
    return jnp.argmax(gpt.head(params, hidden, config)[:, -1], -1), cache

  held = [cache]

  def run():
    token, held[0] = decode(params, held[0])
    token.block_until_ready()

  return median_seconds(run, rounds, clock)


def _as_generated(config: gpt.GPTConfig, rows: int, dtype: str) -> tuple[Any, int]:
  """Parameters and rows as `generate` decodes them on this machine: kernels turned, or rows padded (row_padding.py)."""
  init = jax.jit(lambda key: step.cast_floating(gpt.init(key, config), step.DTYPES[dtype]))
  params = init(jax.random.key(0))
  rows = max(rows, row_padding.smallest_rows(params))
  return row_padding.place_kernels(params), rows


def _multiply(x, kernel):
  return kernel.multiply(x) if isinstance(kernel, TurnedKernel) else x @ kernel.reshape(x.shape[1], -1)


def _slots(config: gpt.GPTConfig) -> int:
  """Of a cache: the context, in whole blocks."""
  block = attention.CACHE_BLOCK
  return config.context_length if config.context_length <= block else -(-config.context_length // block) * block
