import collections
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsd_jax.errors import UserError
from mlsd_jax.tokenizers import BPETokenizer
from mlsd_jax.tokenizers.bpe import learn_merges, split

# A small alphabet makes repeated and overlapping pairs, where merging can go wrong.
WORDS = st.text('ab', min_size=1, max_size=9) | st.text('abcde é', min_size=1, max_size=9)
TEXTS = st.lists(WORDS, min_size=1, max_size=30).map(' '.join)


def naive_merges(pieces: dict[bytes, int], num_merges: int) -> list[tuple[int, int]]:
  """Counts all pairs anew before each merge."""
  words = [(list(piece), count) for piece, count in pieces.items()]
  merges: list[tuple[int, int]] = []
  while len(merges) < num_merges:
    counts: collections.Counter[tuple[int, int]] = collections.Counter()
    for word, count in words:
      for pair in itertools.pairwise(word):
        counts[pair] += count
    if not counts or max(counts.values()) < 2:
      break
    best = min(counts, key=lambda pair: (-counts[pair], pair))
    merges.append(best)
    words = [(naive_merge(word, best, 255 + len(merges)), count) for word, count in words]
  return merges


def naive_merge(word: list[int], pair: tuple[int, int], token: int) -> list[int]:
  for i in range(len(word) - 1):
    if (word[i], word[i + 1]) == pair:
      return [*word[:i], token, *naive_merge(word[i + 2 :], pair, token)]
  return word


@given(text=TEXTS, num_merges=st.integers(0, 40))
def test_merges_are_those_of_recounting_everything(text: str, num_merges: int):
  pieces = collections.Counter(piece.encode() for piece in split(text))
  assert learn_merges(pieces, num_merges) == naive_merges(pieces, num_merges)


@given(trained_on=TEXTS, text=TEXTS)
def test_fast_encoding_equals_the_readable_one_and_the_learned_merges_in_order(trained_on: str, text: str):
  tokenizer = BPETokenizer.train([trained_on], 300)
  fast = tokenizer.encode(text).tolist()
  assert fast == tokenizer.encode_readably(text)
  in_order: list[int] = []
  for piece in split(text):
    word = list(piece.encode())
    for i, pair in enumerate(tokenizer.merges):
      word = naive_merge(word, pair, 256 + i)
    in_order += word
  assert fast == in_order


def test_equally_frequent_pairs_are_merged_from_the_smaller_on():
  assert learn_merges({b'cd': 2, b'ab': 2, b'xy': 3}, 3) == [(120, 121), (97, 98), (99, 100)]


def test_training_ends_when_no_pair_occurs_twice():
  tokenizer = BPETokenizer.train(['abab abab'], 4096)
  assert tokenizer.vocab_size == 257 + len(tokenizer.merges) < 270
  assert tokenizer.end_of_text == tokenizer.vocab_size - 1


def test_pieces_are_those_of_gpt2():
  assert split("it's  1999,\n\n we'll see ") == ['it', "'s", ' ', ' 1999', ',', '\n\n', ' we', "'ll", ' see', ' ']


def test_training_depends_on_the_counts_only_not_on_the_order_of_texts():
  texts = ['the cat', ' sat on', ' the mat', ' the end']
  assert BPETokenizer.train(texts, 270).merges == BPETokenizer.train(texts[::-1], 270).merges


@pytest.mark.parametrize('size', [0, 256])
def test_a_vocabulary_without_all_bytes_is_refused(size: int):
  with pytest.raises(UserError, match='at least 257'):
    BPETokenizer.train(['abc'], size)


@pytest.mark.parametrize(
  'merges', [[(97, 256)], [(97, -1)], [(97, 98), (97, 98)], [(97, 98), (98, 99), (256, 99), (97, 257)]]
)
def test_impossible_merges_are_refused(merges: list[tuple[int, int]]):
  with pytest.raises(UserError, match='merge'):
    BPETokenizer(merges)
