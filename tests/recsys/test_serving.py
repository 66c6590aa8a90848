"""Serving from a saved state: the same answers as before it was saved, filters, unknown users, restartable batches."""

import dataclasses
import itertools

import numpy as np
import pytest

from mlsd_jax.errors import UserError
from mlsd_jax.recsys import reasons, serving
from mlsd_jax.recsys.stages import features
from mlsd_jax.recsys.stages.candidates import SOURCES, collect
from mlsd_jax.recsys.stages.filters import Filter
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


@pytest.mark.parametrize('in_stock', [12, 20, 150])
@pytest.mark.parametrize('exclude_bought', [False, True])
def test_filters_act_inside_the_sources_and_lists_are_full(state, in_stock, exclude_bought):
  """Every user gets as many items as pass, 12 at most, though few of the catalogue are in stock."""
  users = np.arange(len(state.users) + 1)
  stock = np.zeros(state.snapshot.num_items, bool)
  stock[np.random.default_rng(0).choice(len(stock), in_stock, replace=False)] = True
  answer = serving.recommend(state, users, exclude_bought=exclude_bought, in_stock=stock)
  assert np.isfinite(answer.probability[answer.items >= 0]).all()
  for user, items in zip(users, answer.items, strict=True):
    passing = stock.copy()
    if exclude_bought:
      start, stop = state.snapshot.pairs_of(np.array([user]))
      passing[state.snapshot['pair_key'][start[0] : stop[0]] % state.snapshot.num_items] = False
    shown = items[items >= 0]
    assert len(set(shown.tolist())) == len(shown) == min(12, passing.sum())
    assert passing[shown].all()


@pytest.mark.parametrize('name', [*SOURCES, NAME])
@pytest.mark.parametrize('exclude_bought', [False, True])
def test_a_filtered_source_gives_the_first_of_its_whole_list_that_pass(state, name, exclude_bought):
  snapshot, users = state.snapshot, np.arange(len(state.users) + 1)
  stock = np.arange(snapshot.num_items) % 3 == 0
  vectors = state.funnel.retriever.users(state.histories, users, snapshot.cut)
  source = SOURCES.get(name) or state.funnel.retriever.source(vectors)
  whole, _ = source(snapshot, users, snapshot.num_items)
  found, scores = source(snapshot, users, 15, Filter(stock, exclude_bought))
  for row, user in enumerate(users):
    items = whole[row][whole[row] >= 0]
    passes = stock[items] & ~(exclude_bought & snapshot.bought(np.full(len(items), user), items))
    mine = found[row][found[row] >= 0]
    np.testing.assert_array_equal(mine, items[passes][:15])
    assert (np.diff(scores[row][: len(mine)]) <= 1e-6).all()


def test_nothing_in_stock_is_an_empty_answer(state):
  answer = serving.recommend(state, np.arange(3), in_stock=np.zeros(state.snapshot.num_items, bool))
  assert (answer.items == -1).all()


def test_more_items_than_the_blend_keeps(state):
  assert (serving.recommend(state, np.arange(3), state.funnel.keep + 20).items >= 0).all()


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    ({'users': np.array([], np.int64)}, 'at least one number'),
    ({'users': []}, 'at least one number'),
    ({'users': np.array([-1])}, 'no user has number -1'),
    ({'users': np.array([0, 301])}, 'no user has number 301: 0 to 299, or 300'),
    ({'users': np.array([0.5])}, 'numbers of state.users'),
    ({'users': ['u1']}, 'numbers of state.users'),
    ({'users': np.array([[1]])}, r'got shape \(1, 1\)'),
    ({'k': 0}, 'at least one item'),
    ({'k': -3}, 'at least one item'),
    ({'k': 2.5}, 'at least one item'),
    ({'in_stock': np.ones(199, bool)}, r'bool array of shape \(200,\).* got bool, shape \(199,\)'),
    ({'in_stock': [True] * 200}, 'got list'),
    ({'in_stock': np.arange(200)}, 'got int64'),
  ],
)
def test_what_cannot_be_recommended_is_one_line(state, arguments, message):
  with pytest.raises(UserError, match=message):
    serving.recommend(state, **{'users': np.array([0]), **arguments})


def test_who_is_not_known_gets_a_full_list(state):
  assert (serving.recommend(state, np.array([len(state.users)])).items >= 0).all()


def test_every_recommendation_has_a_reason_that_is_true(state):
  stock = np.arange(state.snapshot.num_items) % 9 == 0
  n7 = state.snapshot.column('item', 'n7')
  for user, filters in itertools.product((0, 7, len(state.users)), ({}, {'in_stock': stock})):
    answer = serving.recommend(state, np.array([user]), **filters)
    found = answer.candidates
    for item in answer.items[0]:
      row = int(np.searchsorted(found.item, item))
      why = reasons.explain(state, user, int(item), found.rank[row], found.sources, found.score[row])
      assert why.sources
      assert why.why
      if 'this week' in why.why:
        assert f': {n7[item]:.0f} bought' in why.why
        assert n7[item] > 0
      assert why.why.startswith('bought') <= bool(state.snapshot.bought(np.array([user]), np.array([item]))[0])


_SAYS = {'repurchase': 'bought', 'popular': 'popular:', 'category': 'popular in', 'covisit': 'often in one basket',
         'place': 'where the user usually buys', 'tower': 'near to what was bought'}  # fmt: skip


@pytest.mark.parametrize('name', list(_SAYS))
def test_the_reason_is_of_the_source_that_counted_most_in_the_blend(state, name):
  """A blend that counts the rank of one source alone gives its sentence wherever that source named the item."""
  columns = len(state.funnel.blend.edges)
  names = tuple(state.funnel.per_source)
  found = serving.recommend(state, np.arange(20)).candidates
  weights = np.zeros_like(state.funnel.blend.weights)
  weights[1 + columns - 2 * len(names) + names.index(name)] = 1.0  # whether it has a rank; no promotions here
  trained = dataclasses.replace(state.funnel, blend=dataclasses.replace(state.funnel.blend, weights=weights))
  named = np.flatnonzero(found.rank[:, names.index(name)])[:10]
  assert len(named)
  for row in named:
    why = reasons.explain(
      dataclasses.replace(state, funnel=trained), int(found.user[row]), int(found.item[row]), found.rank[row], names
    )
    assert _SAYS[name] in why.why


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
