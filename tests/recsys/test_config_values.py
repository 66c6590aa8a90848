"""Every value of the recommender's config is looked at before work begins, and what stands for 'none' does."""

import dataclasses
import math

import numpy as np
import pytest

from configs.recsys import _base
from experiments import config_files, recsys, sections
from mlsd_jax.errors import UserError
from mlsd_jax.recsys import preparation, settings, training
from mlsd_jax.recsys.funnel import Funnel
from mlsd_jax.recsys.judging import rankings
from mlsd_jax.recsys.purchases import weeks
from mlsd_jax.recsys.purchases.generator import SyntheticConfig, generate
from mlsd_jax.recsys.stages import calibration
from mlsd_jax.recsys.stages.tower_data import code_items, code_users

LEAVES = dict(config_files.leaves(_base.base().to_dict()))
NUMBERS = [key for key, value in LEAVES.items() if isinstance(value, int | float) and not isinstance(value, bool)]


def _with(key, value):
  config = _base.base()
  *path, last = key.split('.')
  node = config
  for part in path:
    node = node[part]
  node[last] = value
  return config


def _check(config):
  sections.check(config, recsys.SECTIONS)


@pytest.mark.parametrize('key', NUMBERS)
def test_every_number_has_a_range(key):
  for bad in (-7.0, math.nan, math.inf) if isinstance(LEAVES[key], float) else (-7,):
    with pytest.raises(UserError, match=key.rpartition('.')[2]):
      _check(_with(key, bad))


@pytest.mark.parametrize('name', [field.name for field in dataclasses.fields(SyntheticConfig)])
@pytest.mark.parametrize('value', [-7, math.nan, 'many'])
def test_every_value_of_the_generator_has_a_range(name, value):
  config = _base.base()
  config.data.synthetic = {name: value}
  with pytest.raises(UserError, match=name):
    _check(config)


@pytest.mark.parametrize(
  ('values', 'key'),
  [
    *(
      ({name: 0}, name) for name in ('num_users', 'num_items', 'weeks', 'tastes', 'tastes_per_user', 'events_per_user')
    ),
    ({'tastes': 2}, 'tastes'),
    ({'num_items': 5}, 'num_items'),
    ({'repeat': 1.0}, 'repeat'),
  ],
)
def test_what_the_generator_cannot_draw_names_its_key_once(values, key):
  config = _base.base()
  config.data.synthetic = values
  with pytest.raises(UserError) as told:
    _check(config)
  assert str(told.value).startswith(f'config.data.synthetic.{key} must be ')
  assert str(told.value).count('synthetic') == 1


@pytest.mark.parametrize(
  ('flags', 'message'),
  [
    (['--config.tower.model.history_length=16'], 'sequence_length 32 is longer than the history of 16'),
    (['--config.tower.model.history_length=-1'], 'history_length must be at least 1'),
    (['--config.tower.model.embed_dim=0'], 'embed_dim must be at least 1'),
    (['--config.ranker.model.bag_length=65'], 'bag_length=65: 64 items of a user are kept at most'),
    (['--config.ranker.model.interaction=sum'], 'interaction'),
    (['--config.serve.number=-3', '--mode=recommend', '--user=1'], 'config.serve.number must be at least 1, got -3'),
    (['--config.serve.number=0', '--mode=recommend', '--user=1'], 'config.serve.number must be at least 1'),
    (['--config.serve.part=0', '--mode=submit'], 'config.serve.part must be at least 1'),
    (['--config.funnel.group=1'], 'config.funnel.group must be at least 2'),
    (['--config.funnel.per_source.popular=-1'], 'config.funnel.per_source.popular'),
    (['--config.tower.epochs=nan'], 'config.tower.epochs must be above 0'),
    (['--config.tower.index=forest'], 'forest'),
    (['--config.sequence.kind=gru'], "config.sequence.kind='gru' is not one of , sasrec, hstu"),
    (['--config.sequence.kind=hstu', '--config.sequence.model.embed_dim=65'], 'embed_dim 65 must be divisible'),
    (['--config.sequence.kind=hstu', '--config.sequence.loss=gbce'], 'config.sequence.popular must be 0'),
    (
      ['--config.sequence.kind=hstu', '--config.funnel.per_source.sequence=0'],
      'requires --config.funnel.per_source.sequence',
    ),
    (['--config.sequence.negatives=8'], "config.sequence.kind is ''"),
    (
      ['--config.data.source=table', '--config.data.path=x.csv', '--config.data.decimal=dot'],
      "config.data.decimal='dot' is not one of point, comma",
    ),
    (
      ['--config.data.source=table', '--config.data.path=x.csv', '--config.data.date_order=year'],
      "config.data.date_order='year' is not one of day, month",
    ),
    (
      ['--config.data.source=table', '--config.data.path=x.csv', '--config.data.min_rating=good'],
      "config.data.min_rating='good' is no number",
    ),
    (['--config.seed=-1'], 'config.seed must be at least 0'),
    (['--mode=prepare', '--config.funnel.weeks=0'], 'config.funnel.weeks must be at least 1'),
  ],
)
def test_a_value_that_cannot_be_is_one_line_before_any_work(flags, message, tmp_path, capsys, monkeypatch):
  monkeypatch.setattr(recsys.settings, 'read_dataset', lambda config: pytest.fail('work began'))
  assert recsys.main([f'--workdir={tmp_path / "run"}', *flags]) == 2
  error = capsys.readouterr().err
  assert message in error
  assert error.count('\n') == 1
  assert not (tmp_path / 'run').exists()


def _tiny():
  config = _base.base()
  config.funnel.weeks, config.funnel.keep, config.funnel.group = 1, 20, 8
  config.funnel.per_source = dict.fromkeys(config.funnel.per_source, 15)
  config.tower.factors, config.tower.refresh_steps, config.tower.weeks = 8, 2, 3
  config.tower.model = {'embed_dim': 8, 'hidden_dim': 8, 'history_length': 8, 'sequence_length': 4}
  config.sequence.model = {'embed_dim': 8, 'sequence_length': 4, 'num_layers': 1}
  for train, size in ((config.tower.train, 64), (config.sequence.train, 8), (config.ranker.train, 8)):
    train.steps, train.batch_size, train.steps_per_dispatch = 4, size, 1
    train.eval_every = train.checkpoint_every = train.optimizer.warmup_steps = 0
    train.mesh = {'data': 1, 'fsdp': -1, 'tensor': 1}
  return config


# What the configs' and classes' comments say that 0, '' or -1 stands for, a group a run.
SENTINELS = [
  {'funnel.users': 0, 'funnel.skip': 0, 'tower.factors': 0, 'tower.refresh': 0, 'ranker.model.bins': 0,
   'tower.train.log_every': 0, 'ranker.train.log_every': 0, 'ranker.train.optimizer.clip_norm': 0.0,
   'ranker.losses.pairwise': 0.0, 'ranker.losses.listwise': 0.0, 'funnel.per_source.repurchase': 0,
   'funnel.per_source.popular': 0, 'tower.model.sequence_length': 0},
  { 'ranker.model.bag_length': 0, 'ranker.losses.bce': 0.0, 'ranker.losses.soon': 0.0,
   'ranker.losses.quantity': 0.0, 'funnel.per_source.tower': 0, 'ranker.model.cross_layers': 0,
   'sequence.kind': 'hstu', 'sequence.horizon': 0.0, 'sequence.popular': 0.0, 'sequence.train.log_every': 0},
]  # fmt: skip


@pytest.mark.parametrize('sentinels', SENTINELS, ids=lambda group: next(iter(group)))
def test_what_stands_for_none_trains_and_ranks(sentinels, tmp_path):
  config = _tiny()
  for key, value in sentinels.items():
    *path, last = key.split('.')
    node = config
    for part in path:
      node = node[part]
    node[last] = value
  _check(config)
  recommender = settings.read_recommender(config)
  data = generate(SyntheticConfig(num_users=40, num_items=40, weeks=8, tastes=4, on_sale_weeks=0)).dataset
  cuts = weeks.choose_cuts(data, recommender.funnel.weeks)
  prepared = preparation.prepare(data, cuts, recommender, tmp_path / 'tower', tell=lambda _: None)
  assert prepared is not None
  groups, ready = prepared
  scorer, _ = training.train_ranker(groups, code_items(data), code_users(data), recommender.ranker, tmp_path / 'ranker')
  assert set(recommender.funnel.per_source) == {
    name
    for name in config.funnel.per_source
    if config.funnel.per_source[name] and (name != 'sequence' or config.sequence.kind)
  }
  trained = Funnel(recommender.funnel.per_source, recommender.funnel.keep, ready.retriever, ready.blend,
                   calibration.calibrate(scorer, ready.samples, warn=lambda _: None))  # fmt: skip
  ranked = rankings.rank(ready.week, trained, ready.histories)
  assert np.isfinite(ranked.scored.logits).all()
  assert (ranked.rankings['ranker'][:, :12] >= 0).all()


def test_an_item_that_is_on_sale_for_ever_always_is():
  made = generate(SyntheticConfig(num_users=20, num_items=5, weeks=8, tastes=1, tastes_per_user=1, on_sale_weeks=0))
  assert all((made.truth.shares(week) > 0).all() for week in range(8))
