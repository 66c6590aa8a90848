"""Encoding through tiktoken's core (Rust)."""

import itertools
from typing import Any

import numpy as np

from mlsd_jax.tokenizers import base
from mlsd_jax.tokenizers.patterns import Pattern


def encode(encoding: Any, pattern: Pattern, text: str) -> np.ndarray:
  """The int32 ids of `text` under a tiktoken.Encoding that cuts by `pattern`; special tokens are text."""
  try:
    return encoding.encode_to_numpy(text, disallowed_special=()).astype(np.int32)
  except UnicodeEncodeError:
    return encode(encoding, pattern, base.well_formed(text))
  except ValueError:  # tiktoken's regular expressions run out of stack on some hundred thousand spaces
    ids = map(encoding._encode_single_piece, pattern.split(text))
    return np.fromiter(itertools.chain.from_iterable(ids), np.int32)
