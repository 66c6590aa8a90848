"""Fusion against its formulas, and what holds of it whatever the scores are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsd_jax.retrieval.fusion import best, reciprocal_rank_fusion, weighted_fusion

RANKINGS = st.lists(
  st.dictionaries(st.sampled_from('abcdefgh'), st.integers(-50, 50).map(float), max_size=8), min_size=2, max_size=3
)


@given(RANKINGS, st.integers(1, 100))
def test_rrf_is_the_sum_of_reciprocal_ranks(rankings, constant):
  weights = [1.0 + i for i in range(len(rankings))]
  fused = reciprocal_rank_fusion(rankings, weights, constant=constant)
  for item in fused:
    ranks = [best(ranking).index(item) + 1 if item in ranking else None for ranking in rankings]
    want = sum(w / (constant + rank) for w, rank in zip(weights, ranks, strict=True) if rank is not None)
    assert fused[item] == pytest.approx(want)
  assert set(fused) == {item for ranking in rankings for item in ranking}


@given(RANKINGS, st.floats(0.1, 10), st.integers(-9, 9))
def test_weighted_fusion_does_not_see_the_scale_of_scores(rankings, factor, shift):
  weights = [0.3] * len(rankings)
  fused = weighted_fusion(rankings, weights)
  moved = [{item: score * factor + shift for item, score in ranking.items()} for ranking in rankings]
  again = weighted_fusion(moved, weights)
  assert fused.keys() == again.keys()
  np.testing.assert_allclose([fused[item] for item in fused], [again[item] for item in fused], atol=1e-6)
  assert all(0 <= score <= sum(weights) + 1e-9 for score in fused.values())


def test_with_all_the_weight_on_one_ranking_its_order_stays():
  rankings = [{'a': 3.0, 'b': 9.0, 'c': 1.0}, {'c': 5.0, 'a': 2.0}]
  assert best(weighted_fusion(rankings, [1, 0]))[:2] == ['b', 'a']
  assert best(weighted_fusion(rankings, [0, 1]))[0] == 'c'
