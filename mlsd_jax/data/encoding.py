"""Texts to token ids, in order, over several processes.

The workers are plain interpreters that import a tokenizer and nothing else. multiprocessing would run the caller's main
module again in each of them, and with it import JAX.
"""

import collections
import concurrent.futures
import contextlib
import dataclasses
import itertools
import os
import pickle
import queue
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator, Sequence
from typing import IO

import numpy as np

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
  with contextlib.ExitStack() as stack:
    idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
    for _ in range(workers):
      idle.put(stack.enter_context(_Worker(tokenizer, dtype)))
    executor = stack.enter_context(concurrent.futures.ThreadPoolExecutor(workers))

    def encode(chunk: Sequence[str]) -> Encoded:
      worker = idle.get()
      try:
        return worker.encode(chunk)
      finally:
        idle.put(worker)

    pending: collections.deque[concurrent.futures.Future[Encoded]] = collections.deque()
    stack.callback(lambda: [future.cancel() for future in pending])
    for chunk in itertools.chain(first, chunks):
      pending.append(executor.submit(encode, chunk))
      if len(pending) > 2 * workers:
        yield pending.popleft().result()
    while pending:
      yield pending.popleft().result()


class _Worker:
  """One process that turns chunks into ids, spoken to through its standard input and output."""

  def __init__(self, tokenizer: Tokenizer, dtype: str):
    code = 'from mlsd_jax.data import encoding; encoding.serve()'
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(path or '.' for path in sys.path)}
    self._process = subprocess.Popen(
      [sys.executable, '-c', code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )
    self._send((tokenizer, dtype))

  def __enter__(self) -> '_Worker':
    return self

  def __exit__(self, *exception: object) -> None:
    assert self._process.stdin is not None
    assert self._process.stdout is not None
    with contextlib.suppress(BrokenPipeError):
      self._process.stdin.close()
    self._process.stdout.close()
    self._process.wait()

  def encode(self, texts: Sequence[str]) -> Encoded:
    self._send(texts)
    assert self._process.stdout is not None
    try:
      reply = pickle.load(self._process.stdout)
    except EOFError as error:
      code = self._process.wait()
      raise RuntimeError(f'an encoding process ended with exit code {code} (-9 often means: out of memory)') from error
    if isinstance(reply, Exception):
      raise reply
    return reply

  def _send(self, message: object) -> None:
    assert self._process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # the worker has died: reading its reply will say so
      pickle.dump(message, self._process.stdin, pickle.HIGHEST_PROTOCOL)
      self._process.stdin.flush()


def serve() -> None:
  """What a worker does: answers chunks until its input ends, as it does when the parent is gone."""
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
  replies = os.fdopen(os.dup(sys.stdout.fileno()), 'wb')
  os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a library prints must not get among the replies
  requests = sys.stdin.buffer
  tokenizer, dtype = pickle.load(requests)
  for texts in _messages(requests):
    reply: Encoded | Exception
    try:
      reply = encode_chunk(tokenizer, dtype, texts)
    except UserError as error:
      reply = error
    except Exception:
      reply = RuntimeError(traceback.format_exc())
    pickle.dump(reply, replies, pickle.HIGHEST_PROTOCOL)
    replies.flush()


def _messages(file: IO[bytes]) -> Iterator[Sequence[str]]:
  with contextlib.suppress(EOFError):
    while True:
      yield pickle.load(file)
