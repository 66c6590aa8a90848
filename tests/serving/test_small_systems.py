"""Names and graphs over HTTP."""

import math

import jax
import numpy as np
import pytest
from starlette.testclient import TestClient

from mlsd_jax.data.words import WordList
from mlsd_jax.makemore import new_words, task
from mlsd_jax.makemore.ladder import Trained
from mlsd_jax.models import name_models
from mlsd_jax.models.name_models import NameConfig
from mlsd_jax.serving import NameService, Services, create_app

WORDS = WordList.split('words', ['anna', 'ben', 'clara', 'dan', 'emma', 'anja', 'bea', 'carl', 'dana', 'emil'])


@pytest.fixture(scope='module')
def trained():
  config = NameConfig(kind='mlp', vocab_size=WORDS.vocab_size, length=WORDS.length, embed_dim=4, hidden_dim=8)
  params = name_models.init(jax.random.key(0), config)
  return Trained(
    losses=lambda chosen: task.score(params, WORDS, chosen, config),
    make=lambda number, seed: new_words.make_words(params, WORDS, config, number, jax.random.key(seed)),
  )


@pytest.fixture(scope='module')
def client(trained):
  counted = Trained(trained.losses, lambda number, seed: ['anna'] * number)
  services = Services(names={'names': NameService('names', WORDS, {'first': counted, 'last': trained})})
  with TestClient(create_app(services), raise_server_exceptions=False) as client:
    yield client


def test_words_cost_what_the_model_says(client, trained):
  said = client.post('/v1/names', json={'words': ['dan', 'clara', 'ad']}).json()
  assert said['rungs'] == ['first', 'last']
  for told, row in zip(said['words'], trained.losses(['dan', 'clara', 'ad']), strict=True):
    assert [each['letter'] for each in told['letters']] == [*told['word'], '']
    np.testing.assert_allclose([each['nats'] for each in told['letters']], row[: len(told['word']) + 1], rtol=1e-5)
    assert told['nats'] == pytest.approx(sum(each['nats'] for each in told['letters']))
    assert told['is_new'] == (told['word'] not in WORDS.train)


def test_new_words_follow_the_seed_and_the_rung(client):
  ask = lambda **body: [each['word'] for each in client.post('/v1/names', json=body).json()['words']]
  assert len(ask()) == 10
  assert ask(seed=1) == ask(seed=1) != ask(seed=2)
  assert ask(number=3, seed=1) == ask(seed=1)[:3]
  assert len(ask(number=200)) == 200
  assert ask(rung='first') == ['anna'] * 10


@pytest.mark.parametrize(
  ('body', 'status', 'message'),
  [
    ({'words': ['dan1']}, 400, "has the character '1'"),
    ({'words': ['anna' * 9]}, 400, 'at most'),
    ({'words': []}, 400, 'words'),
    ({'words': ['dan'], 'seed': 1}, 400, 'words are scored'),
    ({'number': 0}, 400, 'number'),
    ({'number': 1025}, 400, 'number'),
    ({'rung': 'middle'}, 404, 'it has first, last'),
    ({'rung': ''}, 404, 'it has first, last'),
    ({'model': 'nobody'}, 404, 'nobody'),
    ({'numbr': 1}, 400, 'numbr'),
  ],
)
def test_what_no_names_can_be_made_of_is_one_line(client, body, status, message):
  answer = client.post('/v1/names', json=body)
  assert answer.status_code == status
  assert message in answer.json()['error']['message']


def test_a_graph_and_its_gradients(client):
  said = client.post(
    '/v1/micrograd', json={'expression': 'tanh(w * x + b)', 'values': {'w': 0.5, 'x': 2, 'b': -0.3}, 'svg': True}
  ).json()
  slope = 1 - math.tanh(0.7) ** 2
  assert said['value'] == pytest.approx(math.tanh(0.7))
  assert said['gradients'] == pytest.approx({'w': 2 * slope, 'x': 0.5 * slope, 'b': slope})
  assert [node['op'] for node in said['nodes'] if node['op']] == ['*', '+', 'tanh']
  assert all(each < node['id'] for node in said['nodes'] for each in node['operands'])
  assert said['svg'].startswith('<svg')


@pytest.mark.parametrize(
  ('body', 'message'),
  [
    ({'expression': 'a / 0', 'values': {'a': 1}}, 'has no value'),
    ({'expression': 'a ** 0.5', 'values': {'a': 0}}, 'derivative'),
    ({'expression': 'a', 'values': {'a': 'one'}}, 'values'),
    ({'expression': 'open("x")'}, 'no function'),
    ({'expression': 'a' * 1001, 'values': {'a': 1}}, 'at most 1,000'),
    ({'expression': '+'.join(['a * 2'] * 40), 'values': {'a': 1}, 'svg': True}, 'at most 64 nodes'),
  ],
)
def test_a_graph_that_cannot_be_is_one_line(client, body, message):
  answer = client.post('/v1/micrograd', json=body)
  assert answer.status_code == 400
  assert message in answer.json()['error']['message']


def test_a_gradient_that_does_not_exist_is_null(client):
  said = client.post('/v1/micrograd', json={'expression': 'a ** b', 'values': {'a': -2, 'b': 3}}).json()
  assert said['gradients'] == {'a': 12.0, 'b': None}
