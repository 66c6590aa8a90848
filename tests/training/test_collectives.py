"""What devices send each other in a compiled step: parameters gathered once, gradients reduced once, logits never."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from mlsd_jax.compilation import compile_program, count, open_hardware, train_program
from mlsd_jax.language_model.task import GPT_RULES, gpt_task
from mlsd_jax.models import gpt, modern_gpt
from mlsd_jax.models.decoder_config import ModernGPTConfig
from mlsd_jax.training import sharding
from mlsd_jax.training.config import TrainConfig

BATCH, LENGTH, WIDTH, VOCAB = 32, 128, 64, 1024
MODEL = gpt.GPTConfig(vocab_size=VOCAB, context_length=LENGTH, num_layers=2, num_heads=8, embed_dim=WIDTH)
TABLE = VOCAB * WIDTH * 4  # bytes of the largest parameter
LARGE = WIDTH * WIDTH * 4  # bytes; of matrices, not of biases and norms


def compiled(step, mesh, hardware='8xcpu', model=MODEL, **settings):
  config = TrainConfig(steps=10, batch_size=BATCH, step=step, mesh={'data': 1, **mesh}, **settings)
  task = gpt_task(model, batch_size=BATCH, length=LENGTH)
  tokens = jax.ShapeDtypeStruct((BATCH, LENGTH + 1), jnp.int32)
  report = compile_program(train_program(task, config, {'tokens': tokens}), open_hardware(hardware))
  assert not report.failure, report.failure
  return report


def sent(report, kind, axis):
  """Bytes of all exchanges of a kind over an axis, rounds of loops counted."""
  return sum(each.bytes * each.times for each in report.collectives if each.kind == kind and each.axes == (axis,))


@pytest.fixture(scope='module')
def state_bytes():
  shapes = jax.eval_shape(lambda: gpt.init(jax.random.key(0), MODEL))
  return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))


@pytest.mark.parametrize('accumulation', [1, 4])
def test_per_device_each_parameter_is_gathered_and_reduced_once(state_bytes, accumulation):
  model = dataclasses.replace(MODEL, loss_chunks=2)
  report = compiled('shard_map', {'fsdp': 8}, model=model, accumulation=accumulation)
  assert not any(each.in_loop for each in report.collectives)
  assert 0.99 * state_bytes < sent(report, 'all-gather', 'fsdp') < 1.01 * state_bytes
  assert 0.99 * state_bytes < sent(report, 'reduce-scatter', 'fsdp') < 1.01 * state_bytes
  assert count(report.collectives, least=LARGE)['all-reduce', ('fsdp',)] == 0


def test_microbatches_are_exchanged_once_in_the_global_view_too(state_bytes):
  report = compiled('jit', {'fsdp': 8}, accumulation=4)
  assert not any(each.in_loop for each in report.collectives if each.bytes >= LARGE)
  assert sent(report, 'all-gather', 'fsdp') < 1.01 * state_bytes


def test_in_the_global_view_no_parameter_is_sent_twice(state_bytes):
  """(A CPU has no reduce-scatter: it reduces and cuts.)"""
  report = compiled('jit', {'fsdp': 8})
  assert not any(each.in_loop for each in report.collectives if each.bytes >= LARGE)
  assert {kind for kind, _ in count(report.collectives)} == {'all-gather', 'all-reduce'}
  assert sent(report, 'all-gather', 'fsdp') < 1.01 * state_bytes
  assert sent(report, 'all-reduce', 'fsdp') < 1.01 * state_bytes


@pytest.mark.parametrize(('step', 'chunks'), [('jit', 1), ('jit', 4), ('shard_map', 1), ('pmap', 1)])
def test_data_parallel_reduces_gradients_alone(state_bytes, step, chunks):
  """The tied embedding's too, which is used twice, once."""
  report = compiled(step, {'data': 8}, model=dataclasses.replace(MODEL, loss_chunks=chunks))
  assert {kind for kind, _ in count(report.collectives)} == {'all-reduce'}
  assert 0.99 * state_bytes < sent(report, 'all-reduce', 'data') < 1.02 * state_bytes


@pytest.mark.parametrize('mesh', [{'data': 8}, {'fsdp': 8}, {'fsdp': 4, 'tensor': 2}])
def test_a_modern_decoder_reduces_a_tied_head_once(mesh):
  model = ModernGPTConfig(VOCAB, LENGTH, num_layers=2, num_heads=8, embed_dim=WIDTH, tied_head=True)
  report = compiled('jit', mesh, model=model)
  shapes = jax.eval_shape(lambda: modern_gpt.init(jax.random.key(0), model))
  state = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))
  [axis] = set(mesh) - {'tensor'}
  over_rows = [each for each in report.collectives if each.axes != ('tensor',)]
  assert {each.kind for each in over_rows} <= {'all-gather', 'all-reduce'}
  assert sent(report, 'all-reduce', axis) < 1.02 * state / mesh.get('tensor', 1)


@pytest.mark.parametrize('step', ['jit', 'shard_map'])
def test_heads_and_inner_widths_send_activations_alone(step):
  """Over tensor neither a kernel nor its gradient is sent, in training with heads that the axis divides."""
  report = compiled(step, {'tensor': 8})
  largest = max(report.collectives, key=lambda each: each.bytes)
  assert largest.bytes <= BATCH * LENGTH * WIDTH * 4  # an activation; logits are 16 times as many
  assert sent(report, 'all-gather', 'tensor') < 3 * LARGE, largest


def test_over_fsdp_and_tensor_each_device_gathers_its_part_alone():
  """Half of heads, inner widths and vocabulary, whole over fsdp: over tensor no parameter is sent."""
  report = compiled('shard_map', {'fsdp': 4, 'tensor': 2})
  params = jax.eval_shape(lambda: gpt.init(jax.random.key(0), MODEL))
  specs = sharding.tree_specs(params, GPT_RULES, sharding.make_mesh({'fsdp': 4, 'tensor': 2}))
  leaves = zip(jax.tree.leaves(params), jax.tree.leaves(specs), strict=True)
  part = sum(leaf.size * 4 // (1 + ('tensor' in spec)) for leaf, spec in leaves if 'fsdp' in spec)
  assert 0.99 * part < sent(report, 'all-gather', 'fsdp') < 1.01 * part
  assert 0.99 * part < sent(report, 'reduce-scatter', 'fsdp') < 1.01 * part
  assert sent(report, 'all-gather', 'tensor') < LARGE


def test_temporaries_fall_with_remat_chunks_and_accumulation():
  """What --mode=compile proposes where a step does not fit does make it smaller."""
  plain = compiled('shard_map', {'data': 8}).temporaries
  smaller = dataclasses.replace(MODEL, loss_chunks=4, remat='full')
  chunked = compiled('shard_map', {'data': 8}, model=smaller).temporaries
  small = compiled('shard_map', {'data': 8}, model=smaller, accumulation=4).temporaries
  assert small < 0.8 * chunked < 0.8 * 0.8 * plain


def test_a_tpu_reduces_once_and_splits_its_fused_attention():
  """Compiled with libtpu where that is installed: uv run --with 'jax[tpu]' pytest tests/training/test_collectives.py"""
  pytest.importorskip('libtpu', reason="the TPU's compiler is not installed; uv run --with 'jax[tpu]' brings it")
  model = dataclasses.replace(MODEL, attention='splash', num_heads=2, embed_dim=256)
  report = compiled('shard_map', {'fsdp': 4}, 'v5e:2x2', model, dtype='bfloat16')
  assert report.kernels
  # Matrices are scattered, of whatever dimensions; biases, norms and the few positions are summed together.
  assert sent(report, 'all-reduce', 'fsdp') < 0.05 * sent(report, 'reduce-scatter', 'fsdp')
  assert {each.dtype for each in report.collectives if each.bytes >= LARGE} == {'bf16'}
