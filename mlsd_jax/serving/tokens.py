"""A text cut by a tokenizer, as JSON."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from mlsd_jax.serving.text_service import token_text
from mlsd_jax.tokenizers import Tokenizer

_AT_ONCE = 1 << 13  # values: the JSON encoder keeps every other thread waiting while it is at work


def show_tokens(tokenizer: Tokenizer, text: str, *, pieces: bool) -> bytes:
  """{"tokens", "offsets", "count"} of `text`, with `pieces` also what each token stands for alone.

  Raises:
    UserError: the tokenizer cannot represent it.
  """
  ids = tokenizer.encode(text)
  said = [b'{"tokens":', *_array(ids), b',"offsets":', *_array(tokenizer.offsets(ids)), b',"count":%d' % len(ids)]
  if pieces:
    numbers = ids.tolist()
    table = {token: token_text(tokenizer, token) for token in set(numbers)}
    said += [b',"pieces":', *_array([table[token] for token in numbers])]
  return b''.join([*said, b'}'])


def _array(values: list[Any] | np.ndarray) -> Iterator[bytes]:
  """A JSON array of a list or of an array, in parts."""
  for start in range(0, len(values), _AT_ONCE):
    part = values[start : start + _AT_ONCE]
    listed = part if isinstance(part, list) else part.tolist()
    yield (b',' if start else b'[') + json.dumps(listed, ensure_ascii=False, separators=(',', ':'))[1:-1].encode()
  yield b']' if len(values) else b'[]'
