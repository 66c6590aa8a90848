"""tokenizer.json both ways: Hugging Face's ids equal to ours."""

import json

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from mlsd_jax import tokenizers
from mlsd_jax.errors import UserError
from mlsd_jax.tokenizers import exchange, tokenizer_json
from mlsd_jax.tokenizers.patterns import PATTERNS

TEXT = "It's 1999 — naïve café:  two  spaces,\n\n\ttabs and 日本語 😀 the the the then there.\n   "
TEXTS = (TEXT, TEXT[::-1], ' ', '', '\r\n\0', "WE'LL say 12345678 DON'T\r\n\r\n  x")


def trained(pattern='gpt2'):
  return tokenizers.BPETokenizer.train([TEXT * 3], 300, pattern=pattern)


def gpt2():
  try:
    return tokenizers.load('gpt2')
  except UserError as error:
    pytest.skip(str(error))


@pytest.mark.parametrize(
  'make',
  [tokenizers.ByteTokenizer, gpt2, *(lambda pattern=pattern: trained(pattern) for pattern in PATTERNS)],
  ids=['bytes', 'gpt2', *(f'trained-{pattern}' for pattern in PATTERNS)],
)
def test_hugging_face_reads_the_same_ids_and_so_do_we(tmp_path, make):
  tokenizer = make()
  assert tokenizer_json.save(tokenizer, tmp_path, 64)
  theirs = Tokenizer.from_file(str(tmp_path / 'tokenizer.json'))
  back = tokenizer_json.load(tmp_path)
  for text in TEXTS:
    ids = tokenizer.encode(text).tolist()
    assert theirs.encode(text).ids == ids
    assert theirs.decode(ids) == text
    assert back.encode(text).tolist() == ids
  assert theirs.encode('<|endoftext|>').ids == [tokenizer.end_of_text]
  assert theirs.get_vocab_size() == tokenizer.vocab_size == back.vocab_size


def test_one_that_hugging_face_trained_is_read(tmp_path):
  theirs = Tokenizer(models.BPE())
  theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
  theirs.decoder = decoders.ByteLevel()
  order = sorted(pre_tokenizers.ByteLevel.alphabet())
  theirs.train_from_iterator([TEXT * 3], trainers.BpeTrainer(vocab_size=320, initial_alphabet=order))
  theirs.save(str(tmp_path / 'tokenizer.json'))
  ours = tokenizer_json.load(tmp_path)
  for text in TEXTS:
    assert ours.encode(text).tolist() == theirs.encode(text).ids


def test_merges_are_those_that_were_learned():
  bpe = trained()
  assert len(bpe.merges) > 30
  assert exchange.recover_merges(bpe.ranks) == bpe.merges


def test_bytes_are_spelled_by_256_different_letters():
  letters = tokenizer_json.byte_letters()
  assert sorted(letters) == list(range(256))
  assert len(set(letters.values())) == 256
  assert [letters[byte] for byte in b'a \n'] == ['a', 'Ġ', 'Ċ']  # as in GPT-2's published vocabulary


def test_characters_cannot_be_expressed(tmp_path):
  assert not tokenizer_json.save(tokenizers.CharacterTokenizer('abc'), tmp_path, 8)
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (lambda c: c['model'].update(type='WordPiece'), 'model WordPiece'),
    (lambda c: c.update(normalizer={'type': 'NFC'}), 'NFC'),
    (lambda c: c.update(pre_tokenizer={'type': 'Whitespace'}), r"cannot read pre-tokenizers \['Whitespace'\]"),
    (lambda c: c['model']['merges'].append(['x', 'nowhere']), 'no whole tokenizer.json'),
    (lambda c: c['model']['vocab'].update(a=999), '256 bytes'),
    (lambda c: c.pop('model'), 'no whole tokenizer.json'),
  ],
)
def test_what_is_no_byte_level_bpe_is_refused(tmp_path, change, message):
  tokenizer_json.save(trained(), tmp_path)
  content = json.loads((tmp_path / 'tokenizer.json').read_text())
  change(content)
  (tmp_path / 'tokenizer.json').write_text(json.dumps(content))
  with pytest.raises(UserError, match=message):
    tokenizer_json.load(tmp_path)
