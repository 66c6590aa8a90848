"""Tower examples see no future; sampled softmax with log Q against the full softmax; the task learns."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest

from mlsd_jax.models import two_tower
from mlsd_jax.recsys.purchases import weeks
from mlsd_jax.recsys.purchases.events import DAY
from mlsd_jax.recsys.purchases.histories import Histories
from mlsd_jax.recsys.stages import tower_examples, tower_vectors, towers
from mlsd_jax.recsys.stages.factors import Factors
from mlsd_jax.recsys.stages.tower_examples import TowerBatches, held_out_users
from mlsd_jax.training import sharding, step
from mlsd_jax.training.config import TrainConfig
from mlsd_jax.training.loop import fit
from mlsd_jax.training.optimizers import OptimizerConfig, make_optimizer

SMALL = {'embed_dim': 16, 'hidden_dim': 16, 'history_length': 16, 'sequence_length': 4, 'history_code': 1}


@pytest.fixture(scope='module')
def known(made):
  return tower_examples.make_examples(made.dataset, weeks.list_cuts(made.dataset, 1)[0], 8, factor_dim=16, span=2)


@pytest.fixture(scope='module')
def data(known):
  return known[0]


@pytest.fixture(scope='module')
def spans(known):
  return known[1]


def test_histories_end_before_the_cut(made):
  events = made.dataset.events
  histories = Histories.from_events(events, made.dataset.num_users)
  rng = np.random.default_rng(0)
  users = rng.integers(0, made.dataset.num_users + 1, 50)
  cuts = rng.integers(int(events['time'][0]), int(events['time'][-1]), 50)
  found = histories.at(users, cuts, 8)
  for row in range(50):
    mine = events.filter((pl.col('user') == int(users[row])) & (pl.col('time') < int(cuts[row])))
    expected = sorted(mine['time'].to_list())[-8:]
    known = found['history'][row] >= 0
    assert known.sum() == len(expected)
    np.testing.assert_allclose(found['ages'][row][known], [(cuts[row] - t) / DAY for t in expected], atol=1e-3)
    assert set(found['history'][row][known] - 1) <= set(mine['item'].to_list())


def test_examples_lie_in_the_week_after_their_cut(made, spans):
  events = made.dataset.events
  for span in spans:
    for row in np.random.default_rng(0).choice(len(span.item), 50, replace=False):
      user, item, cut = int(span.user[row]), int(span.item[row]) - 1, int(span.cut[row])
      mine = events.filter((pl.col('user') == user) & (pl.col('item') == item))
      assert mine['time'].is_between(cut, cut + weeks.WEEK, closed='left').any()


def test_what_an_item_is_told_to_be_ends_before_its_span(made, data, spans):
  """Factors, popularity and shares of the items of a batch are those of its own weeks."""
  last = weeks.list_cuts(made.dataset, 1)[0]
  assert len(spans) > 1
  for span in spans:
    assert span.cut.max() < last
    assert (last - span.cut.min()) % weeks.WEEK == 0
    expected = Factors.at(data.histories, int(span.cut.min()), made.dataset.num_items, 16)
    np.testing.assert_array_equal(span.factors.popularity, expected.popularity)
    np.testing.assert_allclose(span.share.sum(), 1.0, rtol=1e-5)
    last = int(span.cut.min())
  batches = TowerBatches(data, spans, towers.make_model_config(data, SMALL), 64)
  per_epoch = sum(round(len(span.item) / 64) for span in spans)
  for batch, _ in zip(batches.batches(0), range(per_epoch), strict=False):
    [span] = [span for span in spans if np.array_equal(span.factors.table[batch['item']], batch['item_known'][:, :-2])]
    np.testing.assert_array_equal(span.factors.popularity[batch['negative']], batch['negative_known'][:, -2])
    np.testing.assert_array_equal(span.share[batch['item']], batch['item_known'][:, -1])
    assert (batch['item_known'][:, -1] > 0).all()


@pytest.mark.parametrize(
  ('counts', 'least', 'expected'),
  [
    ([9] * 20, 0, [(0, 4), (4, 8), (8, 12), (12, 16), (16, 20)]),
    ([9] * 10, 0, [(0, 4), (4, 10)]),
    ([9] * 20, 60, [(0, 7), (7, 20)]),
    ([9] * 20, 1000, [(0, 20)]),
    ([5], 0, [(0, 1)]),
    ([0, 0, 0], 8, [(0, 3)]),
  ],
)
def test_spans_are_of_so_many_weeks_and_examples_at_least(counts, least, expected):
  assert tower_examples._weeks_of_spans(np.array(counts), 4, least) == expected


def test_the_wide_parts_weights_are_found_before_training(data, spans):
  """From far off, where steps of the optimiser would not come in time, to where no grid point is better."""
  config = towers.make_model_config(data, SMALL)
  params = jax.device_get(two_tower.init(jax.random.key(0), config)) | {'factor_strength': np.float32(3.0)}
  batch = next(TowerBatches(data, spans, config, 64).batches(0))
  task = towers.tower_task(config, data, batch_size=64)
  loss = jax.jit(lambda params: towers.loss_of_tables(task, params, batch))
  found = towers.fit_wide_weights(task, params, batch)
  assert loss(found) < loss(params) - 1
  for strength in np.linspace(-3, 3, 13):
    for weight in np.linspace(0, 1.5, 7):
      grid = params | {'factor_strength': np.float32(strength), 'popularity_weight': np.float32(weight)}
      assert loss(found) <= loss(grid) + 1e-4
  unlike = [name for name in params if name not in ('factor_strength', 'popularity_weight')]
  jax.tree.map(np.testing.assert_array_equal, *({name: tree[name] for name in unlike} for tree in (found, params)))


def test_batches_are_the_same_from_any_start(data, spans):
  config = towers.make_model_config(data, SMALL)
  batches = TowerBatches(data, spans, config, 16)
  stream = batches.batches(0)
  for _ in range(3):
    third = next(stream)
  again = next(batches.batches(2))
  for name in third:
    np.testing.assert_array_equal(third[name], again[name])


def test_log_q_makes_the_sampled_softmax_unbiased(data, spans):
  """The gradient over many batches points where that of the full softmax does; without log Q it does not."""
  config = dataclasses.replace(towers.make_model_config(data, SMALL), sequence_length=0)
  params = two_tower.init(jax.random.key(0), config)
  batches = TowerBatches(data, spans[:1], config, 64)  # the full softmax knows of no other
  codes = jnp.asarray(data.codes)

  def full(table, batch):
    changed = params | {'item_table': table}
    users = two_tower.user_vectors(
      changed, *(batch[name] for name in ('history', 'ages', 'factors', 'user_codes')), codes, config
    )
    items = two_tower.item_vectors(changed, jnp.arange(len(codes)), data.items, config)
    logits = (users @ items.T).at[:, 0].set(-1e9)
    return (jax.nn.logsumexp(logits, 1) - jnp.take_along_axis(logits, batch['item'][:, None], 1)[:, 0]).mean()

  def mean_gradient(loss):
    gradient = jax.jit(jax.grad(loss))
    stream = batches.batches(0)
    return sum(gradient(params['item_table'], next(stream)) for _ in range(40)) / 40

  def sampled(log_q):
    task = towers.tower_task(config, data, batch_size=64, log_q=log_q)
    return mean_gradient(lambda table, batch: towers.loss_of_tables(task, params | {'item_table': table}, batch))

  expected = mean_gradient(full)
  off = lambda found: float(jnp.linalg.norm(found - expected) / jnp.linalg.norm(expected))
  assert off(sampled(True)) < 0.25
  assert off(sampled(True)) < 0.7 * off(sampled(False))


def test_a_users_other_purchases_are_no_negatives(data, spans):
  config = towers.make_model_config(data, SMALL)
  params = two_tower.init(jax.random.key(0), config)
  batch = next(TowerBatches(data, spans, config, 8).batches(0))
  batch = {name: np.repeat(array[:1], 8, 0) for name, array in batch.items()}
  batch['item'] = np.arange(1, 9)
  task = towers.tower_task(config, data, batch_size=8, uniform_negatives=False)
  # Eight purchases of one user: each stands alone, so there is nothing to choose from and nothing to lose.
  assert float(towers.loss_of_tables(task, params, batch)) == pytest.approx(0.0, abs=1e-5)


def test_the_towers_learn(made, data, spans, tmp_path):
  config = towers.make_model_config(data, SMALL)
  optimizer = OptimizerConfig(name='rowwise_adagrad', learning_rate=3e-3, table_learning_rate=0.1, weight_decay=0.0)
  train = TrainConfig(steps=60, batch_size=64, optimizer=optimizer, steps_per_dispatch=10, eval_every=1000)
  cut = weeks.list_cuts(made.dataset, 1)[0]
  held_out = held_out_users(data, config, weeks.find_targets(made.dataset, cut), data.histories, 64)
  task = towers.tower_task(config, data, batch_size=64)
  before = towers.tower_task(config, data, batch_size=64).evaluate(
    two_tower.init(jax.random.key(0), config), next(held_out.batches())
  )
  result = fit(task, TowerBatches(data, spans, config, 64), held_out, train, tmp_path)
  assert result.metrics['loss'] < float(before['loss'][0] / before['loss'][1]) - 0.3


def test_a_users_vector_is_its_own_whoever_stands_beside(made, data):
  config = towers.make_model_config(data, SMALL)
  params = two_tower.init(jax.random.key(0), config)
  items = tower_vectors.compute_item_vectors(params, data, config)
  assert items.shape[0] == made.dataset.num_items
  cut = weeks.list_cuts(made.dataset, 1)[0]
  vectors = lambda rows: tower_vectors.compute_user_vectors(params, data, config, data.histories, np.array(rows), cut)
  together = vectors([0, 1, 2, 3, 4])
  assert together.shape == (5, items.shape[1])
  np.testing.assert_allclose(vectors([3, 1])[:, :], together[[3, 1]], rtol=1e-4, atol=1e-5)
  assert not np.allclose(together[0], together[1], atol=1e-3)


@pytest.mark.parametrize('rows_multiple', [1, 8])
def test_of_large_tables_the_rows_of_a_batch_are_updated(data, spans, rows_multiple):
  """Each form of the step, on split tables, as on whole ones of one device; what fills a table up stays as it was."""
  config = dataclasses.replace(towers.make_model_config(data, SMALL), rows_multiple=rows_multiple)
  batch = next(TowerBatches(data, spans, config, 16).batches(0))
  codes = np.pad(data.codes, ((0, 3000), (0, 0)))
  config = dataclasses.replace(config, num_items=len(codes) - 1)
  task = towers.tower_task(config, dataclasses.replace(data, codes=codes), batch_size=16)
  optimizer = make_optimizer(OptimizerConfig(name='sgd', beta1=0.0, learning_rate=0.1, schedule='constant'), 100)
  make = functools.partial(step.init_state, task, optimizer)
  states = []
  forms = (False, 'jit', {'data': 1}), (True, 'jit', {'fsdp': 8}), (True, 'shard_map', {'fsdp': 8})
  for by_rows, kind, shape in forms:
    mesh = sharding.make_mesh(shape, jax.devices()[: shape.get('fsdp', 1)])
    where = step.state_shardings(jax.eval_shape(make, jax.random.key(0)), task, mesh)
    state = jax.jit(make, out_shardings=where)(jax.random.key(0))
    assert rows_multiple == 1 or len(state.params['item_table'].sharding.device_set) == mesh.size
    run = step.make_train_step(task, optimizer, mesh, kind=kind, by_rows=by_rows)
    before = jax.device_get(state.params['item_table'])
    state, _ = run(state, sharding.place_batch({name: x[None] for name, x in batch.items()}, mesh, leading=1))
    states.append(jax.device_get((state.params, state.opt_state)))
    np.testing.assert_array_equal(states[-1][0]['item_table'][len(codes) :], before[len(codes) :])
  for other in states[1:]:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6), other, states[0])
