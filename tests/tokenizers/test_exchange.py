"""Other people's forms of byte-pair encodings, there and back."""

import pathlib
import sysconfig
import unicodedata

import numpy as np
import pytest

from mlsd_jax import tokenizers
from mlsd_jax.data.sources import open_source
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


def mixed_text(megabytes: float) -> bytes:
  """Prose, documentation, code, every script and emoji that Unicode has, and bytes that are no UTF-8."""
  characters = ''.join(c for c in map(chr, range(0x110000)) if unicodedata.category(c) not in ('Cn', 'Cs', 'Co'))
  scripts = ' '.join(characters[i : i + 7] for i in range(0, len(characters), 7))
  emoji = ' '.join(f'{person}{tone}\u200d{job}\ufe0f' for person in '👩👨🧑' for tone in '🏻🏽🏿' for job in '⚕⚖🚀💻')
  docs = ''.join(document.text for document in open_source('python_docs').documents())
  parts = [scripts.encode(), emoji.encode(), docs.encode()]
  for file in sorted(pathlib.Path(sysconfig.get_path('stdlib')).rglob('*.py')):
    parts.append(file.read_bytes())
    if sum(map(len, parts)) >= megabytes * 1e6:
      return b''.join(parts)
  raise AssertionError('this Python has too short a library')


@pytest.mark.slow
@pytest.mark.parametrize('name', ['gpt2', 'cl100k_base', 'o200k_base'])
def test_ten_megabytes_of_mixed_text_have_tiktokens_ids(name):
  theirs, ours = encoding(name).encoding, exchange.from_tiktoken(name)
  data = mixed_text(10.0)
  text = data.decode(errors='replace')
  ids = theirs.encode_to_numpy(text, disallowed_special=())
  np.testing.assert_array_equal(ours.encode(text), ids)
  np.testing.assert_array_equal(ours.encode_readably(text), ids)
  broken = data[:200_001] + b'\xff\xc3(' + data[-100_000:]
  assert ours.encode_bytes(broken).tolist() == ours.encode_bytes_readably(broken) == theirs._encode_bytes(broken)
  assert ours.decode_bytes(ours.encode_bytes(broken)) == broken


def test_minbpe_model_and_back(tmp_path):
  path = exchange.save_minbpe(BPE, tmp_path / 'm')
  lines = path.read_text().splitlines()
  assert lines[:4] == ['minbpe v1', BPE.pattern.plain, '1', f'<|endoftext|> {BPE.end_of_text}']
  assert lines[4] == ' '.join(map(str, BPE.merges[0]))
  assert exchange.load_minbpe(path).fingerprint == BPE.fingerprint
  assert '[ ][t] -> [ t] 2' in (tmp_path / 'm.vocab').read_text()


@pytest.mark.parametrize('options', [{'pattern': 'a|\n|[^a]'}, {'special_tokens': {'the end': 300}}])
def test_what_minbpe_cannot_hold_is_not_written(tmp_path, options):
  with pytest.raises(UserError, match='minbpe cannot have'):
    exchange.save_minbpe(tokenizers.BPETokenizer([(97, 98)], **options), tmp_path / 'm')
  assert not list(tmp_path.iterdir())


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
