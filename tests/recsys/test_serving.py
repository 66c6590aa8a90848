"""Serving from a saved state: the same answers as before it was saved, filters, unknown users, restartable batches."""

import dataclasses

import jax
import numpy as np
import polars as pl
import pytest

from mlsd_jax import files
from mlsd_jax.ann import Index
from mlsd_jax.errors import UserError
from mlsd_jax.models import sparsenn, two_tower
from mlsd_jax.models.sparsenn import SparseNNConfig
from mlsd_jax.recsys import funnel, serving
from mlsd_jax.recsys.judging.tables import reason
from mlsd_jax.recsys.known import snapshot
from mlsd_jax.recsys.purchases import weeks
from mlsd_jax.recsys.purchases.histories import Histories
from mlsd_jax.recsys.stages import features, tower_examples, towers
from mlsd_jax.recsys.stages.candidates import SOURCES, collect
from mlsd_jax.recsys.stages.ranker import Scorer
from mlsd_jax.recsys.stages.tower_source import NAME, Retriever

PER_SOURCE = {'repurchase': 20, 'popular': 20, 'place': 20, 'category': 20, 'covisit': 20, NAME: 20}


@pytest.fixture(scope='module')
def state(made):
  """A state of untrained models: what matters here is that it answers, and answers the same."""
  dataset = made.dataset
  cut = weeks.cuts(dataset, 1)[0]
  data, _ = tower_examples.tower_data(dataset, cut, 4, factor_dim=8)
  config = towers.model_config(data, {'embed_dim': 8, 'hidden_dim': 8, 'history_length': 8, 'sequence_length': 4})
  retriever = Retriever.build(jax.device_get(two_tower.init(jax.random.key(0), config)), config, data)
  histories = Histories.of(dataset.events, dataset.num_users)
  taken, found = snapshot.take(dataset, cut), weeks.targets(dataset, cut)
  week = funnel.prepare(taken, found, found.users, retriever, histories, PER_SOURCE)
  blend = funnel.fit_blend(week)
  _, seen = funnel.narrowed(week, blend, 30)
  codes, bounds = data.codes, features.edges(seen.dense, 4)
  ranker = SparseNNConfig(
    num_dense=seen.dense.shape[1], num_items=dataset.num_items, code_sizes=config.code_sizes, bins=4, bag_length=4
  )
  scorer = Scorer(jax.device_get(sparsenn.init(jax.random.key(1), ranker)), ranker, codes, bounds)
  of_users = tower_examples.user_codes(dataset)
  return serving.State(
    taken, histories, retriever, blend, scorer, codes, bounds, of_users, *serving.tables(dataset), PER_SOURCE, 30
  )


@pytest.mark.parametrize('number', [3, 100])  # one after the other; a block of many and a rest
def test_towers_score_every_candidate_of_the_union(state, number):
  users = np.arange(number)
  vectors = state.retriever.users(state.histories, users, state.snapshot.cut)
  sources = {name: source for name, source in SOURCES.items() if name in PER_SOURCE}
  union = collect(state.snapshot, users, sources | {NAME: state.retriever.source(vectors)}, PER_SOURCE)
  scored = state.retriever.scored(union, vectors).score[:, union.sources.index(NAME)]
  products = np.einsum('nw,nw->n', vectors[union.row], state.retriever.items[union.item])
  for user in users:
    mine = products[union.row == user]
    np.testing.assert_allclose(scored[union.row == user], (mine - mine.mean()) / mine.std(), rtol=1e-3, atol=1e-4)


def test_towers_scores_are_the_same_on_another_scale(state):
  users = np.arange(5)
  vectors = state.retriever.users(state.histories, users, state.snapshot.cut)
  union = collect(state.snapshot, users, {NAME: state.retriever.source(vectors)}, PER_SOURCE)
  found = state.retriever.scored(union, vectors).score
  np.testing.assert_allclose(state.retriever.scored(union, 3 * vectors).score, found, rtol=1e-4, atol=1e-5)


def test_dense_names_fit_the_columns(state):
  union = state.retriever.items.shape[0]
  assert union == len(state.items)
  names = features.dense_names(state.snapshot, tuple(PER_SOURCE))
  assert len(names) == len(set(names)) == state.scorer.config.num_dense


def test_a_saved_state_answers_the_same(state, tmp_path):
  users = np.array([0, 5, 17, len(state.users)])
  before = serving.recommend(state, users)
  serving.save(state, tmp_path, {'data': 'synthetic'})
  loaded = serving.load(tmp_path)
  assert isinstance(loaded.retriever.index, Index)
  after = serving.recommend(loaded, users)
  np.testing.assert_array_equal(before.items, after.items)
  np.testing.assert_allclose(before.probability, after.probability, rtol=1e-5)


@pytest.mark.parametrize('filters', [{}, {'exclude_bought': True}], ids=['all', 'new'])
def test_one_user_alone_gets_what_it_gets_among_others(state, filters):
  users = np.arange(len(state.users) - 40, len(state.users) + 1)  # the last is nobody we know
  together = serving.recommend(state, users, **filters)
  for row, user in enumerate(users):
    alone = serving.recommend(state, np.array([user]), **filters)
    np.testing.assert_array_equal(together.items[row], alone.items[0])
    np.testing.assert_allclose(together.probability[row], alone.probability[0], rtol=1e-4)


def test_probabilities_fall_and_items_are_distinct(state):
  answer = serving.recommend(state, np.arange(20))
  for items, probability in zip(answer.items, answer.probability, strict=True):
    assert len(set(items.tolist())) == 12
    assert (np.diff(probability) <= 0).all()
    assert ((probability > 0) & (probability < 1)).all()


def test_filters(state):
  users = np.arange(10)
  stock = np.arange(state.snapshot.num_items) % 2 == 0
  answer = serving.recommend(state, users, exclude_bought=True, in_stock=stock)
  for user, items in zip(users, answer.items, strict=True):
    start, stop = state.snapshot.pairs_of(np.array([user]))
    bought = state.snapshot['pair_key'][start[0] : stop[0]] % state.snapshot.num_items
    assert not set(items[items >= 0]) & set(bought.tolist())
    assert stock[items[items >= 0]].all()


def test_who_is_not_known_gets_a_full_list(state):
  assert (serving.recommend(state, np.array([len(state.users)])).items >= 0).all()


def test_every_recommendation_has_a_reason(state):
  for user in (0, len(state.users)):
    answer = serving.recommend(state, np.array([user]))
    for item in answer.items[0]:
      row = int(np.searchsorted(answer.candidates.item, item))
      why = reason(state, user, int(item), answer.candidates.rank[row], answer.candidates.sources)
      assert why.sources
      assert why.why


def test_batches_go_on_where_they_stopped(state, tmp_path):
  users = np.arange(25)
  assert serving.batch(state, users, tmp_path, part=10) == 3
  whole = pl.read_parquet(tmp_path / 'part-*.parquet')
  assert whole.group_by('user').len()['len'].to_list() == [12] * 25
  (tmp_path / 'part-00001.parquet').unlink()
  assert serving.batch(state, users, tmp_path, part=10) == 1
  assert pl.read_parquet(tmp_path / 'part-*.parquet').sort('user', 'rank').equals(whole.sort('user', 'rank'))
  with pytest.raises(UserError, match='another state or for other users'):
    serving.batch(state, users + 1, tmp_path, part=10)
  with pytest.raises(UserError, match='another state or for other users'):
    serving.batch(dataclasses.replace(state, version='other'), users, tmp_path, part=10)


def test_nothing_saved_is_told(tmp_path):
  with pytest.raises(UserError, match='no trained recommender'):
    serving.load(tmp_path)


def test_a_day_closed_makes_purchases_less_likely(state):
  """By as much as trips of a Poisson distribution without its zero become fewer, so nobody's order changes."""

  def mean_trips(rate):
    counts = np.arange(1, 60)
    weights = np.exp(counts * np.log(rate) - np.cumsum(np.log(counts)))
    return (counts * weights).sum() / weights.sum()

  shut = dataclasses.replace(
    state.snapshot, arrays=dict(state.snapshot.arrays) | {'open_share': np.array([0.5], np.float32)}
  )
  users = np.array([0, 5])
  usual, less = (
    serving.recommend(dataclasses.replace(state, snapshot=taken), users) for taken in (state.snapshot, shut)
  )
  np.testing.assert_array_equal(usual.items, less.items)
  odds = lambda p: p / (1 - p)
  rates = shut.column('user', 'days30')[users] * 7 / 30
  fewer = [mean_trips(rate / 2) / mean_trips(rate) if rate else 1.0 for rate in rates]
  assert min(fewer) < 1
  np.testing.assert_allclose(odds(less.probability) / odds(usual.probability), np.stack([fewer] * 12, 1), rtol=2e-3)


def test_a_state_of_another_layout_says_so(state, tmp_path):
  version = serving.save(state, tmp_path, {'data': 'synthetic'})
  described = files.read_json(tmp_path / version / 'state.json')
  files.write_json(tmp_path / version / 'state.json', described | {'layout': 1})
  with pytest.raises(UserError, match='another layout'):
    serving.load(tmp_path)
