"""Every layout and both forms of the step compute the gradient of the whole batch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlsd_jax.errors import UserError
from mlsd_jax.language_model.task import gpt_task
from mlsd_jax.models import gpt
from mlsd_jax.training import sharding, step
from mlsd_jax.training.optimizers import OptimizerConfig, make_optimizer
from mlsd_jax.training.task import Task

BATCH, LENGTH, STEPS = 16, 32, 20
CONFIG = gpt.GPTConfig(
  vocab_size=61, context_length=LENGTH, num_layers=2, num_heads=4, embed_dim=64, vocab_multiple=8, loss_chunks=2
)


def counting_batches(steps: int = STEPS) -> np.ndarray:
  """Sequences that count upwards from a random start: easy to learn, so twenty losses differ from each other."""
  start = np.random.default_rng(0).integers(0, 61, (steps, BATCH, 1))
  return ((start + np.arange(LENGTH + 1)) % 61).astype(np.int32)


def train(mesh_shape, kind='jit', *, accumulation=1, per_dispatch=1, config=CONFIG, weights=None, devices=None):
  task = gpt_task(config, batch_size=BATCH, length=LENGTH)
  optimizer = make_optimizer(OptimizerConfig(learning_rate=1e-3, warmup_steps=5), STEPS)
  mesh = sharding.make_mesh(mesh_shape, devices)
  init = functools.partial(step.init_state, task, optimizer)
  shardings = step.state_shardings(jax.eval_shape(init, jax.random.key(0)), task, mesh)
  state = jax.jit(init, out_shardings=shardings)(jax.random.key(0))
  train_step = step.make_train_step(task, optimizer, mesh, kind=kind, accumulation=accumulation)
  tokens, losses = counting_batches(), []
  for start in range(0, STEPS, per_dispatch):
    batch = {'tokens': tokens[start : start + per_dispatch]}
    if weights is not None:
      batch['weights'] = weights[start : start + per_dispatch]
    state, metrics = train_step(state, sharding.place_batch(batch, mesh, leading=1))
    losses += list(np.asarray(metrics['loss'][0] / metrics['loss'][1]))
  return np.array(losses), state


@pytest.fixture(scope='module')
def single_device():
  losses, state = train({'data': 1}, devices=jax.devices()[:1])
  assert losses[-1] < 0.9 * losses[0]  # it learns, so agreement below means something
  return losses, jax.device_get(state.params)


SHAPES = [{'data': 8}, {'fsdp': 8}, {'tensor': 2, 'fsdp': 4}, {'data': 2, 'fsdp': 2, 'tensor': 2}]


@pytest.mark.parametrize(
  ('shape', 'kind'), [({'data': 8}, 'pmap'), *((shape, kind) for shape in SHAPES for kind in ('jit', 'shard_map'))]
)
def test_sharded_equals_single_device(single_device, shape, kind):
  losses, state = train(shape, kind)
  np.testing.assert_allclose(losses, single_device[0], rtol=1e-5)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-4), jax.device_get(state.params), single_device[1])


@pytest.mark.parametrize('kind', step.STEP_KINDS)
def test_accumulation_and_dispatch_change_nothing(single_device, kind):
  shape = {'data': 8} if kind == 'pmap' else {'data': 2, 'fsdp': 4}
  losses, _ = train(shape, kind, accumulation=2, per_dispatch=5)
  np.testing.assert_allclose(losses, single_device[0], rtol=1e-5)


@pytest.mark.parametrize('kind', step.STEP_KINDS)
def test_unevenly_masked_batch_accumulates_to_the_big_batch(kind):
  weights = (np.random.default_rng(1).random((STEPS, BATCH, LENGTH)) < 0.5).astype(np.float32)
  weights[:, : BATCH // 2] = 1.0  # one half of the devices has twice the items of the other
  whole, _ = train({'data': 1}, weights=weights, devices=jax.devices()[:1])
  parts, _ = train({'data': 4}, kind, accumulation=4, weights=weights, devices=jax.devices()[:4])
  np.testing.assert_allclose(parts, whole, rtol=1e-5)


@pytest.mark.parametrize('shape', SHAPES[1:])
def test_pmap_is_for_data_alone(shape):
  with pytest.raises(
    UserError, match=r'train\.step=pmap splits a batch over the devices of one process and nothing else'
  ):
    train(shape, 'pmap')


@pytest.mark.parametrize('kind', ['jit', 'shard_map'])
def test_fsdp_leaves_each_device_an_eighth(kind):
  _, state = train({'fsdp': 8}, kind)
  for tree in (state.params, state.opt_state):
    leaves = jax.tree.leaves(tree)
    total = sum(leaf.nbytes for leaf in leaves)
    for device in jax.devices():
      held = sum(s.data.nbytes for leaf in leaves for s in leaf.addressable_shards if s.device == device)
      assert held < 1.1 * total / 8


def test_fsdp_gathers_parameters_and_scatters_gradients():
  """The compiled step moves parameters (all-gather), not activations, over fsdp."""
  task = gpt_task(CONFIG, batch_size=BATCH, length=LENGTH)
  optimizer = make_optimizer(OptimizerConfig(), STEPS)
  mesh = sharding.make_mesh({'fsdp': 8})
  init = functools.partial(step.init_state, task, optimizer)
  abstract = jax.eval_shape(init, jax.random.key(0))
  shardings = step.state_shardings(abstract, task, mesh)
  abstract = jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), abstract, shardings)
  batch = jax.ShapeDtypeStruct((1, BATCH, LENGTH + 1), jnp.int32, sharding=sharding.batch_sharding(mesh, leading=1))
  text = step.make_train_step(task, optimizer, mesh).lower(abstract, {'tokens': batch}).compile().as_text()
  activation = f'f32[{BATCH},{LENGTH},'  # a whole-batch activation on one device
  assert 'all-gather' in text
  assert activation not in text


def test_dropout_key_follows_the_step():
  """Two dispatches of one step and one dispatch of two draw the same masks."""
  config = gpt.GPTConfig(**{**vars(CONFIG), 'dropout': 0.2})
  one, _ = train({'data': 1}, config=config, devices=jax.devices()[:1])
  two, _ = train({'data': 1}, config=config, per_dispatch=2, devices=jax.devices()[:1])
  plain, _ = train({'data': 1}, devices=jax.devices()[:1])
  np.testing.assert_allclose(one, two, rtol=1e-5)
  assert abs(one - plain).max() > 1e-3


def test_bfloat16_keeps_float32_state():
  task = gpt_task(CONFIG, batch_size=BATCH, length=LENGTH)
  optimizer = make_optimizer(OptimizerConfig(learning_rate=1e-3), STEPS)
  mesh = sharding.make_mesh({'data': 1}, jax.devices()[:1])
  state = step.init_state(task, optimizer, jax.random.key(0))
  train_step = step.make_train_step(task, optimizer, mesh, dtype=jnp.bfloat16)
  state, metrics = train_step(state, {'tokens': counting_batches(1)})
  assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {jnp.dtype('float32')}
  reference, _ = train({'data': 1}, devices=jax.devices()[:1])
  np.testing.assert_allclose(metrics['loss'][0] / metrics['loss'][1], reference[:1], rtol=5e-3)


def test_a_weakly_typed_parameter_does_not_compile_the_step_twice():
  def loss(params, batch, key):
    error = jnp.square(params['scale'] * batch['x'] - 2.0).sum()
    return error / BATCH, {'loss': (error, jnp.float32(BATCH))}

  task = Task(init=lambda key: {'scale': jnp.asarray(1.0)}, loss=loss, evaluate=lambda params, batch: {})
  assert task.init(None)['scale'].weak_type
  optimizer, mesh = make_optimizer(OptimizerConfig(warmup_steps=1), STEPS), sharding.make_mesh({'data': 8})
  init = functools.partial(step.init_state, task, optimizer)
  shardings = step.state_shardings(jax.eval_shape(init, jax.random.key(0)), task, mesh)
  state = jax.jit(init, out_shardings=shardings)(jax.random.key(0))
  train_step = step.make_train_step(task, optimizer, mesh)
  for _ in range(3):
    state, _ = train_step(state, sharding.place_batch({'x': np.ones((1, BATCH), np.float32)}, mesh, leading=1))
  assert train_step._cache_size() == 1
