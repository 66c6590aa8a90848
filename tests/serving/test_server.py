"""The server around its models: who may ask, what is measured, what a bad request gets."""

import pytest

from mlsd_jax.serving import Limits
from mlsd_jax.serving.errors import ApiError
from mlsd_jax.serving.limits import Door

BODY = {'model': 'gpt', 'prompt': 'x', 'max_tokens': 1}


def test_models_health_and_metrics(client):
  names = [each['id'] for each in client.get('/v1/models').json()['data']]
  assert names == ['gpt', 'small']
  assert client.get('/v1/models/small').json()['object'] == 'model'
  assert client.get('/v1/models/nobody').status_code == 404
  assert client.get('/health').json() == {'status': 'ok'}
  assert client.get('/ready').json() == {'ready': True}
  client.post('/v1/completions', json=BODY)
  said = client.get('/metrics').text
  assert 'mlsd_requests_total{path="/v1/completions",status="200"}' in said
  assert 'mlsd_tokens_total{kind="sampled",model="gpt"}' in said


def test_tokens_there_and_back(client):
  said = client.post('/v1/tokenize', json={'text': 'é!'}).json()
  assert said == {'tokens': [195, 169, 33], 'offsets': [[0, 1], [0, 1], [1, 2]], 'count': 3}
  assert client.post('/v1/detokenize', json={'tokens': [195, 169, 33]}).json() == {'text': 'é!'}
  assert client.post('/v1/detokenize', json={'tokens': [10**6]}).status_code == 400


def test_a_long_text_is_cut_as_a_short_one_is(client):
  text = 'aé日🙂"\\\n' * 4000
  said = client.post('/v1/tokenize', json={'text': text, 'pieces': True}).json()
  assert said['tokens'] == list(text.encode())
  assert said['count'] == len(said['tokens'])
  part = client.post('/v1/tokenize', json={'text': text[:7], 'pieces': True}).json()
  assert said['pieces'] == part['pieces'] * 4000
  assert [end for _, end in said['offsets'][:13]] == [end for _, end in part['offsets']]
  assert said['offsets'][-13:] == [[start + 27993, end + 27993] for start, end in part['offsets']]
  assert client.post('/v1/tokenize', json={'text': '', 'pieces': True}).json() == {
    'tokens': [], 'offsets': [], 'count': 0, 'pieces': []
  }  # fmt: skip


@pytest.mark.parametrize(
  ('path', 'status'),
  [('/nothing', 404), ('/v1/completions', 405), ('/v1/responses', 404), ('/v1/search', 405), ('/../etc/passwd', 404)],
)
def test_what_is_not_there_is_one_line(client, path, status):
  answer = client.get(path)
  assert answer.status_code == status
  assert 'Traceback' not in answer.text
  assert answer.json()['error']['message']


def test_a_search_where_there_is_none_is_refused(client):
  answer = client.post('/v1/ask', json={'query': 'where?'})
  assert answer.status_code == 404
  assert 'not served here' in answer.json()['error']['message']


def test_keys_sizes_and_rates(make_client):
  client = make_client(Limits(api_keys=('first', 'second'), max_body_bytes=1000, requests_per_minute=3))
  assert client.get('/health').status_code == 200
  assert '/v1/completions' in client.get('/openapi.json').json()['paths']  # to which the page has a link
  assert client.get('/v1/models').status_code == 401
  wrong = client.get('/v1/models', headers={'Authorization': 'Bearer third'})
  assert (wrong.status_code, wrong.json()['error']['type']) == (401, 'authentication_error')
  ask = lambda key, **body: client.post('/v1/completions', json=BODY | body, headers={'Authorization': f'Bearer {key}'})
  assert ask('first').status_code == 200
  assert ask('first', prompt='x' * 2000).status_code == 413
  chunks = client.post('/v1/completions', content=iter([b' ' * 600] * 3), headers={'X-API-Key': 'first'})
  assert chunks.status_code == 413
  late = ask('first')
  assert late.status_code == 429
  assert 0 < int(late.headers['Retry-After']) <= 60
  assert ask('second').status_code == 200  # a bucket each


def test_a_bucket_fills_up_evenly():
  now = [0.0]
  door = Door(Limits(requests_per_minute=60), lambda: now[0])
  for _ in range(60):
    door.check({}, 'a')
  with pytest.raises(ApiError, match='60 requests a minute'):
    door.check({}, 'a')
  now[0] = 1.0
  door.check({}, 'a')
  with pytest.raises(ApiError, match='60 requests a minute'):
    door.check({}, 'a')


def test_texts_that_cannot_wait_are_refused_whole(make_client):
  client = make_client(slots=1, max_waiting=1)
  assert client.post('/v1/completions', json=BODY | {'n': 8}).status_code == 200  # alone it is no overload
  many = client.post('/v1/completions', json=BODY | {'prompt': ['x'] * 200})
  assert many.status_code == 400


def test_other_sites_are_let_in_by_name_only(make_client):
  ask = {'Origin': 'https://other.example', 'Access-Control-Request-Method': 'POST'}
  assert 'access-control-allow-origin' not in make_client().options('/v1/completions', headers=ask).headers
  client = make_client(Limits(cors_origins=('https://other.example',)))
  assert client.options('/v1/completions', headers=ask).headers['access-control-allow-origin'] == ask['Origin']


@pytest.mark.parametrize(
  ('body', 'said'),
  [
    ({'prompt': 5}, 'prompt: Input should be a valid string; or Input should be a valid list'),
    (
      {'prompt': ['a', 5]},
      'prompt.1: Input should be a valid string; or Input should be a valid integer; or Input should be a valid list',
    ),
    ({'prompt': [[1], ['a']]}, 'prompt.1.0: Input should be a valid integer'),
    ({'prompt': 'a', 'stop': ['']}, 'stop.0: String should have at least 1 character'),
    ({'prompt': 'a', 'n': 0}, 'n: Input should be greater than or equal to 1'),
    ({'prompt': 'a', 'stream_options': {'usage': True}}, 'stream_options.usage: Extra inputs are not permitted'),
    ({'prompt': 'a', 'logit_bias': {'5': 900}}, 'logit_bias.5: Input should be less than or equal to 100'),
    ([1], 'Input should be a valid dictionary or object to extract fields from'),
  ],
)
def test_a_bad_field_is_named_as_it_was_sent(client, body, said):
  answer = client.post('/v1/completions', json={'model': 'gpt', **body} if isinstance(body, dict) else body)
  error = answer.json()['error']
  assert (answer.status_code, error['message']) == (400, said)
  assert error['param'] == (said.split(':')[0].split('.')[0] if isinstance(body, dict) else None)
