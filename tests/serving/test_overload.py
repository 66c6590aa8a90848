"""More than there is room for: clients take turns, who is refused is told when to come again, who is late is let go."""

import asyncio

import pytest
from starlette.testclient import TestClient

from mlsd_jax.generation.requests import Request
from mlsd_jax.serving import Limits, Services, TextService, create_app
from mlsd_jax.serving.errors import ApiError
from tests.serving.conftest import CONFIG, TOKENIZER

BODY = {'model': 'gpt', 'prompt': 'x', 'max_tokens': 40, 'logit_bias': {str(TOKENIZER.end_of_text): -100}}


@pytest.fixture(scope='module')
def service(params):
  service = TextService('gpt', params, CONFIG, TOKENIZER, slots=2, max_waiting=250)
  service.start()
  yield service
  service.close()


async def _write(service, client, ended, tokens=4):
  async for _, piece in service.write([(Request(TOKENIZER.encode('x'), max_tokens=tokens, ends=False), ())], client):
    if piece.finish:
      ended.append(client)


def test_one_request_beside_two_hundred_of_another_client_waits_for_a_turn_only(service):
  async def run():
    ended = []
    many = [asyncio.create_task(_write(service, 'many', ended)) for _ in range(200)]
    await asyncio.sleep(0)  # they are in the queue
    await asyncio.gather(*many, asyncio.create_task(_write(service, 'one', ended)))
    return ended

  ended = asyncio.run(run())
  assert len(ended) == 201
  assert ended.index('one') <= 2 * 2  # after the two that had begun, at most a turn of the other client for each slot


def test_who_is_refused_is_told_when_texts_end(service, monkeypatch):
  async def run():
    ended = []
    tasks = [asyncio.create_task(_write(service, 'many', ended)) for _ in range(252)]
    await asyncio.sleep(0)
    with pytest.raises(ApiError) as refused:
      await _write(service, 'one', ended)
    await asyncio.gather(*tasks)
    return refused.value

  refused = asyncio.run(run())
  assert (refused.status, refused.retry_after) == (429, 1)
  for ends, seconds in (([0.0, 5.0, 11.0], 6), ([0.0, 900.0], 60), ([7.0], 1), ([0.0, 0.1], 1)):
    monkeypatch.setattr(service, '_ended', ends)
    assert service._seconds_a_text() == seconds


def test_what_is_late_is_given_up_and_its_slot_is_free(params):
  text = TextService('gpt', params, CONFIG, TOKENIZER, slots=1)
  services = Services(texts={'gpt': text})
  with TestClient(create_app(services, Limits(deadline_seconds=0.0)), raise_server_exceptions=False) as client:
    late = client.post('/v1/completions', json=BODY)
    assert late.status_code == 504
    assert late.json()['error']['code'] == 'timeout'
    assert late.headers['Retry-After'] == '1'
    streamed = client.post('/v1/completions', json=BODY | {'stream': True})  # begins at once, and has no deadline
    assert streamed.text.endswith('[DONE]\n\n')
    assert (text.stats.reading, text.stats.decoding, text.waiting) == (0, 0, 0)
