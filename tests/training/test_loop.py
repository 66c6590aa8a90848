"""A run stopped anywhere and started again is the run that was left alone."""

import os
import signal
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlsd_jax.data.batches import BatchList, Stream
from mlsd_jax.errors import UserError
from mlsd_jax.schema import from_mapping
from mlsd_jax.training.checkpoint import Checkpoints
from mlsd_jax.training.config import TrainConfig
from mlsd_jax.training.loop import fit
from mlsd_jax.training.metrics import read_metrics
from mlsd_jax.training.optimizers import OptimizerConfig
from mlsd_jax.training.step_log import NonFiniteLossError
from mlsd_jax.training.task import Task

BATCH, WIDTH = 8, 4
TRUTH = np.arange(1.0, WIDTH + 1)


class Lines(Stream):
  """Noisy points on a hyperplane; batch i is drawn from seed i. `poison` makes that batch NaN."""

  def __init__(self, poison: int | None = None):
    super().__init__(self._draw)
    self.poison = poison

  def _draw(self, index: int, rows: slice):
    rng = np.random.default_rng(index)
    x = rng.normal(size=(BATCH, WIDTH)).astype(np.float32)
    y = (x @ TRUTH + 0.1 * rng.normal(size=BATCH)).astype(np.float32)
    if index == self.poison:
      x[0, 0] = np.nan
    return {'x': x[rows], 'y': y[rows]}


HELD_OUT = BatchList(3, lambda number, rows: Lines().batch(10_000 + number, rows))


def regression() -> Task:
  """Linear regression that drops inputs at random, so that the run's key matters."""

  def predict(params, x):
    return x @ params['kernel'] + params['bias']

  def loss(params, batch, key):
    keep = jax.random.bernoulli(key, 0.9, batch['x'].shape)
    error = jnp.square(predict(params, batch['x'] * keep) - batch['y'])
    return error.mean(), {'loss': (error.sum(), jnp.float32(error.size))}

  def evaluate(params, batch):
    error = jnp.square(predict(params, batch['x']) - batch['y'])
    return {'loss': (error.sum(), jnp.float32(error.size))}

  init = lambda key: {'kernel': 0.1 * jax.random.normal(key, (WIDTH,)), 'bias': jnp.zeros(())}
  return Task(init, loss, evaluate, sharding_rules=(('kernel', ('embed',)),), items_per_batch=BATCH)


def settings(**changes) -> TrainConfig:
  optimizer = OptimizerConfig(learning_rate=0.1, schedule='constant', weight_decay=0.0, clip_norm=0.0)
  base = dict(steps=60, batch_size=BATCH, log_every=5, eval_every=20, checkpoint_every=10, optimizer=optimizer)
  return TrainConfig(**{**base, 'steps_per_dispatch': 5, **changes})


def leaves(tree):
  return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def assert_same(one, other):
  for a, b in zip(leaves(one), leaves(other), strict=True):
    np.testing.assert_array_equal(a, b)


class StopsAt(Lines):
  """Data that tells the process to stop when a batch is asked for."""

  def __init__(self, index: int):
    super().__init__()
    self.index = index

  def _draw(self, index, rows):
    if index == self.index:
      os.kill(os.getpid(), signal.SIGTERM)
      time.sleep(0.2)
    return super()._draw(index, rows)


def test_fit_learns_and_leaves_its_files(tmp_path):
  result = fit(regression(), Lines(), HELD_OUT, settings(), tmp_path)
  np.testing.assert_allclose(result.params['kernel'], TRUTH, atol=1.5)
  assert result.step == 60
  assert not result.interrupted
  assert result.metrics['loss'] < 5
  records = read_metrics(tmp_path)
  assert [r['step'] for r in records] == list(range(5, 61, 5))
  assert [r['step'] for r in records if 'val_loss' in r] == [20, 40, 60]
  assert records[-1]['val_loss'] == pytest.approx(result.metrics['loss'])
  assert records[-1]['loss'] < records[0]['loss']
  assert list((tmp_path / 'tensorboard').iterdir())


def test_sigterm_saves_and_resuming_equals_uninterrupted(tmp_path):
  whole = fit(regression(), Lines(), HELD_OUT, settings(), tmp_path / 'whole')
  first = fit(regression(), StopsAt(33), HELD_OUT, settings(), tmp_path / 'parts')
  assert first.interrupted
  assert 0 < first.step < 60
  second = fit(regression(), Lines(), HELD_OUT, settings(), tmp_path / 'parts')
  assert not second.interrupted
  assert_same(second.params, whole.params)
  assert second.metrics == whole.metrics
  steps = [record['step'] for record in read_metrics(tmp_path / 'parts')]
  assert steps == sorted(set(steps))


def test_damaged_checkpoint_falls_back_to_the_last_good_one(tmp_path, caplog):
  whole = fit(regression(), Lines(), HELD_OUT, settings(), tmp_path / 'whole')
  fit(regression(), Lines(), HELD_OUT, settings(steps=40, optimizer=settings().optimizer), tmp_path / 'parts')
  array = max((tmp_path / 'parts' / 'checkpoints' / '40').rglob('*'), key=lambda p: p.stat().st_size * p.is_file())
  content = bytearray(array.read_bytes())
  content[len(content) // 2] ^= 1
  array.write_bytes(content)
  resumed = fit(regression(), Lines(), HELD_OUT, settings(), tmp_path / 'parts')
  assert '40' in caplog.text
  assert '30' in caplog.text
  assert_same(resumed.params, whole.params)


def test_a_damaged_line_of_metrics_is_told_once(tmp_path, caplog):
  fit(regression(), StopsAt(33), HELD_OUT, settings(), tmp_path)
  path = tmp_path / 'metrics.jsonl'
  path.write_text('no record\n' + path.read_text())
  fit(regression(), Lines(), HELD_OUT, settings(), tmp_path)
  assert [line for line in caplog.messages if 'is damaged in line' in line] == [
    f'{path} is damaged in line 1: left out'
  ]


@pytest.mark.parametrize('mesh', [{'data': 8}, {'fsdp': 4, 'data': 2}])
def test_resumes_on_another_mesh(tmp_path, mesh):
  whole = fit(regression(), Lines(), HELD_OUT, settings(mesh={'data': -1}), tmp_path / 'whole')
  fit(regression(), StopsAt(33), HELD_OUT, settings(mesh={'data': 2, 'fsdp': 4}), tmp_path / 'parts')
  resumed = fit(regression(), Lines(), HELD_OUT, settings(mesh=mesh), tmp_path / 'parts')
  for a, b in zip(leaves(resumed.params), leaves(whole.params), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4)


def test_non_finite_loss_names_the_step_and_the_last_good_checkpoint(tmp_path):
  with pytest.raises(NonFiniteLossError, match=r'loss became nan at step 34; .*checkpoints/30'):
    fit(regression(), Lines(poison=33), HELD_OUT, settings(), tmp_path)
  assert Checkpoints(tmp_path / 'checkpoints').latest_good() == 30


def test_best_parameters_are_kept(tmp_path):
  """A learning rate that blows up late: the best evaluation is not the last."""
  diverging = OptimizerConfig(name='sgd', beta1=0.0, learning_rate=0.35, schedule='constant', clip_norm=0.0)
  result = fit(regression(), Lines(), HELD_OUT, settings(keep_best=True, eval_every=5, optimizer=diverging), tmp_path)
  losses = [record['val_loss'] for record in read_metrics(tmp_path) if 'val_loss' in record]
  assert losses[-1] > min(losses)
  assert result.metrics['loss'] == pytest.approx(min(losses), rel=1e-6)


def test_the_best_is_whole_before_a_checkpoint_that_counts_on_it(tmp_path, monkeypatch):
  """Else a kill between the two leaves a run that knows the best loss and has not its parameters."""
  seal, save, found = Checkpoints._seal, Checkpoints.save, []

  def slow_seal(self, step, note):
    time.sleep(0.3 if self.folder.name == 'best' else 0.0)
    seal(self, step, note)

  def watched_save(self, step, state):
    if self.folder.name == 'checkpoints':
      losses = {r['step']: r['val_loss'] for r in read_metrics(tmp_path) if 'val_loss' in r}
      found.append((Checkpoints(tmp_path / 'best').steps(), [min(losses, key=losses.get)]))
    save(self, step, state)

  monkeypatch.setattr(Checkpoints, '_seal', slow_seal)
  monkeypatch.setattr(Checkpoints, 'save', watched_save)
  fit(regression(), Lines(), HELD_OUT, settings(keep_best=True, eval_every=10, steps=30), tmp_path)
  assert len(found) == 3
  assert all(whole == best for whole, best in found)


def test_fine_tuning_starts_from_the_given_parameters(tmp_path):
  start = {'kernel': jnp.asarray(TRUTH, jnp.float32), 'bias': jnp.zeros(())}
  frozen = OptimizerConfig(learning_rate=0.0, schedule='constant')
  result = fit(regression(), Lines(), HELD_OUT, settings(optimizer=frozen), tmp_path, init_params=start)
  assert_same(result.params, start)  # and `start` itself is still alive, though the step donates its state


def test_profile_writes_a_trace(tmp_path):
  fit(regression(), Lines(), None, settings(profile=True), tmp_path)
  assert list((tmp_path / 'profile').rglob('*.xplane.pb'))


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'steps': 0}, 'train.steps must be at least 1'),
    ({'step': 'xmap'}, "train.step='xmap' is not one of jit, shard_map, pmap"),
    ({'dtype': 'float8'}, 'train.dtype'),
    ({'wings': 2}, "config.train has no key 'wings'"),
    ({'optimizer': {'wings': 2}}, "config.train.optimizer has no key 'wings'"),
    ({'log_every': 'often'}, 'config.train.log_every must be int'),
    ({'log_every': -1}, 'train.log_every must be at least 0, got -1'),
    ({'eval_every': -1}, 'train.eval_every must be at least 0, got -1'),
    ({'checkpoint_every': -1}, 'train.checkpoint_every must be at least 0, got -1'),
  ],
)
def test_bad_settings_are_one_line(changes, message):
  with pytest.raises(UserError, match=message):
    from_mapping(TrainConfig, {'steps': 1, 'batch_size': 1, **changes}, 'train')
