"""Language models as decoding sees them: a cache that is extended, hidden states, and logits.

Names: B rows of a batch, R rows of a cache, S slots of a cache, T tokens, V vocabulary.
"""

import dataclasses
from typing import Any, Protocol

import jax
import numpy as np

from mlsd_jax.errors import UserError
from mlsd_jax.models import attention, bigram, gpt
from mlsd_jax.models.families import DecoderConfig, functions_of

_COARSE = 64


class Decoder(Protocol):
  """A language model with a cache. Hashable: it is a static argument of what is compiled."""

  @property
  def vocab_size(self) -> int:
    """Width of the logits: only ids below it are ever sampled."""

  @property
  def context_length(self) -> int:
    """The most tokens of a row that the model can see at once."""

  def init_cache(self, params: Any, rows: int, slots: int) -> Any:
    """An empty cache for `slots` tokens a row."""

  def extend(
    self, params: Any, tokens_BT: jax.Array, cache: Any, index_B: jax.Array, rows_B: Any
  ) -> tuple[jax.Array, Any]:
    """Hidden states [B, T, ...] of tokens that follow what the cache holds, and the cache with them too.

    Args:
      index_B: how many tokens the cache holds of each row. What it has behind them counts for nothing.
      rows_B: None where the batch is all rows of the cache, else which of them it is.
    """

  def logits(self, params: Any, hidden_BT: jax.Array) -> jax.Array:
    """[B, T, vocab_size] behind each of the hidden states."""

  def cut(self, cache: Any, row: jax.Array, start: jax.Array, slots: int) -> Any:
    """What the cache holds of a row's tokens start to start + slots - 1."""

  def paste(self, cache: Any, block: Any, row: jax.Array, start: jax.Array) -> Any:
    """The cache with what `cut` gave in another place."""


@dataclasses.dataclass(frozen=True)
class GPTDecoder:
  """A GPT, of its paper, partial or modern, as a Decoder that samples the first `vocab_size` ids only."""

  config: DecoderConfig
  vocab_size: int

  @property
  def context_length(self) -> int:
    return self.config.context_length

  def init_cache(self, params: Any, rows: int, slots: int) -> gpt.Cache:
    return functions_of(self.config).init_cache(self.config, rows, slots, params['token_embedding'].dtype)

  def extend(
    self, params: Any, tokens_BT: jax.Array, cache: gpt.Cache, index_B: jax.Array, rows_B: Any
  ) -> tuple[jax.Array, gpt.Cache]:
    return functions_of(self.config).apply_cached(params, tokens_BT, self.config, cache, index_B, rows_B=rows_B)

  def logits(self, params: Any, hidden_BT: jax.Array) -> jax.Array:
    return functions_of(self.config).head(params, hidden_BT, self.config)[..., : self.vocab_size]

  def cut(self, cache: gpt.Cache, row: jax.Array, start: jax.Array, slots: int) -> gpt.Cache:
    return cache.cut(row, start, slots)

  def paste(self, cache: gpt.Cache, block: gpt.Cache, row: jax.Array, start: jax.Array) -> gpt.Cache:
    return cache.paste(block, row, start)


@dataclasses.dataclass(frozen=True)
class BigramDecoder:
  """A bigram table as a Decoder: nothing before the last token matters, so there is nothing to cache."""

  config: bigram.BigramConfig
  context_length: int = 2**20

  @property
  def vocab_size(self) -> int:
    return self.config.vocab_size

  def init_cache(self, params: Any, rows: int, slots: int) -> None:
    return None

  def extend(self, params: Any, tokens_BT: jax.Array, cache: None, index_B: jax.Array, rows_B: Any):
    return tokens_BT, None

  def logits(self, params: Any, hidden_BT: jax.Array) -> jax.Array:
    return bigram.apply(params, hidden_BT, self.config)

  def cut(self, cache: None, row: jax.Array, start: jax.Array, slots: int) -> None:
    return None

  def paste(self, cache: None, block: None, row: jax.Array, start: jax.Array) -> None:
    return None


def make_decoder(config: DecoderConfig | bigram.BigramConfig, vocab_size: int) -> Decoder:
  """The decoder of a model's config that samples the first `vocab_size` ids only."""
  return BigramDecoder(config) if isinstance(config, bigram.BigramConfig) else GPTDecoder(config, vocab_size)


def bucket(length: int, smallest: int = 16) -> int:
  """The next power of two up to 64, the next multiple of 64 above; at least `smallest`."""
  if length > _COARSE:
    return -(-length // _COARSE) * _COARSE
  return max(smallest, 1 << max(length - 1, 0).bit_length())


def cache_slots(length: int, context_length: int) -> int:
  """Slots of a cache for `length` tokens: a multiple of CACHE_BLOCK, or a power of two where the context is shorter.

  Not less for a shorter text: attention sums over blocks, and in other blocks it would round otherwise.
  """
  block = attention.CACHE_BLOCK
  return -(-length // block) * block if context_length > block else max(16, 1 << (context_length - 1).bit_length())


def check_prompt(prompt: np.ndarray, decoder: Decoder, what: str) -> None:
  """Raises UserError, naming `what`, unless 1 to context_length ids of the vocabulary are given."""
  prompt = np.asarray(prompt)
  if prompt.ndim != 1 or not (prompt.size == 0 or np.issubdtype(prompt.dtype, np.integer)):
    raise UserError(f'{what} must be a list of token ids, whole numbers')
  if prompt.size == 0:
    raise UserError(f'{what} is empty; give at least one token')
  if prompt.size > decoder.context_length:
    raise UserError(f'{what} has {prompt.size} tokens, more than the {decoder.context_length} positions of the model')
  bad = prompt[(prompt < 0) | (prompt >= decoder.vocab_size)]
  if bad.size:
    raise UserError(f'{what} holds token id {bad[0]}, outside 0 to {decoder.vocab_size - 1} of the model')
