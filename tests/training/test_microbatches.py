"""train.accumulation=0: as many microbatches as the machine is fastest with."""

import dataclasses
import itertools

import jax
import numpy as np
import pytest

from mlsd_jax import sealed, tuning
from mlsd_jax.errors import UserError
from mlsd_jax.language_model.task import gpt_task
from mlsd_jax.models import gpt, modern_gpt
from mlsd_jax.training import loop, microbatches
from mlsd_jax.training.config import TrainConfig
from mlsd_jax.training.sharding import make_mesh

SHAPE = dict(vocab_size=31, vocab_multiple=1, context_length=8, num_layers=3, num_heads=2, embed_dim=8)
MODEL = gpt.GPTConfig(**SHAPE)


class Tokens:
  # 64 rows: eight for each of the devices that tests have
  def batches(self, start, rows):
    for number in itertools.count(start):
      rng = np.random.default_rng(number)
      yield {'tokens': rng.integers(0, 31, (64, 9)).astype(np.int32)[rows]}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
  monkeypatch.setenv('MLSD_CACHE_DIR', str(tmp_path / 'cache'))
  monkeypatch.delenv(tuning.VARIABLE, raising=False)


@pytest.mark.parametrize(
  ('rows', 'candidates'), [(1, [1]), (6, [1, 2]), (8, [1, 2, 4, 8]), (256, [8, 16, 32, 64]), (4096, [64]), (33, [1])]
)
def test_candidates_divide_the_rows_and_are_soon_measured(rows, candidates):
  assert microbatches.list_candidates(rows) == candidates


def settle(workdir, **options):
  """The number of microbatches of a run in `workdir`."""
  config = TrainConfig(**{'steps': 2, 'batch_size': 64, 'accumulation': 0, **options})
  task = gpt_task(MODEL, batch_size=64, length=8)
  with tuning.keep_in(workdir):
    return microbatches.settle(task, Tokens(), config, make_mesh({'data': -1})).accumulation


def test_the_fastest_number_is_recorded_and_kept_where_another_would_be_faster(tmp_path, monkeypatch, caplog):
  measured = []
  monkeypatch.setattr(microbatches._Measure, '__call__', lambda self, number: measured.append(number) or 1 / number)
  assert settle(tmp_path / 'run') == 8
  assert set(measured) == {1, 2, 4, 8}
  (choice,) = sealed.read_json(tmp_path / 'run' / tuning.FILE)['choices']
  assert (choice['name'], choice['chosen']) == ('microbatches', 8)
  monkeypatch.setenv('MLSD_CACHE_DIR', str(tmp_path / 'another'))
  monkeypatch.setattr(microbatches._Measure, '__call__', lambda self, number: number)
  assert settle(tmp_path / 'run') == 8
  assert 'microbatches: 8, with which the run began; this machine would choose 1' in caplog.text
  assert settle(tmp_path / 'other') == 1


def test_a_number_that_is_given_is_neither_measured_nor_recorded(tmp_path):
  assert settle(tmp_path / 'run', accumulation=4) == 4
  assert not (tmp_path / 'run').exists()


def test_a_training_takes_what_was_chosen(tmp_path, monkeypatch, caplog):
  monkeypatch.setenv(tuning.VARIABLE, 'microbatches=2')
  config = TrainConfig(steps=1, batch_size=64, accumulation=0)
  model = dataclasses.replace(MODEL, num_layers=1)
  seen = []
  step = loop.make_train_step
  monkeypatch.setattr(
    loop, 'make_train_step', lambda *args, **options: seen.append(options['accumulation']) or step(*args, **options)
  )
  loop.fit(gpt_task(model, batch_size=64, length=8), Tokens(), None, config, tmp_path)
  assert seen == [2]
  assert (tmp_path / tuning.FILE).exists()
  assert 'made anew' not in caplog.text
  (tmp_path / tuning.FILE).unlink()
  loop.fit(gpt_task(model, batch_size=64, length=8), Tokens(), None, config, tmp_path)
  assert 'is gone, and with it the choice of microbatches with which the run began: it is made anew, 2' in caplog.text


@pytest.mark.parametrize('config', [MODEL, modern_gpt.ModernGPTConfig(**SHAPE, value_embeddings=(0, 2))])
def test_what_is_measured_is_the_gradient_of_a_shorter_model(config):
  probe = gpt_task(config, batch_size=8, length=8).probe
  assert probe is not None
  task = probe()
  assert len(jax.eval_shape(task.init, jax.random.key(0))['blocks']) == 2
  batch = next(Tokens().batches(0, slice(0, 8)))
  if isinstance(config, gpt.GPTConfig):
    assert microbatches._Measure(task, batch, 'float32')(4) > 0


def test_a_model_with_dropout_needs_a_number():
  task = gpt_task(dataclasses.replace(MODEL, dropout=0.1), batch_size=8, length=8)
  config = TrainConfig(steps=1, batch_size=8, accumulation=0)
  with pytest.raises(UserError, match='would change the results of this model'):
    microbatches.check(task, config)
  microbatches.check(task, dataclasses.replace(config, accumulation=2))
