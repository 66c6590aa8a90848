"""Searches that reach ScaNN, against exact ones."""

import subprocess
import sys
import threading

import numpy as np
import polars as pl
import pytest

from mlsd_jax.ann import Index, IndexConfig, scann_engine, segment, tuning
from mlsd_jax.ann.config import HASHED_FROM
from mlsd_jax.errors import UserError


def clustered(count, seed, dim=32):
  centres = np.random.default_rng(0).standard_normal((50, dim))
  generator = np.random.default_rng(seed)
  vectors = centres[generator.integers(0, 50, count)] + 0.5 * generator.standard_normal((count, dim))
  return vectors.astype(np.float32)


VECTORS, QUERIES = clustered(6_000, 1), clustered(200, 2)
COLOURS = {'colour': np.arange(6_000) % 10, 'name': [f'n{row % 3}' for row in range(6_000)]}
KINDS = {
  'ah': IndexConfig(kind='ah'),
  'tree': IndexConfig(kind='tree', leaves_to_search=20),
  'bfloat16': IndexConfig(kind='tree', leaves_to_search=20, reorder_dtype='bfloat16', stored='bfloat16'),
  'disk': IndexConfig(kind='tree', leaves_to_search=20, reorder_dtype='none', stored='int8'),
  'shards': IndexConfig(kind='tree', leaves_to_search=20, shard_size=2_500, reorder_dtype='float32'),
}


@pytest.fixture(scope='module', params=list(KINDS))
def index(request):
  return Index.build(VECTORS, settings=KINDS[request.param], metadata=COLOURS)


@pytest.mark.parametrize('where', [None, {'colour': [1, 2, 3, 4]}, {'colour': 3}, {'colour': 3, 'name': 'n1'}])
def test_recall_with_and_without_filters(index, where, monkeypatch):
  monkeypatch.setattr(segment, '_FEW', 0)
  found, exact = (index.search(QUERIES, 10, where=where, exact=exact) for exact in (False, True))
  assert tuning.recall(found.rows, exact.rows) > 0.93
  rows = np.concatenate(found.rows)
  assert all(np.all(np.diff(scores) <= 0) for scores in found.scores)
  for name, values in (where or {}).items():
    assert np.isin(np.array(COLOURS[name])[rows], values).all()


def test_scores_are_those_of_the_stored_vectors(index):
  found = index.search(QUERIES, 5)
  for query, ids, scores in zip(QUERIES, found.ids, found.scores, strict=True):
    np.testing.assert_allclose(index.vectors(ids) @ query, scores, rtol=1e-4, atol=1e-4)


def test_one_query_or_many_in_parallel_or_not(index):
  """ScaNN breaks ties of its rounded scores as it likes, so that a few of the last neighbours may differ."""
  many, serial = index.search(QUERIES, 10), index.search(QUERIES, 10, parallel=False)
  assert tuning.recall(many.rows, serial.rows) > 0.97
  single = [index.search(QUERIES[row : row + 1], 10).rows[0] for row in range(50)]
  assert tuning.recall(single, many.rows[:50]) > 0.97


def test_more_than_scann_reorders_and_more_than_there_are(index):
  for k in (150, 1_000, 5_999, 10_000):
    found = index.search(QUERIES[:3], k)
    assert [len(set(rows.tolist())) for rows in found.rows] == [min(k, 6_000)] * 3
    exact = index.search(QUERIES[:3], k, exact=True)
    assert tuning.recall(found.rows, exact.rows) > 0.8


def test_scann_was_asked():
  """The tests above would pass if everything were searched exactly."""
  index = Index.build(VECTORS, settings=IndexConfig(kind='tree', leaves=77, leaves_to_search=1))
  assert tuning.recall(index.search(QUERIES, 10).rows, index.search(QUERIES, 10, exact=True).rows) < 0.9


def test_the_size_of_vectors_does_not_matter():
  for scale in (2.0**50, 2.0**-50):
    index = Index.build(VECTORS * np.float32(scale), settings=IndexConfig(kind='ah'))
    found, exact = (index.search(QUERIES * np.float32(1 / scale), 10, exact=exact) for exact in (False, True))
    assert tuning.recall(found.rows, exact.rows) > 0.95


def test_a_query_whose_partitions_hold_too_few_is_searched_exactly():
  """ScaNN would pad its answer with document 0."""
  index = Index.build(VECTORS, settings=IndexConfig(kind='tree', leaves=1_000, leaves_to_search=1))
  found = index.search(QUERIES, 40)
  assert all(len(set(rows.tolist())) == 40 for rows in found.rows)


def test_searches_go_on_while_segments_are_built(monkeypatch):
  index = Index.build(VECTORS[:1_000])
  index.add(VECTORS[1_000:])
  building, searched = threading.Event(), threading.Event()
  build = segment.Segment.build

  def slow(*arguments):
    building.set()
    assert searched.wait(60)
    return build(*arguments)

  monkeypatch.setattr(segment.Segment, 'build', slow)
  thread = threading.Thread(target=index.compact)
  thread.start()
  assert building.wait(60)
  during = index.search(QUERIES, 10)
  searched.set()
  thread.join()
  assert [part['vectors'] for part in index.describe()] == [6_000]
  np.testing.assert_allclose(during.scores, index.search(QUERIES, 10).scores, rtol=1e-5)


def test_a_filter_may_be_an_expression_and_nothing_unknown_passes():
  years = [None, 2001, 2002, 2003] * 1_500
  index = Index.build(VECTORS, metadata={'year': years, **COLOURS}, settings=IndexConfig(kind='tree'))
  found = index.search(QUERIES, 20, where=(pl.col('year') >= 2002) & pl.col('name').str.starts_with('n1'))
  rows = np.concatenate(found.rows)
  assert set((rows % 4).tolist()) == {2, 3}
  assert set((rows % 3).tolist()) == {1}
  assert [len(rows) for rows in index.search(QUERIES, 20, where={'year': 1999}).rows] == [0] * 200


def test_parts_of_any_size_give_the_shards_that_the_whole_gives(tmp_path):
  def parts():
    for start, stop in ((0, 10), (10, 10), (10, 1_700), (1_700, 5_999), (5_999, 6_000)):
      part = slice(start, stop)
      yield VECTORS[part], [f'é{row}' for row in range(start, stop)], {'colour': COLOURS['colour'][part]}

  settings = IndexConfig(shard_size=1_000)
  index = Index.build(parts(), settings=settings, folder=tmp_path)
  assert [part['vectors'] for part in index.describe()] == [1_000] * 6
  whole = Index.build(VECTORS, settings=settings)
  for where in (None, {'colour': 3}):
    found = index.search(QUERIES, 10, where=where)
    assert [[f'é{row}' for row in rows] for rows in found.rows] == [ids.tolist() for ids in found.ids]
  np.testing.assert_array_equal(index.search(QUERIES, 10).rows, whole.search(QUERIES, 10).rows)
  np.testing.assert_array_equal(index.vectors(['é1700', 'é5', 'é5999']), VECTORS[[1_700, 5, 5_999]])


def test_kinds_by_size():
  settings = IndexConfig()
  kinds = [settings.kind_for(count) for count in (1, 19_999, 20_000, 99_999, 100_000)]
  assert kinds == ['exact', 'exact', 'ah', 'ah', 'tree']
  assert [settings.kind_for(1_000_000, dim) for dim in (1, 8, HASHED_FROM - 1, HASHED_FROM)] == ['exact'] * 3 + ['tree']
  assert IndexConfig(kind='ah').kind_for(1_000, 2) == 'ah'
  assert IndexConfig(kind='tree').kind_for(255) == 'exact'
  assert IndexConfig(kind='tree', leaves=1_000).leaves_for(300) == 300
  assert settings.leaves_for(1_000_000) == 1_000
  assert [settings.searched_for(leaves) for leaves in (4, 100, 1_000)] == [4, 40, 62]


@pytest.mark.parametrize('dim', [1, 2, 3, 4, 6, 8, 12])
@pytest.mark.parametrize('metric', ['dot', 'cosine'])
def test_few_dimensions_are_searched_exactly_by_default(dim, metric):
  generator = np.random.default_rng(dim)
  vectors, queries = (generator.standard_normal((count, dim)).astype(np.float32) for count in (25_000, 20))
  index = Index.build(vectors, metric=metric)
  unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True) if metric == 'cosine' else vectors
  best = -np.sort(-(queries @ unit.T), axis=1)[:, :10]
  best = best / np.linalg.norm(queries, axis=1, keepdims=True) if metric == 'cosine' else best
  np.testing.assert_allclose(index.search(queries, 10).scores, best, rtol=1e-5, atol=1e-6)


def test_tuning_finds_the_recall_and_keeps_it(tmp_path):
  index = Index.build(VECTORS, settings=IndexConfig(kind='tree'), folder=tmp_path)
  curve = tuning.tune(index, QUERIES, 10, wanted=0.95)
  assert curve.chosen.recall >= 0.95
  assert curve.chosen in curve.points
  assert index.settings.leaves_to_search == curve.chosen.leaves_to_search
  front = curve.front()
  assert [p.recall for p in front] == sorted(p.recall for p in front)
  assert [p.queries_per_second for p in front] == sorted((p.queries_per_second for p in front), reverse=True)
  again = index.search(QUERIES, 10)
  assert tuning.recall(again.rows, index.search(QUERIES, 10, exact=True).rows) == pytest.approx(
    curve.chosen.recall, abs=0.02
  )
  index.save()
  opened = Index.open(tmp_path)
  assert opened.settings == index.settings
  assert tuning.recall(opened.search(QUERIES, 10).rows, again.rows) > 0.97
  tuning.plot(curve, tmp_path / 'curve.png', 'test')
  assert (tmp_path / 'curve.png').stat().st_size > 10_000
  assert 'recall@10' in curve.table()


def test_tuning_without_partitions_says_nothing_of_how_many_to_search():
  index = Index.build(VECTORS, settings=IndexConfig(kind='ah'))
  curve = tuning.tune(index, QUERIES, 10, wanted=0.9)
  assert index.settings == IndexConfig(kind='ah', reorder=curve.chosen.reorder)


def test_tuning_says_what_it_cannot_do():
  with pytest.raises(UserError, match='nothing to tune'):
    tuning.tune(Index.build(VECTORS), QUERIES)
  index = Index.build(VECTORS, settings=IndexConfig(kind='tree'))
  with pytest.raises(UserError, match='no queries to tune with'):
    tuning.tune(index, QUERIES[:0])
  with pytest.raises(UserError, match='over 0 and at most 1'):
    tuning.tune(index, QUERIES, wanted=95)
  with pytest.raises(UserError, match='over 0 and at most 1'):
    tuning.tune(index, QUERIES, wanted='most')
  with pytest.raises(UserError, match='queries are of type object'):
    tuning.tune(index, None)


def test_recall_of_nothing_is_whole():
  assert tuning.recall([np.array([1, 2]), np.array([])], [np.array([2, 3]), np.array([])]) == 0.75


def test_scann_is_imported_only_to_be_used_and_tensorflow_never():
  script = """
import sys
import threading
import numpy as np
from mlsd_jax.ann import Index, IndexConfig
x = np.random.default_rng(0).standard_normal((300, 4)).astype('f4')
Index.build(x).search(x, 3)
print('scann' in sys.modules, 'jax' in sys.modules)
Index.build(x, settings=IndexConfig(kind='ah')).search(x, 3)
print('scann' in sys.modules, 'tensorflow' in sys.modules)
"""
  done = subprocess.run([sys.executable, '-W', 'error', '-c', script], capture_output=True, text=True, check=True)
  assert done.stdout.splitlines() == ['False False', 'True False']
  assert done.stderr == ''


def test_what_scann_writes_beside_warnings_is_shown(capfd):
  with scann_engine._quiet():
    subprocess.run([sys.executable, '-c', 'import os; os.write(2, b"I0 hidden\\nW0 hidden\\nE0 shown\\n")'], check=True)
  assert capfd.readouterr().err == 'E0 shown\n'
