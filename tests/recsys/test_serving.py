"""Serving from a saved state: the same answers as before it was saved, filters, unknown users, restartable batches."""

import dataclasses

import numpy as np
import polars as pl
import pytest

from mlsd_jax.errors import UserError
from mlsd_jax.recsys import reasons, serving
from mlsd_jax.recsys.stages import features
from mlsd_jax.recsys.stages.candidates import SOURCES, collect
from mlsd_jax.recsys.stages.tower_source import NAME


@pytest.mark.parametrize('number', [3, 100])  # one after the other; a block of many and a rest
def test_towers_score_every_candidate_of_the_union(state, number):
  users = np.arange(number)
  vectors = state.funnel.retriever.users(state.histories, users, state.snapshot.cut)
  sources = {**SOURCES, NAME: state.funnel.retriever.source(vectors)}
  union = collect(state.snapshot, users, sources, state.funnel.per_source)
  scored = state.funnel.retriever.scored(union, vectors).score[:, union.sources.index(NAME)]
  products = np.einsum('nw,nw->n', vectors[union.row], state.funnel.retriever.items[union.item])
  for user in users:
    mine = products[union.row == user]
    np.testing.assert_allclose(scored[union.row == user], (mine - mine.mean()) / mine.std(), rtol=1e-3, atol=1e-4)


def test_towers_scores_are_the_same_on_another_scale(state):
  users = np.arange(5)
  vectors = state.funnel.retriever.users(state.histories, users, state.snapshot.cut)
  union = collect(state.snapshot, users, {NAME: state.funnel.retriever.source(vectors)}, state.funnel.per_source)
  found = state.funnel.retriever.scored(union, vectors).score
  np.testing.assert_allclose(state.funnel.retriever.scored(union, 3 * vectors).score, found, rtol=1e-4, atol=1e-5)


def test_dense_names_fit_the_columns(state):
  union = state.funnel.retriever.items.shape[0]
  assert union == len(state.items)
  names = features.dense_names(state.snapshot, tuple(state.funnel.per_source))
  assert len(names) == len(set(names)) == state.funnel.scorer.config.num_dense


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
      why = reasons.explain(state, user, int(item), answer.candidates.rank[row], answer.candidates.sources)
      assert why.sources
      assert why.why


def test_batches_go_on_where_they_stopped(state, tmp_path):
  users = np.arange(25)
  assert serving.recommend_in_parts(state, users, tmp_path, part=10) == 3
  whole = pl.read_parquet(tmp_path / 'part-*.parquet')
  assert whole.group_by('user').len()['len'].to_list() == [12] * 25
  (tmp_path / 'part-00001.parquet').unlink()
  assert serving.recommend_in_parts(state, users, tmp_path, part=10) == 1
  assert pl.read_parquet(tmp_path / 'part-*.parquet').sort('user', 'rank').equals(whole.sort('user', 'rank'))
  with pytest.raises(UserError, match='another state or for other users'):
    serving.recommend_in_parts(state, users + 1, tmp_path, part=10)
  with pytest.raises(UserError, match='another state or for other users'):
    serving.recommend_in_parts(dataclasses.replace(state, version='other'), users, tmp_path, part=10)


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
