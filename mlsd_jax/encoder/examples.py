"""Training examples of encoders out of texts in memory, as arrays for data/batches.py."""

import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mlsd_jax.data.batches import Arrange, Batch
from mlsd_jax.encoder.length_batches import EncoderTokenizer, pair_ids, text_ids
from mlsd_jax.errors import UserError

MASKED_SHARE = 0.15


class Pair(NamedTuple):
  """A query, the passage that answers it, and passages that do not."""

  query: str
  passage: str
  negatives: tuple[str, ...] = ()


class Ranked(NamedTuple):
  """A query, passages, and for each what it is worth: 1 and 0, or a teacher's scores."""

  query: str
  passages: tuple[str, ...]
  targets: tuple[float, ...]


def pair_arrays(
  pairs: Sequence[Pair],
  tokenizer: EncoderTokenizer,
  *,
  query_prefix: str,
  passage_prefix: str,
  query_length: int,
  passage_length: int,
) -> Batch:
  """Of contrastive_task.

  Raises:
    UserError: no pairs, or some with more negatives than others.
  """
  count = _same({len(pair.negatives) for pair in pairs}, 'negatives') + 1
  passages = [passage for pair in pairs for passage in (pair.passage, *pair.negatives)]
  queries = text_ids(tokenizer, [query_prefix + pair.query for pair in pairs], query_length)
  ids = text_ids(tokenizer, [passage_prefix + passage for passage in passages], passage_length)
  return {
    'queries': _filled(queries, query_length),
    'passages': _filled(ids, passage_length).reshape(-1, count, passage_length),
    'passage_ids': _numbers(passages).reshape(-1, count),
    'weights': np.ones(len(pairs), np.float32),
  }


def ranked_arrays(lists: Sequence[Ranked], tokenizer: EncoderTokenizer, *, length: int) -> Batch:
  """Of cross_encoder_task.

  Raises:
    UserError: no lists, or some longer than others.
  """
  count = _same({len(ranked.passages) for ranked in lists}, 'passages')
  _same({len(ranked.targets) - count for ranked in lists} | {0}, 'targets')
  pairs = [(ranked.query, passage) for ranked in lists for passage in ranked.passages]
  ids, firsts = pair_ids(tokenizer, pairs, length)
  return {
    'pairs': _filled(ids, length).reshape(-1, count, length),
    'firsts': np.array(firsts, np.int32).reshape(-1, count),
    'targets': np.array([ranked.targets for ranked in lists], np.float32),
    'weights': np.ones(len(lists), np.float32),
  }


def text_arrays(texts: Sequence[str], tokenizer: EncoderTokenizer, *, length: int) -> Batch:
  """Of masked_lm_task before words are masked: each text in pieces of `length`, the last padded.

  Raises:
    UserError: there is no text.
  """
  cls, sep = tokenizer.special_tokens['[CLS]'], tokenizer.special_tokens['[SEP]']
  room, pieces = length - 2, []
  for text in texts:
    ids = tokenizer.first_ids(text, None)
    pieces += [[cls, *ids[start : start + room], sep] for start in range(0, len(ids), room)]
  if not pieces:
    raise UserError('there is no text to train on')
  return {'tokens': _filled(pieces, length)}


def masker(tokenizer: EncoderTokenizer) -> Arrange:
  """Chooses 15% of a text's tokens: 80% become [MASK], 10% any token, 10% stay (Devlin et al. 2018, section 3.1).

  Raises:
    UserError: the vocabulary has no [MASK].
  """
  if '[MASK]' not in tokenizer.special_tokens:
    raise UserError('the vocabulary holds no [MASK]')
  mask, special = tokenizer.special_tokens['[MASK]'], np.array(list(tokenizer.special_tokens.values()))

  def arrange(rng: np.random.Generator, rows: Batch) -> Batch:
    tokens = rows['tokens'].copy()
    shape = tokens.shape[0], max(round(MASKED_SHARE * tokens.shape[1]), 1)
    maskable = (tokens >= 0) & ~np.isin(tokens, special)
    order = np.argsort(np.where(maskable, rng.random(tokens.shape), 2.0), axis=1)
    positions = order[:, : shape[1]].astype(np.int32)
    wanted = np.ceil(MASKED_SHARE * maskable.sum(axis=1, keepdims=True))
    chosen = (np.arange(shape[1]) < wanted) & np.take_along_axis(maskable, positions, axis=1)
    targets = np.take_along_axis(tokens, positions, axis=1)
    draw = rng.random(shape)
    written = np.where(draw < 0.8, mask, np.where(draw < 0.9, rng.integers(0, tokenizer.vocab_size, shape), targets))
    np.put_along_axis(tokens, positions, np.where(chosen, written, targets).astype(np.int32), axis=1)
    return {
      'tokens': tokens,
      'positions': positions,
      'targets': np.maximum(targets, 0),
      'weights': chosen.astype(np.float32),
    }

  return arrange


def _same(counts: set[int], name: str) -> int:
  if len(counts) != 1:
    raise UserError(f'every example must have the same number of {name}' if counts else 'there are no examples')
  return counts.pop()


def _filled(ids: Sequence[Sequence[int]], length: int) -> np.ndarray:
  """int32 [N, length], -1 behind each text."""
  filled = np.full((len(ids), length), -1, np.int32)
  for row, text in enumerate(ids):
    filled[row, : len(text)] = text
  return filled


def _numbers(texts: Sequence[str]) -> np.ndarray:
  """int32: equal texts have equal numbers. (Others hardly ever: one in four billion pairs.)"""
  return np.array([zlib.crc32(text.encode('utf-8', 'surrogatepass')) for text in texts], np.uint32).view(np.int32)
