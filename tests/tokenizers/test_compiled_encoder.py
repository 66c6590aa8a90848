"""The compiled encoder gives tiktoken's ids: for each pattern that it knows, on what the patterns are about."""

import concurrent.futures
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsd_jax import tokenizers
from mlsd_jax.tokenizers import BPETokenizer, compiled_encoder, fast
from mlsd_jax.tokenizers.patterns import PATTERNS

# What one pattern treats otherwise than another, and what lies at the edge of a class of characters.
PARTS = [
  *(' ', '  ', '\n', '\r\n', '\t', '\u3000', '\x1c', '\x85', '\xa0', '\u200b'),
  *("'", "'s", "'S", "'ſ", "'LL", "'Re", "'vE", "'d", "'lx", '’s'),
  *('a', 'B', 'hello', 'World', 'ABC', 'é', 'İ', 'ſ', 'K', 'ß', 'ǅ', 'ʰ', '漢字', 'ー', 'ا', 'ह', 'ि', '\u0301'),
  *('1', '23', '4567', '²', '٣', 'Ⅷ', '-', '...', '/', '//', '_', '$', '🙂', '\u200d', '\U000e0001', '\ud7ff', '\0'),
]
TEXTS = st.lists(st.one_of(st.sampled_from(PARTS), st.characters(exclude_categories=['Cs'])), max_size=14).map(''.join)
PROSE = "It's the 1st of May, isn't it?  WE'LL see -- naïve café, 漢字かな, हिन्दी\r\n\r\n\tx = y**2  # don't\n" * 3


def ranks_of(pattern: str) -> dict[bytes, int]:
  """Some hundred ranks learnt from PROSE, after those of the bytes."""
  tokenizer = BPETokenizer.train([PROSE * 20], 400, pattern=pattern, special_tokens=())
  return {tokenizer.decode_bytes([i]): i for i in range(tokenizer.vocab_size)}


@pytest.fixture(scope='module', params=compiled_encoder.KINDS)
def both(request):
  """The compiled encoder, and tiktoken with the same pattern and ranks."""
  pattern = PATTERNS[request.param]
  reference = tiktoken.Encoding('made', pat_str=pattern.plain, mergeable_ranks=ranks_of('gpt2'), special_tokens={})
  return compiled_encoder.CompiledEncoder(reference, request.param), reference


def test_ids_are_those_of_tiktoken(both):
  encoder, reference = both

  @settings(max_examples=400)
  @given(TEXTS)
  def check(text):
    assert encoder.encode(text).tolist() == reference.encode_ordinary(text)

  check()


@pytest.mark.parametrize(
  'text',
  [
    '',
    PROSE * 50,  # pieces of several tokens that come again
    'ab' * 400 + ' ' + 'x' * 257 + ' ' + 'ab' * 400,  # too long to be merged here, at the start, within, at the end
    ' ' * 5000 + 'x' + '\n' * 3000,
    '-' * 1000 + '漢' * 300,
    ''.join(map(chr, [*range(0xD800), *range(0xE000, 0x30000)])),  # each character beside its neighbours
  ],
  ids=['empty', 'prose', 'long', 'space', 'no letters', 'characters'],
)
def test_long_texts_give_the_ids_of_tiktoken(both, text):
  encoder, reference = both
  found = encoder.encode(text)
  assert found.dtype == np.int32
  np.testing.assert_array_equal(found, reference.encode_to_numpy(text))


@pytest.mark.parametrize('name', ['gpt2', 'cl100k_base', 'o200k_base'])
def test_published_encodings(name, rank_files, monkeypatch):
  monkeypatch.setenv('TIKTOKEN_CACHE_DIR', str(rank_files))
  before = tokenizers.load(name).encode(PROSE)
  monkeypatch.setattr(fast, 'WORTH_COMPILING', 0)
  tokenizer = tokenizers.load(name)
  reference = tokenizer.encoding
  np.testing.assert_array_equal(tokenizer.encode(PROSE), before)
  fast.wait()
  assert fast._encoders[reference] is not None
  np.testing.assert_array_equal(tokenizer.encode(PROSE), before)
  every = ''.join(map(chr, [*range(0xD800), *range(0xE000, 0x110000)]))
  np.testing.assert_array_equal(tokenizer.encode(every), reference.encode_to_numpy(every, disallowed_special=()))
  assert tokenizer.decode(tokenizer.encode('a\ud800b<|endoftext|>')) == 'a\ufffdb<|endoftext|>'
  texts = [PROSE[n:] for n in range(40)]
  for ids, text in zip(tokenizer.encode_batch(texts, threads=4), texts, strict=True):
    assert ids.tolist() == reference.encode_ordinary(text)


def test_it_takes_over_where_there_is_much_to_encode(monkeypatch):
  monkeypatch.setattr(fast, 'WORTH_COMPILING', 3 * len(PROSE))
  tokenizer = BPETokenizer.train([PROSE * 20], 400, pattern='gpt4', special_tokens=())
  found = [tokenizer.encode(PROSE).tolist() for _ in range(2)]
  assert tokenizer._encoding not in fast._making
  found.append(tokenizer.encode(PROSE).tolist())
  fast.wait()
  assert fast._encoders[tokenizer._encoding] is not None
  found.append(tokenizer.encode(PROSE).tolist())
  assert found == [tokenizer.encode_readably(PROSE)] * 4


def test_no_text_waits_for_it(monkeypatch):
  """It is made once, by a thread of its own; until it is there, tiktoken encodes for everybody."""
  may_end, made = threading.Event(), []

  class Slow(compiled_encoder.CompiledEncoder):
    def __init__(self, *args):
      made.append(threading.current_thread())
      assert may_end.wait(60)
      super().__init__(*args)

  monkeypatch.setattr(compiled_encoder, 'CompiledEncoder', Slow)
  monkeypatch.setattr(fast, 'WORTH_COMPILING', 0)
  tokenizer = BPETokenizer.train([PROSE * 20], 400, pattern='gpt4', special_tokens=())
  expected = tokenizer.encode_readably(PROSE)
  try:
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
      found = list(pool.map(tokenizer.encode, [PROSE] * 40))
    assert tokenizer._encoding not in fast._encoders
  finally:
    may_end.set()
  fast.wait()
  assert len(made) == 1
  assert isinstance(fast._encoders[tokenizer._encoding], Slow)
  assert [ids.tolist() for ids in (*found, tokenizer.encode(PROSE))] == [expected] * 41


def test_threads_that_encode_first_share_one_core(monkeypatch):
  make, made = BPETokenizer._make_encoding, []

  def slowly(tokenizer):
    made.append(threading.current_thread())
    time.sleep(0.1)  # for the others to come
    return make(tokenizer)

  monkeypatch.setattr(BPETokenizer, '_make_encoding', slowly)
  tokenizer = BPETokenizer.train([PROSE * 20], 400, pattern='gpt4', special_tokens=())
  with concurrent.futures.ThreadPoolExecutor(8) as pool:
    found = list(pool.map(lambda _: tokenizer._encoding, range(8)))
  assert len(made) == 1
  assert all(each is found[0] for each in found)


def test_a_pattern_that_it_does_not_know_is_left_to_tiktoken(monkeypatch):
  monkeypatch.setattr(fast, 'WORTH_COMPILING', 0)
  tokenizer = BPETokenizer.train([PROSE * 20], 400, pattern=r'\w+|\W+', special_tokens=())
  assert tokenizer.encode(PROSE).tolist() == tokenizer.encode_readably(PROSE)
  assert tokenizer._encoding not in fast._making


def test_damaged_machine_code_costs_speed_and_nothing_else(tmp_path):
  """Numba's files are read without a checksum; they are dropped, and tiktoken encodes."""
  program = (
    'from mlsd_jax.tokenizers import BPETokenizer, fast\n'
    f'text = {PROSE!r}\n'
    'tokenizer = BPETokenizer.train([text * 20], 400, pattern="gpt4", special_tokens=())\n'
    'fast.WORTH_COMPILING = 0\n'
    'tokenizer.encode(text)\n'
    'fast.wait()\n'
    'assert tokenizer.encode(text).tolist() == tokenizer.encode_readably(text)\n'
    'print(fast._encoders[tokenizer._encoding] is not None)\n'
  )
  run = lambda: subprocess.run(
    [sys.executable, '-c', program],
    env=os.environ | {'MLSD_CACHE_DIR': str(tmp_path)},
    capture_output=True,
    text=True,
    check=True,
  ).stdout.strip()
  assert run() == 'True'
  for code in (tmp_path / 'numba').rglob('*.nbc'):
    code.write_bytes(code.read_bytes()[:100])
  assert run() == 'False'
  assert not (tmp_path / 'numba').exists()
