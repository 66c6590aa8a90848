"""Sessions over a decoder whose every next token can be worked out by hand, and over a GPT."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlsd_jax.errors import UserError
from mlsd_jax.generation import decode
from mlsd_jax.generation.generate import GPTDecoder
from mlsd_jax.generation.sampling import SamplingConfig
from mlsd_jax.models import gpt

GREEDY = SamplingConfig(temperature=0.0)
traced = []


@dataclasses.dataclass(frozen=True)
class Summing:
  """Its next token is the sum of all tokens that it may see, modulo the vocabulary. The cache holds the tokens."""

  vocab_size: int = 97
  context_length: int = 100

  def init_cache(self, params, pad_B, slots):
    return {'tokens': jnp.zeros((pad_B.shape[0], slots), jnp.int32), 'index': jnp.zeros((), jnp.int32), 'pad_B': pad_B}

  def apply(self, params, tokens_BT, cache, *, first):
    traced.append((tokens_BT.shape, cache['tokens'].shape, first))
    index = jnp.zeros((), jnp.int32) if first else cache['index']
    held = jax.lax.dynamic_update_slice_in_dim(cache['tokens'], tokens_BT, index, axis=1)
    index = index + tokens_BT.shape[1]
    slots = jnp.arange(held.shape[1])
    visible = (slots < index) & (slots >= cache['pad_B'][:, None])
    total_B = params + jnp.where(visible, held, 0).sum(1)
    logits = jax.nn.one_hot(total_B % self.vocab_size, self.vocab_size)
    return logits, {**cache, 'tokens': held, 'index': index}


def reference(prompt, steps, decoder=Summing(), end=None):
  """What Summing generates, with the sliding window as it is stated: the last half once the context is full."""
  tokens, window = list(prompt), list(prompt)
  for _ in range(steps):
    if len(window) > decoder.context_length:
      window = window[-max(decoder.context_length // 2, 1) :]
    tokens.append(sum(window) % decoder.vocab_size)
    window.append(tokens[-1])
    if tokens[-1] == end:
      break
  return tokens


def run(prompts, steps, decoder=Summing(), params=0, **options):
  keys = decode.row_keys(0, range(len(prompts)), [0] * len(prompts))
  options = {'sampling': GREEDY, 'max_new_tokens': steps, **options}
  session = decode.Session(decoder, params, [np.array(prompt) for prompt in prompts], keys, **options)
  yielded = [list(prompt) for prompt in prompts]
  while not session.done.all():
    for row, new in enumerate(session.advance()):
      yielded[row] += new
  assert yielded == session.tokens
  return session.tokens


PROMPTS = [[3], [5, 1, 4, 1, 5], list(range(1, 41)), [9, 2]]


def test_rows_of_unequal_length_decode_as_if_alone():
  assert run(PROMPTS, 30) == [reference(prompt, 30) for prompt in PROMPTS]


@pytest.mark.parametrize('steps_per_dispatch', [1, 7])
def test_the_number_of_steps_a_dispatch_changes_nothing(steps_per_dispatch):
  assert run(PROMPTS, 20, steps_per_dispatch=steps_per_dispatch) == [reference(prompt, 20) for prompt in PROMPTS]


@pytest.mark.parametrize('context', [1, 8, 100])
def test_past_the_context_each_row_slides_by_its_own_length(context):
  decoder = Summing(context_length=context)
  prompts = [prompt[:context] for prompt in PROMPTS]
  assert run(prompts, 230 if context == 100 else 40, decoder) == [
    reference(prompt, 230 if context == 100 else 40, decoder) for prompt in prompts
  ]


@pytest.mark.parametrize('length', [63, 64, 65, 99, 100])
def test_prompts_up_to_the_whole_context_are_read(length):
  prompt = list(np.random.default_rng(length).integers(0, 97, length))
  assert run([prompt, [7]], 60) == [reference(prompt, 60), reference([7], 60)]


def test_a_row_stops_at_the_end_of_text_and_others_go_on():
  prompts = [[3], [11], [5, 6], [8]]
  ends = [reference(prompt, 40, end=3) for prompt in prompts]
  assert len({len(tokens) - len(prompt) for tokens, prompt in zip(ends, prompts, strict=True)}) > 2
  assert run(prompts, 40, end_of_text=3) == ends


def test_a_dispatch_ends_early_when_all_rows_are_done():
  session = decode.Session(
    Summing(), 0, [np.array([1])], decode.row_keys(0, [0], [0]), sampling=GREEDY, end_of_text=4, steps_per_dispatch=64
  )
  assert [session.advance() for _ in range(2)] == [[[1]], [[2, 4]]]  # 1 -> 1 -> 2 -> 4
  assert session.done.all()
  assert session._used == 16 + 2


def test_a_finished_row_yields_nothing_more():
  session = decode.Session(
    Summing(), 0, [np.array([1]), np.array([2])], decode.row_keys(0, [0, 1], [0, 0]), sampling=GREEDY, max_new_tokens=9
  )
  session.advance()
  session.finish(0)
  assert session.advance()[0] == []
  assert session.done.all()
  assert session.tokens == [[1, 1], reference([2], 9)]


def test_repetition_penalty_counts_prompt_and_samples_but_no_padding():
  """A flat distribution, greedy, with a penalty: each id in turn that the row does not hold yet."""

  @dataclasses.dataclass(frozen=True)
  class Flat(Summing):
    def apply(self, params, tokens_BT, cache, *, first):
      logits, cache = super().apply(params, tokens_BT, cache, first=first)
      return jnp.ones_like(logits), cache

  prompts = [[0, 2], [1, 1, 1, 5, 3]]
  sampling = SamplingConfig(temperature=0.0, repetition_penalty=2.0)
  # Slots of padding hold id 0, which the second row must still find unseen. Positions run out after 6 tokens.
  tokens = run(prompts, 6, Flat(context_length=6), sampling=sampling)
  assert tokens == [[0, 2, 1, 3, 4, 5, 6, 7], [1, 1, 1, 5, 3, 0, 2, 4, 6, 7, 8]]


def test_samples_depend_on_their_own_key_and_not_on_the_batch():
  @dataclasses.dataclass(frozen=True)
  class Spread(Summing):
    def apply(self, params, tokens_BT, cache, *, first):
      logits, cache = super().apply(params, tokens_BT, cache, first=first)
      return 4 * logits, cache

  decoder = Spread()
  prompts = [np.array([3, 1, 4]), np.array([1, 5]), np.array([9, 2, 6, 5, 3])]
  keys = decode.row_keys(7, [0, 1, 2], [0, 0, 0])

  def rows(which, steps_per_dispatch=16):
    session = decode.Session(
      decoder,
      0,
      [prompts[i] for i in which],
      keys[jnp.array(which)],
      max_new_tokens=20,
      steps_per_dispatch=steps_per_dispatch,
    )
    while not session.done.all():
      session.advance()
    return session.tokens

  together = rows([0, 1, 2])
  assert len(set(together[0][3:])) > 10
  assert [rows([i])[0] for i in (0, 1, 2)] == together
  assert rows([2, 0], steps_per_dispatch=5) == [together[2], together[0]]


def test_row_keys_are_all_different_and_stable():
  keys = decode.row_keys(0, [0, 0, 1, 1], [0, 1, 0, 1])
  data = jax.random.key_data(keys).tolist()
  assert len({tuple(row) for row in data}) == 4
  np.testing.assert_array_equal(jax.random.key_data(decode.row_keys(0, [1], [1]))[0], data[3])
  assert jax.random.key_data(decode.row_keys(1, [0], [0])).tolist() != data[:1]


@functools.cache
def tiny_gpt():
  config = gpt.GPTConfig(vocab_size=61, vocab_multiple=8, context_length=24, num_layers=2, num_heads=2, embed_dim=16)
  rng = np.random.default_rng(1)
  shapes = jax.eval_shape(lambda: gpt.init(jax.random.key(0), config))
  params = jax.tree.map(lambda leaf: jnp.asarray(0.3 * rng.standard_normal(leaf.shape, np.float32)), shapes)
  return GPTDecoder(config, config.vocab_size), params


def test_greedy_gpt_equals_the_argmax_of_the_whole_window():
  decoder, params = tiny_gpt()
  config, context = decoder.config, decoder.context_length
  logits_of = jax.jit(lambda tokens: gpt.apply(params, tokens, config))
  rng = np.random.default_rng(0)
  prompts = [rng.integers(0, 61, length).tolist() for length in (1, 7, 20)]
  expected = []
  for prompt in prompts:
    tokens, window = list(prompt), list(prompt)
    for _ in range(40):
      if len(window) > context:
        window = window[-context // 2 :]
      padded = np.zeros((1, context), np.int32)
      padded[0, : len(window)] = window
      tokens.append(int(jnp.argmax(logits_of(padded)[0, len(window) - 1])))
      window.append(tokens[-1])
    expected.append(tokens)
  assert run(prompts, 40, decoder, params) == expected


def test_padding_of_the_vocabulary_is_never_sampled():
  decoder, params = tiny_gpt()
  table = params['token_embedding'].at[61:].set(100.0)
  session = decode.Session(
    decoder,
    {**params, 'token_embedding': table},
    [np.array([1])] * 8,
    decode.row_keys(0, [0] * 8, range(8)),
    sampling=SamplingConfig(temperature=50.0),  # nearly uniform over what may be sampled
    max_new_tokens=60,
  )
  while not session.done.all():
    session.advance()
  sampled = np.array(session.tokens)
  assert sampled.max() == 60
  assert len(np.unique(sampled)) > 55


def test_new_lengths_compile_nothing_within_a_bucket():
  decoder = Summing(vocab_size=89)  # its own static argument: nothing is compiled for it yet
  traced.clear()
  for length in range(1, 17):
    assert run([[1] * length], 10, decoder) == [reference([1] * length, 10, decoder)]
  assert traced == [((1, 16), (1, 32), True), ((1, 1), (1, 32), False)]
  for length in range(17, 30):
    run([[1] * length], 1 + length, decoder)
  assert len(traced) == 4


def test_compilations_stay_few_over_all_lengths():
  decoder = Summing(vocab_size=83, context_length=1024)
  traced.clear()
  for length in range(1, 1025, 93):
    run([np.ones(length, int).tolist()], 20, decoder)
  prompts = [shape[1] for shape, _, first in traced if first]
  assert len(prompts) == len(set(prompts))
  assert all(length == decode.bucket(length) for length in prompts)


def test_the_batch_is_padded_to_a_power_of_two():
  decoder = Summing(vocab_size=79)
  traced.clear()
  for rows in (3, 4):
    assert run([[2]] * rows, 5, decoder) == [reference([2], 5, decoder)] * rows
  assert {shape for shape, _, _ in traced} == {(4, 16), (4, 1)}
  run([[2]], 5, decoder, min_rows=4)
  assert len(traced) == 2


@pytest.mark.parametrize(('length', 'expected'), [(1, 16), (16, 16), (17, 32), (64, 64), (65, 128), (129, 192)])
def test_buckets(length, expected):
  assert decode.bucket(length) == expected


@pytest.mark.parametrize(
  ('prompt', 'message'),
  [
    ([], 'prompt 1 is empty'),
    ([1] * 101, 'prompt 1 has 101 tokens, more than the 100 positions'),
    ([4, 97], 'token id 97, outside 0 to 96'),
    ([-1], 'token id -1'),
  ],
)
def test_impossible_prompts_are_refused(prompt, message):
  with pytest.raises(UserError, match=message):
    run([[1], prompt], 5)
