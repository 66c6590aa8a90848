"""Updates of the rows that a batch looks up are those of the whole tables."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlsd_jax.training import row_updates, sharding, step
from mlsd_jax.training.optimizers import OptimizerConfig, make_optimizer
from mlsd_jax.training.task import Task

ROWS, WIDTH, BATCH, STEPS = 512, 8, 16, 6
RULES = (('_tables?(/[0-9]+)?$', ('rows', None)),)


def lookups(batch):
  return {'big_table': batch['ids'].reshape(-1), 'code_tables/0': batch['ids'][:, 0] % 5}


def make_task() -> Task:
  """A regression on rows of a large table, looked up three times an example, and of a small one."""

  def init(key):
    big, small, kernel = jax.random.split(key, 3)
    table = lambda key, rows: 0.1 * jax.random.normal(key, (rows, WIDTH))
    return {'big_table': table(big, ROWS), 'code_tables': {'0': table(small, 5)}, 'kernel': table(kernel, WIDTH)}

  def metrics_of(params, batch):
    x_BD = params['big_table'].reshape(*batch['ids'].shape, WIDTH).sum(1) + params['code_tables']['0']
    error_B = jnp.square(jnp.tanh(x_BD @ params['kernel']).sum(-1) - batch['wanted'])
    return {'loss': (error_B.sum(), jnp.float32(len(error_B)))}

  def loss(params, batch, key):
    del key
    metrics = metrics_of(params, batch)
    return metrics['loss'][0] / metrics['loss'][1], metrics

  evaluate = lambda params, batch: metrics_of(row_updates.take(params, lookups(batch)), batch)
  return Task(init, loss, evaluate, lookups, RULES)


def made_batches() -> dict[str, np.ndarray]:
  rng = np.random.default_rng(0)
  ids = rng.integers(0, ROWS, (STEPS, BATCH, 3)).astype(np.int32)
  ids[:, :, 1] = ids[:, :1, 0]  # one row that every example looks up
  ids[:, :2, 2] = ROWS - 1
  return {'ids': ids, 'wanted': rng.normal(size=(STEPS, BATCH)).astype(np.float32)}


def train(by_rows, mesh_shape=None, devices=None, **keywords):
  task = make_task()
  optimizer = make_optimizer(
    OptimizerConfig(name='rowwise_adagrad', learning_rate=0.01, schedule='constant', clip_norm=0.5), STEPS
  )
  mesh = sharding.make_mesh(mesh_shape or {'data': 1}, devices or jax.devices()[:1])
  init = functools.partial(step.init_state, task, optimizer)
  shardings = step.state_shardings(jax.eval_shape(init, jax.random.key(0)), task, mesh)
  state = jax.jit(init, out_shardings=shardings)(jax.random.key(0))
  run = step.make_train_step(task, optimizer, mesh, by_rows=by_rows, **keywords)
  before = jax.device_get(state.params)
  state, metrics = run(state, sharding.place_batch(made_batches(), mesh, leading=1))
  return before, jax.device_get((state.params, state.opt_state)), jax.device_get(metrics)


def assert_close(first, second):
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), first, second)


@pytest.fixture(scope='module')
def whole():
  return train(by_rows=False)


def test_rows_alone_are_updated_as_whole_tables_are(whole):
  before, state, metrics = train(by_rows=True)
  assert_close((state, metrics), whole[1:])
  looked_up = np.unique(made_batches()['ids'])
  untouched = np.setdiff1d(np.arange(ROWS), looked_up)
  moved = np.abs(state[0]['big_table'] - before['big_table']).max(1)
  assert moved[looked_up].min() > 0
  assert not moved[untouched].any()


@pytest.mark.parametrize('shape', [{'data': 8}, {'tensor': 8}, {'data': 2, 'fsdp': 2, 'tensor': 2}])
def test_tables_split_over_devices(whole, shape):
  assert_close(train(True, shape, jax.devices())[1:], whole[1:])


@pytest.mark.parametrize('keywords', [{'kind': 'shard_map'}, {'accumulation': 2}])
def test_every_form_of_the_step_updates_the_rows(whole, keywords):
  assert_close(train(True, {'data': 2, 'fsdp': 2, 'tensor': 2}, jax.devices(), **keywords)[1:], whole[1:])


def test_few_rows_are_taken_of_large_tables_only():
  task = make_task()
  params, batch = task.init(jax.random.key(0)), {name: x[0] for name, x in made_batches().items()}
  distinct = row_updates.find_distinct(task, params, batch)
  assert list(distinct) == ['big_table']
  rows, ids = distinct['big_table'], batch['ids'].reshape(-1)
  np.testing.assert_array_equal(rows[row_updates.find_places(rows, ids)], ids)
  assert (np.diff(rows) > 0).all()
  taken = row_updates.take(params, distinct)
  assert_close(row_updates.put(params, taken, distinct), params)


def _operations(jaxpr):
  """Names of the operations whose result is as large as the table, of nested functions too."""
  for equation in jaxpr.eqns:
    inner = [value for value in equation.params.values() if hasattr(value, 'eqns') or hasattr(value, 'jaxpr')]
    if inner:
      for value in inner:
        yield from _operations(getattr(value, 'jaxpr', value))
    elif any(out.aval.shape == (ROWS, WIDTH) for out in equation.outvars):
      yield equation.primitive.name


def test_no_more_is_done_with_a_whole_table_than_to_put_rows_into_it():
  task, optimizer = make_task(), make_optimizer(OptimizerConfig(name='rowwise_adagrad', clip_norm=1.0), STEPS)
  state = step.init_state(task, optimizer, jax.random.key(0))
  batch = {name: jnp.asarray(x[:1]) for name, x in made_batches().items()}

  def operations(by_rows):
    run = step.make_train_step(task, optimizer, sharding.make_mesh({'data': 1}, jax.devices()[:1]), by_rows=by_rows)
    return list(_operations(jax.make_jaxpr(run)(state, batch).jaxpr))

  assert operations(by_rows=True) == ['scatter']
  assert len(operations(by_rows=False)) > 3
