"""Embeddings and reranking: the encoder's own vectors, in each client's shape."""

import asyncio
import base64
import threading

import numpy as np
import pytest

from mlsd_jax.serving.batching import Batcher
from mlsd_jax.serving.errors import ApiError

TEXTS = ['copying folders', 'reading archives', 'a number']


def test_embeddings_are_the_encoders_in_both_formats(client, small_encoder):
  expected = small_encoder.encode(TEXTS)
  ask = lambda **body: client.post('/v1/embeddings', json={'model': 'small', 'input': TEXTS} | body).json()
  floats = ask()
  np.testing.assert_allclose([each['embedding'] for each in floats['data']], expected, atol=1e-6)
  coded = ask(encoding_format='base64')
  vectors = [np.frombuffer(base64.b64decode(each['embedding']), '<f4') for each in coded['data']]
  np.testing.assert_array_equal(np.float32([each['embedding'] for each in floats['data']]), vectors)
  assert [each['index'] for each in floats['data']] == [0, 1, 2]
  assert floats['usage']['prompt_tokens'] == sum(small_encoder.count_tokens(text) + 2 for text in TEXTS)
  (one,) = client.post('/v1/embeddings', json={'model': 'small', 'input': TEXTS[0]}).json()['data']
  np.testing.assert_allclose(one['embedding'], expected[0], atol=1e-6)
  np.testing.assert_allclose(client.post('/embed', json={'inputs': TEXTS}).json(), expected, atol=1e-6)


@pytest.mark.parametrize(
  ('body', 'said'),
  [
    ({'input': [1, 2, 3]}, 'check_embedding_ctx_length=False'),
    ({'input': [[1, 2], [3]]}, 'check_embedding_ctx_length=False'),
    ({'input': []}, 'empty list'),
    ({'input': ['']}, 'empty text'),
    ({'dimensions': 7}, 'gives 16'),
    ({'encoding_format': 'hex'}, 'base64'),
    ({'model': 'gpt'}, 'not served here'),
  ],
)
def test_what_cannot_be_embedded_is_said(client, body, said):
  answer = client.post('/v1/embeddings', json={'model': 'small', 'input': TEXTS} | body)
  assert answer.status_code in (400, 404)
  assert said in answer.json()['error']['message']


def test_every_reranker_orders_by_the_same_relevance(client, small_encoder):
  query = 'folders'
  expected = np.clip(small_encoder.encode(TEXTS) @ small_encoder.encode([query], 'query')[0], 0, 1)
  order = np.argsort(-expected).tolist()
  for path in ('/v1/rerank', '/v2/rerank', '/rerank'):
    told = client.post(path, json={'query': query, 'documents': TEXTS, 'top_n': 3}).json()['results']
    assert [each['index'] for each in told] == order
    np.testing.assert_allclose([each['relevance_score'] for each in told], expected[order], atol=1e-6)
  documents = [{'text': text, 'id': i} for i, text in enumerate(TEXTS)]
  body = {'query': query, 'documents': documents, 'top_n': 1, 'return_documents': True}
  (best,) = client.post('/rerank', json=body).json()['results']
  assert best['document'] == {'text': TEXTS[order[0]]}
  tei = client.post('/rerank', json={'query': query, 'texts': TEXTS, 'return_text': True}).json()
  assert [each['index'] for each in tei] == order
  assert tei[0]['text'] == TEXTS[order[0]]


def test_errors_have_their_clients_shape(client):
  assert 'message' in client.post('/v2/rerank', json={'query': 'a', 'documents': []}).json()
  long = client.post('/embed', json={'inputs': 'word ' * 500})
  assert long.status_code == 413
  assert 'error_type' in long.json()
  assert client.post('/embed', json={'inputs': 'word ' * 500, 'truncate': True}).status_code == 200
  assert client.post('/embed', json={'inputs': []}).status_code == 422


def test_batches_hold_the_items_of_many_requests_in_turn_of_clients():
  batches = []

  def compute(items):
    batches.append(list(items))
    return [item * 2 for item in items]

  async def ask():
    batcher = Batcher('b', compute, lambda item: 1, budget=4, max_waiting=20)
    first = asyncio.create_task(batcher([0], 'greedy'))
    await asyncio.sleep(0)
    many = [asyncio.create_task(batcher([i], 'greedy')) for i in range(1, 9)]
    one = asyncio.create_task(batcher([100], 'modest'))
    results = [each[0] for each in await asyncio.gather(first, *many, one)]
    await batcher.close()
    return results

  assert asyncio.run(ask()) == [*range(0, 18, 2), 200]
  assert max(map(len, batches)) <= 4
  # Who came last is in the first batch that could hold it, as clients take turns.
  assert next(place for place, batch in enumerate(batches) if 100 in batch) <= 1


def test_a_batch_that_fails_is_told_to_those_in_it_and_the_next_one_works():
  def compute(items):
    if 'bad' in items:
      raise ValueError('bad')
    return items

  async def ask():
    batcher = Batcher('b', compute, lambda item: 1)
    with pytest.raises(ValueError, match='bad'):
      await batcher(['bad'])
    assert await batcher(['good']) == ['good']
    await batcher.close()

  asyncio.run(ask())


def test_as_many_batches_as_there_are_threads_are_computed_side_by_side():
  together, running, most, lock = threading.Barrier(2), 0, 0, threading.Lock()

  def compute(items):
    nonlocal running, most
    with lock:
      running += 1
      most = max(most, running)
    together.wait(60)  # passes only where two are here at once
    with lock:
      running -= 1
    return [item * 2 for item in items]

  async def ask():
    batcher = Batcher('b', compute, lambda item: 1, budget=2, threads=2)
    results = await asyncio.gather(*(batcher([i, -i]) for i in range(6)))
    await batcher.close()
    return results

  assert asyncio.run(ask()) == [[2 * i, -2 * i] for i in range(6)]
  assert most == 2


def test_more_requests_than_may_wait_are_refused():
  async def ask():
    batcher = Batcher('b', lambda items: items, lambda item: 1, max_waiting=2)
    tasks = [asyncio.create_task(batcher([i])) for i in range(5)]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    await batcher.close()
    return results

  results = asyncio.run(ask())
  refused = [each for each in results if isinstance(each, ApiError)]
  assert {each.status for each in refused} == {429}
  assert all(each.retry_after for each in refused)
  assert len(refused) == 3
