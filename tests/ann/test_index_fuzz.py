"""Random sequences of operations, good and bad, against a dictionary that is searched exactly."""

import pathlib
import shutil
import tempfile

import hypothesis
import hypothesis.strategies as st
import numpy as np
import polars as pl
import pytest
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mlsd_jax.ann import Index, IndexConfig, segment
from mlsd_jax.errors import UserError

DIM = 6
KINDS = (
  IndexConfig(delta_limit=40),
  IndexConfig(kind='ah', reorder=50, delta_limit=40),
  IndexConfig(kind='tree', leaves=17, leaves_to_search=17, reorder=50, reorder_dtype='float32', delta_limit=300),
  IndexConfig(kind='tree', leaves=300, leaves_to_search=1, reorder_dtype='none', shard_size=400, stored='bfloat16'),
  IndexConfig(kind='ah', dims_per_block=4, reorder_dtype='bfloat16', stored='int8', shard_size=300),
)
BAD = (np.nan, np.inf, -np.inf, 1e30, 1e-40, 3e38)


def draw_vectors(seed: int, count: int) -> np.ndarray:
  """Few distinct directions, so that ties and duplicates are common."""
  generator = np.random.default_rng(seed)
  vectors = generator.integers(-2, 3, (count, DIM)) + generator.choice([0, 0.01], (count, 1))
  vectors[~vectors.any(1)] = 1
  return vectors.astype(np.float32)


class Model(RuleBasedStateMachine):
  """`known`: id -> (vector as given, colour)."""

  def __init__(self):
    super().__init__()
    self.folder = pathlib.Path(tempfile.mkdtemp())
    self.serial = 0

  def teardown(self):
    shutil.rmtree(self.folder)

  def new_ids(self, count):
    self.serial += count
    numbers = range(self.serial - count, self.serial)
    return [f'é{number}' for number in numbers] if self.strings else list(numbers)

  @initialize(
    settings=st.sampled_from(KINDS),
    metric=st.sampled_from(['dot', 'cosine']),
    strings=st.booleans(),
    count=st.sampled_from([0, 1, 2, 255, 256, 700]),
    in_folder=st.booleans(),
    seed=st.integers(0, 99),
  )
  def build(self, settings, metric, strings, count, in_folder, seed):
    self.settings, self.metric, self.strings, self.saved = settings, metric, strings, in_folder and 'built'
    vectors, ids = draw_vectors(seed, count), self.new_ids(count)
    if count == 0:
      ids = pl.Series([], dtype=pl.String if strings else pl.Int64)
    colours = [number % 3 for number in range(count)]
    self.known = dict(zip(list(ids), zip(vectors, colours, strict=True), strict=True))
    metadata = {'colour': np.array(colours, np.int64)}
    folder = self.folder / 'built' if in_folder else None
    self.index = Index.build(
      vectors, ids, metric=metric, settings=settings, metadata=metadata, made_by='test', folder=folder
    )

  @rule(seed=st.integers(0, 99), count=st.sampled_from([0, 1, 5, 60, 300]), colour=st.integers(0, 2))
  def add(self, seed, count, colour):
    vectors, ids = draw_vectors(seed, count), self.new_ids(count)
    self.index.add(vectors, ids, metadata={'colour': np.full(count, colour)})
    self.known |= {id: (vector, colour) for id, vector in zip(ids, vectors, strict=True)}

  @precondition(lambda self: self.known)
  @rule(data=st.data(), seed=st.integers(0, 99))
  def replace(self, data, seed):
    ids = data.draw(st.lists(st.sampled_from(list(self.known)), max_size=20, unique=True))
    vectors = draw_vectors(seed, len(ids))
    self.index.replace(vectors, ids, metadata={'colour': np.full(len(ids), 7)})
    self.known |= {id: (vector, 7) for id, vector in zip(ids, vectors, strict=True)}

  @precondition(lambda self: self.known)
  @rule(data=st.data())
  def delete(self, data):
    some = data.draw(st.lists(st.sampled_from(list(self.known)), max_size=40, unique=True))
    ids = data.draw(st.sampled_from([some, list(self.known)[::2], list(self.known)]))
    self.index.delete(ids)
    for id in ids:
      del self.known[id]

  @rule()
  def compact(self):
    self.index.compact()

  @rule(name=st.sampled_from(['built', 'one', 'two']))
  def save(self, name):
    self.index.save(self.folder / name)
    self.saved = name

  @precondition(lambda self: self.saved)
  @rule(moved=st.booleans())
  def open(self, moved):
    """Whatever was done since the save is there, also where the folder has been moved to."""
    if moved:
      (self.folder / self.saved).rename(self.folder / f'moved {self.serial}')
      self.saved, self.serial = f'moved {self.serial}', self.serial + 1
    self.index = Index.open(self.folder / self.saved, made_by='test')

  @rule(bad=st.sampled_from(BAD), at=st.integers(0, DIM - 1), count=st.integers(1, 3))
  def refuse_vectors(self, bad, at, count):
    vectors = np.ones((count, DIM), np.float64)
    vectors[-1] = 0
    vectors[-1, at] = bad
    if self.metric == 'cosine' and np.isfinite(bad):
      vectors[-1, at] = 0
    ids = self.new_ids(count)
    with pytest.raises(UserError):
      self.index.add(vectors, ids, metadata={'colour': np.zeros(count, int)})
    with pytest.raises(UserError):
      self.index.search(vectors, 3)

  @rule(wrong=st.sampled_from(['width', 'dtype', 'count', 'twice', 'kind', 'columns', 'rank']))
  def refuse_add(self, wrong):
    vectors, ids, metadata = np.ones((2, DIM), np.float32), self.new_ids(2), {'colour': [1, 2]}
    if wrong == 'width':
      vectors = np.ones((2, DIM + 1), np.float32)
    elif wrong == 'dtype':
      vectors = vectors.astype(int)
    elif wrong == 'rank':
      vectors = vectors[0]
    elif wrong == 'count':
      ids = ids[:1]
    elif wrong == 'twice':
      ids = [ids[0], ids[0]]
    elif wrong == 'kind':
      ids = [1, 2] if self.strings else ['a', 'b']
    elif wrong == 'columns':
      metadata = {'color': [1, 2]}
    with pytest.raises(UserError):
      self.index.add(vectors, ids, metadata=metadata)

  @precondition(lambda self: self.known)
  @rule(data=st.data())
  def refuse_ids(self, data):
    there = data.draw(st.sampled_from(list(self.known)))
    (absent,) = self.new_ids(1)
    one = np.ones((2, DIM), np.float32)
    colours = {'colour': [1, 1]}
    with pytest.raises(UserError, match=f'{there!r} already'):
      self.index.add(one, [absent, there], metadata=colours)
    with pytest.raises(UserError, match=f'no id {absent!r}'):
      self.index.replace(one, [there, absent], metadata=colours)
    with pytest.raises(UserError, match=f'no id {absent!r}'):
      self.index.delete([there, absent])
    with pytest.raises(UserError, match='more than once'):
      self.index.delete([there, there])

  @rule(
    seed=st.integers(0, 99),
    k=st.sampled_from([1, 3, 10, 200, 10_000]),
    num_queries=st.sampled_from([0, 1, 3, 70]),
    colours=st.sampled_from([None, [0], [1, 7], [9]]),
    exact=st.booleans(),
    scale=st.sampled_from([1.0, 1e12, 1e-12]),
  )
  def search(self, seed, k, num_queries, colours, exact, scale):
    queries = draw_vectors(seed, num_queries) * np.float32(scale)
    where = None if colours is None else {'colour': colours}
    found = self.index.search(queries, k, where=where, exact=exact)
    allowed = {id: vector for id, (vector, colour) in self.known.items() if colours is None or colour in colours}
    vectors = np.array(list(allowed.values()), np.float64).reshape(-1, DIM)
    expected = queries.astype(np.float64) @ vectors.T
    if self.metric == 'cosine':
      expected /= np.linalg.norm(queries.astype(np.float64), axis=1)[:, None] * np.linalg.norm(vectors, axis=1)
    tolerance = {'float32': 1e-4, 'bfloat16': 0.03, 'int8': 0.05}[self.settings.stored]
    place = {id: number for number, id in enumerate(allowed)}
    largest = np.linalg.norm(vectors, axis=1).max(initial=0) if self.metric == 'dot' else 1
    sizes = np.linalg.norm(queries.astype(np.float64), axis=1) if self.metric == 'dot' else np.ones(num_queries)
    for line, size, ids, scores in zip(expected, sizes, found.ids, found.scores, strict=True):
      assert len(ids) == len(set(ids.tolist())) == min(k, len(allowed))
      assert np.all(scores[:-1] >= scores[1:])
      bound = tolerance * size * largest
      assert np.allclose(line[[place[id] for id in ids.tolist()]], scores, rtol=0, atol=bound)
      if exact or self.settings.kind == 'auto':
        assert np.allclose(np.sort(line)[::-1][: len(ids)], scores, rtol=0, atol=bound)

  @invariant()
  def has_what_is_known(self):
    if hasattr(self, 'index'):
      assert len(self.index) == len(self.known)
      for id in list(self.known)[:2]:
        assert id in self.index


def test_any_sequence_of_operations_agrees_with_a_dictionary(monkeypatch):
  monkeypatch.setattr(segment, '_FEW', 0)  # so that filtered searches reach ScaNN on small segments
  hypothesis.stateful.run_state_machine_as_test(
    Model, settings=hypothesis.settings(max_examples=25, stateful_step_count=15, derandomize=True, deadline=None)
  )
