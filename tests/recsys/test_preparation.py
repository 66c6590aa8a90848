"""The weeks before a cut: what is asked about a week never knows it, and is fresh for the one held out."""

import numpy as np
import pytest

from mlsd_jax.recsys import funnel, preparation, training
from mlsd_jax.recsys.funnel import FunnelConfig
from mlsd_jax.recsys.purchases import weeks
from mlsd_jax.recsys.training import TowerSettings
from mlsd_jax.training.config import TrainConfig
from mlsd_jax.training.optimizers import OptimizerConfig

MODEL = {'embed_dim': 8, 'hidden_dim': 8, 'history_length': 8, 'sequence_length': 4, 'sequence_dim': 8}
SETTINGS = FunnelConfig({'repurchase': 10, 'popular': 10, 'tower': 20}, weeks=3, keep=12, group=8)
TRAIN = TrainConfig(
  steps=4,
  batch_size=32,
  checkpoint_every=0,
  optimizer=OptimizerConfig(name='rowwise_adagrad', learning_rate=1e-3, table_learning_rate=0.1, warmup_steps=1),
  mesh={'data': 1, 'fsdp': -1},
)


def test_towers_are_no_newer_than_the_week_they_are_asked_about(made, tmp_path, monkeypatch):
  data, trained, asked, born = made.dataset, [], [], {}

  def train_towers(data, before, settings, train, folder, previous=None):
    assert settings.depth == SETTINGS.per_source['tower']
    retriever, result = real_train(data, before, settings, train, folder, previous)
    trained.append((before, previous is None))
    born[id(retriever.params)] = before, retriever.params  # kept, so that no other has its id
    return retriever, result

  def week_at(data, cut, retriever, histories, settings):
    asked.append((cut, born[id(retriever.params)][0]))
    return real_week(data, cut, retriever, histories, settings)

  real_train, real_week = training.train_towers, preparation.week_at
  monkeypatch.setattr(training, 'train_towers', train_towers)
  monkeypatch.setattr(preparation, 'week_at', week_at)
  cuts = funnel.weeks_of(data, 3)
  tower = TowerSettings(MODEL, weeks=4, factors=8, refresh=2, refresh_steps=3)
  lines = []
  groups, ready = preparation.prepare(data, cuts, SETTINGS, tower, TRAIN, 4, tmp_path, 10**6, tell=lines.append)

  assert trained == [(cuts[3], True), (cuts[2], False), (cuts[0], False)]
  assert asked == [(cuts[3], cuts[3]), (cuts[2], cuts[2]), (cuts[1], cuts[2]), (cuts[0], cuts[0])]
  assert ready.week.targets.cut == cuts[0]
  assert [len(pool.labels.bought) for pool in ready.latest] == [len(pool.features.item) for pool in ready.latest]
  assert len(ready.latest) == 3
  assert ready.latest[-1].candidates.users.tolist() == weeks.targets(data, cuts[1]).users.tolist()
  assert len(groups) <= sum(len(weeks.targets(data, cut).users) for cut in cuts[1:])
  assert sum('of what is bought' in line for line in lines) == 4


def test_blends_are_as_fresh_as_the_towers(made, tmp_path, monkeypatch):
  fitted, used = [], []

  def fit_blend(week):
    fitted.append((real_fit(week), week.snapshot.cut))
    return fitted[-1][0]

  def pool(week, by, keep, bag_length):
    used.append((week.snapshot.cut, next(cut for blend, cut in fitted if blend is by)))
    return real_pool(week, by, keep, bag_length)

  real_fit, real_pool = funnel.fit_blend, funnel.pool
  monkeypatch.setattr(funnel, 'fit_blend', fit_blend)
  monkeypatch.setattr(funnel, 'pool', pool)
  cuts = funnel.weeks_of(made.dataset, 5)
  tower = TowerSettings(MODEL, weeks=4, factors=8, refresh=2, refresh_steps=3)
  _, ready = preparation.prepare(made.dataset, cuts, SETTINGS, tower, TRAIN, 4, tmp_path, 10**6, tell=lambda _: None)
  # Nothing is older than the first week, whose blend is its own.
  assert used == [(cuts[5], cuts[5]), (cuts[4], cuts[5]), (cuts[3], cuts[5]), (cuts[2], cuts[3]), (cuts[1], cuts[3])]
  assert ready.blend is fitted[-1][0]
  assert fitted[-1][1] == cuts[1]


def test_no_more_users_are_made_ready_than_the_ranker_sees(made, tmp_path):
  data, tower = made.dataset, TowerSettings(MODEL, weeks=4, factors=8)
  cuts = funnel.weeks_of(data, 3)
  groups, ready = preparation.prepare(data, cuts, SETTINGS, tower, TRAIN, 4, tmp_path, 40, tell=lambda _: None)
  assert 20 < len(groups) <= 3 * 14
  assert [len(pool.candidates.users) for pool in ready.latest] == [14] * 3
  assert ready.week.candidates.users.tolist() == weeks.targets(data, cuts[0]).users.tolist()


def test_training_ends_after_so_many_epochs():
  short = training.within(TRAIN, 2.0, 48)  # of which a batch is 32
  assert (short.steps, short.optimizer.warmup_steps) == (3, 1)
  assert training.within(TRAIN, 2.0, 10**6).steps == TRAIN.steps
  assert training.within(TRAIN, 2.0, 1).steps == 1


def test_a_short_history_gives_fewer_weeks(made):
  whole = 12  # weeks of the fixture
  assert len(funnel.weeks_of(made.dataset, 3)) == 4
  assert len(funnel.weeks_of(made.dataset, 50)) <= whole - 3
  cut = funnel.weeks_of(made.dataset, 1)[0]
  assert made.dataset.until(cut).events['time'][-1] < cut


def test_factors_are_weighed_by_a_week_that_is_not_learnt(made, tmp_path, monkeypatch):
  data, seen, usuals = made.dataset, [], []

  def factor_boost(params, known, config, targets, k, usual):
    assert k == min(settings.depth, data.num_items // 20)
    usuals.append(usual)
    seen.append((learnt.pop(), int(known.histories.time.max()), targets.cut))
    return 3.0

  def tower_data(*arguments, **named):
    known, spans = make(*arguments, **named)
    learnt.append(max(int(span.cut.max()) for span in spans))
    return known, spans

  make, learnt = training.tower_examples.tower_data, []
  monkeypatch.setattr(training.tower_examples, 'tower_data', tower_data)
  monkeypatch.setattr(training.towers, 'factor_boost', factor_boost)
  cut = funnel.weeks_of(data, 1)[0]
  settings = TowerSettings(MODEL, weeks=4, factors=8, depth=7)
  found, _ = training.train_towers(data, cut, settings, TRAIN, tmp_path / 'first')
  again, _ = training.train_towers(data, cut + weeks.WEEK, settings, TRAIN, tmp_path / 'second', found)
  for before, (latest, last_day, judged) in zip((cut, cut + weeks.WEEK), seen, strict=True):
    assert judged == before - weeks.WEEK
    assert latest + weeks.WEEK <= judged
    assert last_day <= found.data.histories.moments(judged)
  assert found.config.factor_boost == again.config.factor_boost == 3.0
  assert usuals == [None, pytest.approx(3.0 * np.exp(found.params['factor_strength']))]
  first_day = int(data.events['time'][0])
  alone, _ = training.train_towers(data, first_day + weeks.WEEK, settings, TRAIN, tmp_path / 'alone')
  assert alone.config.factor_boost == 1.0
