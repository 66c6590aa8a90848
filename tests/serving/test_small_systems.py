"""Names, graphs and attention maps over HTTP."""

import math

import jax
import numpy as np
import pytest
from starlette.testclient import TestClient

from mlsd_jax.data.words import WordList
from mlsd_jax.makemore import new_words, task
from mlsd_jax.makemore.ladder import Trained
from mlsd_jax.models import bigram, gpt, name_models
from mlsd_jax.models.name_models import NameConfig
from mlsd_jax.models.partial_gpt import PartialGPTConfig
from mlsd_jax.serving import NameService, Services, TextService, create_app
from mlsd_jax.serving.attention_maps import heads_of
from mlsd_jax.serving.text_service import token_text
from mlsd_jax.tokenizers import ByteTokenizer

TOKENIZER = ByteTokenizer()

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


RUNGS = {
  'bigram': bigram.BigramConfig(TOKENIZER.vocab_size, 16),
  'whole': gpt.GPTConfig(TOKENIZER.vocab_size, 16, num_layers=2, num_heads=2, embed_dim=8),
}
MLPS = PartialGPTConfig(TOKENIZER.vocab_size, 16, num_layers=1, num_heads=1, embed_dim=8, sublayers='mlp')


@pytest.fixture(scope='module')
def rungs():
  """name -> (params, config): large weights, so that heads look somewhere."""
  module = {'bigram': bigram, 'whole': gpt}
  init = lambda name, config: jax.tree.map(lambda leaf: 8 * leaf, module[name].init(jax.random.key(3), config))
  return {name: (init(name, config), config) for name, config in RUNGS.items()}


@pytest.fixture(scope='module')
def ladder_client(rungs):
  texts = {name: TextService(name, *model, TOKENIZER, slots=2) for name, model in rungs.items()}
  with TestClient(create_app(Services(texts=texts)), raise_server_exceptions=False) as client:
    yield client


@pytest.mark.parametrize(('name', 'module'), [('bigram', bigram), ('whole', gpt)])
def test_a_rung_writes_what_its_model_says_token_by_token(ladder_client, rungs, name, module):
  asked = {'model': name, 'prompt': 'ab', 'max_tokens': 9, 'temperature': 0, 'logprobs': 0}
  said = ladder_client.post('/v1/completions', json=asked).json()['choices'][0]['logprobs']['tokens']
  params, config = rungs[name]
  ids = TOKENIZER.encode('ab').tolist()
  for _ in range(9):
    logits = module.apply(params, np.array([ids]), config)[0, -1, : TOKENIZER.vocab_size]
    ids.append(int(np.argmax(logits)))
  assert said == [token_text(TOKENIZER, token) for token in ids[2 : 2 + len(said)]]
  assert len(said) == 9 or ids[1 + len(said)] == TOKENIZER.end_of_text


def test_attention_is_that_of_the_softmax_by_hand(ladder_client, rungs):
  text = 'head é'
  said = ladder_client.post('/v1/attention', json={'model': 'whole', 'text': text}).json()
  ids = TOKENIZER.encode(text)
  assert said['tokens'] == ids.tolist()
  assert said['pieces'][-2:] == ['bytes:\\xc3', 'bytes:\\xa9']
  expected = slow_maps(*rungs['whole'], ids)
  assert len(said['weights']) == 2
  for layer, of_layer in zip(said['weights'], expected, strict=True):
    for head, of_head in zip(layer, of_layer, strict=True):
      assert [len(row) for row in head] == list(range(1, len(ids) + 1))
      for t, row in enumerate(head):
        np.testing.assert_allclose(row, of_head[t, : t + 1], atol=1e-4)
  assert np.ptp(expected[0, 0, -1]) > 0.01  # they do look somewhere


def slow_maps(params, config, ids):
  """Attention by numpy, a head at a time, [layers, heads, T, T]."""
  model = gpt.bind(params, config)
  x = model.embed(np.asarray(ids)[None], np.arange(len(ids)))
  maps = []
  for block in model.list_blocks():
    q, k, _ = np.moveaxis(np.asarray(block.attention.qkv(block.norm_1(x)))[0], 1, 0)  # [T, heads, size]
    of_layer = []
    for head in range(config.num_heads):
      scores = q[:, head] @ k[:, head].T / math.sqrt(q.shape[-1])
      weights = np.tril(np.exp(scores - scores.max(-1, keepdims=True)))
      of_layer.append(weights / weights.sum(-1, keepdims=True))
    maps.append(of_layer)
    x, _ = block(x)
  return np.array(maps)


@pytest.mark.parametrize(
  ('body', 'status', 'message'),
  [
    ({'model': 'bigram', 'text': 'a'}, 400, 'no attention'),
    ({'model': 'whole', 'text': ''}, 400, 'text'),
    ({'model': 'whole', 'text': 'a' * 17}, 400, 'the text has 17 tokens; 1 to 16 can be shown'),
    ({'model': 'nobody', 'text': 'a'}, 404, 'nobody'),
  ],
)
def test_attention_that_cannot_be_shown_is_one_line(ladder_client, body, status, message):
  answer = ladder_client.post('/v1/attention', json=body)
  assert answer.status_code == status
  assert message in answer.json()['error']['message']


def test_systems_say_whose_attention_can_be_shown(ladder_client):
  told = ladder_client.get('/v1/systems').json()['texts']['models']
  assert {each['id']: each['attention'] for each in told} == {
    'bigram': None,
    'whole': {'layers': 2, 'heads': 2, 'tokens': 16},
  }
  assert heads_of(TextService('mlps', {}, MLPS, TOKENIZER)) is None
