import codecs
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsd_jax.errors import UserError
from mlsd_jax.tokenizers import BPETokenizer
from mlsd_jax.tokenizers.patterns import PATTERNS

# A small alphabet makes repeated and overlapping pairs, where merging can go wrong.
WORDS = st.text('ab', min_size=1, max_size=9) | st.text('abcde é', min_size=1, max_size=9)
TEXTS = st.lists(WORDS, min_size=1, max_size=30).map(' '.join)


def naive_merge(word: list[int], pair: tuple[int, int], token: int) -> list[int]:
  for i in range(len(word) - 1):
    if (word[i], word[i + 1]) == pair:
      return [*word[:i], token, *naive_merge(word[i + 2 :], pair, token)]
  return word


@pytest.mark.parametrize('pattern', PATTERNS)
@given(trained_on=TEXTS, text=TEXTS)
def test_fast_encoding_equals_the_readable_one_and_the_learned_merges_in_order(pattern, trained_on: str, text: str):
  tokenizer = BPETokenizer.train([trained_on], 300, pattern=pattern, workers=1)
  fast = tokenizer.encode(text).tolist()
  assert fast == tokenizer.encode_readably(text)
  in_order: list[int] = []
  for piece in PATTERNS[pattern].split(text):
    word = list(piece.encode())
    for i, pair in enumerate(tokenizer.merges):
      word = naive_merge(word, pair, 256 + i)
    in_order += word
  assert fast == in_order


@pytest.mark.parametrize('pattern', PATTERNS)
@given(
  trained_on=TEXTS,
  parts=st.lists(st.sampled_from([b'ab', b' ', b'\n ', b'\t', 'é'.encode(), b'\xff', b'\xc3', b'aab']), max_size=12),
)
def test_any_bytes_round_trip_by_tiktokens_rule(pattern, trained_on: str, parts: list[bytes]):
  tokenizer, data = BPETokenizer.train([trained_on], 300, pattern=pattern, workers=1), b''.join(parts)
  ids = tokenizer.encode_bytes(data).tolist()
  assert ids == tokenizer.encode_bytes_readably(data)
  assert tokenizer.decode_bytes(ids) == data


@given(trained_on=TEXTS, piece=st.text('abé', max_size=60))
def test_long_pieces_are_merged_as_short_ones(trained_on: str, piece: str):
  tokenizer = BPETokenizer.train([trained_on], 300, pattern='none', workers=1)
  assert tokenizer._merge_long(piece.encode()) == tokenizer._merge(piece.encode())


class TestDropout:
  tokenizer = BPETokenizer.train(['the cat sat on the mat with the other cats'] * 3, 290)

  @given(
    text=TEXTS | st.text('the cats', max_size=40), dropout=st.sampled_from([0.0, 0.3, 1.0]), seed=st.integers(0, 99)
  )
  def test_any_cut_is_one_of_the_text(self, text, dropout, seed):
    ids = self.tokenizer.sample(text, np.random.default_rng(seed), dropout=dropout)
    assert self.tokenizer.decode(ids) == text
    if dropout == 0.0:
      assert ids.tolist() == self.tokenizer.encode(text).tolist()
    if dropout == 1.0:
      assert ids.tolist() == list(text.encode())

  def test_chances_are_those_of_the_paper(self):
    """'aab' with merges a+a, aa+b: cut by dropping in each step each possible merge, then taking the first left."""
    tokenizer, p, rng = BPETokenizer([(97, 97), (256, 98)]), 0.4, np.random.default_rng(0)
    cuts = [tuple(tokenizer.sample('aab', rng, dropout=p).tolist()) for _ in range(20_000)]
    expected = {(97, 97, 98): p, (256, 98): (1 - p) * p, (257,): (1 - p) ** 2}
    for cut, chance in expected.items():
      assert cuts.count(cut) / len(cuts) == pytest.approx(chance, abs=0.015)

  def test_two_possible_merges_are_dropped_independently(self):
    tokenizer, p, rng = BPETokenizer([(97, 98), (98, 99)], pattern='none'), 0.4, np.random.default_rng(0)
    cuts = [tuple(tokenizer.sample('abc', rng, dropout=p).tolist()) for _ in range(20_000)]
    expected = {(97, 98, 99): p * p, (256, 99): 1 - p, (97, 257): p * (1 - p)}
    for cut, chance in expected.items():
      assert cuts.count(cut) / len(cuts) == pytest.approx(chance, abs=0.015)


@pytest.mark.parametrize('pattern', PATTERNS)
def test_white_space_too_long_for_tiktokens_regular_expressions(pattern):
  tokenizer = BPETokenizer.train(['a  b ' * 9, ' \t' * 9], 270, pattern=pattern)
  text = ' \t' * 300_000 + 'x'
  assert tokenizer.encode(text).tolist() == tokenizer.encode_readably(text)


def test_patterns_that_tiktoken_does_not_know_are_encoded_readably():
  tokenizer = BPETokenizer([(97, 98), (98, 99)], pattern=r'(?V1)[\w--[b]]+|[\s\S]')
  assert tokenizer.encode('abcb').tolist() == [97, 98, 99, 98]


def test_training_ends_when_no_pair_occurs_twice():
  tokenizer = BPETokenizer.train(['abab abab'], 4096)
  assert tokenizer.vocab_size == 257 + len(tokenizer.merges) < 270
  assert tokenizer.end_of_text == tokenizer.vocab_size - 1


def test_training_with_ties_by_id_depends_on_the_counts_only():
  texts = ['the cat', ' sat on', ' the mat', ' the end']
  train = lambda texts: BPETokenizer.train(texts, 270, ties='smallest').merges
  assert train(texts) == train(texts[::-1])


@pytest.mark.parametrize('size', [0, 256])
def test_a_vocabulary_without_all_bytes_is_refused(size: int):
  with pytest.raises(UserError, match='at least 257'):
    BPETokenizer.train(['abc'], size)


@pytest.mark.parametrize('merges', [[(97, 256)], [(97, -1)]])
def test_impossible_merges_are_refused(merges: list[tuple[int, int]]):
  with pytest.raises(UserError, match='merge'):
    BPETokenizer(merges)


@pytest.mark.parametrize('special', [{'<a>': 97}, {'<a>': 300, '<b>': 300}])
def test_special_tokens_have_ids_of_their_own(special):
  with pytest.raises(UserError, match='of their own'):
    BPETokenizer([], special_tokens=special)


def test_two_merges_that_make_the_same_bytes_are_told_apart_by_the_readable_path():
  tokenizer = BPETokenizer([(97, 98), (98, 99), (256, 99), (97, 257)], pattern='none')
  assert tokenizer.encode('abc').tolist() == [258]
  assert tokenizer.decode([258, 259]) == 'abcabc'


class TestSpecialTokens:
  tokenizer = BPETokenizer([(97, 98)], special_tokens={'<end>': 257, '<end> now': 258})

  def test_rules(self):
    encode = lambda allowed: self.tokenizer.encode('ab<end> now', allowed).tolist()
    text = encode('none')
    assert 257 not in text
    assert encode('all') == [256, 258]  # the longer one where two begin alike
    assert encode({'<end>'})[:2] == [256, 257]
    assert self.tokenizer.encode('ab', 'none_raise').tolist() == [256]
    with pytest.raises(UserError, match='holds the special token'):
      encode('none_raise')
    with pytest.raises(UserError, match='no special token'):
      encode({'<x>'})
    with pytest.raises(UserError, match='none_raise, or a set'):
      encode('some')

  @given(st.lists(st.sampled_from(['ab', '<end>', '<end> now', ' ', 'é'])).map(''.join))
  def test_readable_path_and_round_trip(self, text):
    for allowed in ('all', {'<end>'}, 'none'):
      ids = self.tokenizer.encode(text, allowed).tolist()
      chosen = set(self.tokenizer.special_tokens) if allowed == 'all' else set() if allowed == 'none' else allowed
      assert ids == self.tokenizer.encode_readably(text, chosen)
      assert self.tokenizer.decode(ids) == text


@given(st.text(st.sampled_from('ab é😀\n')))
def test_offsets_are_the_characters_of_each_token(text):
  tokenizer = BPETokenizer([(97, 98), (0xF0, 0x9F)])
  ids = tokenizer.encode(text)
  offsets = tokenizer.offsets(ids)
  assert offsets.shape == (len(ids), 2)
  for (start, end), number in zip(offsets, ids, strict=True):
    token = tokenizer.decode_bytes([number])
    assert token in text[start:end].encode()
    assert end - start == 1 or text[start:end].encode() == token
  assert all(b[0] in (a[0], a[1]) for a, b in itertools.pairwise(offsets))
  assert not len(ids) or (offsets[0, 0], offsets[-1, 1]) == (0, len(text))


@given(st.lists(st.sampled_from([97, 0xC3, 0xA9, 0xF0, 0x9F, 0x98, 0x80, 256, 257, 258])))
def test_offsets_of_any_ids_are_those_of_characters_as_they_come(ids):
  """Of a model, which may sample tokens that are no UTF-8 together."""
  tokenizer = BPETokenizer([(97, 98), (0xF0, 0x9F), (256, 0xC3)])
  utf8, spans, complete = codecs.getincrementaldecoder('utf-8')('replace'), [], 0
  for number in ids:
    start, complete = complete, complete + len(utf8.decode(tokenizer.decode_bytes([number])))
    spans.append([start, complete + bool(utf8.getstate()[0])])
  assert tokenizer.offsets(ids).tolist() == spans


def test_decoding_errors_by_policy():
  tokenizer = BPETokenizer([])
  ids = np.frombuffer(b'a\xffb', np.uint8)
  assert tokenizer.decode(ids) == 'a\ufffdb'
  assert tokenizer.decode(ids, errors='ignore') == 'ab'
  with pytest.raises(UserError, match='not UTF-8'):
    tokenizer.decode(ids, errors='strict')


def test_order_of_bytes():
  tokenizer = BPETokenizer([(1, 0)], byte_order=bytes(range(255, -1, -1)))
  assert tokenizer.encode('a').tolist() == [255 - 97]
  assert tokenizer.decode_bytes([256]) == b'\xfe\xff'
  with pytest.raises(UserError, match='each of the 256 bytes'):
    BPETokenizer([], byte_order=b'abc')


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=8), st.text('abc', max_size=12))
def test_merges_that_no_training_would_make_are_followed_all_the_same(picks, text):
  known, merges = [97, 98, 99], []
  for left, right in picks:
    pair = (known[left % len(known)], known[right % len(known)])
    if pair not in merges:
      merges.append(pair)
      known.append(255 + len(merges))
  tokenizer = BPETokenizer(merges, pattern='none')
  assert tokenizer.encode(text).tolist() == tokenizer.encode_readably(text)
