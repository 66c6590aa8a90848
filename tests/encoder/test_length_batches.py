"""Batches of few shapes: every text once, little padding; ids as Hugging Face frames them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import BertWordPieceTokenizer

from mlsd_jax.data.sources import open_source
from mlsd_jax.encoder.length_batches import Shapes, padded, pair_ids, text_ids
from mlsd_jax.tokenizers.wordpiece import WordPieceTokenizer

WORDS = ['the', 'quick', 'brown', 'fox', 'jumps', 'over', 'a', 'lazy', 'dog']


@given(
  lengths=st.lists(st.integers(1, 200), max_size=300),
  max_length=st.sampled_from([200, 256, 512]),
  batch_tokens=st.sampled_from([1, 500, 4096]),
  ways=st.sampled_from([1, 3]),
)
def test_every_text_is_in_one_batch_that_it_fits(lengths, max_length, batch_tokens, ways):
  shapes = Shapes(max_length, batch_tokens, ways)
  lengths = np.array(lengths, int)
  seen = []
  for chosen, rows, length in shapes.plan(lengths):
    assert length in shapes.lengths
    assert rows in shapes.rows(length)
    assert rows % ways == 0
    assert len(chosen) <= rows
    assert lengths[chosen].max() <= length
    seen += chosen.tolist()
  assert sorted(seen) == list(range(len(lengths)))


def test_little_is_padding_and_shapes_are_few():
  shapes = Shapes(512, 4096)
  assert len(shapes.lengths) <= 16
  assert shapes.lengths[-1] == 512
  lengths = np.random.default_rng(0).integers(3, 513, 5000)
  cells = sum(rows * length for _, rows, length in shapes.plan(lengths))
  assert lengths.sum() / cells > 0.9


def test_padding_holds_texts_and_one_token_for_no_text():
  tokens, lengths = padded([[5, 6], [7]], 3, 4)
  assert tokens.tolist() == [[5, 6, 0, 0], [7, 0, 0, 0], [0, 0, 0, 0]]
  assert lengths.tolist() == [2, 1, 1]


@pytest.fixture(scope='module')
def pair(tmp_path_factory):
  ours = WordPieceTokenizer.train([' '.join(WORDS)] * 3, 60)
  file = tmp_path_factory.mktemp('vocab') / 'vocab.txt'
  file.write_text('\n'.join(ours.vocabulary) + '\n', encoding='utf-8')
  return ours, BertWordPieceTokenizer(str(file))


def test_long_real_texts_are_cut_as_hugging_face_cuts(pair):
  ours, theirs = pair
  texts = [
    '',
    *(document.text for document, _ in zip(open_source('python_docs').documents(), range(300), strict=False)),
  ]
  for length in (3, 17, 64):
    theirs.enable_truncation(length)
    assert text_ids(ours, texts, length) == [encoding.ids for encoding in theirs.encode_batch(texts)]


@given(first=st.integers(0, 30), second=st.integers(0, 30), length=st.integers(4, 40))
def test_pairs_are_cut_longest_first(pair, first, second, length):
  ours, theirs = pair
  one = (WORDS * 4)[:first], (WORDS[::-1] * 4)[:second]
  texts = ' '.join(one[0]), ' '.join(one[1])
  theirs.enable_truncation(length, strategy='longest_first')
  wanted = theirs.encode(*texts)
  (ids,), (split,) = pair_ids(ours, [texts], length)
  assert ids == wanted.ids
  assert split == wanted.type_ids.count(0)
