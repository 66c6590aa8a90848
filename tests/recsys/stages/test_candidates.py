"""Candidates: each source against a loop, the union against sets."""

import collections

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsd_jax.recsys.known import snapshot
from mlsd_jax.recsys.known.covisitation import covisitation
from mlsd_jax.recsys.purchases import weeks
from mlsd_jax.recsys.purchases.events import DAY
from mlsd_jax.recsys.stages import candidates


@pytest.fixture(scope='module')
def state(made):
  return snapshot.take(made.dataset, weeks.list_cuts(made.dataset, 1)[0])


def test_repurchase_names_what_the_user_bought_most(made, state):
  users = np.arange(50, dtype=np.int32)
  items, scores = candidates.repurchase(state, users, 10)
  history = made.dataset.before(state.cut)
  for row, user in enumerate(users):
    mine = history.filter(pl.col('user') == user)
    age = (state.cut - mine['time'].to_numpy()) / DAY
    weight = collections.Counter()
    for item, each in zip(mine['item'].to_list(), age, strict=True):
      weight[item] += 0.5 ** (each / snapshot.HALF / 3)
    best = [score for _, score in weight.most_common(10)]
    np.testing.assert_allclose(scores[row][: len(best)], best, rtol=1e-4)
    assert set(items[row][items[row] >= 0].tolist()) <= set(weight)
    assert (items[row] >= 0).sum() == min(10, len(weight))


def test_popular_is_the_same_for_all_and_in_order(made, state):
  items, _ = candidates.popular(state, np.arange(3, dtype=np.int32), 5)
  assert (items == items[0]).all()
  week = made.dataset.between(state.cut - weeks.WEEK, state.cut)['item'].value_counts()
  assert week.filter(pl.col('item') == int(items[0, 0]))['count'][0] == week['count'].max()


def test_category_adds_up_all_levels(made, state):
  users = np.arange(20, dtype=np.int32)
  items, scores = candidates.category(state, users, 10)
  history = made.dataset.before(state.cut)
  age = (state.cut - history['time'].to_numpy()) / DAY
  user, item = history['user'].to_numpy(), history['item'].to_numpy()
  counts = np.bincount(item, (age <= 30) + 0.05 * (age <= 90), minlength=made.dataset.num_items)
  for row in users:
    total = np.zeros(made.dataset.num_items)
    for codes in state['category']:
      bought = np.bincount(
        codes[item[user == row]], 0.5 ** (age[user == row] / snapshot.HALF), minlength=codes.max() + 1
      )
      total += bought[codes] * counts / np.maximum(np.bincount(codes, counts)[codes], 1)
    best = np.sort(total)[::-1][:10]
    np.testing.assert_allclose(scores[row], best, rtol=1e-4)
    np.testing.assert_allclose(total[items[row]], best, rtol=1e-4)


def test_every_source_serves_who_is_not_known(made, state):
  nobody = np.array([made.dataset.num_users], np.int32)
  union = candidates.collect(state, nobody, candidates.SOURCES, 20)
  assert len(union.item) >= 20
  named = (union.rank > 0).any(0)
  assert dict(zip(union.sources, named.tolist(), strict=True)) == {
    'repurchase': False,
    'popular': True,
    'place': True,
    'category': False,
    'covisit': False,
  }


def test_covisitation_is_the_cosine_of_weighted_baskets():
  # Baskets: {0, 1}, {0, 1}, {0, 2} of three users.
  events = pl.DataFrame(
    {'user': [0, 0, 1, 1, 2, 2], 'item': [0, 1, 0, 1, 0, 2], 'time': [10, 10, 20, 20, 30, 30]},
    schema_overrides={'user': pl.Int32, 'item': pl.Int32},
  )
  found = covisitation(events, 4, least=0.0)
  start, item, score = (found[f'covisit_{name}'] for name in ('start', 'item', 'score'))
  assert item[start[0] : start[1]].tolist() == [1, 2]
  np.testing.assert_allclose(score[start[0] : start[1]], [2 / np.sqrt(3 * 2), 1 / np.sqrt(3 * 1)], rtol=1e-5)
  assert start[3] == start[4]
  alone = covisitation(events[:1], 4)
  assert alone['covisit_start'].tolist() == [0] * 5


found_lists = st.lists(st.lists(st.integers(0, 9), unique=True, max_size=6), min_size=2, max_size=2)


@given(found_lists, found_lists)
def test_the_union_keeps_who_said_what(first, second):
  def as_found(lists):
    items, scores = np.full((2, 6), -1, np.int32), np.zeros((2, 6), np.float32)
    for row, each in enumerate(lists):
      items[row, : len(each)], scores[row, : len(each)] = each, np.arange(len(each), 0, -1)
    return items, scores

  union = candidates.merge(np.array([3, 5], np.int32), {'a': as_found(first), 'b': as_found(second)}, 10)
  for row in range(2):
    items = union.item[union.start[row] : union.start[row + 1]].tolist()
    assert items == sorted(set(first[row]) | set(second[row]))
    for item, rank in zip(items, union.rank[union.start[row] : union.start[row + 1]], strict=True):
      for lists, place in zip((first, second), rank, strict=True):
        assert place == (lists[row].index(item) + 1 if item in lists[row] else 0)


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(-10, 10, width=32)), max_size=40))
def test_best_first_sorts_as_a_stable_sort_does(pairs):
  pairs.sort(key=lambda pair: pair[0])
  rows = np.array([pair[0] for pair in pairs], np.int64)
  scores = np.array([pair[1] for pair in pairs], np.float32) + np.float32(0)
  order = candidates.sort_best_first(rows, scores)
  expected = sorted(range(len(pairs)), key=lambda i: (rows[i], -scores[i], i))
  assert order.tolist() == expected


def test_best_keeps_the_first_of_each_user():
  union = candidates.Candidates(
    np.array([0, 1], np.int32),
    np.array([0, 3, 4]),
    np.array([4, 5, 6, 7], np.int32),
    np.ones((4, 1), np.int16),
    np.ones((4, 1), np.float32),
    ('a',),
  )
  best = union.best(np.array([0.1, 0.3, 0.2, 0.0], np.float32), 2)
  assert best.item.tolist() == [5, 6, 7]
  assert best.start.tolist() == [0, 2, 3]
  assert union.ranked(np.array([0.1, 0.3, 0.2, 0.0]), 2).tolist() == [[5, 6], [7, -1]]


def test_fill_takes_what_is_not_there_yet():
  ranking = np.array([[3, -1, -1], [1, 2, 3]], np.int32)
  assert candidates.fill(ranking, np.array([3, 1, 2])).tolist() == [[3, 1, 2], [1, 2, 3]]
  assert candidates.fill(ranking, np.array([3])).tolist() == [[3, -1, -1], [1, 2, 3]]
