import os
import subprocess
import sys

import numpy as np
import pytest

from mlsd_jax.data.encoding import encode_chunk, encode_chunks
from mlsd_jax.errors import UserError
from mlsd_jax.tokenizers import BPETokenizer, ByteTokenizer, CharacterTokenizer

CHUNKS = [['abc', '', 'é漢'], ['abab ' * 1000], ['c'] * 50, ['last']] * 5


@pytest.mark.parametrize(('workers', 'here'), [(0, 0), (2, 100), (2, 0), (3, 4)])
def test_chunks_come_back_in_order_wherever_they_are_encoded(workers: int, here: int):
  tokenizer = BPETokenizer.train(['abab abab c last'], 270)
  encoded = list(encode_chunks(iter(CHUNKS), tokenizer, 'uint16', workers, here))
  assert len(encoded) == len(CHUNKS)
  for reply, texts in zip(encoded, CHUNKS, strict=True):
    assert reply.tokens.dtype == np.uint16
    assert tokenizer.decode(reply.tokens) == ''.join(texts)
    assert reply.num_tokens == [len(tokenizer.encode(text)) for text in texts]
    assert reply.num_bytes == [len(text.encode()) for text in texts]


@pytest.mark.parametrize('workers', [0, 2])
def test_text_that_cannot_be_encoded_is_told_from_a_worker_as_from_here(workers: int):
  with pytest.raises(UserError, match="character 'c'"):
    list(encode_chunks(iter(CHUNKS), CharacterTokenizer('ab'), 'uint16', workers, 0))


class _OutOfRange(ByteTokenizer):
  vocab_size = 98

  def __reduce__(self):
    return super().__reduce__()


def test_an_id_beyond_the_vocabulary_is_refused():
  with pytest.raises(UserError, match='gives ids 97 to 99, outside 0 to 97'):
    encode_chunk(_OutOfRange(), 'uint16', ['abc'])


class _KillsItsProcess(ByteTokenizer):
  def __reduce__(self):
    return os._exit, (3,)


def test_a_worker_that_dies_is_told_with_its_exit_code():
  with pytest.raises(RuntimeError, match=r'(?s)process died .*EXIT\(3\)'):
    list(encode_chunks(iter(CHUNKS), _KillsItsProcess(), 'uint16', 2, 0))


def test_only_a_few_chunks_are_read_ahead():
  read = 0

  def chunks():
    nonlocal read
    for chunk in CHUNKS:
      read += 1
      yield chunk

  stream = encode_chunks(chunks(), ByteTokenizer(), 'uint16', 2, 0)
  next(stream)
  assert read <= 6
  stream.close()


def test_workers_do_not_import_jax():
  code = 'import mlsd_jax.data.encoding, sys; sys.exit("jax" in sys.modules or "grain" in sys.modules)'
  assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0
