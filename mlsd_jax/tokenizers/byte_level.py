"""The tokenizer that needs no training: one token a byte."""

import hashlib
from typing import Any, Self

import numpy as np

from mlsd_jax.tokenizers import base

_TOKENS = [bytes([byte]) for byte in range(256)] + [base.END_OF_TEXT.encode()]


class ByteTokenizer(base.Tokenizer):
  """Ids 0 to 255 are the bytes of UTF-8, 256 ends a text."""

  kind = 'bytes'
  name = 'bytes'
  vocab_size = 257
  end_of_text = 256
  fingerprint = hashlib.sha256(b'bytes, 256 ends a text').hexdigest()

  def encode(self, text: str) -> np.ndarray:
    return np.frombuffer(base.well_formed(text).encode(), np.uint8).astype(np.int32)

  def _encode_broken(self, data: bytes, valid: int) -> np.ndarray:
    return np.frombuffer(data, np.uint8).astype(np.int32)

  def decode_bytes(self, ids: base.Ids) -> bytes:
    return b''.join([_TOKENS[i] for i in self._checked(ids).tolist()])

  def state(self) -> dict[str, Any]:
    return {}

  @classmethod
  def from_state(cls, state: dict[str, Any]) -> Self:
    return cls()
