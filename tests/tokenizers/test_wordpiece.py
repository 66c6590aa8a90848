"""WordPiece against Hugging Face's BERT tokenizer."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import BertWordPieceTokenizer

from mlsd_jax import tokenizers
from mlsd_jax.data.sources import open_source
from mlsd_jax.errors import UserError
from mlsd_jax.tokenizers.wordpiece import SPECIAL_TOKENS, WordPieceTokenizer

TEXT = "It's naïve: Ünïted cafés, don't!  $5+5=10 (東京 tokyo) ΣΑΣ [MASK] affable unaffable able aff"
TRAINED = WordPieceTokenizer.train([TEXT, TEXT.lower()] * 3, 140)
# Hugging Face's tables of characters are older than Python's: those that both know alike.
STABLE = [
  c
  for c in map(chr, range(0x3000))
  if unicodedata.category(c) == unicodedata.ucd_3_2_0.category(c) and unicodedata.category(c) not in ('Cs', 'Cn', 'Co')
]
TEXTS = st.text(st.sampled_from('ableuf ÜïΣ東京$-\t\u00a0\u200d\u0301\ufffd\0') | st.sampled_from(STABLE), max_size=40)


@pytest.fixture(scope='module', params=[True, False], ids=['uncased', 'cased'])
def pair(request, tmp_path_factory):
  ours = WordPieceTokenizer(TRAINED.vocabulary, lowercase=request.param)
  file = tmp_path_factory.mktemp('vocab') / 'vocab.txt'
  file.write_text('\n'.join(ours.vocabulary) + '\n', encoding='utf-8')
  return ours, BertWordPieceTokenizer(str(file), lowercase=request.param)


def their_ids(theirs, text, *, special_as_text=True):
  theirs._tokenizer.encode_special_tokens = special_as_text
  return theirs.encode(text, add_special_tokens=False).ids


def test_every_character_is_treated_as_hugging_face_does(pair):
  ours, theirs = pair
  texts = [f'a{c}b' for c in STABLE]
  assert [ours.encode(text).tolist() for text in texts] == [their_ids(theirs, text) for text in texts]


@given(text=TEXTS)
def test_ids_are_hugging_faces(pair, text):
  ours, theirs = pair
  assert ours.encode(text).tolist() == their_ids(theirs, text)


@given(text=st.lists(st.sampled_from([*SPECIAL_TOKENS, 'able', ' ', '[', 'é']), max_size=8).map(''.join))
def test_special_tokens_in_the_text_are_text_or_allowed(pair, text):
  ours, theirs = pair
  assert ours.encode(text).tolist() == their_ids(theirs, text)
  assert ours.encode(text, 'all').tolist() == their_ids(theirs, text, special_as_text=False)


def test_a_real_text_has_hugging_faces_ids(pair):
  ours, theirs = pair
  text = next(document.text for document in open_source('python_docs').documents() if len(document.text) > 20_000)
  assert ours.encode(text).tolist() == their_ids(theirs, text)
  assert ours.encode(TEXT, 'all').tolist() == their_ids(theirs, TEXT, special_as_text=False)


def test_training_learns_frequent_words_whole():
  learned = WordPieceTokenizer.train(['the cat sat on the mat, the cat'] * 5, 40)
  assert learned.vocabulary[:5] == SPECIAL_TOKENS
  assert {'the', 'cat', '##a', '##at'} <= set(learned.vocabulary)
  assert learned.decode(learned.encode('The cat, on the mat')) == 'the cat , on the mat'
  with pytest.raises(UserError, match='has no room'):
    WordPieceTokenizer.train(['many characters'], 12)


def test_longest_piece_first_and_unknown_words():
  vocabulary = ['[UNK]', 'un', '##aff', '##able', 'unaff', '##a']
  tokenizer = WordPieceTokenizer(vocabulary)
  assert tokenizer.encode('unaffable').tolist() == [4, 3]
  assert tokenizer.encode('una unb ' + 'un' * 51).tolist() == [1, 5, 0, 0]


PIECES = WordPieceTokenizer(['[UNK]', 'ab', '##é', '##', 'é', '漢', '##漢#', '##a ##b', '', '#'])


@given(ids=st.lists(st.integers(0, PIECES.vocab_size - 1), max_size=12))
def test_streaming_and_offsets_are_of_what_decoding_gives(ids):
  """Of any ids, as a model may sample them: a piece that goes on may come first."""
  stream = tokenizers.StreamDecoder(PIECES)
  streamed = [stream.push(number) for number in ids]
  assert ''.join(streamed) + stream.flush() == PIECES.decode(ids)
  offsets = PIECES.offsets(ids).tolist()
  assert [PIECES.decode(ids)[start:end] for start, end in offsets] == streamed
  assert [start for start, _ in offsets] == [0, *(end for _, end in offsets)][: len(ids)]


def test_saved_and_from_vocab_txt(tmp_path):
  TRAINED.save(tmp_path)
  assert tokenizers.load(tmp_path).fingerprint == TRAINED.fingerprint
  (tmp_path / 'vocab.txt').write_text('\n'.join(TRAINED.vocabulary), encoding='utf-8')
  assert WordPieceTokenizer.from_file(tmp_path / 'vocab.txt').fingerprint == TRAINED.fingerprint
  with pytest.raises(UserError, match='cannot read'):
    WordPieceTokenizer.from_file(tmp_path / 'absent.txt')


@pytest.mark.parametrize(('vocabulary', 'message'), [(['[UNK]', 'a', 'a'], "'a' more than once"), (['a'], 'no \\[UNK')])
def test_bad_vocabularies_are_refused(vocabulary, message):
  with pytest.raises(UserError, match=message):
    WordPieceTokenizer(vocabulary)
