"""Byte-level byte-pair encoding, small enough to train at start-up.

Text is cut into pieces (words with their leading space, runs of digits, of punctuation, of white space), and within a
piece the most frequent pair of adjacent tokens is merged again and again. After Sennrich et al. 2016
(https://arxiv.org/abs/1508.07909) over bytes, as in GPT-2.
"""

import collections
import functools
import hashlib
import heapq
import itertools
import json
from collections.abc import Iterable
from typing import Any, Self

import numpy as np

from mlsd_jax.errors import UserError
from mlsd_jax.tokenizers import base

# GPT-2's pattern in the possessive form that tiktoken publishes for it: the same pieces, sooner.
PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""

type Pair = tuple[int, int]


class BPETokenizer(base.Tokenizer):
  """Ids 0 to 255 are the bytes, 256 + i is the i-th merge, the last id ends a text."""

  kind = 'bpe'

  def __init__(self, merges: Iterable[Pair]):
    """Args: merges: pairs of ids in the order they were learned; the i-th makes id 256 + i."""
    self.merges = [(int(left), int(right)) for left, right in merges]
    self.tokens = [bytes([byte]) for byte in range(256)]
    for left, right in self.merges:
      if not 0 <= left < len(self.tokens) or not 0 <= right < len(self.tokens):
        raise UserError(f'merge {(left, right)} uses a token that no earlier merge makes')
      self.tokens.append(self.tokens[left] + self.tokens[right])
    self._ranks = {token: i for i, token in enumerate(self.tokens)}
    if len(self._ranks) != len(self.tokens):
      raise UserError('two merges make the same token')
    self.vocab_size = len(self.tokens) + 1
    self.end_of_text = len(self.tokens)
    self.name = f'bpe-{self.vocab_size}'
    self.fingerprint = hashlib.sha256(json.dumps(['bpe', PATTERN, self.merges]).encode()).hexdigest()

  def encode(self, text: str) -> np.ndarray:
    return self._fast.encode_to_numpy(base.well_formed(text), disallowed_special=()).astype(np.int32)

  @functools.cached_property
  def _fast(self) -> Any:
    import tiktoken

    return tiktoken.Encoding(self.name, pat_str=PATTERN, mergeable_ranks=self._ranks, special_tokens={})

  def encode_readably(self, text: str) -> list[int]:
    """What `encode` does, in plain Python: in each piece, merge the pair that was learned first until none is left."""
    ids: list[int] = []
    for piece in split(text):
      tokens = list(piece.encode())
      while True:
        merged = [self.tokens[left] + self.tokens[right] for left, right in itertools.pairwise(tokens)]
        ranks = [self._ranks.get(token, self.vocab_size) for token in merged]
        if min(ranks, default=self.vocab_size) == self.vocab_size:
          break
        first = ranks.index(min(ranks))
        tokens[first : first + 2] = [ranks[first]]
      ids.extend(tokens)
    return ids

  def decode_bytes(self, ids: base.Ids) -> bytes:
    tokens = [*self.tokens, base.END_OF_TEXT.encode()]
    return b''.join([tokens[i] for i in self._checked(ids).tolist()])

  def state(self) -> dict[str, Any]:
    return {'merges': self.merges}

  @classmethod
  def from_state(cls, state: dict[str, Any]) -> Self:
    return cls(state['merges'])

  @classmethod
  def train(cls, texts: Iterable[str], vocab_size: int) -> Self:
    """Learns vocab_size - 257 merges from `texts`; fewer if no pair occurs twice any more.

    The pair that occurs most often is merged first, of equally frequent ones the smaller pair of ids. Takes memory and
    time in proportion to the distinct pieces, meant for vocabularies of some thousands over some megabytes.

    Raises:
      UserError: vocab_size is below the 257 of the bytes and the end of text.
    """
    if vocab_size < 257:
      raise UserError(
        f'a byte-level vocabulary has at least 257 tokens (the bytes and the end of text), not {vocab_size}'
      )
    pieces: collections.Counter[str] = collections.Counter()
    for text in texts:
      pieces.update(split(text))
    return cls(learn_merges({piece.encode(): count for piece, count in pieces.items()}, vocab_size - 257))


def split(text: str) -> list[str]:
  """The pieces of `text` within which tokens are merged."""
  return _pattern().findall(base.well_formed(text))


@functools.cache
def _pattern() -> Any:
  import regex

  return regex.compile(PATTERN)


def learn_merges(pieces: dict[bytes, int], num_merges: int) -> list[Pair]:
  """Up to `num_merges` merges of the most frequent pair in `pieces`, a count for each distinct piece.

  A merge touches only the pieces that hold its pair. The heap is lazy: an entry whose count has fallen since it was
  pushed goes back with the current count when it comes up; a count that rises is pushed anew.
  """
  words = [list(piece) for piece in pieces]
  counts = list(pieces.values())
  pair_counts: collections.Counter[Pair] = collections.Counter()
  where: collections.defaultdict[Pair, set[int]] = collections.defaultdict(set)
  for i, (word, count) in enumerate(zip(words, counts, strict=True)):
    for pair in itertools.pairwise(word):
      pair_counts[pair] += count
      where[pair].add(i)
  heap = [(-count, pair) for pair, count in pair_counts.items()]
  heapq.heapify(heap)

  merges: list[Pair] = []
  while heap and len(merges) < num_merges:
    negative_count, best = heapq.heappop(heap)
    if -negative_count != pair_counts[best]:
      if pair_counts[best] > 0:
        heapq.heappush(heap, (-pair_counts[best], best))
      continue
    if pair_counts[best] < 2:
      break
    new_token = 256 + len(merges)
    merges.append(best)
    risen: set[Pair] = set()
    for i in where.pop(best):
      word, count = words[i], counts[i]
      for pair in itertools.pairwise(word):
        pair_counts[pair] -= count
      words[i] = word = _merge(word, best, new_token)
      for pair in itertools.pairwise(word):
        pair_counts[pair] += count
        if new_token in pair:
          where[pair].add(i)
          risen.add(pair)
    for pair in risen:
      heapq.heappush(heap, (-pair_counts[pair], pair))
  return merges


def _merge(word: list[int], pair: Pair, new_token: int) -> list[int]:
  left, right = pair
  merged = []
  i = 0
  while i < len(word):
    if word[i] == left and i + 1 < len(word) and word[i + 1] == right:
      merged.append(new_token)
      i += 2
    else:
      merged.append(word[i])
      i += 1
  return merged
