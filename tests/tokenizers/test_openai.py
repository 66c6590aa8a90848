import hashlib
import os
import pickle
import shutil

import numpy as np
import pytest
import tiktoken
import tiktoken.load
import tiktoken.registry
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsd_jax import tokenizers
from mlsd_jax.errors import UserError
from mlsd_jax.tokenizers import fast
from mlsd_jax.tokenizers.openai import ENCODINGS

R50K_URL = next(iter(ENCODINGS['r50k_base']))
R50K_FILE = hashlib.sha1(R50K_URL.encode()).hexdigest()


@pytest.fixture(autouse=True)
def no_network_and_nothing_loaded(monkeypatch, tmp_path):
  def refuse(url: str) -> bytes:
    raise ConnectionError(url)

  monkeypatch.setattr(tiktoken.load, 'read_file', refuse)
  monkeypatch.setattr(tiktoken.registry, 'ENCODINGS', {})
  monkeypatch.setenv('MLSD_CACHE_DIR', str(tmp_path / 'cache'))
  monkeypatch.delenv('TIKTOKEN_CACHE_DIR', raising=False)
  monkeypatch.delenv('MLSD_DATA_DIR', raising=False)


@pytest.mark.parametrize('name', ENCODINGS)
def test_ids_are_those_of_tiktoken(name: str, rank_files, monkeypatch):
  monkeypatch.setenv('TIKTOKEN_CACHE_DIR', str(rank_files))
  tokenizer, reference = tokenizers.load(name), tiktoken.get_encoding(name)
  assert (tokenizer.vocab_size, tokenizer.end_of_text) == (reference.n_vocab, reference.eot_token)

  @settings(max_examples=50)
  @given(text=st.text(max_size=60))
  def check(text: str):
    ids = tokenizer.encode(text)
    assert ids.tolist() == reference.encode_ordinary(text)
    assert tokenizer.decode(ids) == text

  check()
  text = "def f(x):\n\treturn x**2  # it's\r\n\r\n" * 50
  assert tokenizer.encode(text).tolist() == reference.encode_ordinary(text)
  spelled = tokenizer.encode('a<|endoftext|>b')
  assert tokenizer.end_of_text not in spelled
  assert tokenizer.decode(spelled) == tokenizer.decode(
    [*tokenizer.encode('a'), tokenizer.end_of_text, *tokenizer.encode('b')]
  )


def test_bytes_that_tiktoken_panics_on_are_encoded(rank_files, monkeypatch):
  monkeypatch.setenv('TIKTOKEN_CACHE_DIR', str(rank_files))
  tokenizer = tokenizers.load('cl100k_base')
  data = b' ' * 10**6 + b'x\xff'
  assert tokenizer.decode_bytes(tokenizer.encode_bytes(data)) == data


def test_the_way_around_a_panic_gives_the_ids_of_tiktoken(rank_files, monkeypatch):
  monkeypatch.setenv('TIKTOKEN_CACHE_DIR', str(rank_files))
  tokenizer, reference = tokenizers.load('cl100k_base'), tiktoken.get_encoding('cl100k_base')

  class Stackless:
    """An encoding whose regular expressions always run out of stack."""

    def encode_to_numpy(self, *_, **__):
      raise ValueError('stack')

    def __getattr__(self, name):
      return getattr(reference, name)

  @settings(max_examples=200)
  @given(
    st.lists(st.sampled_from(['ab', ' ', '\n', '  x', '日本', '1', '\t', "it's"]), max_size=8), st.binary(max_size=3)
  )
  def check(parts, rest):
    data = ''.join(parts).encode() + b'\xff' + rest
    ids = fast.encode_broken(Stackless(), tokenizer._pattern, data, len(''.join(parts).encode()))
    assert ids.tolist() == reference._encode_bytes(data)

  check()


def test_known_ids_of_gpt2(rank_files, tmp_path, monkeypatch):
  (tmp_path / 'tiktoken').symlink_to(rank_files)
  monkeypatch.setenv('MLSD_DATA_DIR', str(tmp_path))
  tokenizer = tokenizers.load('gpt2')
  assert tokenizer.encode('Hello world').tolist() == [15496, 995]
  assert tokenizer.fingerprint == tokenizers.load('r50k_base').fingerprint, 'two files of one encoding'
  assert tokenizer.fingerprint != tokenizers.load('p50k_base').fingerprint
  copy = pickle.loads(pickle.dumps(tokenizer))
  np.testing.assert_array_equal(copy.encode('Hello world'), [15496, 995])


def test_ids_that_stand_for_nothing_decode_to_nothing(rank_files, monkeypatch):
  monkeypatch.setenv('TIKTOKEN_CACHE_DIR', str(rank_files))
  tokenizer = tokenizers.load('cl100k_base')
  hello = tokenizer.encode('hello')
  assert tokenizer.decode([100256, *hello, 100270]) == 'hello'
  with pytest.raises(UserError, match='100277 is out of range'):
    tokenizer.decode([100277])


@pytest.mark.parametrize('variable', ['TIKTOKEN_CACHE_DIR', None])
def test_offline_and_absent_names_url_and_folder(variable: str | None, tmp_path, monkeypatch):
  if variable:
    monkeypatch.setenv(variable, str(tmp_path / 'ranks'))
  with pytest.raises(UserError) as error:
    tokenizers.load('r50k_base')
  folder = tmp_path / 'ranks' if variable else tmp_path / 'cache' / 'tiktoken'
  assert all(part in str(error.value) for part in (R50K_URL, str(folder), R50K_FILE))
  assert '\n' not in str(error.value)


def test_a_damaged_file_is_named_and_kept(rank_files, tmp_path, monkeypatch):
  shutil.copy(rank_files / R50K_FILE, tmp_path)
  (tmp_path / R50K_FILE).chmod(0o644)
  with (tmp_path / R50K_FILE).open('r+b') as file:
    file.write(b'!')
  monkeypatch.setenv('TIKTOKEN_CACHE_DIR', str(tmp_path))
  with pytest.raises(UserError, match=R50K_FILE):
    tokenizers.load('r50k_base')
  assert (tmp_path / R50K_FILE).exists()


def test_the_environment_is_left_as_it_was(rank_files, tmp_path, monkeypatch):
  (tmp_path / 'tiktoken').symlink_to(rank_files)
  monkeypatch.setenv('MLSD_DATA_DIR', str(tmp_path))
  tokenizers.load('r50k_base')
  assert 'TIKTOKEN_CACHE_DIR' not in os.environ
