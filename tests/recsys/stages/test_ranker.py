"""Groups, prior correction and losses of the ranker."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsd_jax.data.batches import slices
from mlsd_jax.models import adapter, sparsenn
from mlsd_jax.models.sparsenn import SparseNNConfig
from mlsd_jax.recsys.stages import features, ranker
from mlsd_jax.recsys.stages.candidates import Candidates
from mlsd_jax.recsys.stages.labels import Labels
from mlsd_jax.recsys.stages.ranker import LossConfig
from mlsd_jax.recsys.stages.ranker_examples import make_groups
from mlsd_jax.recsys.stages.scorer import RankerInputs, Scorer
from mlsd_jax.training import row_updates, sharding, step
from mlsd_jax.training.config import TrainConfig
from mlsd_jax.training.loop import fit
from mlsd_jax.training.optimizers import OptimizerConfig, make_optimizer

CODES = np.zeros((51, 1), np.int32)


def _problem(users: int, each: int, seed: int = 0, rate: float = -2.5):
  """Candidates whose log-odds are `rate` plus their first dense feature."""
  rng = np.random.default_rng(seed)
  number = users * each
  dense = rng.normal(size=(number, 2)).astype(np.float32)
  bought = rng.random(number) < 1 / (1 + np.exp(-(rate + dense[:, 0])))
  item = np.tile(np.arange(each, dtype=np.int32), users)
  candidates = Candidates(
    np.arange(users, dtype=np.int32),
    np.arange(users + 1) * each,
    item,
    np.ones((number, 1), np.int16),
    np.ones((number, 1), np.float32),
    ('a',),
  )
  user_codes, bags = np.zeros((users, 0), np.int32), np.zeros((users, 1), np.int32)
  inputs = RankerInputs(dense, item + 1, candidates.row, user_codes, bags, np.zeros(number, np.float32))
  return candidates, inputs, Labels(bought, bought, bought.astype(np.float32))


@given(st.integers(2, 12), st.integers(2, 30), st.integers(0, 5))
def test_groups_keep_purchases_and_say_what_they_left_out(size, each, seed):
  candidates, inputs, labels = _problem(6, each, seed, rate=-1.0)
  groups = make_groups(candidates, inputs, labels, size=size)
  counts = labels.bought.reshape(6, each).sum(1)
  with_any = np.flatnonzero(counts)
  assert len(groups) == len(with_any)
  bought, weights = groups.arrays['labels'][..., 0], groups.arrays['weights']
  kept = np.minimum(counts[with_any], size // 2)
  others = np.minimum(each - counts[with_any], size - kept)
  np.testing.assert_array_equal((bought * weights).sum(1), kept)
  np.testing.assert_array_equal(weights.sum(1), kept + others)
  with np.errstate(divide='ignore'):
    share = (kept / counts[with_any]) / (others / np.maximum(each - counts[with_any], 1))
  both = (kept > 0) & (others > 0)
  np.testing.assert_allclose(groups.arrays['offset'][both], np.log(share[both]), rtol=1e-5, atol=1e-6)
  # No candidate stands there twice, and each has its own features.
  for row, user in enumerate(with_any):
    items = groups.arrays['item'][row][weights[row] > 0]
    assert len(set(items.tolist())) == len(items)
    np.testing.assert_array_equal(groups.arrays['dense'][row][weights[row] > 0], inputs.dense[user * each + items - 1])


def _trained(groups, tmp_path, losses, steps=150):
  bounds = features.bucket_bounds(groups.arrays['dense'].reshape(-1, 2), 8)
  config = SparseNNConfig(
    num_dense=2, num_items=50, code_sizes=(1,), bins=8, sparse=False, bottom_dim=16, top_dims=(16,), cross_layers=1
  )
  optimizer = OptimizerConfig(name='adam', learning_rate=1e-2, schedule='linear')
  train = TrainConfig(
    steps=steps, batch_size=16, optimizer=optimizer, steps_per_dispatch=10, mesh={'data': 1, 'fsdp': -1}
  )
  task = ranker.ranker_task(config, CODES, bounds, batch_size=16, losses=losses)
  result = fit(task, slices(groups.arrays, 16), None, train, tmp_path)
  return Scorer(jax.device_get(result.params), config, CODES, np.zeros((1, 0), np.int32), bounds)


def test_probabilities_are_at_the_natural_rate(tmp_path):
  candidates, inputs, labels = _problem(400, 50)
  groups = make_groups(candidates, inputs, labels, size=8)  # about half of what remains was bought
  scorer = _trained(groups, tmp_path, LossConfig())
  logits = scorer(inputs)[:, 0]
  probability = 1 / (1 + np.exp(-logits))
  assert probability.mean() == pytest.approx(labels.bought.mean(), rel=0.12)
  calibrated = scorer.calibrated(2.0, -0.5)(inputs)
  np.testing.assert_allclose(calibrated[:, 0], 2 * logits - 0.5, rtol=1e-4, atol=1e-4)
  truth = 1 / (1 + np.exp(-(-2.5 + inputs.dense[:, 0])))
  assert np.corrcoef(logits, np.log(truth / (1 - truth)))[0, 1] > 0.9


@pytest.mark.parametrize('losses', [LossConfig(bce=0.0, pairwise=1.0), LossConfig(bce=0.0, listwise=1.0)])
def test_ranking_losses_order_without_the_cross_entropy(losses, tmp_path):
  candidates, inputs, labels = _problem(200, 40)
  scorer = _trained(make_groups(candidates, inputs, labels, size=16), tmp_path, losses, steps=60)
  logits = scorer(inputs)[:, 0]
  assert np.corrcoef(logits, inputs.dense[:, 0])[0, 1] > 0.8


def test_a_teachers_order_is_learnt_beside_the_labels(tmp_path):
  candidates, inputs, labels = _problem(200, 40)
  groups = make_groups(candidates, inputs, labels, size=16)
  taught = groups.taught(3 * groups.arrays['dense'][..., 1])  # of which the labels know nothing
  scorer = _trained(taught, tmp_path, LossConfig(teacher=30.0), steps=60)
  assert np.corrcoef(scorer(inputs)[:, 0], inputs.dense[:, 1])[0, 1] > 0.8


class RankerLoss(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_the_loss_is_that_of_what_serves_compiled_or_not(self):
    candidates, inputs, labels = _problem(6, 10, rate=-0.5)
    arrays = make_groups(candidates, inputs, labels, size=16).arrays
    groups, size = arrays['weights'].shape
    config = SparseNNConfig(
      num_dense=2, num_items=50, code_sizes=(1,), bins=4, bottom_dim=8, top_dims=(8,), bag_length=1
    )
    bounds = features.bucket_bounds(inputs.dense, 4)
    task = ranker.ranker_task(config, CODES, bounds, batch_size=groups, losses=LossConfig(soon=0.0, quantity=0.0))
    params = task.init(jax.random.key(0))
    mean = lambda params: task.loss(adapter.look_up(params, task.lookups(arrays)), arrays, None)[0]
    value, slope = self.variant(jax.value_and_grad(mean))(params)
    chex.assert_shape(value, ())
    chex.assert_trees_all_equal_shapes(slope, params)
    chex.assert_tree_all_finite(slope)
    flat = RankerInputs(
      arrays['dense'].reshape(-1, 2),
      arrays['item'].ravel(),
      np.repeat(np.arange(groups), size),
      arrays['user_codes'],
      arrays['bag'],
      np.repeat(arrays['offset'], size),  # prior correction
    )
    logits = Scorer(params, config, CODES, np.zeros((1, 0), np.int32), bounds)(flat)[:, 0].reshape(groups, size)
    nats = np.log1p(np.exp(-np.where(arrays['labels'][..., 0] > 0, logits, -logits)))
    np.testing.assert_allclose(value, (nats * arrays['weights']).sum() / arrays['weights'].sum(), rtol=1e-5)


def test_filled_up_places_do_not_count():
  candidates, inputs, labels = _problem(6, 10, rate=-0.5)
  groups = make_groups(candidates, inputs, labels, size=16)
  bounds = features.bucket_bounds(inputs.dense, 4)
  config = SparseNNConfig(num_dense=2, num_items=50, code_sizes=(1,), bins=4, bottom_dim=8, top_dims=(8,), bag_length=1)
  task = ranker.ranker_task(
    config, CODES, bounds, batch_size=len(groups), losses=LossConfig(pairwise=1.0, listwise=1.0, teacher=1.0)
  )
  groups = groups.taught(groups.arrays['dense'][..., 0])
  params = sparsenn.init(jax.random.key(0), config)
  loud = dict(groups.arrays)
  loud['dense'] = np.where(loud['weights'][..., None] > 0, loud['dense'], 1e3).astype(np.float32)
  loud['labels'] = np.where(loud['weights'][..., None] > 0, loud['labels'], 1.0).astype(np.float32)
  loud['teacher'] = np.where(loud['weights'] > 0, loud['teacher'], 1e3).astype(np.float32)
  loss_of = lambda arrays: task.evaluate(params, {k: jnp.asarray(v) for k, v in arrays.items()})['loss']
  quiet_loss, loud_loss = (total / weight for total, weight in map(loss_of, (groups.arrays, loud)))
  assert float(quiet_loss) == pytest.approx(float(loud_loss), rel=1e-5)


def test_a_ranker_whose_tables_are_large_learns_the_same_by_rows():
  candidates, inputs, labels = _problem(40, 20)
  groups = make_groups(candidates, inputs, labels, size=8)
  config = SparseNNConfig(
    num_dense=2, num_items=2000, code_sizes=(900, 3), bins=4, bag_length=1, interaction='none', top_dims=(8,)
  )
  codes = np.random.default_rng(0).integers(0, (900, 3), (2001, 2)).astype(np.int32)
  task = ranker.ranker_task(config, codes, features.bucket_bounds(inputs.dense, 4), batch_size=8)
  optimizer = make_optimizer(OptimizerConfig(name='rowwise_adagrad', table_learning_rate=0.05), 100)
  batches = {name: np.stack([x[:8], x[8:16]]) for name, x in groups.arrays.items()}
  batches['bag'] += np.arange(8, dtype=np.int32)[:, None] % 3
  states = []
  for by_rows in (True, False):
    mesh = sharding.make_mesh({'data': 1}, jax.devices()[:1])
    run = step.make_train_step(task, optimizer, mesh, by_rows=by_rows)
    states.append(run(step.init_state(task, optimizer, jax.random.key(0)), batches)[0])
  few = row_updates.find_distinct(task, states[0].params, {name: x[0] for name, x in batches.items()})
  assert set(few) == {'item_table', 'code_tables/0'}
  first, second = (jax.device_get((state.params, state.opt_state)) for state in states)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), first, second)


def test_who_bought_every_candidate_has_no_offset():
  """Of no others none was left out: 0 of 0 is all of them."""
  candidates = Candidates(
    np.array([0, 1]), np.array([0, 2, 5]), np.arange(5, dtype=np.int32), np.ones((5, 1), np.int16),
    np.ones((5, 1), np.float32), ('popular',),
  )  # fmt: skip
  inputs = RankerInputs(
    np.zeros((5, 1), np.float32), candidates.item + 1, candidates.row, np.zeros((2, 0), np.int32),
    np.zeros((2, 1), np.int32), np.zeros(5, np.float32),
  )  # fmt: skip
  bought = np.array([True, True, True, False, False])
  labels = Labels(bought, bought, bought.astype(np.float32))
  made = make_groups(candidates, inputs, labels, size=4)
  np.testing.assert_allclose(made.arrays['offset'], 0.0, atol=1e-6)
  halved = make_groups(candidates, inputs, labels, size=2)
  np.testing.assert_allclose(halved.arrays['offset'], np.log([0.5, 2.0]), rtol=1e-5)
