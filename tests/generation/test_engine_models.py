"""The engine over GPTs and a bigram table, beside a slow reference: the whole text read anew for every token."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlsd_jax.generation.decoders import GPTDecoder, make_decoder
from mlsd_jax.generation.engine import Engine
from mlsd_jax.generation.requests import Request
from mlsd_jax.generation.sampling import GREEDY, PLAIN, SamplingConfig
from mlsd_jax.models import bigram, gpt, modern_gpt, partial_gpt
from mlsd_jax.models.families import functions_of

SHAPE = dict(vocab_size=61, vocab_multiple=8, context_length=150, num_layers=2, num_heads=2, embed_dim=16)
CONFIGS = {
  'gpt': gpt.GPTConfig(**SHAPE),
  'attention': partial_gpt.PartialGPTConfig(**SHAPE, sublayers='attention'),
  'mlp': partial_gpt.PartialGPTConfig(**SHAPE, sublayers='mlp'),
  'modern': modern_gpt.ModernGPTConfig(
    **{**SHAPE, 'num_heads': 4},
    num_kv_heads=2,
    qk_norm=True,
    window=40,
    window_pattern='LS',
    value_residual=True,
    value_embeddings=(1,),
    logit_softcap=15.0,
  ),
  'bigram': bigram.BigramConfig(61),
}
END = 60
SETTINGS = [
  GREEDY,
  PLAIN,
  SamplingConfig(temperature=0.7, top_k=12),
  SamplingConfig(top_p=0.8, presence_penalty=0.5, frequency_penalty=0.2),
  SamplingConfig(temperature=1.5, min_p=0.05, repetition_penalty=1.3, logit_bias={3: 2.0}),
  SamplingConfig(temperature=0.0, frequency_penalty=1.0, banned=(1, 2)),
]


@functools.cache
def model(kind, context=150):
  """(decoder, parameters large enough that texts differ, logits of a whole text [T] as [T, V])."""
  config = CONFIGS[kind]
  if kind != 'bigram':
    config = dataclasses.replace(config, context_length=context)
  functions = bigram if kind == 'bigram' else functions_of(config)
  rng = np.random.default_rng(1)
  shapes = jax.eval_shape(lambda: functions.init(jax.random.key(0), config))
  params = jax.tree.map(lambda leaf: jnp.asarray(0.4 * rng.standard_normal(leaf.shape, np.float32)), shapes)
  whole = jax.jit(lambda tokens: functions.apply(params, tokens, config))

  def logits(tokens):
    tokens = tokens[-context:]
    padded = np.zeros((1, context), np.int32)
    padded[0, : len(tokens)] = tokens
    return np.asarray(whole(padded)[0, : len(tokens)])

  return make_decoder(config, 61), params, logits


def log_softmax(logits):
  logits = logits.astype(np.float64)
  logits -= logits.max(-1, keepdims=True)
  return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def continue_slowly(request, logits, context, filter_by_sorting):
  """The request's tokens: every one from the whole text, drawn by plain inversion."""
  key = jax.random.key(request.seed)
  for number in request.stream:
    key = jax.random.fold_in(key, number)
  seen = np.bincount(request.prompt, minlength=61) > 0
  window, sampled = list(request.prompt), []
  while len(sampled) < request.max_tokens:
    if request.slides and len(window) > context:
      window = window[-context // 2 :]
    elif not request.slides and len(window) == context:
      break
    counts = np.bincount(np.array(sampled, int), minlength=61)
    kept = filter_by_sorting(logits(window)[-1], request.sampling, counts, seen)
    uniform = jax.random.uniform(jax.random.fold_in(key, len(sampled)), (2,))[1]
    if request.sampling.temperature == 0:
      token = int(np.argmax(kept))
    else:
      cumulative = np.cumsum(np.exp(kept - kept.max()))
      token = int(np.argmax(cumulative > float(uniform) * cumulative[-1]))
    sampled.append(token)
    window.append(token)
    if request.ends and token == END:
      break
  return sampled


def run(engine, requests, submit_every=0):
  """Events of each request, in order; the next is submitted every so many steps, or all at once."""
  found = {}
  rest = list(requests)
  while rest or engine.busy:
    while rest:
      found[engine.submit(rest.pop(0))] = []
      if submit_every:
        break
    for _ in range(submit_every or 1):
      for event in engine.step():
        found[event.id].append(event)
  return list(found.values())


def tokens_of(events):
  return [token for event in events for token in event.tokens]


def make_requests(lengths=(1, 5, 64, 70, 100, 150), **options):
  rng = np.random.default_rng(0)
  return [
    Request(rng.integers(0, 60, length), sampling, max_tokens=12, seed=9, stream=(number, 1), **options)
    for number, (length, sampling) in enumerate(zip(lengths, SETTINGS, strict=True))
  ]


@pytest.mark.parametrize(('kind', 'read_rows'), [*((kind, 1) for kind in CONFIGS), ('gpt', 2), ('modern', 2)])
def test_requests_of_all_kinds_in_one_batch_equal_the_slow_reference(kind, read_rows, filter_by_sorting):
  decoder, params, logits = model(kind)
  engine = Engine(decoder, params, slots=3, end_of_text=END, steps_per_dispatch=3, read_rows=read_rows)
  requests = make_requests(slides=kind != 'bigram')
  found = run(engine, requests, submit_every=2)
  slow = [
    continue_slowly(request, logits, 10**6 if kind == 'bigram' else 150, filter_by_sorting) for request in requests
  ]
  assert [tokens_of(events) for events in found] == slow
  assert len(set(map(tuple, slow))) == len(slow)


def test_past_the_context_texts_equal_the_slow_reference(filter_by_sorting):
  decoder, params, logits = model('gpt', 24)
  for slides in (True, False):
    requests = [
      dataclasses.replace(request, max_tokens=60, slides=slides, ends=False)
      for request in make_requests((1, 5, 7, 20, 23, 24))
    ]
    found = run(Engine(decoder, params, slots=4), requests)
    slow = [continue_slowly(request, logits, 24, filter_by_sorting) for request in requests]
    assert [tokens_of(events) for events in found] == slow


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_a_request_is_bit_for_bit_the_same_alone_and_in_a_full_batch(dtype):
  """Tokens and log-probabilities, with other neighbours, from a cache of prefixes, and in a longer cache."""
  decoder, params, _ = model('gpt')
  params = jax.tree.map(lambda leaf: leaf.astype(dtype), params)
  requests = make_requests((9, 30, 66, 70, 120, 129), logprobs=3)
  make = lambda **options: Engine(decoder, params, **{'slots': 6, 'end_of_text': END, **options})
  told = lambda events: [each for event in events for each in event.logprobs]
  together = [told(events) for events in run(make(), requests, submit_every=1)]
  for request, expected in zip(requests, together, strict=True):
    assert told(run(make(max_length=len(request.prompt) + 12), [request])[0]) == expected
  assert [told(events) for events in run(make(prefix_blocks=0), requests[::-1])] == together[::-1]
  engine = make()
  run(engine, requests)
  again = run(engine, requests)
  assert [told(events) for events in again] == together
  assert [events[0].cached_tokens for events in again] == [0, 0, 64, 64, 64, 128]


def test_log_probabilities_are_the_models_own_of_prompt_and_text():
  decoder, params, logits = model('gpt')
  engine = Engine(decoder, params, slots=2, end_of_text=END)
  requests = make_requests(logprobs=4, prompt_logprobs=True)
  for _ in range(2):  # the second time a prefix is there, which does not keep what they are made of
    for request, events in zip(requests, run(engine, requests), strict=True):
      text = np.concatenate([request.prompt, tokens_of(events)]).astype(int)
      expected = log_softmax(logits(text))
      told = [*events[0].prompt_logprobs, *(each for event in events for each in event.logprobs)]
      assert [each.token for each in told] == text[1:].tolist()
      for place, each in enumerate(told):
        np.testing.assert_allclose(each.logprob, expected[place, each.token], atol=1e-4)
        np.testing.assert_allclose([value for _, value in each.top], np.sort(expected[place])[:-5:-1], atol=1e-4)
        np.testing.assert_allclose(
          expected[place, [token for token, _ in each.top]], np.sort(expected[place])[:-5:-1], atol=1e-4
        )
      assert all(event.prompt_logprobs is None for event in events[1:])


def test_a_prompt_may_be_scored_and_not_continued():
  decoder, params, _ = model('gpt')
  request = Request([4, 8, 15], max_tokens=0, logprobs=0, prompt_logprobs=True)
  ((event,),) = run(Engine(decoder, params, slots=2), [request])
  assert (event.tokens, event.logprobs, event.finish) == ([], [], 'length')
  assert [(each.token, each.top) for each in event.prompt_logprobs] == [(8, []), (15, [])]


def test_padding_of_the_vocabulary_is_never_sampled():
  decoder, params, _ = model('gpt')
  table = params['token_embedding'].at[61:].set(100.0)
  engine = Engine(decoder, {**params, 'token_embedding': table}, slots=8)
  nearly_uniform = SamplingConfig(temperature=50.0)
  found = run(engine, [Request([1], nearly_uniform, 60, stream=(0, number), ends=False) for number in range(8)])
  sampled = np.array([tokens_of(events) for events in found])
  assert sampled.max() == 60
  assert len(np.unique(sampled)) > 55
  assert GPTDecoder(decoder.config, 5).vocab_size == 5
