import ml_dtypes
import numpy as np
import polars as pl
import pytest

from mlsd_jax.ann import Index, IndexConfig, checks
from mlsd_jax.errors import UserError

ONES = np.ones((3, 4), np.float32)


def changed(at, value, dtype=np.float64):
  vectors = np.ones((3, 4), dtype)
  vectors[at] = value
  return vectors


@pytest.mark.parametrize(
  ('vectors', 'message'),
  [
    (changed((1, 2), np.nan), 'vectors: row 1 has nan in dimension 2'),
    (changed((2, 0), -np.inf), 'vectors: row 2 has -inf in dimension 0'),
    (changed((2, 0), 3e38), 'vectors: row 2 has norm 3e+38; float32 scores need norms of 1e-18 to 1e+18'),
    (changed((2, 0), 1e300), 'row 2 has norm 1e+300'),
    (changed(1, 1e-40, np.float32), 'row 1 has norm 2e-40'),
    (np.ones((3, 4), int), 'vectors are of type int64; they are floating point'),
    (np.ones((3, 4), bool), 'of type bool'),
    (np.ones((3, 4), complex), 'of type complex128'),
    ([['a', 'b']], 'of type <U1'),
    ([[1.0, 2.0], [3.0]], 'rows are of different lengths'),
    (None, 'of type object'),
    (np.ones(4), r'have shape \(4,\); it is \[number, dimensions\]'),
    (np.ones((2, 3, 4)), r'have shape \(2, 3, 4\)'),
    (np.ones((3, 0)), 'have no dimensions'),
    (iter([]), 'no vectors'),
    (iter([ONES, ONES[:, :3]]), 'have 3 dimensions; the index has 4'),
  ],
)
def test_vectors_that_are_refused(vectors, message):
  with pytest.raises(UserError, match=message.replace('+', r'\+')):
    Index.build(vectors)


def test_cosine_refuses_a_vector_without_direction_and_takes_any_size():
  with pytest.raises(UserError, match='row 1 is all zeros, which has no direction under cosine'):
    Index.build(changed(1, 0.0), metric='cosine')
  index = Index.build([[3e38, 3e38], [1e-40, 0.0], [1e300, 0.0]], metric='cosine')
  found = index.search([[1e-42, 0.0], [3e38, 3e38]], 3)
  np.testing.assert_allclose(found.scores, [[1, 1, 0.5**0.5], [1, 0.5**0.5, 0.5**0.5]], rtol=1e-6)
  assert found.ids[1][0] == 0


def test_zero_vectors_are_fine_under_dot():
  for kind in ('exact', 'ah', 'tree'):
    index = Index.build(np.zeros((300, 4), np.float32), settings=IndexConfig(kind=kind))
    assert index.search(ONES, 2).scores[0].tolist() == [0, 0]


@pytest.mark.parametrize('dtype', [np.float16, ml_dtypes.bfloat16, np.float64, '>f4'])
@pytest.mark.parametrize('metric', ['dot', 'cosine'])
def test_other_floating_point(dtype, metric):
  vectors = np.eye(4).astype(dtype)
  assert Index.build(vectors, metric=metric).search(vectors, 1).rows == [[0], [1], [2], [3]]


@pytest.mark.parametrize(
  ('queries', 'message'),
  [
    (changed((1, 2), np.nan), 'queries: row 1 has nan'),
    (changed(2, 0.0), 'queries: row 2 is all zeros'),
    (np.ones((1, 5)), 'queries have 5 dimensions; the index has 4'),
    (np.ones(4), 'have shape'),
    (np.ones((1, 4), np.int8), 'of type int8'),
    (changed(0, 1e20), 'queries: row 0 has norm 2e'),
  ],
)
def test_queries_that_are_refused(queries, message):
  with pytest.raises(UserError, match=message):
    Index.build(ONES).search(queries, 1)


def test_no_queries_no_vectors_and_more_than_there_are():
  found = Index.build(ONES).search(np.ones((0, 4), np.float32), 5)
  assert (len(found), found.ids, found.scores, found.rows) == (0, [], [], [])
  empty = Index.build(np.ones((0, 4), np.float32))
  assert [len(ids) for ids in empty.search(ONES, 5).ids] == [0, 0, 0]
  empty.add(ONES)
  assert empty.search(ONES[:1], 10**9).ids[0].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
  ('options', 'message'),
  [
    ({'settings': {'kind': 'exact'}}, 'it is an IndexConfig'),
    ({'made_by': 5}, 'made_by=5: it is a string'),
    ({'metric': ['dot']}, 'it is dot or cosine'),
    ({'metric': None}, 'it is dot or cosine'),
  ],
)
def test_options_of_a_build_that_are_refused(options, message):
  with pytest.raises(UserError, match=message):
    Index.build(ONES, **options)


@pytest.mark.parametrize('name', ['exact', 'parallel'])
@pytest.mark.parametrize('value', ['no', 1, None])
def test_flags_of_a_search_are_truth_values(name, value):
  with pytest.raises(UserError, match=f'{name}=.*: it is True or False'):
    Index.build(ONES).search(ONES, 1, **{name: value})


@pytest.mark.parametrize('k', [0, -1, 1.0, True, None, '3'])
def test_k_that_is_refused(k):
  with pytest.raises(UserError, match='it is a whole number of at least 1'):
    Index.build(ONES).search(ONES, k)


@pytest.mark.parametrize(
  ('ids', 'message'),
  [
    (['a', 'b'], '2 ids for 3 vectors'),
    (['a', 'b', 'a'], "'a' occurs more than once"),
    ([1, 2, 1], '1 occurs more than once'),
    (['a', 1, 'b'], 'ids are of type int, str: they are all strings or all whole numbers'),
    ([1.0, 2.0, 3.0], 'of type float'),
    ([True, False, True], 'of type bool'),
    ([b'a', b'b', b'c'], 'of type bytes'),
    ([1, 2, None], 'of type NoneType, int'),
    (pl.Series([1, None, 2]), 'number 1 is None'),
    ([1, 2, 2**63], 'outside of the 64-bit range'),
    (np.array([1, 2, 2**63], np.uint64), 'outside of the 64-bit range'),
    ('abc', 'give a list of ids'),
    (7, 'give a list of ids'),
    (np.array(7), 'ids have shape'),
    (np.array([[1], [2], [3]]), r'ids have shape \(3, 1\)'),
    ({1, 2, 3}, 'ids are a set, which has no order'),
    ({1: 0, 2: 0, 3: 0}, 'ids are a dict, which has no order'),
    (['a', '\ud800', 'b'], 'half a surrogate pair'),
    (np.array([1.5, 2, 3]), 'of type float'),
  ],
)
def test_ids_that_are_refused(ids, message):
  with pytest.raises(UserError, match=message):
    Index.build(ONES, ids)


def test_no_ids_to_delete_replace_or_find():
  index = Index.build(ONES)
  for work in (index.delete, index.vectors, lambda ids: index.replace(ONES, ids)):
    with pytest.raises(UserError, match='give a list of ids'):
      work(object())
  index.delete({0, 2})
  assert [id in index for id in (0, 1, '1', None, 1.5, 2**70, True, [1], '\ud800')] == [False, True] + 7 * [False]


def test_ids_that_collide_between_parts():
  with pytest.raises(UserError, match="'b' occurs more than once"):
    Index.build(iter([(ONES[:2], ['a', 'b']), (ONES[:1], ['b'])]), settings=IndexConfig(shard_size=2))
  with pytest.raises(UserError, match='ids of one type'):
    Index.build(iter([(ONES[:2], ['a', 'b']), ONES[:1]]))


@pytest.mark.parametrize(
  ('metadata', 'message'),
  [
    ({'a': [1, 2]}, 'metadata has 2 rows for 3 vectors'),
    ({'a': [1, 2, 3], 'b': [1]}, 'metadata is no table|metadata has'),
    ({'a': [object(), 1, 2]}, 'metadata'),
    (7, 'metadata is no table'),
  ],
)
def test_metadata_that_is_refused(metadata, message):
  with pytest.raises(UserError, match=message):
    Index.build(ONES, metadata=metadata)


@pytest.mark.parametrize(
  ('where', 'message'),
  [
    ({'b': 1}, 'where: no such column; there are a'),
    ({}, 'give {column: value'),
    ('a = 1', 'give {column: value'),
    ({'a': 'x'}, 'where: '),
    (pl.col('a') + 1, 'it is a truth value a row'),
    (pl.col('a').filter(pl.col('a') > 1) > 1, 'it is a truth value a row'),
  ],
)
def test_filters_that_are_refused(where, message):
  with pytest.raises(UserError, match=message):
    Index.build(ONES, metadata={'a': [1, 2, 3]}).search(ONES, 1, where=where)
  with pytest.raises(UserError, match=r'without metadata|give'):
    Index.build(ONES).search(ONES, 1, where=where)


@pytest.mark.parametrize(
  'wrong',
  [
    {'kind': 'hnsw'},
    {'reorder_dtype': 'f32'},
    {'stored': 'none'},
    {'leaves': 0},
    {'reorder': 1.5},
    {'shard_size': -1},
    {'anisotropic_threshold': 2.0},
    {'leaves_to_search': True},
  ],
)
def test_settings_that_are_refused(wrong):
  (name,) = wrong
  with pytest.raises(UserError, match=rf'IndexConfig\({name}='):
    IndexConfig(**wrong)


def test_a_metric_that_is_refused():
  with pytest.raises(UserError, match="metric='l2': it is dot or cosine"):
    Index.build(ONES, metric='l2')


def test_a_float32_array_is_not_copied():
  vectors = np.random.default_rng(0).standard_normal((10, 3)).astype(np.float32)
  assert checks.vectors(vectors, 'dot') is vectors
