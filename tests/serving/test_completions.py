"""POST /v1/completions: what is written equals `generate`, and is told as OpenAI's clients read it."""

import asyncio
import concurrent.futures
import json

import numpy as np
import pytest

from mlsd_jax.generation.generate import generate
from mlsd_jax.generation.requests import Request
from mlsd_jax.generation.sampling import SamplingConfig
from mlsd_jax.language_model.chat_template import ChatTemplate
from mlsd_jax.models import gpt
from mlsd_jax.serving import TextService
from mlsd_jax.tokenizers import ByteTokenizer

URL = '/v1/completions'
TOKENIZER = ByteTokenizer()
CONFIG = gpt.GPTConfig(
  vocab_size=TOKENIZER.vocab_size, context_length=64, num_layers=1, num_heads=2, embed_dim=16, vocab_multiple=1
)


def ask(client, **body):
  answer = client.post(URL, json={'model': 'gpt', 'temperature': 0, 'max_tokens': 12} | body)
  assert answer.status_code == 200, answer.text
  return answer.json()


def events(client, **body):
  """The server-sent events of a stream, the last one [DONE]."""
  with client.stream('POST', URL, json={'model': 'gpt', 'max_tokens': 12, 'stream': True} | body) as answer:
    assert answer.status_code == 200
    assert answer.headers['content-type'].startswith('text/event-stream')
    lines = [line.removeprefix('data: ') for line in answer.iter_lines() if line]
  assert lines[-1] == '[DONE]'
  return [json.loads(line) for line in lines[:-1]]


def test_texts_equal_those_of_generate(client, params):
  prompts = ['To be', 'or not', 'to be: that']
  sampling = SamplingConfig(temperature=0.8, top_k=40)
  expected = generate(params, CONFIG, TOKENIZER, prompts, sampling=sampling, max_new_tokens=12, num_samples=2, seed=7)
  made = ask(client, prompt=prompts, temperature=0.8, top_k=40, n=2, seed=7)
  assert [choice['text'] for choice in made['choices']] == [sample.text for sample in expected]
  assert [choice['index'] for choice in made['choices']] == list(range(6))
  assert made['usage']['prompt_tokens'] == sum(map(len, prompts))
  assert made['usage']['completion_tokens'] == sum(len(sample.tokens) for sample in expected)


def test_a_stream_adds_up_to_the_whole(client):
  whole = ask(client, prompt=['alpha', 'beta'], max_tokens=20)
  told = events(client, prompt=['alpha', 'beta'], temperature=0, max_tokens=20, stream_options={'include_usage': True})
  texts, finishes = ['', ''], ['', '']
  for event in told[:-1]:
    (choice,) = event['choices']
    texts[choice['index']] += choice['text']
    finishes[choice['index']] = choice['finish_reason'] or finishes[choice['index']]
    assert event['usage'] is None
  assert texts == [choice['text'] for choice in whole['choices']]
  assert finishes == [choice['finish_reason'] for choice in whole['choices']]
  assert told[-1]['choices'] == []
  assert told[-1]['usage']['completion_tokens'] == whole['usage']['completion_tokens']
  assert len({event['id'] for event in told}) == 1


def test_token_ids_are_prompts_too(client):
  ids = TOKENIZER.encode('alpha').tolist()
  text = ask(client, prompt='alpha')['choices'][0]['text']
  assert ask(client, prompt=ids)['choices'][0]['text'] == text
  assert ask(client, prompt=[ids, ids])['choices'][1]['text'] == text


def test_a_seed_gives_the_same_alone_and_in_a_full_batch(client):
  body = dict(prompt='seeded', temperature=1.0, seed=11, max_tokens=16)
  alone = ask(client, **body)['choices'][0]['text']
  with concurrent.futures.ThreadPoolExecutor(12) as pool:
    others = [pool.submit(ask, client, prompt=f'other {i}', temperature=0.9, seed=i) for i in range(8)]
    again = [pool.submit(ask, client, **body) for _ in range(4)]
    assert {each.result()['choices'][0]['text'] for each in again} == {alone}
    assert all(each.result() for each in others)


def test_a_stop_string_that_is_split_over_tokens_ends_the_text_before_it(client):
  whole = ask(client, prompt='stop here', max_tokens=30)['choices'][0]['text']
  stop = whole[4:7]
  cut = ask(client, prompt='stop here', max_tokens=30, stop=[stop, 'never'])
  assert cut['choices'][0]['text'] == whole[: whole.index(stop)]
  assert cut['choices'][0]['finish_reason'] == 'stop'
  told = events(client, prompt='stop here', temperature=0, max_tokens=30, stop=stop)
  assert ''.join(event['choices'][0]['text'] for event in told) == whole[: whole.index(stop)]


def test_logprobs_are_four_lists_of_one_length_and_echo_has_the_prompts(client):
  made = ask(client, prompt='héllo', echo=True, logprobs=2, max_tokens=4)
  (choice,) = made['choices']
  logprobs = choice['logprobs']
  total = len('héllo'.encode()) + 4
  assert {len(values) for values in logprobs.values()} == {total}
  assert logprobs['token_logprobs'][0] is None
  assert all(value <= 0 for value in logprobs['token_logprobs'][1:])
  assert logprobs['tokens'][1] == 'bytes:\\xc3'
  assert all(len(top) <= 2 for top in logprobs['top_logprobs'][1:])
  assert choice['text'].startswith('héllo')
  # Greedy: each sampled token is the most probable.
  columns = (logprobs[name][-4:] for name in ('tokens', 'token_logprobs', 'top_logprobs'))
  for token, value, top in zip(*columns, strict=True):
    assert max(top.values()) == pytest.approx(value)
    assert token in top


def test_a_prompt_alone_can_be_scored(client):
  made = ask(client, prompt='score me', echo=True, logprobs=0, max_tokens=0)
  (choice,) = made['choices']
  assert choice['text'] == 'score me'
  assert len(choice['logprobs']['token_logprobs']) == len('score me')
  assert made['usage']['completion_tokens'] == 0


def test_more_tokens_than_the_context_has_are_clamped_and_said(client):
  answer = client.post(URL, json={'model': 'gpt', 'prompt': 'x' * 60, 'max_tokens': 1000, 'temperature': 0})
  assert answer.headers['X-Clamped-Max-Tokens'] == '4'
  assert answer.json()['usage']['completion_tokens'] <= 4
  assert answer.json()['choices'][0]['finish_reason'] == 'length'


@pytest.mark.parametrize(
  ('body', 'param'),
  [
    ({'temperature': -1}, 'temperature'),
    ({'top_p': 0}, 'top_p'),
    ({'n': 0}, 'n'),
    ({'suffix': 'end'}, 'suffix'),
    ({'best_of': 3}, 'best_of'),
    ({'logit_bias': {'99999': 1}}, 'logit_bias'),
    ({'logit_bias': {'a': 1}}, 'logit_bias'),
    ({'prompt': []}, 'prompt'),
    ({'prompt': [99999]}, 'prompt'),
    ({'prompt': 'x' * 100}, 'prompt'),
    ({'stop': ''}, 'stop'),
    ({'max_tokens': 0}, 'max_tokens'),
    ({'temprature': 1}, 'temprature'),
    ({'temperature': '0.5'}, 'temperature'),
    ({'temperature': True}, 'temperature'),
    ({'max_tokens': True}, 'max_tokens'),
    ({'max_tokens': '5'}, 'max_tokens'),
    ({'stream': 'yes'}, 'stream'),
    ({'echo': 1}, 'echo'),
    ({'prompt': [True]}, 'prompt'),
    ({'prompt': ['x', 7]}, 'prompt'),
    ({'model': 'nobody'}, 'model'),
    ({'model': 'small'}, 'model'),
  ],
)
def test_what_cannot_be_is_one_line_that_names_the_field(client, body, param):
  answer = client.post(URL, json={'model': 'gpt', 'prompt': 'x'} | body)
  assert answer.status_code in (400, 404)
  error = answer.json()['error']
  assert error['param'] == param
  assert '\n' not in error['message']
  streamed = client.post(URL, json={'model': 'gpt', 'prompt': 'x', 'stream': True} | body)
  assert (streamed.status_code, streamed.json()['error']) == (answer.status_code, error)


@pytest.mark.parametrize(
  'data',
  [
    b'{"model": "gpt", "temperature": NaN}',
    b'{"model": "gpt", "temperature": 1e999}',
    b'{' * 100_000,
    b'[' * 100_000 + b']' * 100_000,
    b'{"model": "gpt", "prompt": "\xff"}',
    b'',
    b'null',
    b'{"model": "gpt", "seed": ' + b'9' * 5000 + b'}',
  ],
)
def test_a_body_that_is_not_one_is_refused(client, data):
  answer = client.post(URL, content=data, headers={'Content-Type': 'application/json'})
  assert 400 <= answer.status_code < 500
  assert answer.json()['error']['type'] == 'invalid_request_error'


def test_a_chat_with_a_model_without_a_template_is_refused(client):
  answer = client.post('/v1/chat/completions', json={'model': 'gpt', 'messages': [{'role': 'user', 'content': 'hi'}]})
  assert answer.status_code == 400
  assert answer.json()['error']['code'] == 'no_chat_template'


@pytest.fixture(scope='module')
def chatting(make_client):
  source = (
    '{% for m in messages %}{% if m.content == "refuse me" %}{{ raise_exception("no") }}{% endif %}'
    '<{{ m.role[0] }}>{{ m.content }}</{{ m.role[0] }}>{% endfor %}{% if add_generation_prompt %}<a>{% endif %}'
  )
  return make_client(template=ChatTemplate(source))


def test_a_chat_is_the_templates_prompt_continued(chatting, params):
  """Whole and streamed; of a message that spells a special token nothing is ended."""
  client, body = chatting, {'model': 'gpt', 'temperature': 0, 'max_tokens': 9}
  said = [{'role': 'user', 'content': [{'type': 'text', 'text': 'hi<|'}, {'type': 'text', 'text': 'im_end|>'}]}]
  answer = client.post('/v1/chat/completions', json=body | {'messages': said, 'n': 2})
  assert answer.status_code == 200, answer.text
  made = answer.json()
  prompt = '<u>hi<|im_end|></u><a>'
  (expected,) = generate(
    params, CONFIG, TOKENIZER, [prompt], sampling=SamplingConfig(temperature=0.0), max_new_tokens=9
  )
  assert [choice['message']['content'] for choice in made['choices']] == [expected.text] * 2
  assert made['object'] == 'chat.completion'
  assert made['usage']['prompt_tokens'] == len(prompt)
  with client.stream('POST', '/v1/chat/completions', json=body | {'messages': said, 'stream': True}) as streamed:
    lines = [line.removeprefix('data: ') for line in streamed.iter_lines() if line]
  assert lines[-1] == '[DONE]'
  deltas = [json.loads(line)['choices'][0] for line in lines[:-1]]
  assert deltas[0]['delta'] == {'role': 'assistant', 'content': ''}
  assert ''.join(each['delta'].get('content', '') for each in deltas) == expected.text
  assert [each['finish_reason'] for each in deltas if each['finish_reason']] == ['length']


@pytest.mark.parametrize(
  ('body', 'says'),
  [
    ({'messages': []}, 'messages'),
    ({'messages': [{'role': 'bot', 'content': 'x'}]}, 'role'),
    ({'messages': [{'role': 'user', 'content': 'refuse me'}]}, 'refuses this conversation: no'),
    ({'messages': [{'role': 'user', 'content': 'x' * 90}]}, 'the model has room for 64'),
    ({'messages': [{'role': 'user', 'content': 'x'}], 'tools': []}, 'tools'),
    ({'messages': [{'role': 'user', 'content': 'x'}], 'max_tokens': 3, 'max_completion_tokens': 4}, 'differ'),
  ],
  ids=str,
)
def test_a_chat_that_cannot_be_is_one_line(chatting, body, says):
  answer = chatting.post('/v1/chat/completions', json={'model': 'gpt'} | body)
  assert answer.status_code == 400
  assert says in answer.json()['error']['message'] + str(answer.json()['error']['param'])


def test_a_text_that_nobody_reads_gives_its_slot_back(params):
  service = TextService('gpt', params, CONFIG, TOKENIZER, slots=1, steps_per_dispatch=1)
  service.start()

  async def leave_and_ask():
    request = Request(TOKENIZER.encode('a').tolist(), SamplingConfig(temperature=0.0), max_tokens=60, ends=False)
    first = service.write([(request, ())])
    await anext(first)
    await first.aclose()
    return [piece async for _, piece in service.write([(request, ())])]

  pieces = asyncio.run(leave_and_ask())
  assert sum(len(piece.tokens) for piece in pieces) == 60
  assert service.stats.cancelled == 1
  service.close()


def test_nothing_compiles_after_the_start(client, params):
  service = TextService('gpt', params, CONFIG, TOKENIZER, slots=4)
  service.start()
  before = service.stats.programs

  async def write(sampling, prompt):
    request = Request(TOKENIZER.encode(prompt).tolist(), sampling, max_tokens=5)
    return [piece async for _, piece in service.write([(request, ())])]

  for sampling in (SamplingConfig(0.7), SamplingConfig(0.71, top_k=3), SamplingConfig(0.0, logit_bias={3: 1.0})):
    for prompt in ('a', 'a longer prompt', np.str_('one')):
      asyncio.run(write(sampling, prompt))
  assert service.stats.programs == before
  service.close()
