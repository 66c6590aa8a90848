"""What a server of a language model runs on its devices, as Programs: reading a prompt, decoding over all slots."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mlsd_jax.compilation.program import Program
from mlsd_jax.generation import programs, sampling
from mlsd_jax.generation.decoders import cache_slots, make_decoder
from mlsd_jax.generation.requests import MAX_LOGPROBS
from mlsd_jax.models.families import DecoderConfig, functions_of
from mlsd_jax.training import sharding
from mlsd_jax.training.step import cast_floating

_PART = 128  # tokens of a prompt that are read at a time
_STEPS = 16  # of a dispatch


@dataclasses.dataclass(frozen=True)
class Slots:
  """Texts that are written at once: on all devices together, each text on one (or on those that share its heads)."""

  rows: int
  dtype: Any = jnp.bfloat16


def decoding_programs(
  config: DecoderConfig, rules: sharding.Rules, mesh: Mapping[str, int], slots: Slots
) -> list[Program]:
  """'prefill' and 'decode' with a cache of the model's whole context a slot.

  Args:
    rules: where parameters lie. Only the tensor axis splits them: gathered for every token, fsdp would be the most of
      the work.
  """
  decoder = make_decoder(config, config.vocab_size)
  init = lambda: cast_floating(functions_of(config).init(jax.random.key(0), config), slots.dtype)
  params = jax.eval_shape(init)
  slot_length = cache_slots(config.context_length, config.context_length)
  cache = jax.eval_shape(lambda: decoder.init_cache(_Typed(slots.dtype), slots.rows, slot_length))
  vocab = (slots.rows, config.vocab_size)
  marks = sampling.Marks(_shape(vocab), _shape(vocab, jnp.bool_), _shape(vocab, jnp.int32))
  number = lambda dtype=jnp.int32: _shape((slots.rows,), dtype)
  settings = sampling.Settings.stack([sampling.GREEDY] * slots.rows)
  rows = programs.Rows(number(), number(), number(), number(), number(jnp.bool_), settings)

  def placed(mesh: Mesh) -> tuple[Any, Any]:
    keep_tensor = lambda spec: PartitionSpec(*(axis if axis == 'tensor' else None for axis in spec))
    specs = jax.tree.map(keep_tensor, sharding.tree_specs(params, rules, mesh))
    heads = 'tensor' if cache.keys[0].shape[1] % mesh.shape['tensor'] == 0 else None
    over_rows = sharding.BATCH_AXES if slots.rows % (mesh.shape['data'] * mesh.shape['fsdp']) == 0 else None
    of_cache = NamedSharding(mesh, PartitionSpec(over_rows, heads))
    where = jax.tree.map(lambda spec: NamedSharding(mesh, spec), specs)
    return jax.tree.map(_at, params, where), jax.tree.map(lambda leaf: _at(leaf, of_cache), cache)

  def lower_prefill(mesh: Mesh) -> jax.stages.Lowered:
    held, filled = placed(mesh)
    whole = sharding.replicated(mesh)
    of_row = _at(_shape((1,), jnp.int32), whole)
    tokens = _at(_shape((1, _PART), jnp.int32), whole)
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
      return programs.read.lower(decoder, held, tokens, filled, of_row, of_row, of_row)

  def lower_decode(mesh: Mesh) -> jax.stages.Lowered:
    held, filled = placed(mesh)
    whole = sharding.replicated(mesh)
    everywhere = lambda tree: jax.tree.map(lambda leaf: _at(leaf, whole), tree)
    uniform = _shape((_STEPS, slots.rows, 2))
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
      return programs.decode.lower(
        decoder, _STEPS, MAX_LOGPROBS, held, filled, everywhere(marks), everywhere(rows), everywhere(uniform)
      )

  return [Program('prefill', mesh, lower_prefill), Program('decode', mesh, lower_decode)]


def batched_program(
  name: str, function: Callable[..., Any], params: Any, batch: Mapping[str, Any], rules: sharding.Rules, mesh: Any
) -> Program:
  """`function(params, batch)` with the batch over data and fsdp, and parameters where the rules say, but for fsdp."""

  def lower(mesh: Mesh) -> jax.stages.Lowered:
    specs = sharding.tree_specs(params, rules, mesh)
    where = jax.tree.map(lambda spec: NamedSharding(mesh, sharding.without_axis(spec, 'fsdp')), specs)
    rows = sharding.batch_sharding(mesh)
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
      return jax.jit(function).lower(
        jax.tree.map(_at, params, where), {name: _at(leaf, rows) for name, leaf in batch.items()}
      )

  return Program(name, mesh, lower)


class _Typed(dict):
  """Parameters of which a cache asks for the dtype alone."""

  def __init__(self, dtype: Any):
    super().__init__(token_embedding=np.zeros((), dtype))


def _shape(shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.ShapeDtypeStruct:
  return jax.ShapeDtypeStruct(shape, dtype)


def _at(leaf: Any, where: NamedSharding) -> jax.ShapeDtypeStruct:
  return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where)
