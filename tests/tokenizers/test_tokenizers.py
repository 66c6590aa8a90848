"""What holds for every tokenizer."""

import json
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsd_jax import tokenizers
from mlsd_jax.errors import UserError
from mlsd_jax.tokenizers import (
  BPETokenizer,
  ByteTokenizer,
  CharacterTokenizer,
  StreamDecoder,
  Tokenizer,
  UnigramTokenizer,
)

ALPHABET = ' \nabcdeéß漢🙂'
TEXTS = st.text(ALPHABET, max_size=40)
TRAINED_ON = ['abc abcd bcde é éß 漢🙂漢🙂 漢🙂 \n\n a b c d e', 'ab ab ab 🙂🙂', ALPHABET]
TOKENIZERS = [ByteTokenizer(), CharacterTokenizer.train(TRAINED_ON), BPETokenizer.train(TRAINED_ON, 290)]
LOSSLESS = [ByteTokenizer(), BPETokenizer.train(TRAINED_ON, 290), UnigramTokenizer.train(TRAINED_ON * 3, 280)]


def _joined(parts: list[str | bytes]) -> bytes:
  return b''.join(part.encode() if isinstance(part, str) else part for part in parts)


every = pytest.mark.parametrize('tokenizer', TOKENIZERS, ids=lambda tokenizer: tokenizer.name)


@every
@given(text=TEXTS)
def test_decoding_inverts_encoding(tokenizer: Tokenizer, text: str):
  ids = tokenizer.encode(text)
  assert ids.dtype == np.int32
  assert ((ids >= 0) & (ids < tokenizer.vocab_size)).all()
  assert tokenizer.end_of_text not in ids
  assert tokenizer.decode(ids) == text
  assert tokenizer.decode_bytes(ids.tolist()) == text.encode()


@pytest.mark.parametrize('tokenizer', LOSSLESS, ids=lambda tokenizer: tokenizer.name)
@given(text=st.text(max_size=60))
def test_round_trip_of_any_text(tokenizer: Tokenizer, text: str):
  assert tokenizer.decode(tokenizer.encode(text), errors='strict') == text


@pytest.mark.parametrize('tokenizer', LOSSLESS, ids=lambda tokenizer: tokenizer.name)
@given(data=st.binary(max_size=60) | st.lists(st.sampled_from([*TRAINED_ON, b'\xff', b'\xc3'])).map(_joined))
def test_round_trip_of_any_bytes(tokenizer: Tokenizer, data: bytes):
  ids = tokenizer.encode_bytes(data)
  assert tokenizer.decode_bytes(ids) == data
  assert tokenizer.end_of_text not in ids


def test_characters_cannot_hold_broken_bytes():
  with pytest.raises(UserError, match='byte 1 of the data'):
    CharacterTokenizer.train(['a']).encode_bytes(b'a\xff')


@every
@given(text=TEXTS)
def test_streamed_pieces_are_whole_characters_and_join_to_the_text(tokenizer: Tokenizer, text: str):
  decoder = StreamDecoder(tokenizer)
  streamed = ''
  for token in tokenizer.encode(text):
    streamed += decoder.push(token)
    assert text.startswith(streamed)
  assert streamed == text
  assert decoder.flush() == ''


@given(ids=st.lists(st.integers(0, 256), max_size=20))
def test_streaming_equals_decoding_also_for_bytes_that_are_no_text(ids: list[int]):
  tokenizer = ByteTokenizer()
  decoder = StreamDecoder(tokenizer)
  assert ''.join(map(decoder.push, ids)) + decoder.flush() == tokenizer.decode(ids)


def test_half_a_character_at_the_end_is_flushed_as_a_replacement():
  decoder = StreamDecoder(ByteTokenizer())
  assert decoder.push(0xE2) == ''
  assert decoder.flush() == '\ufffd'


@every
@pytest.mark.parametrize('threads', [1, 3])
def test_a_batch_is_encoded_text_by_text(tokenizer: Tokenizer, threads: int):
  texts = ['abc', '', 'é漢🙂', 'a b'] * 5
  for ids, text in zip(tokenizer.encode_batch(texts, threads), texts, strict=True):
    np.testing.assert_array_equal(ids, tokenizer.encode(text))


@every
@pytest.mark.parametrize('copy', ['pickle', 'file', 'folder'])
def test_a_copy_is_the_same_tokenizer(tokenizer: Tokenizer, copy: str, tmp_path):
  if copy == 'pickle':
    other = pickle.loads(pickle.dumps(tokenizer))
  else:
    other = tokenizers.load(tokenizer.save(tmp_path / ('vocabulary.json' if copy == 'file' else 'folder')))
  assert (other.fingerprint, other.vocab_size, other.name, other.end_of_text) == (
    tokenizer.fingerprint,
    tokenizer.vocab_size,
    tokenizer.name,
    tokenizer.end_of_text,
  )
  text = ''.join(TRAINED_ON)
  np.testing.assert_array_equal(other.encode(text), tokenizer.encode(text))


def test_a_folder_is_loaded_by_its_own_name(tmp_path):
  TOKENIZERS[1].save(tmp_path / 'folder')
  assert tokenizers.load(tmp_path / 'folder').fingerprint == TOKENIZERS[1].fingerprint


def test_fingerprints_tell_tokenizers_apart():
  others = [CharacterTokenizer('ab'), CharacterTokenizer('abc'), BPETokenizer([]), BPETokenizer([(97, 98)])]
  fingerprints = {tokenizer.fingerprint for tokenizer in TOKENIZERS + others}
  assert len(fingerprints) == len(TOKENIZERS) + len(others)


@every
def test_ids_out_of_range_are_refused(tokenizer: Tokenizer):
  for bad in (-1, tokenizer.vocab_size):
    with pytest.raises(UserError, match=f'token id {bad} is out of range'):
      tokenizer.decode([0, bad])


@pytest.mark.parametrize('tokenizer', [TOKENIZERS[0], TOKENIZERS[2]], ids=lambda tokenizer: tokenizer.name)
def test_end_of_text_is_shown_and_never_produced_by_text(tokenizer: Tokenizer):
  assert tokenizer.decode([97, tokenizer.end_of_text, 98]) == 'a<|endoftext|>b'
  assert tokenizer.end_of_text not in tokenizer.encode('a<|endoftext|>b')


@pytest.mark.parametrize('tokenizer', [TOKENIZERS[0], TOKENIZERS[2]], ids=lambda tokenizer: tokenizer.name)
def test_surrogates_become_what_utf8_can_hold(tokenizer: Tokenizer):
  assert tokenizer.decode(tokenizer.encode('a\ud83d\ude42b\ud83dc')) == 'a🙂b\ufffdc'


def test_an_unknown_name_is_answered_with_the_known_ones():
  with pytest.raises(UserError, match='bytes, gpt2'):
    tokenizers.load('gpt5')


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (lambda content: content.update(characters='abd'), 'damaged'),
    (lambda content: content.pop('characters'), 'not a whole tokenizer'),
    (lambda content: content.update(characters=7), 'not a whole tokenizer'),
    (lambda content: content.update(kind='morse'), 'unknown kind'),
    (lambda content: content.update(format=99), 'not a tokenizer saved by this version'),
  ],
)
def test_a_changed_file_is_refused(change, message: str, tmp_path):
  file = CharacterTokenizer('abc').save(tmp_path)
  content = json.loads(file.read_text())
  change(content)
  file.write_text(json.dumps(content))
  with pytest.raises(UserError, match='edited by hand'):
    tokenizers.load(file)
  del content['sha256']  # as the message says, to have it taken as it is
  file.write_text(json.dumps(content))
  with pytest.raises(UserError, match=message):
    tokenizers.load(file)
