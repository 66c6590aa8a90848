"""The engine over a decoder whose every next token can be worked out by hand."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlsd_jax.errors import UserError
from mlsd_jax.generation import decoders
from mlsd_jax.generation.engine import Engine
from mlsd_jax.generation.requests import Request
from mlsd_jax.generation.sampling import GREEDY, SamplingConfig

traced = []


@dataclasses.dataclass(frozen=True)
class Summing:
  """Its next token is the sum of all tokens that it may see, modulo the vocabulary. The cache holds the tokens."""

  vocab_size: int = 97
  context_length: int = 100
  scale: float = 1.0  # of the logits: how sure it is

  def init_cache(self, params, rows, slots):
    return jnp.full((rows, slots), 50, jnp.int32)  # whatever is there, nobody may read it

  def extend(self, params, tokens_BT, cache, index_B, rows_B):
    traced.append((tokens_BT.shape, cache.shape))
    length = tokens_BT.shape[1]
    if rows_B is not None:
      for b in range(len(rows_B)):
        cache = jax.lax.dynamic_update_slice(cache, tokens_BT[b : b + 1], (rows_B[b], index_B[b]))
      held = cache[rows_B]
    else:
      write = lambda held, new, at: jax.lax.dynamic_update_slice_in_dim(held, new, at, 0)
      cache = held = jax.vmap(write)(cache, tokens_BT, index_B)
    visible_BTS = jnp.arange(held.shape[1]) <= index_B[:, None, None] + jnp.arange(length)[:, None]
    return params + jnp.where(visible_BTS, held[:, None], 0).sum(-1), cache

  def logits(self, params, hidden_BT):
    return self.scale * jax.nn.one_hot(hidden_BT % self.vocab_size, self.vocab_size)

  def cut(self, cache, row, start, slots):
    return jax.lax.dynamic_slice(cache, (row, start), (1, slots))

  def paste(self, cache, block, row, start):
    return jax.lax.dynamic_update_slice(cache, block, (row, start))


def reference(prompt, steps, decoder=Summing(), end=None, slides=True):
  """What Summing generates, with the sliding window as it is stated: the last half once the context is full."""
  tokens, window = list(prompt), list(prompt)
  for _ in range(steps):
    if len(window) > decoder.context_length:
      window = window[-max(decoder.context_length // 2, 1) :]
    if not slides and len(tokens) == decoder.context_length:
      break
    tokens.append(sum(window) % decoder.vocab_size)
    window.append(tokens[-1])
    if tokens[-1] == end:
      break
  return tokens


def collect(engine, found=None):
  """Steps until nothing is left to do: {id: (tokens, finish)}."""
  found = {} if found is None else found
  while engine.busy:
    for event in engine.step():
      tokens, finish = found.get(event.id, ([], None))
      assert finish is None
      found[event.id] = (tokens + event.tokens, event.finish)
  return found


def run(prompts, steps, decoder=Summing(), params=0, sampling=GREEDY, request=None, **options):
  """Each prompt with what follows it."""
  engine = Engine(decoder, params, **{'slots': 4, **options})
  requests = [
    Request(prompt, sampling, steps, stream=(number, 0), **{'slides': True, **(request or {})})
    for number, prompt in enumerate(prompts)
  ]
  numbers = [engine.submit(request) for request in requests]
  found = collect(engine)
  assert engine.stats.new_tokens == sum(len(tokens) for tokens, _ in found.values())
  return [list(prompt) + found[number][0] for prompt, number in zip(prompts, numbers, strict=True)]


PROMPTS = [[3], [5, 1, 4, 1, 5], list(range(1, 41)), [9, 2]]
LONG = [np.random.default_rng(length).integers(0, 97, length).tolist() for length in (63, 64, 65, 99, 100)]


def test_rows_of_unequal_length_decode_as_if_alone():
  assert run(PROMPTS, 30) == [reference(prompt, 30) for prompt in PROMPTS]


@pytest.mark.parametrize('read_rows', [2, 3, 8])
def test_prompts_that_are_read_together_stay_apart(read_rows):
  prompts = [*PROMPTS, *LONG]
  assert run(prompts, 30, slots=8, read_rows=read_rows) == [reference(prompt, 30) for prompt in prompts]


@pytest.mark.parametrize('steps_per_dispatch', [1, 7])
def test_the_number_of_steps_a_dispatch_changes_nothing(steps_per_dispatch):
  assert run(PROMPTS, 20, steps_per_dispatch=steps_per_dispatch) == [reference(prompt, 20) for prompt in PROMPTS]


@pytest.mark.parametrize('slots', [1, 2, 5])
def test_more_requests_than_slots_enter_as_others_leave(slots):
  prompts = PROMPTS * 2
  assert run(prompts, 9, slots=slots) == [reference(prompt, 9) for prompt in prompts]


@pytest.mark.parametrize('context', [1, 8, 100])
def test_past_the_context_each_row_slides_by_its_own_length(context):
  decoder = Summing(context_length=context)
  prompts = [prompt[:context] for prompt in PROMPTS]
  steps = 230 if context == 100 else 40
  assert run(prompts, steps, decoder) == [reference(prompt, steps, decoder) for prompt in prompts]


@pytest.mark.parametrize('context', [1, 8, 100])
def test_without_a_window_a_row_ends_where_the_context_does(context):
  decoder = Summing(context_length=context)
  prompts = [prompt[:context] for prompt in PROMPTS]
  found = run(prompts, 200, decoder, request={'slides': False})
  assert found == [reference(prompt, 200, decoder, slides=False) for prompt in prompts]
  assert {len(tokens) for tokens in found} == {context}


@pytest.mark.parametrize('part', [16, 64])
def test_prompts_up_to_the_whole_context_are_read(part):
  expected = [reference(prompt, 60) for prompt in [*LONG, [7]]]
  assert run([*LONG, [7]], 60, part=part) == expected
  assert run(LONG[:1], 5, part=part, max_length=68) == [reference(LONG[0], 5)]


def test_a_row_stops_at_the_end_of_text_and_others_go_on():
  prompts = [[3], [11], [5, 6], [8]]
  ends = [reference(prompt, 40, end=3) for prompt in prompts]
  assert len({len(tokens) - len(prompt) for tokens, prompt in zip(ends, prompts, strict=True)}) > 2
  assert run(prompts, 40, end_of_text=3) == ends
  without = [reference(prompt, 40) for prompt in prompts]
  assert run(prompts, 40, end_of_text=3, request={'ends': False}) == without


def test_finish_says_why():
  engine = Engine(Summing(), 0, end_of_text=4)
  for prompt, max_tokens in (([1], 9), ([1], 2), ([1], 0), (LONG[4], 9), (LONG[3], 9)):
    engine.submit(Request(prompt, GREEDY, max_tokens))
  found = collect(engine)
  assert [found[number][1] for number in range(5)] == ['end_of_text', 'length', 'length', 'length', 'length']
  assert [len(found[number][0]) for number in range(5)] == [3, 2, 0, 0, 1]  # 1 -> 1 -> 2 -> 4


def test_a_dispatch_ends_early_when_all_rows_are_done():
  engine = Engine(Summing(), 0, end_of_text=4, steps_per_dispatch=64)
  engine.submit(Request([1], GREEDY))
  assert [event.tokens for event in engine.step()] == [[1]]
  assert [event.tokens for event in engine.step()] == [[2, 4]]
  assert (engine.busy, engine.step(), engine.stats.steps) == (False, [], 2)


def test_a_cancelled_request_yields_nothing_more_and_its_slot_is_the_next_ones():
  engine = Engine(Summing(), 0, slots=1)
  first, second, third = (engine.submit(Request([token], GREEDY, 9)) for token in (1, 2, 3))
  engine.step()
  assert engine.cancel(first)
  assert engine.cancel(third)  # still waiting
  assert not engine.cancel(first)
  assert not engine.cancel(99)
  assert engine.step()[0].id == second  # its prompt is read at once
  assert [2] + [2] + collect(engine)[second][0] == reference([2], 9)
  stats = engine.stats
  assert (stats.requests, stats.cancelled, stats.finished, stats.decoding) == (3, 2, 1, 0)


def test_requests_may_come_at_any_time():
  """Three prompts, each submitted while those before it are being continued, and each as if alone."""
  engine = Engine(Summing(), 0, slots=3, steps_per_dispatch=2)
  found = {}
  for prompt in PROMPTS[:3]:
    engine.submit(Request(prompt, GREEDY, 30))
    for _ in range(3):
      for event in engine.step():
        found[event.id] = (found.get(event.id, ([], None))[0] + event.tokens, event.finish)
  found = collect(engine, found)
  assert [prompt + found[i][0] for i, prompt in enumerate(PROMPTS[:3])] == [reference(p, 30) for p in PROMPTS[:3]]


def test_a_long_prompt_lets_the_others_go_on_in_between():
  engine = Engine(Summing(), 0, slots=2, part=16, read_between=32, steps_per_dispatch=3)
  engine.submit(Request([1], GREEDY, 90))
  engine.step()
  engine.submit(Request([1] * 90, GREEDY, 5))
  order = [[event.id for event in engine.step()] for _ in range(9)]
  assert order == [[], [], [0], [], [], [0], [], [1], [0, 1]]


def test_in_a_burst_all_prompts_are_read_before_the_next_dispatch():
  engine = Engine(Summing(), 0, slots=5)
  for number in range(5):
    engine.submit(Request([number + 1], GREEDY, 9))
  assert [[event.id for event in engine.step()] for _ in range(6)] == [[0], [1], [2], [3], [4], [0, 1, 2, 3, 4]]


def test_a_shared_prefix_is_read_once():
  engine = Engine(Summing(), 0, slots=2, part=16, prefix_blocks=8)
  shared = LONG[0][:40]
  prompts = [[*shared, 1], [*shared, 2, 3], shared[:32], shared[:16] + [9] * 20, [8, *shared]]
  cached = []
  for prompt in prompts:
    number = engine.submit(Request(prompt, GREEDY, 6))
    events = []
    while engine.busy:
      events += engine.step()
    assert [token for event in events for token in event.tokens] == reference(prompt, 6)[len(prompt) :]
    assert all(event.id == number for event in events)
    cached.append(events[0].cached_tokens)
  assert cached == [0, 32, 16, 16, 0]
  assert engine.stats.cached_tokens == 64
  assert engine.stats.prefix_bytes == 5 * 16 * 4  # two of the first, one of the fourth, two of the last


def test_prefixes_that_were_not_used_for_long_make_room():
  engine = Engine(Summing(), 0, slots=1, part=16, prefix_blocks=2)

  def cached(prompt):
    engine.submit(Request(prompt, GREEDY, 1))
    (event,) = engine.step() or engine.step()
    assert not engine.busy
    return event.cached_tokens

  a, b, c = ([token] * 17 for token in (1, 2, 3))
  assert [cached(prompt) for prompt in (a, b, a, c, a, b)] == [0, 0, 16, 0, 16, 0]
  assert Engine(Summing(), 0, prefix_blocks=0).stats.prefix_bytes == 0


def test_penalties_count_what_they_should():
  """A flat distribution, greedy, with a penalty: each id in turn that the row does not hold yet."""
  prompts = [[0, 2], [1, 1, 1, 5, 3]]

  @dataclasses.dataclass(frozen=True)
  class Flat(Summing):
    def logits(self, params, hidden_BT):
      return jnp.ones((*hidden_BT.shape, self.vocab_size))

  decoder = Flat(context_length=6)
  repetition = SamplingConfig(temperature=0.0, repetition_penalty=2.0)
  # Slots behind a row's end hold anything, id 0 must be found unseen. Positions run out after 6 tokens.
  assert run(prompts, 6, decoder, sampling=repetition) == [[0, 2, 1, 3, 4, 5, 6, 7], [1, 1, 1, 5, 3, 0, 2, 4, 6, 7, 8]]
  presence = SamplingConfig(temperature=0.0, presence_penalty=1.0)
  assert run(prompts, 3, decoder, sampling=presence) == [[0, 2, 0, 1, 2], [1, 1, 1, 5, 3, 0, 1, 2]]
  frequency = SamplingConfig(temperature=0.0, frequency_penalty=0.125, logit_bias={2: 0.3, 3: 0.2})
  assert run(prompts[:1], 6, decoder, sampling=frequency) == [[0, 2, 2, 3, 2, 3, 2, 0]]


SPREAD = Summing(scale=4.0)


def test_samples_depend_on_their_own_seed_and_not_on_the_batch():
  prompts = [[3, 1, 4], [1, 5], [9, 2, 6, 5, 3]]
  settings = [SamplingConfig(), SamplingConfig(temperature=0.9, top_k=9), SamplingConfig(top_p=0.8, min_p=0.01)]
  requests = [
    Request(prompt, sampling, 20, seed=7, stream=(number, 0))
    for number, (prompt, sampling) in enumerate(zip(prompts, settings, strict=True))
  ]

  def rows(which, **options):
    engine = Engine(SPREAD, 0, **{'slots': 3, **options})
    numbers = [engine.submit(requests[i]) for i in which]
    found = collect(engine)
    return [found[number][0] for number in numbers]

  together = rows([0, 1, 2])
  assert len(set(together[0])) > 10
  assert [rows([i])[0] for i in (0, 1, 2)] == together
  assert rows([2, 0], steps_per_dispatch=5) == [together[2], together[0]]
  assert rows([2, 2, 1, 0], slots=1) == [together[i] for i in (2, 2, 1, 0)]


def test_seeds_and_streams_are_all_different_and_stable():
  streams = [(0, (0, 0)), (0, (0, 1)), (0, (1, 0)), (0, (1, 1)), (1, (0, 0)), (2**40, (0, 0)), (-5, (0, 0))]

  def draw():
    engine = Engine(SPREAD, 0, slots=4)
    for seed, stream in streams:
      engine.submit(Request([1], max_tokens=20, seed=seed, stream=stream))
    return {number: tuple(tokens) for number, (tokens, _) in collect(engine).items()}

  found = draw()
  assert len(set(found.values())) == len(streams)
  assert draw() == found


def test_new_requests_compile_nothing_after_the_warm_up():
  decoder = Summing(vocab_size=89)  # its own static argument: nothing is compiled for it yet
  engine = Engine(decoder, 0, slots=3, part=32, end_of_text=5)
  engine.warm_up()
  before, compiled = engine.stats.programs, []
  listen = lambda event, seconds, **_: compiled.append(event) if 'compile' in event else None
  jax.monitoring.register_event_duration_secs_listener(listen)
  traced.clear()
  try:
    rng = np.random.default_rng(0)
    for length in [*range(1, 100, 7), 100]:
      sampling = SamplingConfig(
        temperature=rng.choice([0.0, rng.random()]),
        top_k=int(rng.integers(0, 9)),
        top_p=1 - rng.random(),
        min_p=rng.random(),
        repetition_penalty=1 + rng.random(),
        presence_penalty=rng.random(),
        frequency_penalty=rng.random(),
        logit_bias={int(rng.integers(0, 89)): rng.random()},
      )
      slides = bool(rng.integers(0, 2))
      asks = dict(logprobs=int(rng.integers(0, 20)), prompt_logprobs=bool(length % 2))
      engine.submit(Request([1] * length, sampling, int(rng.integers(0, 150)), seed=length, slides=slides, **asks))
      engine.step()
    engine.cancel(12)
    collect(engine)
  finally:
    jax.monitoring.unregister_event_duration_listener(listen)
  assert (engine.stats.programs, traced, compiled) == (before, [], [])


def test_compilations_stay_few_without_a_warm_up():
  decoder = Summing(vocab_size=83, context_length=1024)
  traced.clear()
  for length in range(1, 1025, 93):
    run([[1] * length], 20, decoder)
  assert len(traced) == len(set(traced)) == 4  # parts of 16, 32 and 64 tokens, and a step


@pytest.mark.parametrize(('length', 'expected'), [(1, 16), (16, 16), (17, 32), (64, 64), (65, 128), (129, 192)])
def test_buckets(length, expected):
  assert decoders.bucket(length) == expected


@pytest.mark.parametrize(
  ('request_', 'message'),
  [
    (dict(prompt=[]), 'prompt is empty'),
    (dict(prompt=[1] * 101), 'prompt has 101 tokens, more than the 100 positions'),
    (dict(prompt=[4, 97]), 'token id 97, outside 0 to 96'),
    (dict(prompt=[-1]), 'token id -1'),
    (dict(prompt=[0.5]), 'whole numbers'),
    (dict(prompt=[[1]]), 'whole numbers'),
    (dict(prompt=[1], max_tokens=-1), 'max_tokens=-1'),
    (dict(prompt=[1], logprobs=21), 'logprobs=21 must be from 0 to 20'),
    (dict(prompt=[1], prompt_logprobs=True), 'needs logprobs'),
    (dict(prompt=[1], sampling=SamplingConfig(logit_bias={97: 1.0})), 'logit_bias names token id 97'),
    (dict(prompt=[1], sampling=SamplingConfig(banned=tuple(range(97)))), 'every token'),
    (dict(prompt=[1] * 70), 'takes 70 tokens, and the cache has room for 64'),
    (dict(prompt=[1], slides=True), 'takes 100 tokens, and the cache has room for 64'),
  ],
  ids=str,
)
def test_impossible_requests_are_refused(request_, message):
  engine = Engine(Summing(), 0, max_length=64)
  with pytest.raises(UserError, match=message):
    engine.submit(Request(**{'max_tokens': 150, **request_}))
  assert not engine.busy


@pytest.mark.parametrize('bad', [{'slots': 0}, {'part': 48}, {'part': 8}, {'steps_per_dispatch': 0}], ids=str)
def test_impossible_engines_are_refused(bad):
  with pytest.raises(UserError, match=next(iter(bad))):
    Engine(Summing(), 0, **bad)
