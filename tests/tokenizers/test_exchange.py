"""Other people's forms of byte-pair encodings, there and back."""

import pytest

from mlsd_jax import tokenizers
from mlsd_jax.errors import UserError
from mlsd_jax.tokenizers import exchange

TEXT = "It's 1999 — naïve café:  two  spaces,\n\n\ttabs and 日本語 😀 the the the then there.\n   \udc80<|endoftext|>"
BPE = tokenizers.BPETokenizer.train([TEXT * 3], 300, pattern='gpt4')


def encoding(name):
  try:
    return tokenizers.TiktokenTokenizer(name)
  except UserError as error:
    pytest.skip(str(error))


@pytest.mark.slow
@pytest.mark.parametrize('name', tokenizers.ENCODINGS)
def test_merges_recovered_from_ranks_give_tiktokens_ids(name):
  theirs = encoding(name)
  ours = exchange.from_tiktoken(name)
  assert ours.vocab_size == theirs.vocab_size
  assert ours.special_tokens == theirs.encoding._special_tokens
  assert ours.encode(TEXT).tolist() == theirs.encode(TEXT).tolist()
  assert ours.encode_readably(TEXT) == theirs.encode(TEXT).tolist()
  assert ours.encode('a<|endoftext|>b', 'all').tolist() == theirs.encoding.encode(
    'a<|endoftext|>b', allowed_special='all'
  )
  ids = list(range(theirs.vocab_size))
  assert ours.decode_bytes(ids) == theirs.decode_bytes(ids)


def test_minbpe_model_and_back(tmp_path):
  path = exchange.save_minbpe(BPE, tmp_path / 'm')
  lines = path.read_text().splitlines()
  assert lines[:4] == ['minbpe v1', BPE.pattern.plain, '1', f'<|endoftext|> {BPE.end_of_text}']
  assert lines[4] == ' '.join(map(str, BPE.merges[0]))
  assert exchange.load_minbpe(path).fingerprint == BPE.fingerprint
  assert '[ ][t] -> [ t] 2' in (tmp_path / 'm.vocab').read_text()


def test_ranks_and_back(tmp_path):
  exchange.save_ranks(BPE, tmp_path / 'x.tiktoken')
  ranks = exchange.load_ranks(tmp_path / 'x.tiktoken')
  again = exchange.from_ranks(ranks, pattern='gpt4', special_tokens=BPE.special_tokens)
  assert again.merges == BPE.merges
  assert again.fingerprint == BPE.fingerprint


@pytest.mark.parametrize('content', ['', 'minbpe v2\n', 'minbpe v1\n\n0\n1 x\n', 'minbpe v1\n\n0\n300 301\n'])
def test_damaged_minbpe_models_are_refused(tmp_path, content):
  (tmp_path / 'm.model').write_text(content)
  with pytest.raises(UserError):
    exchange.load_minbpe(tmp_path / 'm.model')


@pytest.mark.parametrize('content', ['YQ== 0 1\n', '%% 1\n', 'YQ==\n'])
def test_damaged_ranks_are_refused(tmp_path, content):
  (tmp_path / 'x.tiktoken').write_text(content)
  with pytest.raises(UserError, match='no whole'):
    exchange.load_ranks(tmp_path / 'x.tiktoken')


def test_ranks_that_no_merging_makes_are_refused():
  ranks = {bytes([byte]): byte for byte in range(256)} | {b'abc': 256}
  with pytest.raises(UserError, match='no merge of two'):
    exchange.from_ranks(ranks, pattern='gpt2', special_tokens={})
  with pytest.raises(UserError, match='256 bytes'):
    exchange.from_ranks({b'a': 0}, pattern='gpt2', special_tokens={})
