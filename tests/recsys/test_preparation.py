"""The weeks before a cut: what is asked about a week never knows it, and is fresh for the one held out."""

import dataclasses

import numpy as np
import polars as pl
import pytest

from mlsd_jax.errors import UserError
from mlsd_jax.recsys import funnel, preparation, training
from mlsd_jax.recsys.funnel import FunnelConfig
from mlsd_jax.recsys.preparation import RecommenderConfig
from mlsd_jax.recsys.purchases import weeks
from mlsd_jax.recsys.stages import guard
from mlsd_jax.recsys.training import RankerConfig, TowerConfig
from mlsd_jax.training.config import TrainConfig
from mlsd_jax.training.optimizers import OptimizerConfig

MODEL = {'embed_dim': 8, 'hidden_dim': 8, 'history_length': 8, 'sequence_length': 4, 'sequence_dim': 8}
FUNNEL = FunnelConfig({'repurchase': 10, 'popular': 10, 'tower': 20}, weeks=3, keep=12, group=8)
TRAIN = TrainConfig(
  steps=4,
  batch_size=32,
  checkpoint_every=0,
  optimizer=OptimizerConfig(name='rowwise_adagrad', learning_rate=1e-3, table_learning_rate=0.1, warmup_steps=1),
  mesh={'data': 1, 'fsdp': -1},
)


TOWER = TowerConfig(MODEL, TRAIN, weeks=4, factors=8, refresh=2, refresh_steps=3)


def _config(tower=TOWER, visits=10**6):
  """Settings whose ranker goes through so many users and weeks."""
  train = TrainConfig(steps=visits, batch_size=1)
  return RecommenderConfig(FUNNEL, tower, RankerConfig({'bag_length': 4}, train))


def test_towers_are_no_newer_than_the_week_they_are_asked_about(made, tmp_path, monkeypatch):
  data, trained, asked, born = made.dataset, [], [], {}

  def train_towers(data, before, config, folder, previous=None):
    assert config.depth == FUNNEL.per_source['tower']
    retriever, result = real_train(data, before, config, folder, previous)
    trained.append((before, previous is None))
    born[id(retriever.params)] = before, retriever.params  # kept, so that no other has its id
    return retriever, result

  def week_at(data, cut, retriever, histories, config):
    asked.append((cut, born[id(retriever.params)][0]))
    return real_week(data, cut, retriever, histories, config)

  real_train, real_week = training.train_towers, preparation.week_at
  monkeypatch.setattr(training, 'train_towers', train_towers)
  monkeypatch.setattr(preparation, 'week_at', week_at)
  cuts = weeks.choose_cuts(data, 3)
  lines = []
  groups, ready = preparation.prepare(data, cuts, _config(), tmp_path, tell=lines.append)

  assert trained == [(cuts[3], True), (cuts[2], False), (cuts[0], False)]
  assert asked == [(cuts[3], cuts[3]), (cuts[2], cuts[2]), (cuts[1], cuts[2]), (cuts[0], cuts[0])]
  assert ready.week.targets.cut == cuts[0]
  assert [len(sample.bought) for sample in ready.samples] == [len(sample.inputs.item) for sample in ready.samples]
  assert len(ready.samples) == 3
  assert len(ready.samples[-1].inputs.bags) == len(weeks.find_targets(data, cuts[1]).users)
  assert len(groups) <= sum(len(weeks.find_targets(data, cut).users) for cut in cuts[1:])
  assert sum('of what is bought' in line for line in lines) == 4


def test_weeks_held_back_are_not_learnt_from_and_put_right_what_was(made, tmp_path):
  data, cuts = made.dataset, weeks.choose_cuts(made.dataset, 4)
  config = _config()
  config = dataclasses.replace(config, ranker=dataclasses.replace(config.ranker, held_weeks=1))
  groups, ready = preparation.prepare(data, cuts, config, tmp_path, tell=lambda line: None)
  users = [weeks.find_targets(data, cut).users for cut in cuts[1:]]
  assert len(groups) <= sum(map(len, users[1:]))
  np.testing.assert_array_equal(ready.held[0].candidates.users, users[0])
  assert len(ready.held) == len(ready.samples) == 1
  assert ready.samples[0].bought.sum() == ready.held[0].bought.sum()
  assert [preparation.count_held(config.ranker, number) for number in (1, 3, 4, 20)] == [0, 0, 1, 1]


def test_newcomers_are_weighed_by_those_of_every_week_and_nobody_else_is(made, tmp_path):
  cuts = weeks.choose_cuts(made.dataset, 4)
  arrives = pl.Series([*cuts[:4], *[0] * 4]).gather(made.dataset.events['user'] % 8)  # half of them, week by week
  data = dataclasses.replace(made.dataset, events=made.dataset.events.filter(pl.col('time') >= arrives))
  _, ready = preparation.prepare(data, cuts, _config(), tmp_path, tell=lambda line: None)
  assert len(ready.newcomers) == 3  # the first week's blend has learnt from it
  bought = 0
  for sample, cut in zip(ready.newcomers, cuts[3:0:-1], strict=True):
    known = data.before(cut)['user'].unique().to_numpy()
    targets = weeks.find_targets(data, cut)
    asked = np.unique(sample.candidates.user)
    assert not np.isin(asked, known).any()
    np.testing.assert_array_equal(asked, np.setdiff1d(targets.users, known))
    pairs = set(zip(targets.user.tolist(), targets.item.tolist(), strict=True))
    of_sample = zip(sample.candidates.user.tolist(), sample.candidates.item.tolist(), strict=True)
    np.testing.assert_array_equal(sample.bought, [pair in pairs for pair in of_sample])
    bought += sample.bought.sum()
  assert bought > 10

  def no_ranker(inputs):
    raise AssertionError('the ranker has no part in it')

  before = guard.start('blend')
  fitted = preparation.fit_guard(ready, no_ranker, 'blend')
  assert fitted == guard.choose(ready.newcomers, before, 'cold')
  assert {name: fitted.weights[name] for name in ('light', 'heavy')} == {'light': {'ranker': 1}, 'heavy': {'ranker': 1}}
  assert preparation.fit_guard(ready, no_ranker, 'ranker') == guard.start('ranker')


def test_blends_are_as_fresh_as_the_towers(made, tmp_path, monkeypatch):
  fitted, used = [], []

  def fit_blend(week):
    fitted.append((real_fit(week), week.union.snapshot.cut))
    return fitted[-1][0]

  def select(union, by, keep):
    used.append((union.snapshot.cut, next(cut for blend, cut in fitted if blend is by)))
    return real_select(union, by, keep)

  real_fit, real_select = preparation.fit_blend, funnel.select
  monkeypatch.setattr(preparation, 'fit_blend', fit_blend)
  monkeypatch.setattr(funnel, 'select', select)
  cuts = weeks.choose_cuts(made.dataset, 5)
  _, ready = preparation.prepare(made.dataset, cuts, _config(), tmp_path, tell=lambda _: None)
  # Nothing is older than the first week, whose blend is its own.
  assert used == [(cuts[5], cuts[5]), (cuts[4], cuts[5]), (cuts[3], cuts[5]), (cuts[2], cuts[3]), (cuts[1], cuts[3])]
  assert ready.blend is fitted[-1][0]
  assert fitted[-1][1] == cuts[1]


def test_towers_that_are_never_refreshed_are_trained_once(made, tmp_path, monkeypatch):
  trained, asked = [], []

  def train_towers(data, before, config, folder, previous=None):
    trained.append(before)
    return real_train(data, before, config, folder, previous)

  def week_at(data, cut, retriever, histories, config):
    asked.append((cut, retriever.settings.kind))
    return real_week(data, cut, retriever, histories, config)

  real_train, real_week = training.train_towers, preparation.week_at
  monkeypatch.setattr(training, 'train_towers', train_towers)
  monkeypatch.setattr(preparation, 'week_at', week_at)
  cuts = weeks.choose_cuts(made.dataset, 3)
  tower = dataclasses.replace(TOWER, refresh=0)
  _, ready = preparation.prepare(made.dataset, cuts, _config(tower), tmp_path, tell=lambda _: None)
  assert trained == [cuts[3]]
  # What serves has the index that was asked for, though the weeks to learn from need none.
  assert asked == [(cuts[3], 'exact'), (cuts[2], 'exact'), (cuts[1], 'exact'), (cuts[0], tower.index)]
  assert ready.week.targets.cut == cuts[0]


@pytest.mark.parametrize('values', [{'refresh': -1}, {'weeks': 0}, {'factors': -8}, {'refresh_steps': 0}], ids=str)
def test_values_of_the_towers_that_cannot_be(values):
  with pytest.raises(UserError, match=f'config.tower.{next(iter(values))} must be at least'):
    dataclasses.replace(TOWER, **values)


@pytest.mark.parametrize(
  ('make', 'message'),
  [
    (lambda: dataclasses.replace(TOWER, index='forest'), 'forest'),
    (lambda: dataclasses.replace(TOWER, model={**MODEL, 'sequence_length': 9}), 'longer than the history'),
    (lambda: dataclasses.replace(TOWER, model={**MODEL, 'width': 9}), "tower.model has no key 'width'"),
    (lambda: RankerConfig({'interaction': 'sum'}, TRAIN), 'not one of dot, cross, both, none'),
  ],
)
def test_what_no_model_has_is_said_before_anything_is_trained(make, message):
  with pytest.raises(UserError, match=message):
    make()


def test_no_more_users_are_made_ready_than_the_ranker_sees(made, tmp_path):
  data, tower = made.dataset, TowerConfig(MODEL, TRAIN, weeks=4, factors=8)
  cuts = weeks.choose_cuts(data, 3)
  groups, ready = preparation.prepare(data, cuts, _config(tower, visits=40), tmp_path, tell=lambda _: None)
  assert 20 < len(groups) <= 3 * 14
  assert [len(sample.inputs.bags) for sample in ready.samples] == [14] * 3
  assert ready.week.union.candidates.users.tolist() == weeks.find_targets(data, cuts[0]).users.tolist()


def test_training_ends_after_so_many_epochs():
  short = training.limit_steps(TRAIN, 2.0, 48)  # of which a batch is 32
  assert (short.steps, short.optimizer.warmup_steps) == (3, 1)
  assert training.limit_steps(TRAIN, 2.0, 10**6).steps == TRAIN.steps
  assert training.limit_steps(TRAIN, 2.0, 1).steps == 1


def test_a_short_history_gives_fewer_weeks(made):
  whole = 12  # weeks of the fixture
  assert len(weeks.choose_cuts(made.dataset, 3)) == 4
  assert len(weeks.choose_cuts(made.dataset, 50)) <= whole - 3
  cut = weeks.choose_cuts(made.dataset, 1)[0]
  assert made.dataset.until(cut).events['time'][-1] < cut


def test_factors_are_weighed_by_a_week_that_is_not_learnt(made, tmp_path, monkeypatch):
  data, seen, usuals = made.dataset, [], []

  def choose_boost(params, known, model, targets, k, usual):
    assert k == min(config.depth, data.num_items // 20)
    usuals.append(usual)
    seen.append((learnt.pop(), int(known.histories.time.max()), targets.cut))
    return 3.0

  def make_and_note(*arguments, **named):
    known, spans = make(*arguments, **named)
    learnt.append(max(int(span.cut.max()) for span in spans))
    return known, spans

  make, learnt = training.tower_examples.make_examples, []
  monkeypatch.setattr(training.tower_examples, 'make_examples', make_and_note)
  monkeypatch.setattr(training.towers, 'choose_factor_boost', choose_boost)
  cut = weeks.choose_cuts(data, 1)[0]
  config = TowerConfig(MODEL, TRAIN, weeks=4, factors=8, depth=7)
  found, _ = training.train_towers(data, cut, config, tmp_path / 'first')
  again, _ = training.train_towers(data, cut + weeks.WEEK, config, tmp_path / 'second', found)
  for before, (latest, last_day, judged) in zip((cut, cut + weeks.WEEK), seen, strict=True):
    assert judged == before - weeks.WEEK
    assert latest + weeks.WEEK <= judged
    assert last_day <= found.data.histories.moments(judged)
  assert found.config.factor_boost == again.config.factor_boost == 3.0
  assert usuals == [None, pytest.approx(3.0 * np.exp(found.params['factor_strength']))]
  first_day = int(data.events['time'][0])
  alone, _ = training.train_towers(data, first_day + weeks.WEEK, config, tmp_path / 'alone')
  assert alone.config.factor_boost == 1.0
