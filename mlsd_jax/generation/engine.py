"""Continuous batching: requests enter and leave a running batch between two dispatches.

The cache has a fixed number of rows, the slots. A request waits in a queue for a slot, has its prompt read into it
part by part, and is then continued with all others that are, a few steps a dispatch, until it ends and the slot is
free. `Engine.step` does one of these things; what runs on the device are the programs of programs.py, each of a shape
that no request changes. The engine knows tokens only: text, stop strings and clients are its caller's.

    engine = Engine(decoder, params, slots=16, end_of_text=tokenizer.end_of_text)
    engine.warm_up()
    number = engine.submit(Request(tokenizer.encode('Hello')))
    while engine.busy:
      for event in engine.step():
        ...                                   # event.id, event.tokens, event.finish
"""

import collections
import time
from typing import Any

import numpy as np

from mlsd_jax.errors import UserError
from mlsd_jax.generation import decoders
from mlsd_jax.generation.decoders import Decoder
from mlsd_jax.generation.device_state import DeviceState
from mlsd_jax.generation.prefixes import PrefixCache
from mlsd_jax.generation.requests import Event, Request, Stats, TokenLogprob
from mlsd_jax.generation.row import Row
from mlsd_jax.generation.sampling import Choice, Marks, are_used


class Engine:
  """A decoder with slots for requests. It is one thread's: calls do not overlap.

  A request's tokens do not depend on what else there is at the time: each row attends to its own part of the cache,
  draws its own random numbers, and has its prompt read alone, in parts that begin at multiples of `part`. With another
  number of slots the device may round its products otherwise.
  """

  def __init__(
    self,
    decoder: Decoder,
    params: Any,
    *,
    slots: int = 16,
    end_of_text: int | None = None,
    max_length: int | None = None,
    part: int = 64,
    steps_per_dispatch: int = 16,
    dispatch_seconds: float = 0.05,
    read_between: int = 1024,
    read_rows: int = 1,
    prefix_blocks: int = 64,
  ):
    """Compiles and reads nothing yet.

    Args:
      params: in the dtype to compute in.
      slots: how many requests are continued at once. Memory grows with it; so does throughput.
      end_of_text: the token that ends a request.
      max_length: the most tokens of a request that the cache has room for; by default the context.
      part: how many tokens of a prompt are read at a time, a power of two from 16 on; also the block of the cache of
        prefixes.
      steps_per_dispatch: the most tokens of a row between two looks at it. One program is compiled for each value.
      dispatch_seconds: a dispatch has fewer steps where they take longer than that, lest a new request waits for it.
      read_between: so many tokens of prompts are read before those that are being continued have their next dispatch.
      read_rows: the most prompts that are read at once. More than one share what a part takes from memory, and the
        device may round the numbers of a prompt otherwise beside others than alone.
      prefix_blocks: how many blocks the cache of prefixes holds; 0 for none.

    Raises:
      UserError: a number that cannot be.
    """
    counts = dict(slots=slots, steps_per_dispatch=steps_per_dispatch, read_between=read_between, read_rows=read_rows)
    for name, value in counts.items():
      if value < 1:
        raise UserError(f'{name}={value} must be 1 or more')
    if part < 16 or part & (part - 1):
      raise UserError(f'part={part} must be a power of two, 16 or more')
    self._decoder = decoder
    self._max_length = min(decoder.context_length, max_length or decoder.context_length)
    cache_slots = decoders.cache_slots(self._max_length, decoder.context_length)
    self._part = min(part, cache_slots)
    self._end = end_of_text
    self._steps, self._dispatch_seconds, self._read_between = steps_per_dispatch, dispatch_seconds, read_between
    self._device = DeviceState(decoder, params, slots, cache_slots, steps_per_dispatch)
    self._rows: list[Row | None] = [None] * slots
    self._queue: collections.deque[Row] = collections.deque()
    self._read_rows = read_rows
    self._prefixes = PrefixCache(self._part, prefix_blocks)
    self._step_seconds = 0.0
    self._read_since = 0
    self._counts: collections.Counter[str] = collections.Counter()

  @property
  def busy(self) -> bool:
    """Whether `step` has anything to do."""
    return bool(self._queue) or any(row is not None for row in self._rows)

  @property
  def params(self) -> Any:
    """The model's, as they lie on the device: who has others besides holds them twice."""
    return self._device.params

  @property
  def max_length(self) -> int:
    """The most tokens, prompt and sampled, of a request that does not slide."""
    return self._max_length

  @property
  def stats(self) -> Stats:
    """The counters as they are now."""
    rows = [row for row in self._rows if row is not None]
    decoding = sum(row.is_decoding for row in rows)
    return Stats(
      slots=len(self._rows),
      queued=len(self._queue),
      reading=len(rows) - decoding,
      decoding=decoding,
      prefix_bytes=self._prefixes.bytes,
      programs=self._device.num_programs,
      **self._counts,
    )

  def submit(self, request: Request) -> int:
    """Queues a request; its number, by which events name it.

    Raises:
      UserError: the prompt is empty, longer than the context, or holds an id outside the vocabulary; nothing may be
        sampled; or the cache is too small for it.
    """
    decoder, sampling = self._decoder, request.sampling
    decoders.check_prompt(np.asarray(request.prompt), decoder, 'the prompt')
    prompt = np.asarray(request.prompt, np.int32)
    outside = [token for token, _ in sampling.biases if token >= decoder.vocab_size]
    if outside:
      raise UserError(f'logit_bias names token id {outside[0]}, outside 0 to {decoder.vocab_size - 1} of the model')
    if len(set(sampling.banned) & set(range(decoder.vocab_size))) == decoder.vocab_size:
      raise UserError('banned holds every token of the vocabulary; leave at least one to sample')
    longest = min(len(prompt) + request.max_tokens, decoder.context_length) if request.slides else len(prompt)
    if longest > self._max_length:
      raise UserError(f'the request takes {longest} tokens, and the cache has room for {self._max_length}')
    number = self._counts['requests']
    self._counts['requests'] += 1
    self._queue.append(Row(number, request, prompt))
    return number

  def cancel(self, number: int) -> bool:
    """Ends a request, whose slot is free for the next step; no event follows. False if it had ended already."""
    waiting = [row for row in self._queue if row.id == number]
    slots = [slot for slot, row in enumerate(self._rows) if row is not None and row.id == number]
    for row in waiting:
      self._queue.remove(row)
    for slot in slots:
      self._rows[slot] = None
    self._counts['cancelled'] += len(waiting + slots)
    return bool(waiting or slots)

  def step(self) -> list[Event]:
    """Does the next thing: reads a part of a prompt, or continues all rows that have been read; what came of it."""
    self._admit()
    rows = [(slot, row) for slot, row in enumerate(self._rows) if row is not None]
    reading = [(row.id, slot, row) for slot, row in rows if not row.is_decoding]
    decoding = [(slot, row) for slot, row in rows if row.is_decoding]
    if reading and (not decoding or self._read_since < self._read_between):
      return self._read_parts([each[1:] for each in sorted(reading)])
    self._read_since = 0
    return self._dispatch(decoding) if decoding else []

  def warm_up(self) -> float:
    """Compiles every program, so that no request waits for it; the seconds it took.

    Raises:
      UserError: the engine has requests already.
    """
    if self.busy:
      raise UserError('the engine has requests; warm it up before the first')
    began = time.perf_counter()
    self._device.warm_up(self._part)
    return time.perf_counter() - began

  def _admit(self) -> None:
    """Puts waiting requests into free slots, with what the cache of prefixes has of their prompts."""
    for slot in range(len(self._rows)):
      if not self._queue or self._rows[slot] is not None:
        continue
      row = self._rows[slot] = self._queue.popleft()
      if are_used(row.request.sampling):
        self._device.mark(slot, Marks.of_row(row.request.sampling, self._decoder.vocab_size, row.tokens))
      # Log-probabilities of the prompt need what a block does not keep.
      for block in [] if row.request.prompt_logprobs else self._prefixes.find(row.tokens):
        self._device.paste(block, slot, row.read)
        row.read += self._part
      row.cached = row.read
      self._counts['prompt_tokens'] += len(row.tokens)
      self._counts['cached_tokens'] += row.cached

  def _read_parts(self, reading: list[tuple[int, Row]]) -> list[Event]:
    """Reads a part of the first of these rows, and of those behind it that may be read with it."""
    together = [each for each in reading if not each[1].request.prompt_logprobs] if self._read_rows > 1 else []
    number = min(self._read_rows, len(together))
    number = 1 << (number.bit_length() - 1) if number else 0  # few versions of each program
    chosen = together[:number] if reading[0] in together[:number] else reading[:1]
    parts = [row.tokens[row.read : row.read + self._part] for _, row in chosen]
    hidden_RT, last_R4 = self._device.read(parts, [slot for slot, _ in chosen], [row.read for _, row in chosen])
    events: list[Event] = []
    ready = []
    for place, (part, (slot, row)) in enumerate(zip(parts, chosen, strict=True)):
      start, is_prompt = row.read, not row.sampled
      row.read += len(part)
      self._read_since += len(part)
      if is_prompt and self._prefixes.wants(row.tokens[: row.read]):
        self._prefixes.add(row.tokens[: row.read], self._device.cut(slot, start, self._part))
      if is_prompt and row.request.prompt_logprobs:
        targets = row.tokens[start + 1 : start + 1 + len(part)]
        row.prompt_logprobs += _list_logprobs(
          self._device.score(hidden_RT, targets), len(targets), row.request.logprobs or 0
        )
      if row.read < len(row.tokens):
        continue
      row.is_decoding = True
      if self._left(row) == 0:
        events.append(self._book(slot, row, None, 0, is_first=is_prompt))
      else:
        ready.append((place, slot, row))
    return events + self._begin(last_R4, ready, len(chosen))

  def _begin(self, last_R4: Any, ready: list[tuple[int, int, Row]], number: int) -> list[Event]:
    """The first tokens of rows whose prompts have been read, each at its place of the `number` that were read."""
    groups = [ready] if len(ready) == number else [[each] for each in ready]
    events = []
    for group in filter(None, groups):
      places, slots, rows = zip(*group, strict=True)
      first_R4 = last_R4 if len(group) == number else last_R4[places[0] : places[0] + 1]
      uniforms = [row.uniforms(self._device.draw, 1)[0] for row in rows]
      choices = self._device.begin(first_R4, slots, [row.request for row in rows], uniforms)
      for place, (slot, row) in enumerate(zip(slots, rows, strict=True)):
        of_row = Choice(*(each[place : place + 1] for each in choices))
        events.append(self._book(slot, row, of_row, 1, is_first=not row.sampled))
        self._slide(row)
    return events

  def _dispatch(self, decoding: list[tuple[int, Row]]) -> list[Event]:
    steps = self._steps
    if self._step_seconds:
      steps = int(max(1, min(steps, self._dispatch_seconds / self._step_seconds)))
    left = {slot: min(steps, self._left(row), self._decoder.context_length - row.read) for slot, row in decoding}
    began = time.perf_counter()
    taken, choices = self._device.decode(self._rows, left, self._end)
    seconds = (time.perf_counter() - began) / taken
    # Quick to fall, slow to rise: a dispatch that had to compile, or that the machine was busy for, says little.
    self._step_seconds = min(seconds, 1.2 * self._step_seconds) if self._step_seconds else seconds
    events = []
    for slot, row in decoding:
      of_row = Choice(*(each[:, slot] for each in choices))
      events.append(self._book(slot, row, of_row, min(left[slot], taken)))
      row.read += len(events[-1].tokens)
      self._counts['row_steps'] += len(events[-1].tokens)
      self._slide(row)
    self._counts['dispatches'] += 1
    self._counts['steps'] += taken
    return events

  def _slide(self, row: Row) -> None:
    """Has the last half of a full context read anew; a row that has ended is no longer asked."""
    context = self._decoder.context_length
    if row.read >= context:
      text = np.concatenate([row.request.prompt, row.sampled]).astype(np.int32)
      row.tokens, row.read, row.is_decoding = text[-max(context // 2, 1) :], 0, False

  def _left(self, row: Row) -> int:
    """How many tokens the request still gets."""
    total = row.request.max_tokens
    if not row.request.slides:
      total = min(total, self._max_length - len(row.request.prompt))
    return total - len(row.sampled)

  def _book(self, slot: int, row: Row, choices: Choice | None, number: int, *, is_first: bool = False) -> Event:
    """Adds the first `number` of the tokens chosen, up to one that ends the request, and frees its slot if it ends."""
    tokens = [] if choices is None else choices.token[:number].tolist()
    finish = None
    if row.request.ends and self._end in tokens:
      tokens = tokens[: tokens.index(self._end) + 1]
      finish = 'end_of_text'
    row.sampled += tokens
    self._counts['new_tokens'] += len(tokens)
    if finish is None and self._left(row) == 0:
      finish = 'length'
    if finish is not None:
      self._rows[slot] = None
      self._counts['finished'] += 1
    asked = row.request.logprobs
    logprobs = None
    if asked is not None:
      logprobs = [] if choices is None else _list_logprobs(choices, len(tokens), asked)
    told = row.prompt_logprobs if is_first and row.request.prompt_logprobs else None
    return Event(row.id, tokens, logprobs, told, row.cached if is_first else 0, finish)


def _list_logprobs(choices: Choice, number: int, top: int) -> list[TokenLogprob]:
  token, logprob, top_token, top_logprob = (each[:number].tolist() for each in choices)
  pairs = [list(zip(*both, strict=True))[:top] for both in zip(top_token, top_logprob, strict=True)]
  return [TokenLogprob(*each) for each in zip(token, logprob, pairs, strict=True)]
