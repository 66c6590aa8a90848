"""Flaws that were put into a vocabulary are found."""

import numpy as np
import pytest

from mlsd_jax.tokenizers import BPETokenizer, flaws, token_tables


def test_a_token_whose_text_is_cut_otherwise_is_unreachable():
  # 'abc' is only made of a + bc, but a + b is merged before.
  tokenizer = BPETokenizer([(97, 98), (98, 99), (97, 257)], pattern='gpt2')
  assert flaws.unreachable(tokenizer) == [258]
  # No piece of this pattern holds both a letter and a digit.
  assert flaws.unreachable(BPETokenizer([(97, 49)], pattern='gpt2')) == [256]


def test_tokens_of_part_of_a_character():
  tokenizer = BPETokenizer([(0xC3, 0xA9), (0xF0, 0x9F), (97, 0xC3)])
  assert flaws.partial(tokenizer) == [257, 258]


def test_a_token_much_rarer_than_its_neighbours_falls_short():
  counts = (10_000 / np.arange(1, 2001)).astype(int)
  counts[700] = 0
  shortfall = flaws.shortfall(counts)
  assert shortfall.argmax() == 700
  assert np.exp(shortfall[700]) == pytest.approx(15, abs=2)
  assert flaws.shortfall(np.array([5, 5])).tolist() == [0, 0]


def test_embeddings_that_were_never_trained_are_alike():
  rng = np.random.default_rng(0)
  embeddings = rng.normal(size=(300, 16)) + 5 * rng.normal(size=16)  # all share a direction
  never = np.r_[20:30]
  embeddings[never] = embeddings.mean(0) + rng.normal(size=16) + 0.05 * rng.normal(size=(10, 16))
  distances = flaws.under_trained(embeddings, unused=[20, 21, 22])
  assert set(np.argsort(distances)[:10]) == set(never.tolist())


def test_report_names_them():
  tokenizer = BPETokenizer([(97, 98), (98, 99), (97, 257)], pattern='gpt2')
  counts = np.bincount(tokenizer.encode('ab ab bc'), minlength=tokenizer.vocab_size)
  text = token_tables.flaws_of(tokenizer, counts, distances=np.linspace(0, 1, tokenizer.vocab_size))
  assert "1 never occur, others: 'abc'" in text
  assert "1 are unreachable: 'abc'" in text
  assert "'ab' (0.99, 2)" in text
