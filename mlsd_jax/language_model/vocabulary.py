"""New tokens for a trained model: rows of its tables and ids of its tokenizer, such as those that a chat template marks
turns with."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from mlsd_jax.errors import UserError
from mlsd_jax.models.families import DecoderConfig
from mlsd_jax.tokenizers import BPETokenizer, Tokenizer
from mlsd_jax.tokenizers.exchange import as_bpe

_TABLES = ('token_embedding', 'head', 'value_embeddings')


def add_tokens(
  params: Any, config: DecoderConfig, tokenizer: Tokenizer, words: Sequence[str]
) -> tuple[Any, DecoderConfig, Tokenizer]:
  """The model and its tokenizer with a token of its own for each word that has none.

  A new row is the mean of all there are: the model reads it as no word in particular, and gives it the probability of a
  middling one (Hewitt 2021, nlp.stanford.edu/~johnhew/vocab-expansion.html), where a random row may take all of it.

  Raises:
    UserError: the tokenizer is no byte-level BPE, which alone has special tokens.
  """
  missing = [word for word in words if word not in getattr(tokenizer, 'special_tokens', {})]
  if not missing:
    return params, config, tokenizer
  bpe = as_bpe(tokenizer)
  if bpe is None:
    raise UserError(f'tokenizer {tokenizer.name} is no byte-level BPE: it cannot have {missing[0]} as a token')
  size = tokenizer.vocab_size
  state = bpe.state()
  usual = bpe.name == f'bpe-{bpe.vocab_size}'
  state['name'] = '' if usual else f'{bpe.name}+{len(missing)}'
  state['special_tokens'] = bpe.special_tokens | {word: size + i for i, word in enumerate(missing)}
  grown = BPETokenizer.from_state(state)
  if grown.vocab_size <= config.vocab_size:  # some models have rows to spare
    return params, config, grown
  target = dataclasses.replace(config, vocab_size=grown.vocab_size)

  def grow(table: Any) -> np.ndarray:
    real = np.asarray(table)[: config.vocab_size]
    new = np.broadcast_to(real.mean(0, keepdims=True), (target.vocab_size - config.vocab_size, real.shape[1]))
    padding = np.zeros((target.padded_vocab_size - target.vocab_size, real.shape[1]), real.dtype)
    return np.concatenate([real, new.astype(real.dtype), padding])

  return {name: jax.tree.map(grow, leaf) if name in _TABLES else leaf for name, leaf in params.items()}, target, grown
