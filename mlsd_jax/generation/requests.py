"""What is asked of the engine, and what it tells of it."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mlsd_jax.errors import UserError
from mlsd_jax.generation.sampling import PLAIN, SamplingConfig

MAX_LOGPROBS = 20  # the most probable tokens that can be told beside each


@dataclasses.dataclass(frozen=True, eq=False)
class Request:
  """One text to be continued.

  Attributes:
    prompt: token ids.
    sampling: how each token is chosen.
    max_tokens: the most tokens that are sampled; 0 only reads the prompt (for prompt_logprobs).
    seed: any whole number. A request's tokens follow from prompt, sampling, seed and stream alone, up to the rounding
      of the model's arithmetic, whatever else the engine does at the time.
    stream: which of several requests of one seed this is: the number of its prompt, and of its sample of that prompt.
      `generate(..., seed=s)` numbers them so, from 0.
    logprobs: None for none, else how many of the most probable tokens are told beside each, 0 to MAX_LOGPROBS.
    prompt_logprobs: tell those of the prompt's tokens too (`logprobs` must be a number).
    ends: whether the request ends when it samples end_of_text.
    slides: past the context the last half of it is read anew, as the only past, and the text goes on; else it ends
      with 'length'.
  """

  prompt: Sequence[int] | np.ndarray
  sampling: SamplingConfig = PLAIN
  max_tokens: int = 128
  seed: int = 0
  stream: tuple[int, int] = (0, 0)
  logprobs: int | None = None
  prompt_logprobs: bool = False
  ends: bool = True
  slides: bool = False

  def __post_init__(self):
    if self.max_tokens < 0:
      raise UserError(f'max_tokens={self.max_tokens} must be 0 or more')
    if self.logprobs is not None and not 0 <= self.logprobs <= MAX_LOGPROBS:
      raise UserError(f'logprobs={self.logprobs} must be from 0 to {MAX_LOGPROBS}')
    if self.prompt_logprobs and self.logprobs is None:
      raise UserError('prompt_logprobs needs logprobs, the number of tokens to tell beside each')


class TokenLogprob(NamedTuple):
  """A token's log-probability (nats) under the model itself, before any sampling parameter.

  Attributes:
    token, logprob: the token of the text.
    top: the most probable tokens at its place with theirs, most probable first.
  """

  token: int
  logprob: float
  top: list[tuple[int, float]]


@dataclasses.dataclass(frozen=True)
class Event:
  """News of one request, from one `Engine.step`.

  Attributes:
    id: as `Engine.submit` gave it.
    tokens: sampled since the last event; the end_of_text that ends a request is the last of them.
    logprobs: one for each of `tokens`, if asked for.
    prompt_logprobs: in the first event, if asked for, one for each token of the prompt but the first.
    cached_tokens: how many tokens of the prompt were taken from the cache of prefixes; in the first event, else 0.
    finish: None while it goes on; then 'end_of_text', or 'length' (max_tokens, or the context is full).
  """

  id: int
  tokens: list[int]
  logprobs: list[TokenLogprob] | None = None
  prompt_logprobs: list[TokenLogprob] | None = None
  cached_tokens: int = 0
  finish: str | None = None


@dataclasses.dataclass(frozen=True)
class Stats:
  """An engine's counters; those of the second line only grow.

  Attributes:
    slots, queued, reading, decoding: how many requests fit, wait, have their prompt read, are being continued.
    prefix_bytes: memory that the cache of prefixes takes.
    requests, cancelled, finished: requests submitted, and how they left.
    prompt_tokens, cached_tokens, new_tokens: tokens of prompts read or taken from the cache of prefixes (of which
      cached_tokens), and sampled.
    dispatches, row_steps: decode dispatches, and over all of them steps x rows that were being continued.
    steps: decode steps; row_steps / steps is the mean batch.
    programs: compiled so far by all engines of this process. It stands still after `warm_up`.
  """

  slots: int
  queued: int
  reading: int
  decoding: int
  prefix_bytes: int
  requests: int = 0
  cancelled: int = 0
  finished: int = 0
  prompt_tokens: int = 0
  cached_tokens: int = 0
  new_tokens: int = 0
  dispatches: int = 0
  steps: int = 0
  row_steps: int = 0
  programs: int = 0
