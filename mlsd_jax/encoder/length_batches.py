"""Texts of mixed length in batches of few shapes, so that little is padding and nothing compiles twice."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from mlsd_jax.tokenizers.bpe import BPETokenizer
from mlsd_jax.tokenizers.sentencepiece import SentencePieceTokenizer
from mlsd_jax.tokenizers.wordpiece import WordPieceTokenizer

type EncoderTokenizer = WordPieceTokenizer | SentencePieceTokenizer | BPETokenizer


@dataclasses.dataclass(frozen=True)
class Shapes:
  """The batch shapes there are: for every length its full batch, and one of 8 rows and one of 1 for what is left.

  Attributes:
    max_length: no text is longer.
    batch_tokens: rows x length of a full batch, about; never less than a row a way.
    ways: every number of rows is a multiple of it: how many devices share a batch.
  """

  max_length: int
  batch_tokens: int
  ways: int = 1

  @property
  def lengths(self) -> tuple[int, ...]:
    """Multiples of 16 up to 128, of 32 up to 256, of 64 from there: at most an eighth of a long text is padding."""
    steps = [*range(16, 128, 16), *range(128, 256, 32), *range(256, self.max_length, 64)]
    return (*(step for step in steps if step < self.max_length), self.max_length)

  def rows(self, length: int) -> tuple[int, ...]:
    """The numbers of rows there are at a length, ascending."""
    full = max(self.batch_tokens // length // self.ways, 1)
    return tuple(sorted({min(rows, full) * self.ways for rows in (1, 8, full)}))

  def plan(self, lengths_N: np.ndarray) -> Iterator[tuple[np.ndarray, int, int]]:
    """(which texts, rows, length) of each batch; longest texts first, so that a lack of memory shows at once."""
    order = np.argsort(-lengths_N, kind='stable')
    steps, start = np.array(self.lengths), 0
    while start < len(order):
      length = int(steps[np.searchsorted(steps, lengths_N[order[start]])])
      sizes = self.rows(length)
      left = len(order) - start
      rows = next((size for size in sizes if size >= left), sizes[-1])
      yield order[start : start + rows], rows, length
      start += rows


def text_ids(tokenizer: EncoderTokenizer, texts: Sequence[str], max_length: int) -> list[list[int]]:
  """[CLS] text [SEP] of each text, cut to `max_length` ids."""
  cls, sep = tokenizer.special_tokens['[CLS]'], tokenizer.special_tokens['[SEP]']
  return [[cls, *tokenizer.first_ids(text, max_length - 2), sep] for text in texts]


def pair_ids(
  tokenizer: EncoderTokenizer, pairs: Sequence[tuple[str, str]], max_length: int
) -> tuple[list[list[int]], list[int]]:
  """[CLS] first [SEP] second [SEP] of each pair, [SEP] twice between them in XLM-R, and how long the first segment is.

  The longer text of a pair is cut first, until both are of one length (as Hugging Face's 'longest_first').
  """
  cls, sep = tokenizer.special_tokens['[CLS]'], tokenizer.special_tokens['[SEP]']
  between = [sep] * tokenizer.separators
  room = max_length - 2 - len(between)
  firsts = {text: tokenizer.first_ids(text, room) for text in {first for first, _ in pairs}}
  seconds = {text: tokenizer.first_ids(text, room) for text in {second for _, second in pairs}}
  rows, split = [], []
  for one, other in pairs:
    first, second = firsts[one], seconds[other]
    if len(first) + len(second) > room:
      half, odd = divmod(room, 2)
      if min(len(first), len(second)) <= half:
        shorter = min(len(first), len(second))
        first, second = first[: max(room - len(second), shorter)], second[: max(room - len(first), shorter)]
      elif _longer(tokenizer, one, other):
        first, second = first[: half + odd], second[:half]
      else:
        first, second = first[:half], second[: half + odd]
    rows.append([cls, *first, *between, *second, sep])
    split.append(len(first) + 1 + len(between))
  return rows, split


def _longer(tokenizer: EncoderTokenizer, one: str, other: str) -> bool:
  return len(tokenizer.first_ids(one, None)) > len(tokenizer.first_ids(other, None))


def padded(ids: Sequence[Sequence[int]], rows: int, length: int) -> tuple[np.ndarray, np.ndarray]:
  """(tokens [rows, length], lengths [rows]) int32; rows without a text hold one token, so that nothing divides by 0."""
  tokens, lengths = np.zeros((rows, length), np.int32), np.ones(rows, np.int32)
  for row, text in enumerate(ids):
    tokens[row, : len(text)] = text
    lengths[row] = len(text)
  return tokens, lengths
