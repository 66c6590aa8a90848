import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from mlsd_jax.ann import exact
from mlsd_jax.ann.vector_store import Store


def reference(queries, vectors, k):
  """A stable sort of all scores: of equal ones the earlier row."""
  scores = queries @ vectors.T
  rows = np.argsort(-scores, axis=1, kind='stable')[:, :k]
  return rows, np.take_along_axis(scores, rows, 1)


@hypothesis.given(
  count=st.integers(0, 60),
  k=st.integers(1, 70),
  num_queries=st.integers(0, 5),
  block=st.integers(1, 20),
  seed=st.integers(0, 1000),
)
def test_blocks_give_what_a_sort_of_everything_gives(count, k, num_queries, block, seed):
  generator = np.random.default_rng(seed)
  vectors = generator.integers(-1, 2, (count, 3)).astype(np.float32)  # whole numbers: many ties, no rounding
  queries = generator.integers(-1, 2, (num_queries, 3)).astype(np.float32)
  top = exact.TopK(num_queries, k)
  for start in range(0, count, block):
    top.add(queries, vectors[start : start + block], start)
  for found, expected in zip(top.result(), reference(queries, vectors, k), strict=True):
    np.testing.assert_array_equal(found, expected)


def test_many_queries_and_several_blocks():
  generator = np.random.default_rng(0)
  vectors, queries = (generator.standard_normal((n, 16)).astype(np.float32) for n in (70_000, 300))
  rows, scores = exact.search(queries, vectors, 10)
  expected, best = reference(queries, vectors, 10)
  np.testing.assert_allclose(scores, best, rtol=1e-5)
  assert np.mean(rows == expected) > 0.999  # only where two scores differ by rounding


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16', 'int8'])
@pytest.mark.parametrize('share', [0.02, 0.9])
def test_only_what_is_kept_is_found(dtype, share):
  generator = np.random.default_rng(1)
  vectors, queries = (generator.standard_normal((n, 8)).astype(np.float32) for n in (500, 20))
  keep = generator.random(500) < share
  store = Store.encode(vectors, dtype)
  rows, scores = store.exact(queries, 30, keep)
  assert rows.shape == (20, min(30, keep.sum()))
  assert keep[rows].all()
  kept = np.flatnonzero(keep)
  expected, best = reference(queries, store.rows(kept), 30)
  np.testing.assert_allclose(scores, best, rtol=1e-4, atol=1e-4)
  assert np.mean(kept[expected] == rows) > 0.98
  np.testing.assert_allclose(store.score(queries, rows), scores, rtol=1e-4, atol=1e-4)


def test_stored_vectors_are_near_the_given_and_survive_the_disk(tmp_path):
  generator = np.random.default_rng(2)
  vectors = generator.standard_normal((100, 24)).astype(np.float32) * generator.uniform(1e-9, 1e9, (100, 1))
  vectors = vectors.astype(np.float32)
  vectors[3] = 0
  largest = np.abs(vectors).max(1, keepdims=True)
  for dtype, bound in (('float32', 0), ('bfloat16', 2**-8), ('int8', 0.51 / 127)):
    store = Store.encode(vectors, dtype)
    assert np.all(np.abs(store.rows(slice(None)) - vectors) <= bound * largest)
    (tmp_path / dtype).mkdir()
    store.write(tmp_path / dtype)
    again = Store.read(tmp_path / dtype)
    np.testing.assert_array_equal(again.rows(np.array([5, 3, 99])), store.rows([5, 3, 99]))
    assert (len(again), again.dim) == (100, 24)


def test_bfloat16_is_that_of_ml_dtypes():
  import ml_dtypes

  values = np.random.default_rng(3).standard_normal((50, 7)).astype(np.float32)
  np.testing.assert_array_equal(Store.encode(values, 'bfloat16').rows(slice(None)), values.astype(ml_dtypes.bfloat16))
