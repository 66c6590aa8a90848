"""Sharded search finds what one index finds, and a shard that is gone or slow is told and holds nobody up."""

import base64
import contextlib
import socket
import threading
import time

import numpy as np
import pytest
import uvicorn
from starlette.testclient import TestClient

from mlsd_jax.ann import Index, IndexConfig
from mlsd_jax.ann.index_parts import build_parts
from mlsd_jax.errors import UserError
from mlsd_jax.executor import ExecutorConfig
from mlsd_jax.serving.shard_search import RootConfig, Shards, create_root, create_searcher, encode, own_of

QUERIES, DIM = 20, 24


@pytest.fixture(scope='module')
def vectors():
  made = np.random.default_rng(0).normal(size=(1200, DIM)).astype(np.float32)
  return made / np.linalg.norm(made, axis=1, keepdims=True)


@pytest.fixture(scope='module')
def parts(vectors, tmp_path_factory):
  folder = tmp_path_factory.mktemp('shards')
  np.save(folder / 'all.npy', vectors)
  return build_parts(folder / 'all.npy', folder / 'parts', part=350, settings=IndexConfig(kind='exact'))


@contextlib.contextmanager
def served(app):
  """The address of an app behind a real socket."""
  with socket.socket() as listener:
    listener.bind(('127.0.0.1', 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level='critical'))
    thread = threading.Thread(target=server.run, kwargs={'sockets': [listener]})
    thread.start()
    try:
      yield f'http://127.0.0.1:{listener.getsockname()[1]}'
    finally:
      server.should_exit = True
      thread.join()


@contextlib.contextmanager
def stopped():
  """The address of one that takes connections and never answers, as a process that was sent SIGSTOP."""
  with socket.socket() as listener:
    listener.bind(('127.0.0.1', 0))
    listener.listen(100)
    yield f'http://127.0.0.1:{listener.getsockname()[1]}'


@pytest.fixture(scope='module')
def searchers(parts):
  """Addresses of two searchers that share the shards."""
  with contextlib.ExitStack() as stack:
    apps = [create_searcher(Shards.open(parts, own_of(list(parts.seals), group, 2))) for group in range(2)]
    yield [stack.enter_context(served(app)) for app in apps]


def ask(client, vector, k=10):
  response = client.post('/v1/search', json={'vector': vector.tolist(), 'k': k})
  assert response.status_code == 200, response.text
  return response.json()


def test_what_all_shards_find_is_what_one_index_finds(parts, vectors, searchers):
  assert len(parts.seals) == 4
  queries = np.random.default_rng(1).normal(size=(QUERIES, DIM)).astype(np.float32)
  one = Index.build(vectors, settings=IndexConfig(kind='exact')).search(queries, 10)
  with TestClient(create_root([[each] for each in searchers])) as client:
    for query, ids, scores in zip(queries, one.ids, one.scores, strict=True):
      answer = ask(client, query)
      assert [hit['id'] for hit in answer['hits']] == ids.tolist()
      np.testing.assert_allclose([hit['score'] for hit in answer['hits']], scores, rtol=1e-6)
      assert (answer['shards'], answer['shards_failed']) == (2, [])


def test_parts_built_by_processes_are_the_same_to_the_byte(parts, vectors, tmp_path):
  np.save(tmp_path / 'all.npy', vectors)
  settings = IndexConfig(kind='exact')
  config = ExecutorConfig('processes', workers=2)
  found = build_parts(tmp_path / 'all.npy', tmp_path / 'parts', part=350, settings=settings, config=config)
  for name in parts.seals:
    one, other = (Index.open(each.folder(name) / 'vectors') for each in (parts, found))
    ids = np.arange(len(one)) + 350 * int(name[-1])
    np.testing.assert_array_equal(one.vectors(ids), other.vectors(ids))


@pytest.mark.parametrize('how', ['gone', 'stopped'])
def test_a_shard_that_does_not_answer_is_told_within_the_deadline(how, searchers, vectors, within):
  config = RootConfig(deadline_seconds=within(0.5), rest_seconds=600)
  with contextlib.ExitStack() as stack:
    address = stack.enter_context(stopped()) if how == 'stopped' else 'http://127.0.0.1:1'
    client = stack.enter_context(TestClient(create_root([searchers[:1], [address]], config)))
    began = time.monotonic()
    answer = ask(client, vectors[0])
    assert time.monotonic() - began < 3 * config.deadline_seconds
    assert answer['shards_failed'] == [1]
    assert answer['hits'][0]['id'] == 0
    again = ask(client, vectors[0])  # it rests, and is not waited for
    assert again == answer


def test_a_replica_takes_the_place_of_one_that_is_stopped(searchers, vectors, within):
  config = RootConfig(deadline_seconds=within(20), hedge_seconds=0.05)
  with stopped() as address, TestClient(create_root([[address, searchers[0]], [searchers[1]]], config)) as client:
    for row in range(4):  # each replica has its turn
      answer = ask(client, vectors[row])
      assert answer['shards_failed'] == []
      assert answer['hits'][0]['id'] == row


def test_without_any_searcher_there_is_no_answer(vectors):
  with TestClient(create_root([['http://127.0.0.1:1']])) as client:
    response = client.post('/v1/search', json={'vector': vectors[0].tolist()})
    assert response.status_code == 503
    assert response.json()['error']['code'] == 'no_shard'


def test_what_is_wrong_with_a_request_is_said(searchers):
  with TestClient(create_root([[each] for each in searchers])) as client:
    for body, said in (
      ({'vector': [1.0] * 3}, 'vectors have 24 dimensions'),
      ({}, 'give a query or a vector'),
      ({'query': 'a'}, 'has no encoder'),
      ({'vector': [1.0], 'k': 0}, 'greater than or equal to 1'),
      ({'vector': [1.0], 'fast': True}, 'fast'),
    ):
      response = client.post('/v1/search', json=body)
      assert response.status_code == 400
      assert said in response.json()['error']['message']


def test_what_is_wrong_with_shards_is_said(parts):
  with pytest.raises(UserError, match='has no shard'):
    Shards.open(parts, ['part-9'])
  with pytest.raises(UserError, match='5 groups cannot share 4 shards'):
    own_of(list(parts.seals), 0, 5)
  with pytest.raises(UserError, match='not from 0 to 1'):
    own_of(list(parts.seals), 2, 2)
  app = create_searcher(Shards.open(parts, list(parts.seals)))
  with TestClient(app) as client:
    assert client.get('/shard').json() == {'shards': list(parts.seals), 'vectors': 1200, 'dim': DIM}
    for vectors in ('!', base64.b64encode(b'abc').decode(), encode(np.ones((65, DIM), np.float32))):
      assert client.post('/shard/search', json={'vectors': vectors, 'k': 1}).status_code == 400
