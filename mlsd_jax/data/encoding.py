"""Texts to token ids, in order, over several processes."""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor

import numpy as np

from mlsd_jax import processes
from mlsd_jax.errors import UserError
from mlsd_jax.tokenizers.base import Tokenizer


@dataclasses.dataclass(frozen=True)
class Encoded:
  """A chunk of texts as ids.

  Attributes:
    tokens: the ids of all texts, one after the other.
    num_tokens: ids of each text.
    num_bytes: UTF-8 bytes of each text.
  """

  tokens: np.ndarray
  num_tokens: list[int]
  num_bytes: list[int]


def encode_chunk(tokenizer: Tokenizer, dtype: str, texts: Sequence[str]) -> Encoded:
  """Encodes one chunk in this process.

  Raises:
    UserError: the tokenizer cannot represent a text, or gives an id that it should not have.
  """
  arrays = tokenizer.encode_batch(texts)
  tokens = np.concatenate(arrays) if arrays else np.zeros(0, np.int32)
  if tokens.size and not 0 <= tokens.min() <= tokens.max() < tokenizer.vocab_size:
    raise UserError(
      f'tokenizer {tokenizer.name} gives ids {tokens.min()} to {tokens.max()}, outside 0 to {tokenizer.vocab_size - 1}'
    )
  num_bytes = [len(text.encode('utf-8', 'replace')) for text in texts]
  return Encoded(tokens.astype(dtype), [len(array) for array in arrays], num_bytes)


def encode_chunks(
  chunks: Iterator[Sequence[str]], tokenizer: Tokenizer, dtype: str, workers: int, here: int
) -> Iterator[Encoded]:
  """Encodes chunks in order, holding no more than a few of them at a time.

  Args:
    chunks: texts, best about a megabyte a chunk.
    tokenizer: sent to the workers by pickling.
    dtype: of the ids, 'uint16' or 'uint32'.
    workers: processes; below 2 all is done in this one.
    here: if there are at most so many chunks, no process is started.
  """
  first = list(itertools.islice(chunks, here + 1))
  if workers < 2 or len(first) <= here:
    for chunk in itertools.chain(first, chunks):
      yield encode_chunk(tokenizer, dtype, chunk)
    return
  # Sent once a worker, not with every chunk: a vocabulary is larger than most chunks.
  executor = processes.process_pool(workers, _hold, tokenizer, dtype)
  try:
    yield from processes.map_in_order(executor, _encode_held, itertools.chain(first, chunks), ahead=2 * workers)
  except BrokenExecutor as error:
    raise RuntimeError(f'an encoding process died (SIGKILL often means: out of memory): {error}') from error
  finally:
    executor.shutdown(kill_workers=True)


_held: tuple[Tokenizer, str]


def _hold(tokenizer: Tokenizer, dtype: str) -> None:
  global _held
  _held = tokenizer, dtype


def _encode_held(texts: Sequence[str]) -> Encoded:
  return encode_chunk(*_held, texts)
