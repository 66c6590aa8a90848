"""A language model that many clients write with at once: an Engine in a thread of its own, and text for each client.

The thread is the only one that calls the engine. Requests reach it through a queue, and the pieces of text leave it
through the event loop of whoever asked. Stop strings are looked for in the thread, so that the slot of a text that has
met one is free for the next step.
"""

import asyncio
import collections
import dataclasses
import logging
import math
import queue
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import numpy as np

from mlsd_jax.errors import UserError
from mlsd_jax.generation.decoders import check_prompt, make_decoder
from mlsd_jax.generation.engine import Engine
from mlsd_jax.generation.requests import Event, Request, Stats, TokenLogprob
from mlsd_jax.generation.stopping import TextStream
from mlsd_jax.language_model.chat_template import ChatTemplate
from mlsd_jax.serving.errors import too_busy
from mlsd_jax.tokenizers import Tokenizer

_LATEST = 32  # texts by whose ends a refused client is told when to come again
_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Piece:
  """What has become of a text since the last piece.

  Attributes:
    text: settled text: whole characters, before any stop string.
    tokens: sampled meanwhile.
    logprobs: one for each of `tokens`, if asked for.
    prompt_logprobs: in the first piece, if asked for.
    cached_tokens: in the first piece: tokens of the prompt that were not read anew.
    finish: None while it goes on; then 'length' or 'stop'.
  """

  text: str = ''
  tokens: Sequence[int] = ()
  logprobs: Sequence[TokenLogprob] | None = None
  prompt_logprobs: Sequence[TokenLogprob] | None = None
  cached_tokens: int = 0
  finish: str | None = None


@dataclasses.dataclass(eq=False)
class _Text:
  """A request as the thread sees it."""

  request: Request
  stream: TextStream
  client: str
  tell: Callable[[Piece | BaseException], None]
  number: int | None = None  # in the engine
  is_cancelled: bool = False


class TextService:
  """One model. `start` before use, `close` after.

  Attributes:
    name: by which requests ask for it.
    created: Unix time of the model.
    decoder, params: the model.
    template: of conversations, or None.
  """

  def __init__(
    self,
    name: str,
    params: Any,
    config: Any,
    tokenizer: Tokenizer,
    *,
    created: int = 0,
    slots: int = 16,
    max_waiting: int = 256,
    template: ChatTemplate | None = None,
    **options: Any,
  ):
    """Compiles nothing yet.

    Args:
      slots: texts that are written at once.
      max_waiting: texts that may wait for a slot.
      template: of conversations, for a model that was taught some; the token that ends a turn should end the
        tokenizer's texts.
      options: further ones of Engine.
    """
    self.name, self.tokenizer, self.created = name, tokenizer, created or int(time.time())
    self.decoder = make_decoder(config, tokenizer.vocab_size)
    self.template = template
    self._max_waiting, self._slots = max_waiting, slots
    self._engine = Engine(self.decoder, params, slots=slots, end_of_text=tokenizer.end_of_text, **options)
    self.params = self._engine.params
    self._inbox: queue.SimpleQueue[_Text | None] = queue.SimpleQueue()
    self._waiting: collections.OrderedDict[str, collections.deque[_Text]] = collections.OrderedDict()
    self._running: dict[int, _Text] = {}
    self._unfinished = 0
    self._ended: collections.deque[float] = collections.deque(maxlen=_LATEST)
    self._lock = threading.Lock()
    self._thread = threading.Thread(target=self._serve, name=f'engine of {name}', daemon=True)
    self._is_closing = False

  @property
  def max_length(self) -> int:
    """Tokens that prompt and text have room for."""
    return self._engine.max_length

  @property
  def stats(self) -> Stats:
    """The engine's counters."""
    return self._engine.stats

  @property
  def waiting(self) -> int:
    """Texts that have no slot yet."""
    return max(self._unfinished - self._slots, 0)

  def start(self) -> float:
    """Compiles everything and begins to serve; the seconds it took."""
    seconds = self._engine.warm_up()
    self._thread.start()
    return seconds

  def close(self, *, wait: float = 10.0) -> None:
    """Ends the thread once what is running has been written, or after `wait` seconds."""
    if self._thread.is_alive():
      self._is_closing = True
      self._inbox.put(None)
      self._thread.join(wait)

  def check(self, request: Request) -> None:
    """Raises UserError if the model cannot take the request's prompt."""
    check_prompt(np.asarray(request.prompt), self.decoder, 'the prompt')

  async def write(
    self, requests: Sequence[tuple[Request, Sequence[str]]], client: str = ''
  ) -> AsyncIterator[tuple[int, Piece]]:
    """(number of the request, piece) as they come, until all have ended. Leaving the loop cancels the rest.

    Args:
      requests: each with its stop strings.

    Raises:
      ApiError: as many texts wait as may (429). All of the requests are refused then, so that none is half-served.
      UserError: a request that the engine refuses.
    """
    for request, _ in requests:
      self.check(request)
    with self._lock:
      if self._is_closing or (self._unfinished and self._unfinished + len(requests) > self._slots + self._max_waiting):
        raise too_busy(self.name, self._seconds_a_text())
      self._unfinished += len(requests)
    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[tuple[int, Piece | BaseException]] = asyncio.Queue()

    def teller(number: int) -> Callable[[Piece | BaseException], None]:
      def tell(piece: Piece | BaseException) -> None:
        try:
          loop.call_soon_threadsafe(pieces.put_nowait, (number, piece))
        except RuntimeError:  # the loop is closed: nobody listens
          return

      return tell

    texts = [
      _Text(request, TextStream(self.tokenizer, tuple(stop)), client, teller(number))
      for number, (request, stop) in enumerate(requests)
    ]
    try:
      for text in texts:
        self._inbox.put(text)
      left = len(texts)
      while left:
        number, piece = await pieces.get()
        if isinstance(piece, BaseException):
          raise piece
        left -= piece.finish is not None
        yield number, piece
    finally:
      for text in texts:
        text.is_cancelled = True

  def _seconds_a_text(self) -> int:
    """After which a place is free, as texts have ended lately: what a client that is refused is told, 1 to 60."""
    ended = list(self._ended)
    apart = (ended[-1] - ended[0]) / (len(ended) - 1) if len(ended) > 1 else 0.0
    return min(max(math.ceil(apart), 1), 60)

  def _serve(self) -> None:
    """The thread: takes requests in, steps, tells."""
    while not (self._is_closing and not self._running and not any(self._waiting.values()) and self._inbox.empty()):
      self._receive(block=not self._engine.busy and not any(self._waiting.values()))
      self._cancel()
      self._admit()
      try:
        events = self._engine.step() if self._engine.busy else []
      except Exception as error:  # a device that failed: every client is told, and the next request is tried
        _logger.exception('the engine of %s failed', self.name)
        for text in list(self._running.values()):
          self._engine.cancel(text.number or 0)
          self._end(text, error)
        continue
      for event in events:
        if event.id in self._running:
          self._book(self._running[event.id], event)

  def _receive(self, *, block: bool) -> None:
    while True:
      try:
        text = self._inbox.get(block=block)
      except queue.Empty:
        return
      block = False
      if text is not None:
        self._waiting.setdefault(text.client, collections.deque()).append(text)

  def _admit(self) -> None:
    """Hands over as many as there are slots, a client at a time: the engine's own queue is first come, first served."""
    while len(self._running) < self._slots and self._waiting:
      client, texts = self._waiting.popitem(last=False)
      text = texts.popleft()
      if texts:
        self._waiting[client] = texts  # behind the other clients
      try:
        text.number = self._engine.submit(text.request)
      except Exception as error:
        self._end(text, error)
        continue
      self._running[text.number] = text

  def _cancel(self) -> None:
    for text in [text for text in self._running.values() if text.is_cancelled]:
      assert text.number is not None
      self._engine.cancel(text.number)
      self._end(text)
    for client, texts in list(self._waiting.items()):
      for text in [text for text in texts if text.is_cancelled]:
        texts.remove(text)
        self._end(text)
      if not texts:
        del self._waiting[client]

  def _book(self, text: _Text, event: Event) -> None:
    piece, tokens, finish = '', [], event.finish
    for token in event.tokens:
      tokens.append(token)
      if token != self.tokenizer.end_of_text:
        piece += text.stream.push(token)
      if text.stream.stopped:
        finish = 'stop'
        break
    if finish and not text.stream.stopped:
      piece += text.stream.close()
    if text.stream.stopped or finish == 'end_of_text':
      finish = 'stop'
    logprobs = None if event.logprobs is None else event.logprobs[: len(tokens)]
    text.tell(Piece(piece, tokens, logprobs, event.prompt_logprobs, event.cached_tokens, finish))
    if finish:
      if event.finish is None:
        self._engine.cancel(event.id)
      self._end(text)

  def _end(self, text: _Text, error: BaseException | None = None) -> None:
    if text.number is not None:
      self._running.pop(text.number, None)
    with self._lock:
      self._unfinished -= 1
      self._ended.append(time.monotonic())
    if error is not None:
      text.tell(error if isinstance(error, UserError) else RuntimeError('the model failed'))


def token_text(tokenizer: Tokenizer, token: int) -> str:
  """A token alone; one that holds a part of a character is written 'bytes:\\xe2\\x82', as OpenAI writes it."""
  data = tokenizer.decode_bytes([token])
  try:
    return data.decode()
  except UnicodeDecodeError:
    return 'bytes:' + ''.join(f'\\x{byte:02x}' for byte in data)
