"""Settings against plain numpy ones that sort, draws against the probabilities, both against transformers."""

import functools
import json
import os
import subprocess
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mlsd_jax.errors import UserError
from mlsd_jax.generation import sampling
from mlsd_jax.generation.sampling import GREEDY, PLAIN, Marks, SamplingConfig, Settings

VOCAB = 23


@jax.jit
def _filter(logits, settings, marks):
  return jax.vmap(lambda *row: sampling.filter_logits(sampling.adjust(*row), row[1]))(logits, settings, marks)


def marks_of(configs, counts, seen):
  """Marks of rows with sampled tokens as counted, of which those of the prompt are `seen` too."""
  vocab = seen.shape[1]
  bias = np.stack([Marks.of_row(config, vocab, []).bias for config in configs])
  return Marks(bias, seen | (counts > 0), counts.astype(np.int32))


def filter_logits(logits, configs, counts=None, seen=None):
  """One config for all rows, or one for each."""
  logits = np.asarray(logits, np.float32)
  configs = [configs] * len(logits) if isinstance(configs, SamplingConfig) else configs
  counts = np.zeros(logits.shape, np.int32) if counts is None else counts
  seen = np.zeros(logits.shape, bool) if seen is None else seen
  return np.asarray(_filter(logits, Settings.stack(configs), marks_of(configs, counts, seen)))


_choose = jax.jit(sampling.choose, static_argnums=5)


def choose(logits, uniform, configs, counts=None, seen=None, asks=None, number=4):
  logits = np.asarray(logits)
  configs = [configs] * len(logits) if isinstance(configs, SamplingConfig) else configs
  counts = np.zeros(logits.shape, np.int32) if counts is None else counts
  seen = np.zeros(logits.shape, bool) if seen is None else seen
  asks = np.zeros(len(logits), bool) if asks is None else asks
  return _choose(logits, uniform, Settings.stack(configs), marks_of(configs, counts, seen), asks, number)


def softmax(x):
  e = np.exp(x - x.max(-1, keepdims=True))
  return e / e.sum(-1, keepdims=True)


# Multiples of 1/8 with ties, and scales at which no partial sum lies within rounding of the cuts used below.
LOGITS = hnp.arrays(np.float32, (3, VOCAB), elements=st.integers(-60, 60).map(lambda n: np.float32(n / 8)))
CONFIGS = [
  SamplingConfig(temperature=0.7),
  SamplingConfig(top_k=1),
  SamplingConfig(top_k=5),
  SamplingConfig(top_k=1000),
  SamplingConfig(top_p=0.3),
  SamplingConfig(top_p=0.917),
  SamplingConfig(min_p=0.07),
  SamplingConfig(repetition_penalty=1.7),
  SamplingConfig(temperature=0.0, repetition_penalty=0.5, banned=(3, 99)),
  SamplingConfig(presence_penalty=0.75),
  SamplingConfig(frequency_penalty=-0.4),
  SamplingConfig(logit_bias={3: 4.0, 7: -2.5}, top_k=3),
  SamplingConfig(temperature=0.6, top_p=0.713, frequency_penalty=0.31, presence_penalty=-0.17, logit_bias={1: 1.1}),
  SamplingConfig(temperature=1.3, top_k=9, top_p=0.83, min_p=0.019, repetition_penalty=1.2, banned=(0, 7)),
]


def assert_same_filtered(found, expected):
  np.testing.assert_array_equal(np.isneginf(found), np.isneginf(expected))
  found, expected = (np.where(np.isneginf(each), 0, each) for each in (found, expected))
  np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('config', CONFIGS, ids=str)
@settings(max_examples=30, deadline=None)
@given(
  logits=LOGITS, counts=hnp.arrays(np.int32, (3, VOCAB), elements=st.integers(0, 3)), seen=hnp.arrays(bool, (3, VOCAB))
)
def test_settings_equal_sorting_ones(filter_by_sorting, config, logits, counts, seen):
  expected = np.stack(
    [filter_by_sorting(row, config, *marks) for row, *marks in zip(logits, counts, seen, strict=True)]
  )
  assert_same_filtered(filter_logits(logits, config, counts, seen), expected)


@settings(max_examples=30, deadline=None)
@given(data=st.data(), logits=LOGITS, seen=hnp.arrays(bool, (3, VOCAB)))
def test_each_row_has_its_own_settings(data, logits, seen):
  configs = [data.draw(st.sampled_from(CONFIGS)) for _ in range(3)]
  together = filter_logits(logits, configs, seen=seen)
  for row, config in enumerate(configs):
    np.testing.assert_array_equal(together[row], filter_logits(logits, config, seen=seen)[row])


def test_all_settings_share_one_program():
  before = _filter._cache_size()
  filter_logits(np.zeros((3, VOCAB)), PLAIN)
  for config in CONFIGS:
    filter_logits(np.zeros((3, VOCAB)), config)
  assert _filter._cache_size() <= before + 1


def test_top_k_counts_minus_zero_as_zero():
  found = filter_logits([[-0.0, 0.0, -1.0, 0.0]], SamplingConfig(top_k=1))
  np.testing.assert_array_equal(np.isneginf(found), [[False, False, True, False]])


def test_greedy_takes_the_first_of_the_largest():
  logits = jnp.array([[0.0, 3.0, 3.0], [2.0, -1.0, 1.0]])
  np.testing.assert_array_equal(choose(logits, jnp.full((2, 2), 0.9), GREEDY).token, [1, 0])


@functools.cache
def draws(vocab: int, number: int = 20_000):
  """Logits over several blocks with impossible tokens among them, and many draws."""
  rng = np.random.default_rng(0)
  logits = rng.normal(size=vocab).astype(np.float32) * 2
  logits[rng.random(vocab) < 0.3] = -np.inf
  draw = lambda uniform: sampling.categorical(jnp.broadcast_to(logits, (number, vocab)), uniform)
  return logits, np.asarray(jax.jit(draw)(rng.random((number, 2), np.float32)))


@pytest.mark.parametrize('vocab', [5, 700])
def test_draws_follow_the_probabilities_and_never_hit_impossible_tokens(vocab):
  logits, tokens = draws(vocab)
  probs = softmax(logits.astype(np.float64))
  counts = np.bincount(tokens, minlength=vocab)
  assert counts[np.isneginf(logits)].sum() == 0
  expected = probs * len(tokens)
  likely = expected > 5
  chi2 = ((counts - expected)[likely] ** 2 / expected[likely]).sum()
  degrees = likely.sum()
  assert chi2 < degrees + 5 * np.sqrt(2 * degrees)  # five standard deviations of the chi-squared distribution


def test_the_largest_random_number_still_chooses_a_possible_token():
  weights = jnp.array([[0.0, 1e-3, 1.0, 0.0], [3.0, 0.0, 0.0, 0.0]])
  largest = jnp.full(2, 1 - 2.0**-24)
  np.testing.assert_array_equal(sampling._invert(weights, largest), [2, 0])
  np.testing.assert_array_equal(sampling._invert(weights, jnp.zeros(2)), [1, 0])
  np.testing.assert_array_equal(sampling._invert(weights, jnp.ones(2)), [2, 0])


def test_a_row_draws_by_its_own_numbers_and_logits_alone():
  config = SamplingConfig(top_k=9, top_p=0.9, repetition_penalty=1.1)
  configs = [config, GREEDY, PLAIN, SamplingConfig(min_p=0.1)] * 4
  rng = np.random.default_rng(0)
  logits, seen = rng.normal(size=(16, 300)).astype(np.float32), rng.random((16, 300)) < 0.1
  uniform, asks = rng.random((16, 2), np.float32), np.arange(16) % 2 > 0
  together = choose(logits, uniform, configs, seen=seen, asks=asks)
  order = rng.permutation(16)
  again = choose(logits[order], uniform[order], [configs[i] for i in order], seen=seen[order], asks=asks[order])
  fewer = choose(logits[:3], uniform[:3], configs[:3], seen=seen[:3], asks=asks[:3])
  for found, permuted, cut in zip(together, again, fewer, strict=True):
    np.testing.assert_array_equal(permuted, np.asarray(found)[order])
    np.testing.assert_array_equal(cut, found[:3])


def test_log_probabilities_are_the_models_own():
  rng = np.random.default_rng(0)
  logits = rng.normal(size=(4, 300)).astype(np.float32)
  config = SamplingConfig(temperature=0.3, top_k=5, logit_bias={7: 100.0})
  choice = choose(logits, rng.random((4, 2), np.float32), config, asks=np.array([True] * 3 + [False]))
  expected = np.log(softmax(logits.astype(np.float64)))
  np.testing.assert_array_equal(choice.token, [7] * 4)
  np.testing.assert_allclose(choice.logprob, [*expected[:3, 7], 0.0], rtol=1e-5)
  order = np.argsort(-expected[:3], axis=-1)[:, :4]
  np.testing.assert_array_equal(choice.top_token[:3], order)
  np.testing.assert_allclose(choice.top_logprob[:3], np.take_along_axis(expected[:3], order, 1), rtol=1e-5)
  assert not choice.top_logprob[3].any()


def test_of_a_small_vocabulary_no_more_is_told_than_there_is():
  logprob, top, top_logprob = sampling.tell(jnp.array([0.0, 1.0]), jnp.int32(1), 5)
  assert top[:2].tolist() == [1, 0]
  assert np.isneginf(top_logprob[2:]).all()
  np.testing.assert_allclose(np.exp(top_logprob).sum(), 1.0, rtol=1e-6)
  assert float(logprob) == float(top_logprob[0])


def test_random_numbers_follow_key_and_token_number():
  draw = jax.jit(sampling.uniforms, static_argnums=4)
  of = lambda seed, prompt, sample, start, number: draw(
    jnp.array([0, seed], jnp.uint32), jnp.uint32(prompt), jnp.uint32(sample), start, number
  )
  numbers = np.array([of(3, prompt, sample, 10, 40) for prompt in range(5) for sample in range(5)])
  assert numbers.shape == (25, 40, 2)
  assert len(np.unique(numbers)) > 1990  # 24 bits each: hardly ever two alike
  assert abs(numbers.mean() - 0.5) < 0.03
  np.testing.assert_array_equal(of(3, 1, 2, 13, 9), numbers[7, 3:12])
  assert of(4, 1, 2, 10, 1).tolist() != numbers[7, :1].tolist()
  fold = jax.random.fold_in
  key = fold(fold(fold(jax.random.key(3), 1), 2), 11)
  np.testing.assert_array_equal(jax.random.uniform(key, (2,)), numbers[7, 1])


@pytest.mark.parametrize('temperature', [0.0, 1.0])
def test_banned_tokens_are_never_chosen(temperature):
  config = SamplingConfig(temperature=temperature, banned=(1, 2))
  logits = jnp.broadcast_to(jnp.array([0.0, 9.0, 8.0, 1.0]), (500, 4))
  uniform = np.random.default_rng(0).random((500, 2), np.float32)
  assert set(np.unique(choose(logits, uniform, config).token)) == ({3} if temperature == 0 else {0, 3})


@pytest.mark.parametrize(
  'bad',
  [
    {'temperature': -1.0},
    {'temperature': float('nan')},
    {'top_k': -1},
    {'top_p': 0.0},
    {'top_p': 1.5},
    {'min_p': -0.1},
    {'min_p': 2.0},
    {'repetition_penalty': 0.0},
    {'banned': (-1,)},
    {'presence_penalty': float('nan')},
    {'frequency_penalty': float('inf')},
    {'logit_bias': {-1: 1.0}},
    {'logit_bias': {1: float('nan')}},
  ],
  ids=str,
)
def test_bad_settings_are_named(bad):
  with pytest.raises(UserError, match=next(iter(bad))):
    SamplingConfig(**bad)


PEER = textwrap.dedent("""
  import json, sys, torch
  from transformers.generation import logits_process as lp
  given = json.load(sys.stdin)
  logits, seen, c = torch.tensor(given['logits']), torch.tensor(given['seen']), given['config']
  steps = [lp.SequenceBiasLogitsProcessor([[[token], bias] for token, bias in c['logit_bias']]),
           lp.RepetitionPenaltyLogitsProcessor(c['repetition_penalty']), lp.TemperatureLogitsWarper(c['temperature']),
           lp.TopKLogitsWarper(c['top_k']), lp.TopPLogitsWarper(c['top_p']), lp.MinPLogitsWarper(c['min_p'])]
  for step in steps:
    logits = step(seen, logits)
  print('RESULT' + json.dumps([[None if x == float('-inf') else x for x in row] for row in logits.tolist()]))
""")


@pytest.mark.skipif(
  'MLSD_PEER_PYTHON' not in os.environ, reason='MLSD_PEER_PYTHON names no interpreter with transformers'
)
def test_filters_equal_those_of_transformers():
  rng = np.random.default_rng(5)
  config = SamplingConfig(
    temperature=0.8, top_k=40, top_p=0.85, min_p=0.02, repetition_penalty=1.3, logit_bias={5: 3.0, 99: -1.5}
  )
  logits = (2 * rng.normal(size=(4, 200))).astype(np.float32)
  tokens = rng.integers(0, 200, (4, 30))
  seen = np.zeros((4, 200), bool)
  np.put_along_axis(seen, tokens, True, axis=1)
  names = ('temperature', 'top_k', 'top_p', 'min_p', 'repetition_penalty', 'logit_bias')
  settings = {name: getattr(config, name) for name in names}
  given = json.dumps({'logits': logits.tolist(), 'seen': tokens.tolist(), 'config': settings})
  peer = subprocess.run(
    [os.environ['MLSD_PEER_PYTHON'], '-c', PEER], input=given, capture_output=True, text=True, check=True
  )
  expected = json.loads(peer.stdout.split('RESULT')[1])
  expected = np.array([[-np.inf if x is None else x for x in row] for row in expected])
  found = filter_logits(logits, config, seen=seen)
  assert 2 < np.isfinite(expected).sum(1).min() < np.isfinite(expected).sum(1).max() < 40
  assert_same_filtered(found, expected)
