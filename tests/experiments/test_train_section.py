"""The train section of every config is the trainer's settings themselves; runs made before that still open."""

import dataclasses
import functools
import json
from typing import Any

import pytest

from configs.train_section import train_section
from experiments import config_files, gpt2, makemore, recsys
from mlsd_jax.errors import UserError
from mlsd_jax.recsys import settings
from mlsd_jax.schema import from_mapping
from mlsd_jax.training.config import TrainConfig
from mlsd_jax.training.optimizers import OptimizerConfig

# What an experiment makes itself, or what each of its parts has to say.
SECTIONS = {
  'gpt2': {'train': ()},
  'mingpt': {'train': ('steps', 'batch_size')},
  'makemore': {'train': ('seed',)},
  'recsys': {'tower.train': ('seed',), 'ranker.train': ('seed',)},
  'encoder': {'train': ()},
}


@pytest.mark.parametrize('experiment', SECTIONS)
def test_every_config_has_every_trainer_setting(experiment):
  folder = config_files.REPOSITORY / 'configs' / experiment
  for path in folder.glob('[a-z]*.py'):
    config = config_files.load_config(str(path))[1].to_dict()
    for section, omitted in SECTIONS[experiment].items():
      values = functools.reduce(dict.__getitem__, section.split('.'), config)
      fields = {field.name for field in dataclasses.fields(TrainConfig)} - set(omitted)
      assert fields <= set(values)
      assert set(values['optimizer']) == {field.name for field in dataclasses.fields(OptimizerConfig)}


def test_a_section_without_changes_is_the_trainers_defaults():
  section = train_section(steps=3, batch_size=2)
  assert from_mapping(TrainConfig, section, 'train') == TrainConfig(steps=3, batch_size=2)
  changed = train_section(steps=3, batch_size=2, optimizer={'beta2': 0.5})
  assert changed == section | {'optimizer': section['optimizer'] | {'beta2': 0.5}}


def test_a_section_knows_no_other_keys():
  with pytest.raises(ValueError, match='has no epochs'):
    train_section(steps=1, batch_size=1, epochs=1)
  with pytest.raises(ValueError, match='needs batch_size'):
    train_section(steps=1)


def test_settings_that_may_differ_are_settings():
  assert set(TrainConfig.FREE) <= {field.name for field in dataclasses.fields(TrainConfig)}


_ROWWISE = {
  'name': 'rowwise_adagrad', 'learning_rate': 2e-3, 'table_learning_rate': 0.06, 'schedule': 'linear',
  'warmup_steps': 20, 'weight_decay': 0.01, 'beta2': 0.99,
}  # fmt: skip
# Sections as they were written before they had every setting.
OLD: dict[str, tuple[Any, str, dict[str, Any]]] = {
  'makemore': (makemore, 'train', {
    'steps': 2000, 'batch_size': 32, 'steps_per_dispatch': 250, 'log_every': 1000, 'eval_every': 0,
    'checkpoint_every': 0,
    'optimizer': {
      'learning_rate': 3e-3, 'schedule': 'linear', 'warmup_steps': 0, 'beta2': 0.99, 'weight_decay': 0.01,
    },
  }),
  'recsys': (recsys, 'tower.train', {
    'steps': 300, 'batch_size': 1024, 'steps_per_dispatch': 10, 'log_every': 50, 'eval_every': 100,
    'checkpoint_every': 100, 'optimizer': _ROWWISE,
  }),
}  # fmt: skip


@pytest.mark.parametrize('experiment', OLD)
def test_a_workdir_of_fewer_settings_still_opens(experiment, tmp_path):
  module, section, old = OLD[experiment]
  now = config_files.load_config(f'configs/{experiment}/quickstart.py')[1].to_dict()
  then = json.loads(json.dumps(now))
  *outer, last = section.split('.')
  functools.reduce(dict.__getitem__, outer, then)[last] = old
  (tmp_path / 'config.json').write_text(json.dumps(then))
  stored = config_files.read_stored(tmp_path, experiment, 'quickstart', {})
  assert config_files.differences(stored, now, module.FREE) == ''
  functools.reduce(dict.__getitem__, outer, then)[last] = old | {'steps': 7}
  (tmp_path / 'config.json').write_text(json.dumps(then))
  stored = config_files.read_stored(tmp_path, experiment, 'quickstart', {})
  assert config_files.differences(stored, now, module.FREE).startswith(f'{section}.steps: 7 there')


def test_profile_has_become_a_trainer_setting(tmp_path):
  now = config_files.load_config('configs/gpt2/quickstart.py')[1].to_dict()
  then = json.loads(json.dumps(now)) | {'profile': True}
  del then['train']['profile'], then['train']['optimizer']['table_learning_rate']
  (tmp_path / 'config.json').write_text(json.dumps(then))
  stored = config_files.read_stored(tmp_path, 'gpt2', 'quickstart', gpt2.RENAMED)
  assert stored['train']['profile'] is True
  assert 'profile' not in stored
  assert config_files.differences(stored, now, gpt2.FREE) == ''


def test_a_rung_of_makemore_ends_at_a_fiftieth_of_its_own_rate():
  config = config_files.load_config('configs/makemore/quickstart.py')[1]
  rates = lambda: makemore._train_config(config, config.models.rnn, 0).optimizer.final_learning_rate
  assert rates() == pytest.approx(0.02 * 5e-3)
  config.train.optimizer.final_learning_rate = 1e-5
  assert rates() == 1e-5


@pytest.mark.parametrize(
  ('key', 'value', 'message'),
  [
    ('tower.train.accumulation', 2, r'train\.accumulation=2 would hide'),
    ('ranker.train.accumulation', 2, r'train\.accumulation=2 would hide'),
    ('ranker.train.keep_best', True, 'keep_best have no effect'),
  ],
)
def test_what_the_recommender_cannot_train_with_is_refused(key, value, message):
  config = config_files.load_config('configs/recsys/quickstart.py')[1]
  settings.read_recommender(config)
  config.update_from_flattened_dict({key: value})
  with pytest.raises(UserError, match=message):
    settings.read_recommender(config)
