"""The unigram model against enumeration of all cuts."""

import collections
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsd_jax import tokenizers
from mlsd_jax.errors import UserError
from mlsd_jax.tokenizers.lattice import Lattice
from mlsd_jax.tokenizers.unigram import UnigramTokenizer

TOKENS = [b'a', b'b', b'ab', b'ba', b'aba', b'bb', 'é'.encode()]
LOG_PROBS = [math.log(p) for p in (0.3, 0.2, 0.15, 0.05, 0.1, 0.15, 0.05)]
MODEL = UnigramTokenizer(TOKENS, LOG_PROBS, pattern='none')
PIECES = {b'abab': 3, b'bba': 2, b'abba': 1, b'babab': 4, b'a': 5}


def cuts(piece: bytes) -> list[list[bytes]]:
  if not piece:
    return [[]]
  return [[t, *rest] for t in TOKENS if piece.startswith(t) for rest in cuts(piece[len(t) :])]


def log_prob(cut: list[bytes]) -> float:
  return sum(LOG_PROBS[TOKENS.index(token)] for token in cut)


@given(st.text('ab', min_size=1, max_size=9))
def test_encoding_is_the_likeliest_cut(text):
  ids = MODEL.encode(text).tolist()
  found = [TOKENS[i - 256] for i in ids]
  assert b''.join(found) == text.encode()
  assert log_prob(found) == pytest.approx(max(map(log_prob, cuts(text.encode()))))


@given(st.text(max_size=30))
def test_any_text_is_got_back(text):
  shown = text.encode('utf-8', 'replace').decode()
  assert MODEL.decode(MODEL.encode(shown)) == shown
  assert MODEL.decode(MODEL.sample(shown, np.random.default_rng(0))) == shown


def test_samples_are_drawn_by_their_probability():
  rng = np.random.default_rng(0)
  drawn = collections.Counter(tuple(MODEL.sample('abab', rng, alpha=0.7).tolist()) for _ in range(4000))
  weights = {tuple(256 + TOKENS.index(t) for t in cut): math.exp(0.7 * log_prob(cut)) for cut in cuts(b'abab')}
  assert set(drawn) == set(weights)
  for cut, weight in weights.items():
    share = weight / sum(weights.values())
    assert abs(drawn[cut] / 4000 - share) < 4 * math.sqrt(share * (1 - share) / 4000)


def lattice() -> Lattice:
  scores = {bytes([byte]): (byte, -80.0) for byte in range(256)}
  return Lattice(PIECES, scores | {t: (256 + i, LOG_PROBS[i]) for i, t in enumerate(TOKENS)})


def test_expected_counts_are_those_of_all_cuts():
  expected: collections.Counter[bytes] = collections.Counter()
  for piece, count in PIECES.items():
    weights = [(cut, math.exp(log_prob(cut))) for cut in cuts(piece)]
    total = sum(weight for _, weight in weights)
    for cut, weight in weights:
      for token in cut:
        expected[token] += count * weight / total
  counts = lattice().expected_counts()
  for token in TOKENS:
    assert counts[lattice().number[token]] == pytest.approx(expected[token], rel=1e-9)


def test_best_counts_and_what_replaces_a_token():
  counts, numbers = lattice().best_counts(), lattice().number
  expected: collections.Counter[bytes] = collections.Counter()
  for piece, count in PIECES.items():
    for token in max(cuts(piece), key=log_prob):
      expected[token] += count
  assert {t: counts[numbers[t]] for t in TOKENS} == pytest.approx({t: expected[t] for t in TOKENS})
  instead = lattice().best_without_itself([b'ab', b'aba'])
  assert instead[b'ab'] == pytest.approx(log_prob([b'a', b'b']))
  assert instead[b'aba'] == pytest.approx(max(log_prob([b'ab', b'a']), log_prob([b'a', b'ba'])))


def test_training_finds_words_and_is_saved(tmp_path):
  text = 'the cat sat on the mat. the rat sat on the cat. naïve cats sat. ' * 30
  model = UnigramTokenizer.train([text], 257 + 40)
  assert model.vocab_size == 297
  assert model.learned[0] in (b' the', b'the', b' cat', b' sat', b' on')
  assert len(model.encode(text)) < 0.4 * len(text)
  assert np.exp(model.log_probs).sum() <= 1 + 1e-6
  model.save(tmp_path)
  again = tokenizers.load(tmp_path)
  assert again.encode(text).tolist() == model.encode(text).tolist()


@pytest.mark.parametrize(
  ('make', 'message'),
  [
    (lambda: UnigramTokenizer([b'a', b'a'], [-1, -1]), 'different'),
    (lambda: UnigramTokenizer([b'a'], [math.nan]), 'finite'),
    (lambda: UnigramTokenizer.train(['many characters'], 260), 'no room'),
    (lambda: UnigramTokenizer.train(['ab ab'], 4096), 'only'),
  ],
)
def test_bad_models_are_refused(make, message):
  with pytest.raises(UserError, match=message):
    make()
