"""Text from a GPT: prompts in, samples out."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mlsd_jax import tokenizers
from mlsd_jax.errors import UserError
from mlsd_jax.generation import decode
from mlsd_jax.generation.sampling import PLAIN, SamplingConfig
from mlsd_jax.generation.stopping import TextStream
from mlsd_jax.models import bigram, gpt, partial_gpt


@dataclasses.dataclass(frozen=True)
class GPTDecoder:
  """A GPT as a decode.Decoder that samples the first `vocab_size` ids only."""

  config: gpt.GPTConfig
  vocab_size: int

  @property
  def context_length(self) -> int:
    return self.config.context_length

  def init_cache(self, params: Any, pad_B: jax.Array, slots: int) -> gpt.Cache:
    # Padding takes slots but no position, so that a padded cache may be longer than the context.
    room = dataclasses.replace(self.config, context_length=max(slots, self.context_length))
    return gpt.init_cache(room, pad_B, slots, params['token_embedding'].dtype)

  def apply(self, params: Any, tokens_BT: jax.Array, cache: gpt.Cache, *, first: bool) -> tuple[jax.Array, gpt.Cache]:
    apply_cached = partial_gpt.functions_of(self.config).apply_cached
    logits_BV, cache = apply_cached(params, tokens_BT, self.config, cache, first=first)
    return logits_BV[:, : self.vocab_size], cache


@dataclasses.dataclass(frozen=True)
class BigramDecoder:
  """A bigram table as a decode.Decoder: nothing before the last token matters, so there is nothing to cache."""

  config: bigram.BigramConfig
  context_length: int = 2**20

  @property
  def vocab_size(self) -> int:
    return self.config.vocab_size

  def init_cache(self, params: Any, pad_B: jax.Array, slots: int) -> None:
    return None

  def apply(self, params: Any, tokens_BT: jax.Array, cache: None, *, first: bool) -> tuple[jax.Array, None]:
    return bigram.apply(params, tokens_BT[:, -1:], self.config)[:, 0], None


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
  config: gpt.GPTConfig | bigram.BigramConfig,
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
  not depend on batch_size nor on the other prompts. Past the model's context a row goes on in a sliding window, see
  decode.py.

  Args:
    params: of `config`, in the dtype to compute in (bfloat16 halves what each token reads from memory).
    prompts: texts, or arrays of token ids. An empty one starts from end_of_text, else (the tokenizer has none) from
      the last id of a line break, else (it cannot be encoded) from id 0.
    stop: strings that end a row.
    batch_size: rows decoded at once. Memory grows with it; so does throughput.
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
  decoder: decode.Decoder
  if isinstance(config, bigram.BigramConfig):
    decoder = BigramDecoder(config)
  else:
    decoder = GPTDecoder(config, tokenizer.vocab_size)
  if len(set(sampling.banned) & set(range(decoder.vocab_size))) == decoder.vocab_size:
    raise UserError('banned holds every token of the vocabulary; leave at least one to sample')
  encoded = [_encode(tokenizer, prompt) for prompt in prompts]
  for number, tokens in enumerate(encoded):
    decode.check_prompt(tokens, decoder, f'prompt {number}')
  params = jax.tree.map(jnp.asarray, params)
  if steps_per_dispatch is None:
    steps_per_dispatch = 16 if on_text is None else 4

  # Prompts of like length share a batch: less padding. A row's keys follow its prompt and number, not its place here.
  rows = [(prompt, sample) for prompt in range(len(prompts)) for sample in range(num_samples)]
  order = sorted(range(len(rows)), key=lambda row: len(encoded[rows[row][0]]))
  samples: list[Sample | None] = [None] * len(rows)
  for start in range(0, len(order), batch_size):
    chosen = order[start : start + batch_size]
    session = decode.Session(
      decoder,
      params,
      [encoded[rows[row][0]] for row in chosen],
      decode.row_keys(seed, [rows[row][0] for row in chosen], [rows[row][1] for row in chosen]),
      sampling=sampling,
      max_new_tokens=max_new_tokens,
      end_of_text=tokenizer.end_of_text,
      steps_per_dispatch=steps_per_dispatch,
    )
    for row, sampled, stream in zip(chosen, *_run(session, tokenizer, stop, chosen, on_text), strict=True):
      prompt, number = rows[row]
      given = prompts[prompt]
      text = given if isinstance(given, str) else tokenizer.decode(given)
      ended = bool(sampled) and sampled[-1] == tokenizer.end_of_text
      finish = 'stop' if stream.stopped else 'end_of_text' if ended else 'length'
      samples[row] = Sample(text, stream.text, np.array(sampled, np.int32), finish, prompt, number)
  return [sample for sample in samples if sample is not None]


def _run(session, tokenizer, stop, chosen, on_text) -> tuple[list[list[int]], list[TextStream]]:
  """Decodes a session to its end: each row's sampled tokens and text."""
  streams = [TextStream(tokenizer, stop) for _ in chosen]
  tokens: list[list[int]] = [[] for _ in chosen]

  def emit(row, piece):
    if piece and on_text is not None:
      on_text(chosen[row], piece)

  while not session.done.all():
    was_done = session.done.copy()
    for row, new in enumerate(session.advance()):
      for token in new:
        tokens[row].append(token)
        if token != tokenizer.end_of_text:
          emit(row, streams[row].push(token))
        if streams[row].stopped:
          session.finish(row)
          break
      if session.done[row] and not was_done[row]:
        emit(row, streams[row].close())
  return tokens, streams


def _encode(tokenizer: tokenizers.Tokenizer, prompt: str | np.ndarray) -> np.ndarray:
  tokens = tokenizer.encode(prompt) if isinstance(prompt, str) else np.asarray(prompt, np.int64)
  if tokens.size:
    return tokens
  if tokenizer.end_of_text is not None:
    return np.array([tokenizer.end_of_text], np.int32)
  try:
    newline = tokenizer.encode('\n')
  except UserError:
    newline = np.array([], np.int32)
  return newline[-1:] if newline.size else np.zeros(1, np.int32)
