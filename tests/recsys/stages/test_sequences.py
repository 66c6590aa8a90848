"""The sequence model: its examples against loops, its task in each form of the step; it learns what comes next."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlsd_jax.ann import IndexConfig
from mlsd_jax.models import sequential
from mlsd_jax.models.sequential import SequentialConfig
from mlsd_jax.recsys.purchases.events import DAY
from mlsd_jax.recsys.purchases.histories import Histories
from mlsd_jax.recsys.stages import sequence_examples
from mlsd_jax.recsys.stages.candidates import Candidates
from mlsd_jax.recsys.stages.sequence_examples import SequenceBatches
from mlsd_jax.recsys.stages.sequence_source import SequenceSource
from mlsd_jax.recsys.stages.sequences import sequence_task
from mlsd_jax.training import sharding, step
from mlsd_jax.training.config import TrainConfig
from mlsd_jax.training.loop import fit
from mlsd_jax.training.optimizers import OptimizerConfig, make_optimizer

ITEMS, T = 12, 4
MODEL = SequentialConfig(ITEMS, sequence_length=T, embed_dim=8, num_layers=1, num_heads=2, dropout=0.0)


def make_histories(sizes=(9, 0, 1, 6, 4), seed=0):
  """Users of so many events, several of which fall on one moment; one more whom nobody knows."""
  rng = np.random.default_rng(seed)
  start = np.concatenate([[0], np.cumsum([*sizes, 0])])
  times = [np.sort(rng.integers(0, 12, size)) * DAY for size in sizes]
  return Histories(start, rng.integers(1, ITEMS + 1, start[-1]), np.concatenate(times).astype(np.int32), 0)


@pytest.fixture(scope='module')
def cycle():
  """Forty users each of whom goes round the items, one a day."""
  start = np.append(np.arange(0, 41 * 9, 9), 40 * 9)
  first = np.random.default_rng(0).integers(0, ITEMS, 40)[:, None]
  items = 1 + (first + np.arange(9)) % ITEMS
  return Histories(start, items.reshape(-1), np.tile(np.arange(9) * DAY, 40).astype(np.int32), 0)


@pytest.mark.parametrize('horizon', [0.0, 1.0, 3.0, 100.0])
def test_what_follows_an_event_against_a_loop(horizon):
  histories = make_histories((9, 0, 1, 16))
  first, stop = sequence_examples.find_following(histories, horizon)
  for user, (begin, end) in enumerate(zip(histories.start, histories.start[1:], strict=False)):
    for event in range(begin, end):
      if horizon:
        apart = [(histories.time[other] - histories.time[event]) / DAY for other in range(begin, end)]
        expected = [begin + place for place, days in enumerate(apart) if 0 < days <= horizon]
      else:
        expected = [event + 1] if event + 1 < end else []
      assert list(range(first[event], stop[event])) == expected, (user, event)


@pytest.mark.parametrize('horizon', [0.0, 2.0])
def test_an_epoch_shows_each_event_once_with_one_that_followed(horizon):
  histories = make_histories()
  batches = SequenceBatches(histories, ITEMS, length=T, batch_size=1, horizon=horizon)
  first, stop = sequence_examples.find_following(histories, horizon)
  shown = []
  for batch, _ in zip(batches.batches(0), range(len(batches)), strict=False):
    known = batch['history'][0] >= 0
    assert not batch['weights'][0][~known].any()
    for place in np.flatnonzero(batch['weights'][0]):
      events = np.flatnonzero((histories.item == batch['history'][0, place]) & (stop > first))
      fits = [event for event in events if batch['target'][0, place] in histories.item[first[event] : stop[event]]]
      assert any(histories.time[event] == batch['times'][0, place] for event in fits)
      shown.append(batch['history'][0, place])
  assert sorted(shown) == sorted(histories.item[stop > first])


def test_batches_are_the_same_from_any_start_and_rows_are_of_the_whole():
  batches = SequenceBatches(make_histories(), ITEMS, length=T, batch_size=6, horizon=2.0)
  third = [batch for batch, _ in zip(batches.batches(0), range(3), strict=False)][2]
  jax.tree.map(np.testing.assert_array_equal, next(batches.batches(2)), third)
  half = next(batches.batches(2, slice(2, 4)))
  jax.tree.map(np.testing.assert_array_equal, half, {name: array[2:4] for name, array in third.items()})


@pytest.mark.parametrize('popular', [0.0, 0.5, 1.0])
def test_negatives_come_as_often_as_is_said(popular):
  batches = SequenceBatches(make_histories(), ITEMS, length=T, batch_size=8, negatives=50, popular=popular)
  drawn = [batch for batch, _ in zip(batches.batches(0), range(100), strict=False)]
  counts = np.bincount(np.concatenate([batch['negative'].ravel() for batch in drawn]), minlength=ITEMS + 1)[1:] / 100
  expected = np.zeros(ITEMS)
  for batch in drawn:
    expected[batch['negative'].ravel() - 1] = np.exp(batch['log_expected'].ravel())
  np.testing.assert_allclose(counts, expected, rtol=0.1)
  assert expected.sum() == pytest.approx(8 * 50, rel=1e-4)


def looked_up(task, params, batch):
  ids = task.lookups(batch) if task.lookups else {}
  return params | {path: params[path][rows] for path, rows in ids.items()}


def test_drawn_items_that_are_all_items_give_the_softmax():
  params = sequential.init(jax.random.key(0), MODEL)
  batch = next(SequenceBatches(make_histories(), ITEMS, length=T, batch_size=3, negatives=4).batches(0))
  batch |= {'negative': np.arange(1, 13, dtype=np.int32).reshape(3, 4), 'log_expected': np.zeros((3, 4), np.float32)}
  losses = []
  for loss in ('sampled_softmax', 'softmax'):
    task = sequence_task(MODEL, batch_size=3, loss=loss)
    losses.append(float(task.loss(looked_up(task, params, batch), batch, None)[0]))
  assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize('loss', ['sampled_softmax', pytest.param('softmax', marks=pytest.mark.slow)])
def test_each_form_of_the_step_on_split_tables_as_on_one_device(loss):
  config = SequentialConfig(
    255, sequence_length=T, embed_dim=8, num_layers=1, num_heads=2, dropout=0.0, rows_multiple=8
  )
  batch = next(SequenceBatches(make_histories(), ITEMS, length=T, batch_size=8).batches(0))
  task = sequence_task(config, batch_size=8, loss=loss)
  optimizer = make_optimizer(OptimizerConfig(name='sgd', beta1=0.0, learning_rate=0.1, schedule='constant'), 100)
  make = functools.partial(step.init_state, task, optimizer)
  states = []
  for kind, shape in (('jit', {'data': 1}), ('jit', {'fsdp': 8}), ('shard_map', {'fsdp': 8})):
    mesh = sharding.make_mesh(shape, jax.devices()[: shape.get('fsdp', 1)])
    where = step.state_shardings(jax.eval_shape(make, jax.random.key(0)), task, mesh)
    state = jax.jit(make, out_shardings=where)(jax.random.key(0))
    run = step.make_train_step(task, optimizer, mesh, kind=kind)
    state, _ = run(state, sharding.place_batch({name: x[None] for name, x in batch.items()}, mesh, leading=1))
    states.append(jax.device_get(state.params))
  for other in states[1:]:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6), other, states[0])


@pytest.mark.parametrize(
  ('kind', 'loss'), [('sasrec', 'sampled_softmax'), pytest.param('hstu', 'gbce', marks=pytest.mark.slow)]
)
def test_it_learns_what_comes_next(cycle, kind, loss, tmp_path):
  config = SequentialConfig(ITEMS, kind=kind, sequence_length=9, embed_dim=16, num_layers=1, dropout=0.0)
  popular = 0.0 if loss == 'gbce' else 0.5
  batches = SequenceBatches(cycle, ITEMS, length=9, batch_size=16, popular=popular)
  train = TrainConfig(
    steps=60, batch_size=16, steps_per_dispatch=10, optimizer=OptimizerConfig(learning_rate=0.02, weight_decay=0.0)
  )
  task = sequence_task(config, batch_size=16, loss=loss)
  source = SequenceSource.build(fit(task, batches, None, train, tmp_path).params, config, IndexConfig(kind='exact'))
  users = np.arange(40)
  best = (source.users(cycle, users, 9 * DAY) @ source.items.T).argmax(1)
  np.testing.assert_array_equal(best, cycle.item[9 * users + 8] % ITEMS)


def test_a_user_without_a_history_gets_no_candidates_and_a_new_item_no_score():
  source = SequenceSource.build(sequential.init(jax.random.key(0), MODEL), MODEL, IndexConfig(kind='exact'))
  histories = make_histories()
  vectors = source.users(histories, np.array([0, 1, 5]), 20 * DAY)
  assert vectors[0].any()
  assert not vectors[1:].any()
  np.testing.assert_allclose(source.users(histories, np.array([0]), 20 * DAY)[0], vectors[0], rtol=1e-5, atol=1e-6)
  items, _ = source.source(vectors)(None, np.array([0, 1, 5]), 3)
  assert (items[0] >= 0).all()
  assert (items[1:] == -1).all()
  found = Candidates(
    np.array([0]), np.array([0, 2]), np.array([3, ITEMS + 5], np.int32), np.zeros((2, 1), np.int16),
    np.zeros((2, 1), np.float32), ('sequence',),
  )  # fmt: skip
  products = np.array([vectors[0] @ source.items[3], 0.0])
  expected = (products - products.mean()) / products.std()
  np.testing.assert_allclose(source.scored(found, vectors[:1]).score[:, 0], expected, rtol=1e-3, atol=1e-3)


def test_evaluation_weighs_real_users_alone():
  histories = make_histories()
  params = sequential.init(jax.random.key(0), MODEL)
  task = sequence_task(MODEL, batch_size=4)
  of_user, item = np.array([0, 0, 3]), np.array([4, 7, 2])
  rows = [sequence_examples.held_out(histories, np.array([0, 3]), 20 * DAY, of_user, item, T, size) for size in (2, 4)]
  exact, filled = (task.evaluate(params, next(each.batches())) for each in rows)
  for name in exact:
    np.testing.assert_allclose(jnp.stack(exact[name]), jnp.stack(filled[name]), rtol=1e-5)
  assert float(exact['loss'][1]) == 3
