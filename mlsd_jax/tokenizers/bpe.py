"""Byte-level byte-pair encoding: trained here, or made from anyone's published merges.

Text is cut into pieces by a pattern (patterns.py), and within a piece the pair of adjacent tokens that was learned
first is merged again and again. After Sennrich et al. 2016 (https://arxiv.org/abs/1508.07909) over bytes, as in GPT-2.
"""

import functools
import hashlib
import heapq
import itertools
import json
import threading
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np

from mlsd_jax.errors import UserError
from mlsd_jax.tokenizers import base, fast
from mlsd_jax.tokenizers.merges import Pair, learn_merges, recover_merges
from mlsd_jax.tokenizers.patterns import pattern_for
from mlsd_jax.tokenizers.special import NORMALIZED, allowed_in, split_at

BYTES = bytes(range(256))
_LONG = 200  # bytes; a longer piece is merged with a heap
_making = threading.Lock()


class BPETokenizer(base.Tokenizer):
  """Ids 0 to 255 are the bytes; each merge makes the next id that no special token has. (`ids` may say otherwise.)

  Attributes:
    merges: pairs of ids in the order they were learned.
    pattern: a patterns.Pattern.
    special_tokens: id of each special token by its text.
    added: those of them that are cut out of every text, asked or not.
    begin_of_text: the id that a model was trained to see first, or None. No text encodes to it.
    normalizer, whole, edges: as they were given.
    tokens: the bytes of each id; None where an id stands for nothing.
  """

  kind = 'bpe'
  separators = 1  # between the two texts of a pair, for encoders that have such a vocabulary

  def __init__(
    self,
    merges: Iterable[Pair],
    *,
    pattern: str = 'gpt2',
    special_tokens: Mapping[str, int] | None = None,
    byte_order: bytes = BYTES,
    name: str = '',
    ids: Sequence[int] | None = None,
    end_of_text: int | None = None,
    begin_of_text: int | None = None,
    added: Collection[str] = (),
    normalizer: str = '',
    whole: Mapping[int, bytes] | None = None,
    edges: Mapping[str, Collection[str]] | None = None,
  ):
    """
    Args:
      merges: pairs of ids in the order they were learned.
      pattern: a name of PATTERNS, or a regular expression of one's own.
      special_tokens: ids by text; by default '<|endoftext|>' is the id behind the last merge.
      byte_order: the bytes that ids 0 to 255 stand for (OpenAI's encodings have an order of their own).
      name: by default 'bpe-SIZE'.
      ids: of the 256 bytes, in `byte_order`, and of what each merge makes, where special tokens stand before them or a
        vocabulary has an order of its own.
      end_of_text: the id that ends a text; by default that of the special token '<|endoftext|>', if there is one.
      begin_of_text: see the attributes.
      added: see the attributes; texts of special_tokens.
      normalizer: 'NFC' composes characters of a text first (Unicode); '' leaves it as it is.
      whole: bytes by id of tokens that no merge makes, each the encoding of a piece that is those bytes and no other.
      edges: what special tokens ask of the text around them, by their texts: names of special.EDGES.

    Raises:
      UserError: a merge of ids that are not made before it, or special tokens and merges that share ids.
    """
    self.merges = [(int(left), int(right)) for left, right in merges]
    self.pattern = pattern_for(pattern)
    if sorted(byte_order) != list(range(256)):
      raise UserError('byte_order must hold each of the 256 bytes once')
    self.byte_order = bytes(byte_order)
    if special_tokens is None:
      special_tokens = {base.END_OF_TEXT: 256 + len(self.merges)}
    self.special_tokens = dict(special_tokens)
    usual = _usual_ids(len(self.merges), self.special_tokens)
    self._ids = usual if ids is None else [int(number) for number in ids]
    above = min(self.special_tokens.values(), default=256) >= 256
    if ids is None and not above:
      raise UserError('special tokens must have ids of their own, above those of the bytes')
    self.added, self.begin_of_text = frozenset(added), begin_of_text
    self.normalizer, self.whole = normalizer, dict(whole or {})
    self.edges = {text: tuple(sorted(asks)) for text, asks in sorted((edges or {}).items()) if asks}
    unknown = {*self.added, *self.edges} - self.special_tokens.keys()
    if unknown or normalizer not in ('', 'NFC'):
      raise UserError(f'{min(unknown)!r} is no special token' if unknown else f'normalizer={normalizer!r} is not NFC')
    known = dict(self.special_tokens) | {f'<whole {number}>': number for number in self.whole}
    self.tokens = _tokens(self.merges, self.byte_order, known, self._ids)
    for number, token in self.whole.items():
      self.tokens[number] = token
    self.merge_ids = self._ids[256:]
    self.vocab_size = len(self.tokens)
    usual_end = self.special_tokens.get(base.END_OF_TEXT)
    self.end_of_text = usual_end if end_of_text is None else end_of_text
    if self.end_of_text is not None and not 0 <= self.end_of_text < self.vocab_size:
      raise UserError(f'end_of_text {self.end_of_text} is no id: there are 0 to {self.vocab_size - 1}')
    self.name = name or f'bpe-{self.vocab_size}'
    # What is unusual: only that is kept, so that all others are what they were before there was any.
    self._unusual: dict[str, Any] = {} if self._ids == usual and above else {'ids': self._ids}
    if self.end_of_text != usual_end:
      self._unusual['end_of_text'] = self.end_of_text
    more: dict[str, Any] = {'begin_of_text': begin_of_text, 'added': sorted(self.added), 'normalizer': normalizer}
    more['whole'] = [[number, list(token)] for number, token in sorted(self.whole.items())]
    more['edges'] = {text: list(asks) for text, asks in self.edges.items()}
    self._unusual |= {name: value for name, value in more.items() if value not in (None, [], '', {})}
    identity: list[Any] = [
      'bpe',
      self.pattern.plain,
      self.merges,
      sorted(self.special_tokens.items()),
      list(self.byte_order),
    ]
    identity += [self._unusual] if self._unusual else []
    self.fingerprint = hashlib.sha256(json.dumps(identity).encode()).hexdigest()

  def encode(self, text: str, allowed_special: str | Collection[str] = 'none') -> np.ndarray:
    """The int32 ids of `text`.

    Args:
      allowed_special: which special tokens' texts become their ids (minbpe's rule): 'all'; 'none', they are text as any
        other; 'none_raise', they must not occur; or a collection of them, the others being text.

    Raises:
      UserError: 'none_raise' and a special token's text occurs.
    """
    allowed = allowed_in(text, allowed_special, self.special_tokens) | self.added
    if self._encoding is None:
      return np.array(self.encode_readably(text, allowed), np.int32)
    parts = [
      np.array([self.special_tokens[part]], np.int32)
      if is_token
      else self._from_core(fast.encode(self._encoding, self.pattern, part))
      for part, is_token in self._parts(text, allowed)
    ]
    return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, np.int32), *parts])

  def first_ids(self, text: str, count: int | None) -> list[int]:
    """The first `count` ids of `text`, all without a count."""
    return self.encode(text).tolist()[:count]

  @functools.cached_property
  def ranks(self) -> dict[bytes, int]:
    """Id of each token's bytes, without the special tokens."""
    special = {*self.special_tokens.values(), *self.whole}
    ranks: dict[bytes, int] = {}
    for i, token in enumerate(self.tokens):
      if token is not None and i not in special:
        ranks.setdefault(token, i)
    return ranks

  @functools.cached_property
  def _encoding(self) -> Any:
    """What `_make_encoding` gives, the same one for all threads: cached_property alone would let each make its own."""
    with _making:
      if '_encoding' not in self.__dict__:
        self.__dict__['_encoding'] = self._make_encoding()
      return self.__dict__['_encoding']

  def _make_encoding(self) -> Any:
    """tiktoken's core with these ranks; None where it cannot do what the readable path does.

    That is where its regular expressions do not know something in the pattern, and where ranks do not tell the merges:
    two make the same bytes, or one that no training would have made.
    """
    if self.whole:
      return None
    place = {number: place for place, number in enumerate(self._ids)}
    ranks: dict[bytes, int] = {}  # by the order of merging, whatever the ids are
    for number, rank in place.items():
      ranks.setdefault(self.tokens[number] or b'', rank)
    try:
      if recover_merges(ranks) != [(place[left], place[right]) for left, right in self.merges]:
        return None
    except UserError:
      return None
    import tiktoken

    pattern = self.pattern.plain or r'[\s\S]+'
    try:
      return tiktoken.Encoding(self.name, pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    except ValueError:
      return None

  @functools.cached_property
  def _id_of_rank(self) -> np.ndarray | None:
    ids = np.array(self._ids, np.int32)
    return None if np.array_equal(ids, np.arange(len(ids))) else ids

  def _from_core(self, ranks: np.ndarray) -> np.ndarray:
    return ranks if self._id_of_rank is None else self._id_of_rank[ranks]

  def encode_readably(self, text: str, allowed_special: Collection[str] = ()) -> list[int]:
    """What `encode` does, in plain Python. A piece that came before is looked up."""
    ids: list[int] = []
    allowed = self.added.union(allowed_special)
    for part, is_token in self._parts(base.well_formed(text), allowed):
      if is_token:
        ids.append(self.special_tokens[part])
      else:
        ids.extend(itertools.chain.from_iterable(map(self._piece, self.pattern.split(part))))
    return ids

  def _parts(self, text: str, allowed: Collection[str]) -> Iterator[tuple[str, bool]]:
    """(text as it was normalised or special token, which of both); some tokens are found before that, some behind."""
    late = {self._normalize(token): token for token in allowed if NORMALIZED in self.edges.get(token, ())}
    edges = self.edges | {spelled: self.edges[token] for spelled, token in late.items()}
    for part, is_token in split_at(text, {*allowed}.difference(late.values()), self.edges):
      if is_token:
        yield part, True
      else:
        for within, is_late in split_at(self._normalize(part), late, edges):
          yield (late[within] if is_late else within), is_late

  def _normalize(self, text: str) -> str:
    return unicodedata.normalize('NFC', text) if self.normalizer == 'NFC' else text

  def _encode_broken(self, data: bytes, valid: int) -> np.ndarray:
    if self._encoding is None:
      return np.array(self.encode_bytes_readably(data), np.int32)
    return self._from_core(fast.encode_broken(self._encoding, self.pattern, data, valid))

  def encode_bytes_readably(self, data: bytes) -> list[int]:
    """What `encode_bytes` does, by tiktoken's rule: all from the first byte that is not UTF-8 on is one piece.

    The piece before belongs to it too, and the white space before that if it begins with some.
    """
    try:
      return self.encode_readably(data.decode())
    except UnicodeDecodeError as error:
      pieces = list(map(self._piece, self.pattern.split(data[: error.start].decode())))
      return fast.join_broken(pieces, data[error.start :], self.decode_bytes, self._merge)

  @functools.cached_property
  def _piece(self) -> Callable[[str], list[int]]:
    whole = {token: [number] for number, token in self.whole.items()}
    return functools.lru_cache(maxsize=2**18)(lambda piece: whole.get(piece.encode()) or self._merge(piece.encode()))

  def _merge(self, piece: bytes) -> list[int]:
    """Merges the pair that was learned first, at its first place, until none is left that was learned."""
    if len(piece) > _LONG:
      return self._merge_long(piece)
    ids = [self._byte_ids[byte] for byte in piece]
    learned, never = self._learned, len(self.merges)
    at = [learned.get(pair, never) for pair in itertools.pairwise(ids)]  # which merge each pair of neighbours is
    while at and (merge := min(at)) < never:
      place = at.index(merge)
      ids[place : place + 2] = [self.merge_ids[merge]]
      del at[place]
      if place:
        at[place - 1] = learned.get((ids[place - 1], ids[place]), never)
      if place < len(at):
        at[place] = learned.get((ids[place], ids[place + 1]), never)
    return ids

  def _merge_long(self, piece: bytes, drops: Callable[[], bool] = lambda: False) -> list[int]:
    """The same with a heap of places and links between live neighbours: n log n instead of n^2 steps.

    Args:
      drops: asked whether a merge is left out in this step.
    """
    ids = [self._byte_ids[byte] for byte in piece]
    before, behind = list(range(-1, len(ids) - 1)), list(range(1, len(ids) + 1))
    heap = [(self._learned[pair], at) for at, pair in enumerate(itertools.pairwise(ids)) if pair in self._learned]
    heapq.heapify(heap)
    dropped: list[tuple[int, int]] = []
    while heap:
      merge, at = heapq.heappop(heap)
      right = behind[at]
      if right == len(ids) or (ids[at], ids[right]) != self.merges[merge]:
        continue  # merged otherwise since
      if drops():
        dropped.append((merge, at))
        continue
      ids[at], ids[right], behind[at] = self.merge_ids[merge], -1, behind[right]
      if behind[at] < len(ids):
        before[behind[at]] = at
      for left in (before[at], at):
        if left >= 0 and behind[left] < len(ids):
          learned = self._learned.get((ids[left], ids[behind[left]]))
          if learned is not None:
            heapq.heappush(heap, (learned, left))
      while dropped:
        heapq.heappush(heap, dropped.pop())
    return [i for i in ids if i >= 0]

  def sample(self, text: str, rng: np.random.Generator, *, dropout: float = 0.1) -> np.ndarray:
    """The int32 ids of one of many cuts of `text`: BPE-dropout (Provilkov et al. 2020, arXiv:1910.13267).

    Args:
      dropout: chance that a possible merge is left out in a step; 0 gives `encode(text)`, 1 bytes.
    """
    drops = lambda: rng.random() < dropout
    pieces = self.pattern.split(text)
    return np.fromiter(
      itertools.chain.from_iterable(self._merge_long(piece.encode(), drops) for piece in pieces), np.int32
    )

  @functools.cached_property
  def _learned(self) -> dict[Pair, int]:
    return {pair: i for i, pair in enumerate(self.merges)}

  @functools.cached_property
  def _byte_ids(self) -> list[int]:
    return [self._ids[self.byte_order.index(byte)] for byte in range(256)]

  def decode_bytes(self, ids: base.Ids) -> bytes:
    """The bytes of `ids`; an id that stands for nothing (some encodings have such) is nothing."""
    return b''.join([self.tokens[i] or b'' for i in self._checked(ids).tolist()])

  def state(self) -> dict[str, Any]:
    pattern = self.pattern.plain if self.pattern.name == 'own' else self.pattern.name
    special, order = self.special_tokens, list(self.byte_order)
    return {
      'name': self.name,
      'pattern': pattern,
      'special_tokens': special,
      'byte_order': order,
      'merges': self.merges,
      **self._unusual,
    }

  @classmethod
  def from_state(cls, state: dict[str, Any]) -> Self:
    options = {name: state[name] for name in ('name', 'pattern', 'special_tokens')}
    options |= {name: state.get(name) for name in ('ids', 'end_of_text', 'begin_of_text')}
    options |= {'added': state.get('added', ()), 'normalizer': state.get('normalizer', ''), 'edges': state.get('edges')}
    options['whole'] = {number: bytes(token) for number, token in state.get('whole', [])}
    return cls(state['merges'], byte_order=bytes(state['byte_order']), **options)

  def ended_by(self, end_of_text: int) -> 'BPETokenizer':
    """The same tokenizer with another id that ends a text."""
    if end_of_text == self.end_of_text:
      return self
    return BPETokenizer.from_state(self.state() | {'end_of_text': end_of_text})

  @classmethod
  def train(
    cls,
    texts: Iterable[str],
    vocab_size: int,
    *,
    pattern: str = 'gpt2',
    ties: str = 'first',
    special_tokens: Collection[str] = (base.END_OF_TEXT,),
    workers: int = 0,
  ) -> Self:
    """Learns a vocabulary from `texts`; a smaller one if no pair occurs twice any more.

    Args:
      texts: documents; no token reaches across two of them.
      vocab_size: the bytes, the merges and the special tokens together.
      pattern: see patterns.py.
      ties: see merges.learn_merges.
      workers: for counting pieces; 0 is one a core. The result does not depend on it.

    Raises:
      UserError: vocab_size has no room for the bytes and special tokens, or the pattern leaves out text.
    """
    least = 256 + len(special_tokens)
    if vocab_size < least:
      raise UserError(
        f'a byte-level vocabulary has at least {least} tokens (256 bytes, {len(special_tokens)} special), '
        f'not {vocab_size}'
      )
    from mlsd_jax.tokenizers.pieces import count_pieces  # which who only encodes has no need of

    counts = count_pieces(texts, pattern_for(pattern), workers=workers)
    return cls.from_pieces(counts.pieces, vocab_size, pattern=pattern, ties=ties, special_tokens=special_tokens)

  @classmethod
  def from_pieces(
    cls,
    counts: Mapping[str, int],
    vocab_size: int,
    *,
    pattern: str,
    ties: str = 'first',
    special_tokens: Collection[str] = (base.END_OF_TEXT,),
    on_merge: Callable[[Pair, int], None] = lambda pair, saved: None,
  ) -> Self:
    """Learns from pieces that are counted already (pieces.count_pieces)."""
    pieces = {piece.encode(): count for piece, count in counts.items()}
    num_merges = vocab_size - 256 - len(special_tokens)
    merges = learn_merges(pieces, num_merges, ties=ties, on_merge=on_merge)
    special = {token: 256 + len(merges) + i for i, token in enumerate(special_tokens)}
    return cls(merges, pattern=pattern, special_tokens=special)


def _usual_ids(num_merges: int, special_tokens: Mapping[str, int]) -> list[int]:
  """The ids of the bytes and of what each merge makes: the first that no special token has."""
  special = set(special_tokens.values())
  if len(special) < len(special_tokens):
    raise UserError('special tokens must have ids of their own')
  return list(itertools.islice((number for number in itertools.count() if number not in special), 256 + num_merges))


def _tokens(
  merges: list[Pair], byte_order: bytes, special_tokens: Mapping[str, int], ids: list[int]
) -> list[bytes | None]:
  """The bytes of every id."""
  special = {number: text.encode() for text, number in special_tokens.items()}
  if len(ids) != 256 + len(merges) or min(ids) < 0 or not special.keys().isdisjoint(ids):
    raise UserError('bytes, merges and special tokens must have ids of their own, one each')
  found = {number: bytes([byte]) for byte, number in zip(byte_order, ids, strict=False)}
  for (left, right), number in zip(merges, ids[256:], strict=True):
    if left not in found or right not in found:
      raise UserError(f'merge {(left, right)} uses a token that no earlier merge makes')
    made = found[left] + found[right]
    if found.setdefault(number, made) != made:
      raise UserError(f'id {number} would stand for two tokens')
  found |= special
  return [found.get(number) for number in range(max(found) + 1)]
