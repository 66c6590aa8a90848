"""train.accumulation=0: as many microbatches as the machine is fastest with."""

import dataclasses
import itertools

import jax
import numpy as np
import pytest

from mlsd_jax import tuning
from mlsd_jax.errors import UserError
from mlsd_jax.language_model.task import gpt_task
from mlsd_jax.models import gpt, modern_gpt
from mlsd_jax.training import microbatches
from mlsd_jax.training.config import TrainConfig
from mlsd_jax.training.loop import fit

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


def train(workdir, **options):
  config = TrainConfig(**{'steps': 2, 'batch_size': 64, 'accumulation': 0, **options})
  return fit(gpt_task(MODEL, batch_size=64, length=8), Tokens(), None, config, workdir).params


@pytest.mark.parametrize(
  ('rows', 'candidates'), [(1, [1]), (6, [1, 2]), (8, [1, 2, 4, 8]), (256, [8, 16, 32, 64]), (4096, [64]), (33, [1])]
)
def test_candidates_divide_the_rows_and_are_soon_measured(rows, candidates):
  assert microbatches.list_candidates(rows) == candidates


def test_a_measured_number_is_recorded_and_changes_no_result(tmp_path, monkeypatch):
  measured = []
  monkeypatch.setattr(microbatches._Measure, '__call__', lambda self, number: measured.append(number) or 1 / number)
  chosen = train(tmp_path / 'chosen')
  assert set(measured) == {1, 2, 4, 8}
  ((choice,),) = [tuning.json_files.read_json(tmp_path / 'chosen' / tuning.FILE)['choices']]
  assert (choice['name'], choice['chosen']) == ('microbatches', 8)
  given = train(tmp_path / 'given', accumulation=8)
  jax.tree.map(np.testing.assert_array_equal, chosen, given)
  whole = train(tmp_path / 'whole', accumulation=1)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), chosen, whole)


def test_a_run_goes_on_with_the_number_it_began_with(tmp_path, monkeypatch, caplog):
  monkeypatch.setenv(tuning.VARIABLE, 'microbatches=2')
  train(tmp_path / 'run')
  monkeypatch.delenv(tuning.VARIABLE)
  monkeypatch.setattr(microbatches._Measure, '__call__', lambda self, number: 1 / number)
  resumed = train(tmp_path / 'run', steps=4)
  assert 'microbatches: 2, with which the run began; this machine would choose 8' in caplog.text
  jax.tree.map(np.testing.assert_array_equal, resumed, train(tmp_path / 'undisturbed', steps=4, accumulation=2))


@pytest.mark.parametrize('config', [MODEL, modern_gpt.ModernGPTConfig(**SHAPE, value_embeddings=(0, 2))])
def test_what_is_measured_is_the_gradient_of_a_shorter_model(config):
  probe = gpt_task(config, batch_size=8, length=8).probe
  assert probe is not None
  task = probe()
  assert len(jax.eval_shape(task.init, jax.random.key(0))['blocks']) == 2
  batch = next(Tokens().batches(0, slice(0, 8)))
  assert microbatches._Measure(task, batch, 'float32')(4) > 0


def test_a_model_with_dropout_needs_a_number():
  task = gpt_task(dataclasses.replace(MODEL, dropout=0.1), batch_size=8, length=8)
  config = TrainConfig(steps=1, batch_size=8, accumulation=0)
  with pytest.raises(UserError, match='would change the results of this model'):
    microbatches.check(task, config)
  microbatches.check(task, dataclasses.replace(config, accumulation=2))
