"""Metrics against plain loops written from their definitions; intervals and tests against what is known of them."""

import itertools
import math

import chex
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsd_jax.ranking_measures import average_precision, recall
from mlsd_jax.recsys.judging import measures
from mlsd_jax.recsys.purchases.weeks import Targets

ITEMS = 12


def _targets(bought: dict[int, set[int]]) -> Targets:
  pairs = sorted((user, item) for user, items in bought.items() for item in items)
  user, item = (np.array([pair[i] for pair in pairs], np.int32) for i in (0, 1))
  return Targets(0, user, item, np.zeros(len(user), np.float32), np.ones(len(user), np.float32))


def _reference(ranking: list[int], bought: set[int], k: int) -> tuple[float, float, float]:
  """AP@k as Kaggle's page defines it, recall@k, nDCG@k."""
  score, hits, gain = 0.0, 0, 0.0
  for place, item in enumerate(ranking[:k]):
    if item in bought:
      hits += 1
      score += hits / (place + 1)
      gain += 1 / math.log2(place + 2)
  ideal = sum(1 / math.log2(place + 2) for place in range(min(k, len(bought))))
  return score / min(len(bought), k), hits / len(bought), gain / ideal


cases = st.lists(
  st.tuples(st.permutations(range(ITEMS)), st.sets(st.integers(0, ITEMS - 1), min_size=1), st.integers(0, ITEMS)),
  min_size=1,
  max_size=5,
)


@given(cases, st.integers(1, ITEMS))
def test_metrics_are_their_definitions(users, k):
  ranking = np.full((len(users), ITEMS), -1, np.int32)
  for row, (order, _, known) in enumerate(users):
    ranking[row, :known] = order[:known]
  targets = _targets({row: bought for row, (_, bought, _) in enumerate(users)})
  hits, relevant = measures.relevance(np.arange(len(users), dtype=np.int32), ranking, targets, ITEMS)
  values = (
    average_precision(hits, relevant, k, at_most_k=True),
    recall(hits, relevant, k),
    measures.binary_ndcg(hits, relevant, k),
  )
  expected = [_reference(list(order[:known]), bought, k) for order, bought, known in users]
  chex.assert_shape(values, (len(users),))
  np.testing.assert_allclose(np.stack(values, 1), expected, atol=1e-12)


def test_published_example_of_average_precision():
  # Kaggle's H&M page: relevant at places 1 and 3 of 12, 3 bought -> (1/1 + 2/3) / 3.
  hits = np.zeros((1, 12), bool)
  hits[0, [0, 2]] = True
  assert average_precision(hits, np.array([3]), 12, at_most_k=True)[0] == pytest.approx((1 + 2 / 3) / 3)


def test_no_targets_are_no_hits():
  hits, relevant = measures.relevance(np.array([0], np.int32), np.array([[1, 2]], np.int32), _targets({}), ITEMS)
  assert not hits.any()
  assert relevant.tolist() == [0]


def test_paired_test_sees_a_difference_and_none():
  rng = np.random.default_rng(0)
  first = rng.random(400)
  assert measures.compare(first + 0.02 * rng.random(400), first, rounds=500).p < 0.01
  noise = measures.compare(first + rng.normal(0, 0.1, 400), first, rounds=2000)
  assert noise.p > 0.02
  assert noise.difference.low < 0 < noise.difference.high


def test_coverage_and_novelty():
  ranking = np.array([[0, 1, -1], [1, 0, 2]], np.int32)
  assert measures.coverage(ranking, 10, k=2) == 0.2
  assert measures.novelty(ranking, np.array([4, 2, 2]), k=2) == pytest.approx((1 + 2) / 2)


@given(cases, st.integers(1, ITEMS))
def test_diversity_and_popularity_are_their_definitions(users, k):
  rng = np.random.default_rng(0)
  counts, codes = rng.integers(1, 50, ITEMS).astype(float), rng.integers(0, 3, ITEMS)
  ranking = np.full((len(users), ITEMS), -1, np.int32)
  for row, (order, _, known) in enumerate(users):
    ranking[row, :known] = order[:known]
  lists = [list(order[: min(known, k)]) for order, _, known in users]
  pairs = [[codes[a] != codes[b] for a, b in itertools.combinations(each, 2)] for each in lists if len(each) > 1]
  expected = np.mean([np.mean(each) for each in pairs]) if pairs else np.nan
  np.testing.assert_allclose(measures.diversity(ranking, codes, k), expected)
  ids = np.arange(len(users), dtype=np.int32)
  targets = _targets({row: bought for row, (_, bought, _) in enumerate(users)})
  usual = np.mean([counts[list(bought)].mean() for _, bought, _ in users])
  shown = [counts[each].mean() for each in lists if each]
  lift = np.mean(shown) / usual - 1 if shown else np.nan
  np.testing.assert_allclose(measures.popularity_lift(ids, ranking, targets, counts, k), lift, rtol=1e-6)
