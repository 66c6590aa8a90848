"""Measures agree with ir-measures (trec_eval's code)."""

import ir_measures
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsd_jax import ranking_measures
from mlsd_jax.errors import UserError

PAGES = [f'p{i}' for i in range(12)]
JUDGED = st.dictionaries(
  st.sampled_from(['q1', 'q2', 'q3']),
  st.dictionaries(st.sampled_from(PAGES), st.integers(-1, 4), min_size=1),
  min_size=1,
).filter(lambda judged: any(grade > 0 for grades in judged.values() for grade in grades.values()))
RUNS = st.dictionaries(st.sampled_from(['q1', 'q2', 'q3', 'q4']), st.permutations(PAGES).map(lambda pages: pages[:8]))
THEIRS = {'ndcg': ir_measures.nDCG, 'recall': ir_measures.R, 'mrr': ir_measures.RR, 'map': ir_measures.AP}


@given(judged=JUDGED, run=RUNS, k=st.integers(1, 12), name=st.sampled_from(sorted(THEIRS)))
def test_measures_are_those_of_trec_eval(judged, run, k, name):
  scored = {query: {page: float(-place) for place, page in enumerate(pages)} for query, pages in run.items()}
  theirs = {
    each.query_id: each.value
    for each in ir_measures.iter_calc([THEIRS[name] @ k], judged, scored)
    if each.query_id in judged
  }
  relevant = [query for query, grades in judged.items() if any(grade > 0 for grade in grades.values())]
  ours = ranking_measures.per_query(run, judged, f'{name}@{k}')
  np.testing.assert_allclose(ours, [theirs.get(query, 0.0) for query in relevant], atol=1e-6)


@pytest.mark.parametrize('measure', ['ndcg', 'ndcg@0', 'precision@5', 'ndcg@x'])
def test_an_unknown_measure_is_named(measure):
  with pytest.raises(UserError, match='no measure'):
    ranking_measures.per_query({}, {'q': {'p': 1}}, measure)


def test_nothing_relevant_is_an_error():
  with pytest.raises(UserError, match='no query has a page judged relevant'):
    ranking_measures.per_query({'q': ['p']}, {'q': {'p': 0}}, 'ndcg@10')
