"""Text from a GPT: prompts in, samples out."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mlsd_jax import tokenizers
from mlsd_jax.errors import UserError
from mlsd_jax.generation import decoders
from mlsd_jax.generation.decoders import make_decoder
from mlsd_jax.generation.engine import Engine
from mlsd_jax.generation.requests import Event, Request
from mlsd_jax.generation.row_padding import smallest_rows
from mlsd_jax.generation.sampling import PLAIN, SamplingConfig
from mlsd_jax.generation.stopping import TextStream
from mlsd_jax.models import bigram
from mlsd_jax.models.families import DecoderConfig

_READ_ROWS = 8  # prompts that are read at once


@dataclasses.dataclass(frozen=True)
class Sample:
  """One continuation of one prompt.

  Attributes:
    prompt, text: as text; `text` ends before a stop string and leaves out end_of_text.
    tokens: what was sampled, int32, with the token that completed the stop string or the end_of_text as its last.
    finish: why it ended: 'length' (max_new_tokens), 'end_of_text' or 'stop'.
    prompt_index, sample_index: which prompt, and which of its samples.
  """

  prompt: str
  text: str
  tokens: np.ndarray
  finish: str
  prompt_index: int
  sample_index: int


def generate(
  params: Any,
  config: DecoderConfig | bigram.BigramConfig,
  tokenizer: tokenizers.Tokenizer,
  prompts: Sequence[str | np.ndarray],
  *,
  sampling: SamplingConfig = PLAIN,
  max_new_tokens: int = 128,
  num_samples: int = 1,
  stop: str | Sequence[str] = (),
  seed: int = 0,
  batch_size: int = 8,
  on_text: Callable[[int, str], None] | None = None,
  steps_per_dispatch: int | None = None,
) -> list[Sample]:
  """Continues every prompt `num_samples` times.

  A sample is determined by (seed, prompt, its number, sampling) up to the rounding of the model's arithmetic; it does
  not depend on the other prompts. Past the model's context a row goes on in a sliding window: the last half of the
  context is read anew, as the row's only past.

  Args:
    params: of `config`, in the dtype to compute in (bfloat16 halves what each token reads from memory).
    prompts: texts, or arrays of token ids. A text stands behind begin_of_text,
      where the tokenizer has one. An empty one starts from end_of_text, else (the tokenizer has none) from
      the last id of a line break, else (it cannot be encoded) from id 0.
    stop: strings that end a row.
    batch_size: rows decoded at once, the slots of the engine. Memory grows with it; so does throughput.
    on_text: called as on_text(index into the result, new text) whenever text of a row is settled.
    steps_per_dispatch: tokens between two looks at the text; by default 4 with on_text, else 16.

  Returns:
    len(prompts) x num_samples samples, prompt by prompt.

  Raises:
    UserError: a prompt that is longer than the context, an id outside the vocabulary, a text that the tokenizer
      cannot encode, or a number below 1.
  """
  for name, value in (('num_samples', num_samples), ('batch_size', batch_size), ('max_new_tokens', max_new_tokens)):
    if value < 1:
      raise UserError(f'{name}={value} must be 1 or more')
  if tokenizer.vocab_size > config.vocab_size:
    raise UserError(
      f'tokenizer {tokenizer.name} has {tokenizer.vocab_size} ids, but the model only {config.vocab_size}: '
      f'use the tokenizer that the model was trained with'
    )
  decoder = make_decoder(config, tokenizer.vocab_size)
  encoded = [_encode(tokenizer, prompt) for prompt in prompts]
  for number, tokens in enumerate(encoded):
    decoders.check_prompt(tokens, decoder, f'prompt {number}')
  if steps_per_dispatch is None:
    steps_per_dispatch = 16 if on_text is None else 4
  rows = [(prompt, number) for prompt in range(len(prompts)) for number in range(num_samples)]
  engine = Engine(
    decoder,
    params,
    slots=_num_slots(min(batch_size, len(rows)), params),
    end_of_text=tokenizer.end_of_text,
    max_length=max((len(tokens) for tokens in encoded), default=1) + max_new_tokens,
    steps_per_dispatch=steps_per_dispatch,
    dispatch_seconds=float('inf'),
    read_rows=_READ_ROWS,
    prefix_blocks=64 if num_samples > 1 else 0,
  )
  options: dict[str, Any] = dict(sampling=sampling, max_tokens=max_new_tokens, seed=seed, slides=True)
  numbers = [engine.submit(Request(encoded[prompt], stream=(prompt, number), **options)) for prompt, number in rows]
  texts = {number: _Text(TextStream(tokenizer, stop)) for number in numbers}
  while engine.busy:
    for event in engine.step():
      piece = texts[event.id].add(event, tokenizer.end_of_text)
      if texts[event.id].stream.stopped:
        engine.cancel(event.id)
      if piece and on_text is not None:
        on_text(numbers.index(event.id), piece)
  samples = []
  for (prompt, number), text in zip(rows, texts.values(), strict=True):
    given = prompts[prompt]
    shown = given if isinstance(given, str) else tokenizer.decode(given)
    samples.append(Sample(shown, text.stream.text, np.array(text.tokens, np.int32), text.finish, prompt, number))
  return samples


@dataclasses.dataclass
class _Text:
  """A row's tokens as text, up to a stop string."""

  stream: TextStream
  tokens: list[int] = dataclasses.field(default_factory=list)
  finish: str = ''

  def add(self, event: Event, end_of_text: int | None) -> str:
    """The text that an event settles."""
    if self.stream.stopped:
      return ''
    piece = ''
    for token in event.tokens:
      self.tokens.append(token)
      if token != end_of_text:
        piece += self.stream.push(token)
      if self.stream.stopped:
        self.finish = 'stop'
        return piece
    if event.finish is not None:
      piece += self.stream.close()
      self.finish = 'stop' if self.stream.stopped else event.finish
    return piece


def _num_slots(rows: int, params: Any) -> int:
  """A power of two, and on a CPU not below what bfloat16 parameters are fastest with."""
  return 1 << (max(rows, smallest_rows(params)) - 1).bit_length()


def _encode(tokenizer: tokenizers.Tokenizer, prompt: str | np.ndarray) -> np.ndarray:
  tokens = tokenizer.encode(prompt) if isinstance(prompt, str) else np.asarray(prompt, np.int64)
  if isinstance(prompt, str) and tokenizer.begin_of_text is not None:
    return np.concatenate([np.array([tokenizer.begin_of_text], np.int32), tokens])
  if tokens.size:
    return tokens
  if tokenizer.end_of_text is not None:
    return np.array([tokenizer.end_of_text], np.int32)
  try:
    newline = tokenizer.encode('\n')
  except UserError:
    newline = np.array([], np.int32)
  return newline[-1:] if newline.size else np.zeros(1, np.int32)
