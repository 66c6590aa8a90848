"""The unigram language model as a tokenizer (Kudo 2018, arXiv:1804.10959), over bytes.

A text's pieces are cut into the tokens of the greatest product of probabilities; or, to regularise the training of a
model, into tokens drawn by that product. Probabilities are learned by expectation maximisation over all ways to cut,
from more tokens than are wanted; those whose loss costs the likelihood least go, a quarter at a time.
"""

import collections
import functools
import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np

from mlsd_jax.errors import UserError
from mlsd_jax.tokenizers import base
from mlsd_jax.tokenizers.lattice import Lattice
from mlsd_jax.tokenizers.patterns import pattern_for
from mlsd_jax.tokenizers.pieces import count_pieces

LONGEST_TOKEN = 16  # bytes
_LONGEST_PIECE = 48  # bytes; longer ones are too few to learn from
_SEEDS_PER_TOKEN = 8
_KEPT_SHARE = 0.75
_FALLBACK = 10.0  # nats that a byte of no learned token costs above the rarest token


class UnigramTokenizer(base.Tokenizer):
  """Ids 0 to 255 are the bytes, which any text falls back on; then the learned tokens, the likeliest first.

  Attributes:
    learned: the tokens from id 256 on.
    log_probs: float64, natural logarithms, of those.
    pattern: cuts text into pieces, as in byte-pair encoding.
  """

  kind = 'unigram'

  def __init__(self, learned: Sequence[bytes], log_probs: Sequence[float], *, pattern: str = 'gpt4'):
    """Raises: UserError: a token that comes twice, is empty, or has no finite log probability of at most 0."""
    self.learned = tuple(map(bytes, learned))
    self.log_probs = np.asarray(log_probs, np.float64)
    self.pattern = pattern_for(pattern)
    if len(set(self.learned)) < len(self.learned) or b'' in self.learned:
      raise UserError('the tokens of a unigram model must be different and not empty')
    if self.log_probs.shape != (len(self.learned),) or not np.all((self.log_probs <= 0) & np.isfinite(self.log_probs)):
      raise UserError('a unigram model needs one finite log probability, at most 0, for each token')
    self.end_of_text = 256 + len(self.learned)
    self.vocab_size = self.end_of_text + 1
    self.name = f'unigram-{self.vocab_size}'
    identity = [self.pattern.plain, [token.hex() for token in self.learned], self.log_probs.tolist()]
    self.fingerprint = hashlib.sha256(json.dumps(identity).encode()).hexdigest()
    self._tokens = (*(bytes([byte]) for byte in range(256)), *self.learned, base.END_OF_TEXT.encode())
    self._scores = _with_bytes(self.learned, self.log_probs)
    self._longest = max(map(len, self._scores))

  def encode(self, text: str) -> np.ndarray:
    ids: list[int] = []
    for piece in self.pattern.split(text):
      ids.extend(self._best(piece))
    return np.array(ids, np.int32)

  def _encode_broken(self, data: bytes, valid: int) -> np.ndarray:
    rest = np.array(self._viterbi(data[valid:]), np.int32)
    return np.concatenate([self.encode(data[:valid].decode()), rest])

  @functools.cached_property
  def _best(self):
    return functools.lru_cache(maxsize=2**18)(lambda piece: self._viterbi(piece.encode()))

  def _viterbi(self, piece: bytes) -> list[int]:
    """The likeliest cut of a piece; of equally likely ones the one whose last token is the shortest."""
    score, last = [0.0] + [-math.inf] * len(piece), [(0, 0)] * (len(piece) + 1)
    for end in range(1, len(piece) + 1):
      for start in range(end - 1, max(end - self._longest, 0) - 1, -1):
        found = self._scores.get(piece[start:end])
        if found is not None and score[start] + found[1] > score[end]:
          score[end], last[end] = score[start] + found[1], (start, found[0])
    ids, end = [], len(piece)
    while end:
      end, token = last[end]
      ids.append(token)
    return ids[::-1]

  def sample(self, text: str, rng: np.random.Generator, *, alpha: float = 0.2) -> np.ndarray:
    """One cut drawn in proportion to its probability to the power of `alpha` (Kudo 2018, section 3.3).

    Args:
      alpha: 0 draws all cuts alike, a large one mostly the best.
    """
    ids: list[int] = []
    for piece in self.pattern.split(text):
      ids.extend(self._draw(piece.encode(), rng, alpha))
    return np.array(ids, np.int32)

  def _draw(self, piece: bytes, rng: np.random.Generator, alpha: float) -> list[int]:
    """Forward filtering, backward sampling."""
    total = [0.0] + [-math.inf] * len(piece)
    ways: list[list[tuple[float, int, int]]] = [[] for _ in total]
    for end in range(1, len(piece) + 1):
      for start in range(max(end - self._longest, 0), end):
        found = self._scores.get(piece[start:end])
        if found is not None:
          ways[end].append((total[start] + alpha * found[1], start, found[0]))
      total[end] = float(np.logaddexp.reduce([way[0] for way in ways[end]]))
    ids, end = [], len(piece)
    while end:
      chances = np.exp(np.array([way[0] for way in ways[end]]) - total[end])
      _, end, token = ways[end][rng.choice(len(chances), p=chances / chances.sum())]
      ids.append(token)
    return ids[::-1]

  def decode_bytes(self, ids: base.Ids) -> bytes:
    return b''.join([self._tokens[i] for i in self._checked(ids).tolist()])

  def state(self) -> dict[str, Any]:
    pattern = self.pattern.plain if self.pattern.name == 'own' else self.pattern.name
    tokens = [[token.hex(), log_prob] for token, log_prob in zip(self.learned, self.log_probs.tolist(), strict=True)]
    return {'pattern': pattern, 'tokens': tokens}

  @classmethod
  def from_state(cls, state: Mapping[str, Any]) -> Self:
    tokens = [bytes.fromhex(token) for token, _ in state['tokens']]
    return cls(tokens, [log_prob for _, log_prob in state['tokens']], pattern=state['pattern'])

  @classmethod
  def train(cls, texts: Iterable[str], vocab_size: int, *, pattern: str = 'gpt4', workers: int = 0) -> Self:
    """Learns vocab_size - 257 tokens.

    Raises:
      UserError: vocab_size has no room for the characters of the texts, or so many tokens cannot be found in them.
    """
    counts = count_pieces(texts, pattern_for(pattern), workers=workers).pieces
    pieces = {piece.encode(): count for piece, count in counts.items() if len(piece.encode()) <= _LONGEST_PIECE}
    characters = {c.encode() for piece in counts for c in piece}
    wanted = vocab_size - 257
    if wanted < len(characters):
      raise UserError(f'vocab_size {vocab_size} has no room for 257 bytes and end, and {len(characters)} characters')
    frequencies = _seeds(pieces, characters, _SEEDS_PER_TOKEN * wanted)
    if len(frequencies) < wanted:
      raise UserError(f'only {len(frequencies)} tokens occur twice in so small a text; {wanted} were wanted')
    total = sum(frequencies.values())
    log_probs = {token: math.log(count / total) for token, count in frequencies.items()}
    while True:
      lattice = Lattice(pieces, _with_bytes(list(log_probs), list(log_probs.values())))
      for _ in range(2):
        expected = lattice.expected_counts()
        lattice.set_scores(_maximised(expected))
      log_probs = {token: lattice.score(token) for token in log_probs}
      if len(log_probs) <= wanted:
        break
      log_probs = _pruned(log_probs, lattice, characters, max(wanted, int(_KEPT_SHARE * len(log_probs))))
    likeliest = sorted(log_probs.items(), key=lambda item: (-item[1], item[0]))
    return cls([token for token, _ in likeliest], [min(score, 0.0) for _, score in likeliest], pattern=pattern)


def _with_bytes(learned: Sequence[bytes], log_probs: Sequence[float] | np.ndarray) -> dict[bytes, tuple[int, float]]:
  """(id, score) of every token, the bytes that are no learned token among them."""
  lowest = min(log_probs, default=0.0) - _FALLBACK
  scores = {bytes([byte]): (byte, float(lowest)) for byte in range(256)}
  return scores | {t: (256 + i, float(s)) for i, (t, s) in enumerate(zip(learned, log_probs, strict=True))}


def _seeds(pieces: Mapping[bytes, int], characters: set[bytes], size: int) -> dict[bytes, int]:
  """The characters, and the substrings of pieces that cover most of the text, with their counts."""
  counts: collections.Counter[bytes] = collections.Counter()
  for piece, count in pieces.items():
    edges = [i for i in range(len(piece) + 1) if i == len(piece) or piece[i] & 0xC0 != 0x80]
    for i, start in enumerate(edges):
      for end in edges[i + 1 :]:
        if end - start > LONGEST_TOKEN:
          break
        counts[piece[start:end]] += count
  longer = [token for token, count in counts.items() if count > 1 and token not in characters]
  longer.sort(key=lambda token: (-counts[token] * len(token), token))
  return {token: max(counts[token], 1) for token in [*sorted(characters), *longer[: max(size - len(characters), 0)]]}


def _maximised(expected: np.ndarray) -> np.ndarray:
  """Log probabilities of the M step, by the digamma function as in variational Bayes: it starves rare tokens.

  (As SentencePiece does; Liang and Klein 2007.)
  """
  from scipy.special import digamma

  return np.minimum(digamma(np.maximum(expected, 1e-2)) - digamma(max(expected.sum(), 1.0)), 0.0)


def _pruned(log_probs: dict[bytes, float], lattice: Lattice, characters: set[bytes], size: int) -> dict[bytes, float]:
  """The characters, and of the longer tokens those whose loss would cost the likelihood most."""
  frequencies = lattice.best_counts()
  instead = lattice.best_without_itself([token for token in log_probs if token not in characters])
  cost = {token: frequencies[lattice.number[token]] * (log_probs[token] - other) for token, other in instead.items()}
  kept = sorted(cost, key=lambda token: (-cost[token], token))[: size - len(characters)]
  return {token: log_probs[token] for token in [*sorted(characters), *kept]}
