"""BM25 against its formula written out, and that what was saved is what is opened."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsd_jax.errors import UserError
from mlsd_jax.retrieval.bm25 import BM25, Analyzer, BM25Config, top

WORDS = st.lists(st.sampled_from(['copy', 'tree', 'folder', 'file', 'time_stamp', 'the', 'x']), max_size=12)
TEXTS = st.lists(WORDS.map(' '.join), min_size=1, max_size=8)


def formula(texts, query, config):
  """Robertson's BM25 with Lucene's inverse document frequency."""
  analyze = Analyzer(config.stem)
  documents = [analyze(text) for text in texts]
  mean = sum(map(len, documents)) / len(documents)
  scores = []
  for document in documents:
    score = 0.0
    for term in analyze(query):
      frequency = sum(term in other for other in documents)
      idf = math.log(1 + (len(documents) - frequency + 0.5) / (frequency + 0.5))
      count = document.count(term)
      if count:
        score += idf * count / (count + config.k1 * (1 - config.b + config.b * len(document) / mean))
    scores.append(score)
  return scores


@given(TEXTS, WORDS.map(' '.join), st.sampled_from([BM25Config(), BM25Config(0.9, 0.4, stem=False)]))
def test_scores_are_the_formula(texts, query, config):
  index = BM25.build(texts, config)
  np.testing.assert_allclose(index.scores(query), formula(texts, query, config), atol=1e-5)


def test_what_was_saved_is_opened(tmp_path):
  texts = ['copy a tree', 'a folder and its files', '', 'remove the tree_of_files']
  BM25.build(texts, BM25Config()).save(tmp_path / 'index')
  opened = BM25.open(tmp_path / 'index')
  assert opened.size == 4
  assert opened.config == BM25Config()
  places, scores = opened.search('trees of files', 10)
  assert sorted(places.tolist()) == [0, 1, 3]
  assert (np.diff(scores) <= 0).all()
  assert opened.search('nothing known', 10)[0].size == 0
  assert opened.search('', 10)[0].size == 0


def test_names_in_code_are_found_by_their_parts():
  index = BM25.build(['os.path_exists(name)', 'something else'], BM25Config())
  assert index.search('exists', 1)[0].tolist() == [0]
  assert index.search('path_exists', 1)[0].tolist() == [0]


@given(st.lists(st.integers(0, 5).map(float), min_size=1, max_size=30), st.integers(1, 40))
def test_top_is_a_stable_sort_of_the_positive_scores(values, k):
  scores = np.array(values, np.float32)
  places, found = top(scores, k)
  want = [i for i in np.argsort(-scores, kind='stable') if scores[i] > 0][:k]
  assert places.tolist() == want
  np.testing.assert_array_equal(found, scores[want])


@pytest.mark.parametrize('values', [{'k1': -1.0}, {'b': 1.5}, {'b': math.nan}, {'k1': math.nan}])
def test_parameters_without_a_meaning_are_refused(values):
  with pytest.raises(UserError, match='bm25 needs'):
    BM25Config(**values)
