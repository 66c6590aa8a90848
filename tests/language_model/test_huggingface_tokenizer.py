"""Exported tokenizers: the merges that were learned, and Hugging Face's ids equal to ours."""

import pytest
from tokenizers import Tokenizer

from mlsd_jax import tokenizers
from mlsd_jax.errors import UserError
from mlsd_jax.language_model import huggingface_tokenizer

TEXT = "It's 1999 — naïve café:  two  spaces,\n\n\ttabs and 日本語 😀 the the the then there.\n   "
BPE = tokenizers.BPETokenizer.train([TEXT * 3], 300)


def gpt2():
  try:
    return tokenizers.load('gpt2')
  except UserError as error:
    pytest.skip(str(error))


def test_merges_are_those_that_were_learned():
  learned = [(BPE.tokens[left], BPE.tokens[right]) for left, right in BPE.merges]
  assert len(learned) > 30
  assert huggingface_tokenizer.merges({token: i for i, token in enumerate(BPE.tokens)}) == learned


def test_bytes_are_spelled_by_256_different_letters():
  letters = huggingface_tokenizer.byte_letters()
  assert sorted(letters) == list(range(256))
  assert len(set(letters.values())) == 256
  assert [letters[byte] for byte in b'a \n'] == ['a', 'Ġ', 'Ċ']  # as in GPT-2's published vocabulary


def test_characters_cannot_be_expressed(tmp_path):
  assert not huggingface_tokenizer.save(tokenizers.CharacterTokenizer('abc'), tmp_path, 8)
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('make', [lambda: BPE, tokenizers.ByteTokenizer, gpt2], ids=['bpe', 'bytes', 'gpt2'])
def test_hugging_face_reads_the_same_ids(tmp_path, make):
  tokenizer = make()
  assert huggingface_tokenizer.save(tokenizer, tmp_path, 64)
  theirs = Tokenizer.from_file(str(tmp_path / 'tokenizer.json'))
  for text in (TEXT, TEXT[::-1], ' ', '', '\r\n\0'):
    ids = theirs.encode(text).ids
    assert ids == tokenizer.encode(text).tolist()
    assert theirs.decode(ids) == text
  assert theirs.encode('<|endoftext|>').ids == [tokenizer.end_of_text]
  assert theirs.get_vocab_size() == tokenizer.vocab_size
