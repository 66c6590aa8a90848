"""Encoding at speed: through tiktoken's core (Rust), or by our own compiled encoder where there is much to encode.

Nothing else calls tiktoken's core, as it does not come through everything.
"""

import itertools
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from mlsd_jax.tokenizers import base, machine_code
from mlsd_jax.tokenizers.patterns import Pattern

# Ours is two to three times as fast, but takes about a second to load (and seconds to compile, the first time on a
# machine): as long as tiktoken takes for this many characters. A thread makes it, as some request would have to wait.
WORTH_COMPILING = 10_000_000
_encoded: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()  # characters, by encoding
_making: weakref.WeakKeyDictionary[Any, threading.Thread] = weakref.WeakKeyDictionary()
_encoders: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()  # None: it could not be made
_lock = threading.Lock()
COMPILED = ('gpt2', 'cl100k', 'gpt4', 'o200k')  # names of PATTERNS that the compiled encoder knows


def encode(encoding: Any, pattern: Pattern, text: str) -> np.ndarray:
  """The int32 ids of `text` under a tiktoken.Encoding that cuts by `pattern`; special tokens are text."""
  try:
    compiled = _compiled(encoding, pattern, len(text))
    if compiled is not None:
      return compiled.encode(text)
    return encoding.encode_to_numpy(text, disallowed_special=()).astype(np.int32)
  except UnicodeEncodeError:
    return encode(encoding, pattern, base.well_formed(text))
  except ValueError:  # tiktoken's regular expressions run out of stack on some hundred thousand spaces
    return np.fromiter(itertools.chain.from_iterable(_pieces(encoding, pattern, text)), np.int32)


def _compiled(encoding: Any, pattern: Pattern, characters: int) -> Any:
  """The compiled encoder of `encoding`, once it pays and is there; None before, and for a pattern it does not know."""
  if encoding in _encoders or pattern.name not in COMPILED:
    return _encoders.get(encoding)
  with _lock:
    _encoded[encoding] = _encoded.get(encoding, 0) + characters
    if encoding in _making or _encoded[encoding] < WORTH_COMPILING:
      return None
    if all(bytes([byte]) in encoding._mergeable_ranks for byte in range(256)):
      # No daemon: a process that ends while LLVM compiles may crash. What it waits for is kept for the next one.
      thread = threading.Thread(target=_make, args=(encoding, pattern.name), name='compiles the encoder')
      try:
        thread.start()
        _making[encoding] = thread
      except RuntimeError:  # no more threads: the next text tries again
        pass
  return None


def _make(encoding: Any, pattern: str) -> None:
  # Numba reads and writes machine code without a checksum: where its files are damaged or the disk is full, anything
  # may be raised. The ids do not hang on it, only their speed does.
  try:
    from mlsd_jax.tokenizers import compiled_encoder

    encoder = compiled_encoder.CompiledEncoder(encoding, pattern)
    encoder.encode('It compiles, or loads.')
  except Exception:
    encoder = None
    machine_code.forget()
  _encoders[encoding] = encoder


def wait() -> None:
  """Waits for compiled encoders that are being made, which is for tests and benchmarks: texts do not."""
  for thread in list(_making.values()):
    thread.join()


def encode_broken(encoding: Any, pattern: Pattern, data: bytes, valid: int) -> np.ndarray:
  """The int32 ids of bytes of which only the first `valid` are UTF-8, by tiktoken's rule (BPETokenizer says it)."""
  text = data[:valid].decode()
  try:
    encoding.encode_to_numpy(text, disallowed_special=())
  except ValueError:  # of which `_encode_bytes` would make a panic, which is no Exception
    pieces = list(_pieces(encoding, pattern, text))
    merge = encoding._encode_single_piece
    return np.array(join_broken(pieces, data[valid:], lambda ids: encoding.decode_bytes(ids), merge), np.int32)
  return np.array(encoding._encode_bytes(data), np.int32)


def join_broken(
  pieces: list[list[int]],
  rest: bytes,
  decode_bytes: Callable[[list[int]], bytes],
  merge: Callable[[bytes], list[int]],
) -> list[int]:
  """The ids of text and what follows it that is not UTF-8: the last piece of the text and the rest are one piece.

  The white space before that piece belongs to it too, if it begins with some.

  Args:
    pieces: the ids of each piece of the text.
  """
  ids = list(itertools.chain.from_iterable(pieces))
  first = len(ids) - (len(pieces[-1]) if pieces else 0)
  is_space = lambda i: not decode_bytes([ids[i]]).strip(b' \n\t')
  while 0 < first < len(ids) and is_space(first) and is_space(first - 1):
    first -= 1
  return ids[:first] + merge(decode_bytes(ids[first:]) + rest)


def _pieces(encoding: Any, pattern: Pattern, text: str) -> Iterator[list[int]]:
  return map(encoding._encode_single_piece, pattern.split(text))
