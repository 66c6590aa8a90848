"""A recommender on disk: what was saved answers the same, and a damaged file is named."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from mlsd_jax import sealed
from mlsd_jax.ann import Index
from mlsd_jax.errors import UserError
from mlsd_jax.models import sequential
from mlsd_jax.models.sequential import SequentialConfig
from mlsd_jax.recsys import saved_state, serving
from mlsd_jax.recsys.stages.guard import Guard
from mlsd_jax.recsys.stages.sequence_source import SequenceSource


def test_a_saved_state_answers_the_same(state, tmp_path):
  users = np.array([0, 5, 17, len(state.users)])
  guarded = Guard({'cold': {'blend': 1.0}, 'light': {'ranker': 0.8, 'popular': 2.0}, 'heavy': {'ranker': 1.0}})
  state = dataclasses.replace(state, funnel=dataclasses.replace(state.funnel, guard=guarded))
  before = serving.recommend(state, users)
  saved_state.save(state, tmp_path, {'data': 'synthetic'})
  loaded = saved_state.load(tmp_path)
  assert isinstance(loaded.funnel.retriever.index, Index)
  assert loaded.funnel.guard == guarded
  after = serving.recommend(loaded, users)
  np.testing.assert_array_equal(before.items, after.items)
  np.testing.assert_allclose(before.probability, after.probability, rtol=1e-5)


def test_a_sequence_model_is_saved_with_the_towers(state, tmp_path):
  config = SequentialConfig(len(state.items), kind='hstu', sequence_length=4, embed_dim=8)
  model = SequenceSource.build(jax.device_get(sequential.init(jax.random.key(0), config)), config)
  retriever = dataclasses.replace(state.funnel.retriever, sequence=model)
  users = np.array([0, 5, len(state.users)])
  vectors = model.users(state.histories, users, state.snapshot.cut)
  saved_state.save(
    dataclasses.replace(state, funnel=dataclasses.replace(state.funnel, retriever=retriever)), tmp_path, {}
  )
  loaded = saved_state.load(tmp_path)
  found = loaded.funnel.retriever.sequence
  np.testing.assert_allclose(found.users(loaded.histories, users, loaded.snapshot.cut), vectors, rtol=1e-5, atol=1e-6)
  lists = [each.source(vectors)(state.snapshot, users, 5)[0] for each in (model, found)]
  np.testing.assert_array_equal(*lists)


def test_every_flipped_bit_is_named_and_the_state_before_used(state, tmp_path, check_flips):
  first = saved_state.save(state, tmp_path, {'data': 'synthetic'})
  second = saved_state.save(state, tmp_path, {'data': 'synthetic'})
  assert second == f'{first}-2'

  def read():
    loaded = saved_state.load(tmp_path)
    answer = serving.recommend(loaded, np.array([3, len(loaded.users)]))
    names = loaded.users['id'].to_list(), loaded.items.rows()
    return answer.items.tolist(), answer.probability.tolist(), names

  noticed = set(check_flips(tmp_path, read, shares=(0.5,)))  # a flip loads the whole state
  files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob('*') if path.is_file()}
  current = {name for name in files if name.startswith(second) and (tmp_path / name).stat().st_size}
  assert noticed >= {'current.json', *current}


def test_a_damaged_file_of_the_only_state_is_one_line(state, tmp_path):
  version = saved_state.save(state, tmp_path, {'data': 'synthetic'})
  path = tmp_path / version / 'users.parquet'
  path.write_bytes(path.read_bytes()[:-9])
  with pytest.raises(UserError, match=r'users\.parquet has .* bytes, not .*: train again'):
    saved_state.load(tmp_path)


def test_nothing_saved_is_told(tmp_path):
  with pytest.raises(UserError, match='no trained recommender'):
    saved_state.load(tmp_path)


def test_a_state_of_another_layout_says_so(state, tmp_path):
  version = saved_state.save(state, tmp_path, {'data': 'synthetic'})
  seal = tmp_path / f'{version}.sha256.json'
  described = sealed.read_json(seal)
  described['note']['layout'] = 1
  sealed.write_json(seal, described)
  with pytest.raises(UserError, match='another layout'):
    saved_state.load(tmp_path)
  seal.unlink()  # as a release without checksums left it
  (tmp_path / 'current.json').write_text(json.dumps({'version': version}))
  with pytest.raises(UserError, match='by an earlier release, without checksums, or is damaged: train again'):
    saved_state.load(tmp_path)
