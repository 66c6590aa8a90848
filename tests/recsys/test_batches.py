"""All users of a shop by ranges: the same rows as asked for together, whoever makes them; what is there stays."""

import numpy as np
import polars as pl
import pytest

from mlsd_jax.errors import UserError
from mlsd_jax.executor import ExecutorConfig
from mlsd_jax.recsys import batches, saved_state, serving


@pytest.fixture(scope='module')
def root(state, tmp_path_factory):
  folder = tmp_path_factory.mktemp('state')
  saved_state.save(state, folder, {'data': 'synthetic'})
  return folder


def table(parts):
  return pl.concat([pl.read_parquet(path) for path in batches.paths(parts)])


def test_every_user_has_what_a_request_gives(state, root, tmp_path):
  made = []
  parts = batches.recommend_all(root, tmp_path, part=120, on_part=made.append)
  assert made == [120, 120, 60]
  found = table(parts)
  assert found.group_by('user').len()['len'].to_list() == [12] * 300
  for user in (0, 119, 120, 299):
    answer = serving.recommend(state, np.array([user]))
    rows = found.filter(pl.col('user') == state.users['id'][user]).sort('rank')
    assert rows['item'].to_list() == state.items['id'].gather(answer.items[0]).to_list()
    np.testing.assert_allclose(rows['probability'], answer.probability[0], rtol=1e-4)


def test_batches_go_on_where_they_stopped_and_are_of_one_state(state, root, tmp_path):
  whole = table(batches.recommend_all(root, tmp_path, part=100))
  (tmp_path / 'part-00001.sha256.json').unlink()
  again = batches.recommend_all(root, tmp_path, part=100)
  assert again.made == 1
  assert table(again).equals(whole)
  with pytest.raises(UserError, match='part 100 against 150'):
    batches.recommend_all(root, tmp_path, part=150)


@pytest.mark.slow
def test_processes_make_the_same_to_the_bit(root, tmp_path, monkeypatch):
  monkeypatch.setenv('JAX_DISABLE_MOST_OPTIMIZATIONS', 'true')  # as tests/conftest.py has it for this process
  config = ExecutorConfig('processes', workers=2)
  parts = batches.recommend_all(root, tmp_path / 'processes', part=100, config=config)
  here = batches.recommend_all(root, tmp_path / 'here', part=100)
  assert table(parts).equals(table(here))
  assert parts.seals == here.seals  # and so the files
