"""The filters against plain numpy ones that sort, the draws against the probabilities, both against transformers."""

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
from mlsd_jax.generation.sampling import SamplingConfig

VOCAB = 23
filter_logits = jax.jit(sampling.filter_logits, static_argnums=1)
sample = jax.jit(sampling.sample, static_argnums=2)


def softmax(x):
  e = np.exp(x - x.max(-1, keepdims=True))
  return e / e.sum(-1, keepdims=True)


def reference_row(logits, config, seen):
  """Which tokens remain, by sorting; equals at a cut stay."""
  logits = logits.astype(np.float64)
  logits[[token for token in config.banned if token < len(logits)]] = -np.inf
  logits = np.where(
    seen, np.where(logits < 0, logits * config.repetition_penalty, logits / config.repetition_penalty), logits
  )
  if config.temperature == 0:
    return logits
  logits = logits / config.temperature
  if 0 < config.top_k < len(logits):
    logits[logits < np.sort(logits)[-config.top_k]] = -np.inf
  if config.top_p < 1:
    probs = softmax(logits)
    held, cut = 0.0, None
    for token in np.argsort(-probs, kind='stable'):
      held, cut = held + probs[token], logits[token]
      if held >= config.top_p:
        break
    logits[logits < cut] = -np.inf
  if config.min_p > 0:
    probs = softmax(logits)
    logits[probs < config.min_p * probs.max()] = -np.inf
  return logits


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
  SamplingConfig(temperature=1.3, top_k=9, top_p=0.83, min_p=0.019, repetition_penalty=1.2, banned=(0, 7)),
]


@pytest.mark.parametrize('config', CONFIGS, ids=str)
@settings(max_examples=30, deadline=None)
@given(logits=LOGITS, seen=hnp.arrays(bool, (3, VOCAB)))
def test_filters_equal_sorting_ones(config, logits, seen):
  expected = np.stack([reference_row(row, config, mask) for row, mask in zip(logits, seen, strict=True)])
  found = filter_logits(logits, config, seen)
  np.testing.assert_array_equal(np.isneginf(found), np.isneginf(expected))
  np.testing.assert_allclose(
    np.where(np.isneginf(found), 0, found), np.where(np.isneginf(expected), 0, expected), rtol=1e-5
  )


def test_top_k_counts_minus_zero_as_zero():
  found = filter_logits(jnp.array([[-0.0, 0.0, -1.0, 0.0]]), SamplingConfig(top_k=1))
  np.testing.assert_array_equal(np.isneginf(found), [[False, False, True, False]])


def test_greedy_takes_the_first_of_the_largest():
  logits = jnp.array([[0.0, 3.0, 3.0], [2.0, -1.0, 1.0]])
  tokens = sample(logits, jnp.full((2, 2), 0.9), SamplingConfig(temperature=0.0))
  np.testing.assert_array_equal(tokens, [1, 0])


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
  rng = np.random.default_rng(0)
  logits, seen = rng.normal(size=(16, 300)).astype(np.float32), rng.random((16, 300)) < 0.1
  uniform = rng.random((16, 2), np.float32)
  together = sample(logits, uniform, config, seen)
  order = rng.permutation(16)
  np.testing.assert_array_equal(sample(logits[order], uniform[order], config, seen[order]), together[order])
  np.testing.assert_array_equal(sample(logits[:3], uniform[:3], config, seen[:3]), together[:3])


def test_random_numbers_follow_key_and_token_number():
  keys = jax.random.split(jax.random.key(3), 500)
  numbers = sampling.uniforms(keys, 10, 4)
  assert numbers.shape == (4, 500, 2)
  assert len(np.unique(numbers)) > 3990  # 24 bits each: hardly ever two alike
  assert abs(numbers.mean() - 0.5) < 0.02
  np.testing.assert_array_equal(sampling.uniforms(keys[7:9], 12, 1), numbers[2:3, 7:9])


@pytest.mark.parametrize('temperature', [0.0, 1.0])
def test_banned_tokens_are_never_chosen(temperature):
  config = SamplingConfig(temperature=temperature, banned=(1, 2))
  logits = jnp.broadcast_to(jnp.array([0.0, 9.0, 8.0, 1.0]), (500, 4))
  uniform = np.random.default_rng(0).random((500, 2), np.float32)
  assert set(np.unique(sample(logits, uniform, config))) == ({3} if temperature == 0 else {0, 3})


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
  steps = [lp.RepetitionPenaltyLogitsProcessor(c['repetition_penalty']), lp.TemperatureLogitsWarper(c['temperature']),
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
  config = SamplingConfig(temperature=0.8, top_k=40, top_p=0.85, min_p=0.02, repetition_penalty=1.3)
  logits = (2 * rng.normal(size=(4, 200))).astype(np.float32)
  tokens = rng.integers(0, 200, (4, 30))
  seen = np.zeros((4, 200), bool)
  np.put_along_axis(seen, tokens, True, axis=1)
  settings = {name: getattr(config, name) for name in ('temperature', 'top_k', 'top_p', 'min_p', 'repetition_penalty')}
  given = json.dumps({'logits': logits.tolist(), 'seen': tokens.tolist(), 'config': settings})
  peer = subprocess.run(
    [os.environ['MLSD_PEER_PYTHON'], '-c', PEER], input=given, capture_output=True, text=True, check=True
  )
  expected = json.loads(peer.stdout.split('RESULT')[1])
  expected = np.array([[-np.inf if x is None else x for x in row] for row in expected])
  found = filter_logits(logits, config, seen)
  assert 2 < np.isfinite(expected).sum(1).min() < np.isfinite(expected).sum(1).max() < 40
  np.testing.assert_array_equal(np.isneginf(found), np.isneginf(expected))
  np.testing.assert_allclose(
    np.where(np.isneginf(found), 0, found), np.where(np.isneginf(expected), 0, expected), rtol=1e-5
  )
