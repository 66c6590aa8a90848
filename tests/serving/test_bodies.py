"""A JSON body that has a key twice is refused by every address that takes one, in its own shape of an error."""

import json

import pytest
from starlette.testclient import TestClient

from mlsd_jax.ann import Index
from mlsd_jax.serving.shard_search import Shards, create_root, create_searcher


def takers(app):
  """The addresses of an app that take a body."""
  found = app.openapi()['paths'].items()
  return [path for path, methods in found if 'requestBody' in methods.get('post', {})]


def message_of(path, told):
  if path in ('/v1/rerank', '/v2/rerank'):
    return told['message']
  return told['error'] if path in ('/embed', '/rerank') else told['error']['message']


TWICE = [
  '{"user": "a", "user": "b"}',
  '{"model": "m", "user": "a", "more": [1, 2], "user": "a"}',
  '{"model": "m", "deep": [{"user": 1}, {"user": 1, "user": 2}]}',
  '{"user": 1, "u\\u0073er": 2}',
]


@pytest.mark.parametrize('body', TWICE)
def test_every_address_refuses_a_key_that_is_there_twice(client, body):
  paths = takers(client.app)
  assert len(paths) > 15
  for path in paths:
    answer = client.post(path, content=body, headers={'content-type': 'application/json'})
    assert answer.status_code == 400, path
    assert message_of(path, answer.json()) == "the key 'user' is there twice"


@pytest.mark.parametrize(
  'make', [lambda shards: create_searcher(shards), lambda _: create_root([['http://127.0.0.1:1']])]
)
def test_so_do_searchers_and_their_root(make):
  app = make(Shards([('one', Index.build([[1.0, 0.0], [0.0, 1.0]]), None)]))
  with TestClient(app) as client:
    (path,) = takers(app)
    answer = client.post(path, content='{"k": 1, "k": 2}', headers={'content-type': 'application/json'})
  assert answer.status_code == 400
  assert answer.json()['error']['message'] == "the key 'k' is there twice"
  assert answer.json()['error']['param'] == 'k'


def test_a_long_key_and_many_keys_are_told_in_a_short_line(client):
  pairs = ', '.join(f'"{i}": 0' for i in range(100_000))  # as many as a count of each key would take minutes for
  answer = client.post(
    '/v1/tokenize',
    content=f'{{{pairs}, "{"k" * 5000}": 0, "{"k" * 5000}": 1}}',
    headers={'content-type': 'application/json'},
  )
  assert answer.status_code == 400
  assert len(answer.json()['error']['message']) < 200


def test_what_is_no_json_is_told_as_before(client):
  answer = client.post('/v1/tokenize', content='{"a": ', headers={'content-type': 'application/json'})
  assert answer.status_code == 400
  assert 'JSON' in answer.json()['error']['message']
  whole = {'model': 'bytes', 'text': 'a', 'pieces': False}
  assert (
    client.post('/v1/tokenize', json=whole).json()
    == client.post('/v1/tokenize', content=json.dumps(whole), headers={'content-type': 'application/json'}).json()
  )
