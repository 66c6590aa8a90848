"""WordPiece as BERT has it (Devlin et al. 2018, arXiv:1810.04805; Wu et al. 2016, arXiv:1609.08144).

Text is normalised, cut into words and signs, and a word into the longest pieces of the vocabulary from its left; a
piece that goes on in a word is written with '##' before it.
"""

import collections
import functools
import hashlib
import itertools
import json
import pathlib
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np

from mlsd_jax import reading
from mlsd_jax.errors import UserError
from mlsd_jax.tokenizers import base
from mlsd_jax.tokenizers.special import allowed_in, split_at

UNKNOWN, SPECIAL_TOKENS = '[UNK]', ('[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]')
PREFIX = '##'
LONGEST_WORD = 100  # characters; a longer one is unknown
_SPLITS_UNLIKE_BERT = re.compile('[\x0b\x0c\x1c-\x1f\x85]')  # str.split parts text there, where BERT joins it
_ASCII_WORDS = re.compile(r'[0-9A-Za-z]+|[!-~]')
_REMEMBERED = 2**18


class WordPieceTokenizer(base.Tokenizer):
  """BERT's tokenizer over a vocabulary of its kind. Text is not got back exactly: case, accents and spaces are lost.

  Attributes:
    vocabulary: the pieces by id.
    lowercase: letters are lowered and accents go (as in BERT's uncased models).
    ids: id of each piece.
    special_tokens: id of each of SPECIAL_TOKENS that the vocabulary holds.
    separators: how many stand between the two texts of a pair.
  """

  kind = 'wordpiece'
  end_of_text = None
  separators = 1

  def __init__(self, vocabulary: Sequence[str], *, lowercase: bool = True):
    """Raises: UserError: a piece comes twice, or there is no [UNK]."""
    self.vocabulary = tuple(vocabulary)
    self.lowercase = lowercase
    self.ids = {piece: i for i, piece in enumerate(self.vocabulary)}
    if len(self.ids) < len(self.vocabulary):
      twice = next(piece for piece, n in collections.Counter(self.vocabulary).items() if n > 1)
      raise UserError(f'the vocabulary holds {twice!r} more than once')
    if UNKNOWN not in self.ids:
      raise UserError(f'the vocabulary holds no {UNKNOWN}')
    self.special_tokens = {token: self.ids[token] for token in SPECIAL_TOKENS if token in self.ids}
    self.vocab_size = len(self.vocabulary)
    self.name = f'wordpiece-{self.vocab_size}'
    self.fingerprint = hashlib.sha256(json.dumps(['wordpiece', lowercase, self.vocabulary]).encode()).hexdigest()

  @classmethod
  def from_file(cls, path: str | pathlib.Path, *, lowercase: bool = True) -> Self:
    """Of BERT's vocab.txt, a piece a line.

    Raises:
      UserError: the file is missing or not UTF-8, or no such vocabulary.
    """
    text = reading.read_text(path)
    return cls(text.removesuffix('\n').split('\n'), lowercase=lowercase)

  @classmethod
  def train(cls, texts: Iterable[str], vocab_size: int, *, lowercase: bool = True) -> Self:
    """Learns a vocabulary: the characters, then the most frequent pair of neighbouring pieces again and again.

    (Merging by frequency is what Hugging Face's trainer does; Wu et al. choose by likelihood.)

    Raises:
      UserError: vocab_size has no room for the special tokens and the characters.
    """
    from mlsd_jax.tokenizers.merges import learn_merges  # which who only encodes has no need of

    words: collections.Counter[str] = collections.Counter()
    for text in texts:
      words.update(basic_tokens(text, lowercase=lowercase))
    spelled = {word: [word[0], *(PREFIX + c for c in word[1:])] for word in words if len(word) <= LONGEST_WORD}
    alphabet = sorted({piece for pieces in spelled.values() for piece in pieces})
    if vocab_size < len(SPECIAL_TOKENS) + len(alphabet):
      raise UserError(
        f'vocab_size {vocab_size} has no room for {len(SPECIAL_TOKENS)} special tokens and {len(alphabet)} characters'
      )
    number = {piece: i for i, piece in enumerate(alphabet)}
    numbered = {tuple(number[piece] for piece in pieces): words[word] for word, pieces in spelled.items()}
    pieces = list(alphabet)
    # Two merges may spell the same piece, which then is one: so some more merges are learned than there is room for.
    room = vocab_size - len(SPECIAL_TOKENS)
    for left, right in learn_merges(numbered, 2 * room, alphabet_size=len(alphabet)):
      pieces.append(pieces[left] + pieces[right].removeprefix(PREFIX))
    return cls([*SPECIAL_TOKENS, *itertools.islice(dict.fromkeys(pieces), room)], lowercase=lowercase)

  def encode(self, text: str, allowed_special: str | Collection[str] = 'none') -> np.ndarray:
    """The int32 ids of `text`, without [CLS] and [SEP] around them.

    Args:
      allowed_special: as of BPETokenizer.encode; Hugging Face's tokenizer takes 'all', BERT itself 'none'.
    """
    return np.array(self.first_ids(text, None, allowed_special), np.int32)

  def first_ids(self, text: str, count: int | None, allowed_special: str | Collection[str] = 'none') -> list[int]:
    """The first `count` ids of `text`, all without a count. Of a long text little more than needed is looked at."""
    allowed = allowed_in(text, allowed_special, self.special_tokens)
    ids: list[int] = []
    for part, is_token in split_at(text, allowed):
      if is_token:
        ids.append(self.ids[part])
      elif _SPLITS_UNLIKE_BERT.search(part):
        ids.extend(self._ids_of(part))
      else:
        rest = part
        while rest:
          # White space ends every word, so what stands between two is done once and remembered.
          chunks = rest.split() if count is None else rest.split(None, count)
          rest = chunks.pop() if count is not None and len(chunks) > count else ''
          ids.extend(itertools.chain.from_iterable(map(self._chunks.__getitem__, chunks)))
          if count is not None and len(ids) >= count:
            return ids[:count]
    return ids if count is None else ids[:count]

  @functools.cached_property
  def _chunks(self) -> '_Remembered':
    return _Remembered(self._ids_of)

  @functools.cached_property
  def _words(self) -> '_Remembered':
    return _Remembered(self._cut)

  def _ids_of(self, text: str) -> tuple[int, ...]:
    if text.isascii() and text.isprintable():
      words = _ASCII_WORDS.findall(text.lower() if self.lowercase else text)
    else:
      words = list(basic_tokens(text, lowercase=self.lowercase))
    return tuple(itertools.chain.from_iterable(map(self._words.__getitem__, words)))

  def _cut(self, word: str) -> tuple[int, ...]:
    """The longest piece from the left, again and again; [UNK] for the whole word if that gets stuck."""
    unknown = (self.ids[UNKNOWN],)
    if len(word) > LONGEST_WORD:
      return unknown
    found: list[int] = []
    start = 0
    while start < len(word):
      prefix = PREFIX if start else ''
      end = next((end for end in range(len(word), start, -1) if prefix + word[start:end] in self.ids), None)
      if end is None:
        return unknown
      found.append(self.ids[prefix + word[start:end]])
      start = end
    return tuple(found)

  def decode_bytes(self, ids: base.Ids) -> bytes:
    """Pieces joined to words, words with one space between."""
    pieces = [self.vocabulary[i] for i in self._checked(ids).tolist()]
    return _joined(' '.join(pieces))

  def _added_bytes(self, number: int, *, is_first: bool) -> bytes:
    piece = self.vocabulary[self._checked([number])[0]]
    return _joined(piece if is_first else f' {piece}')

  def state(self) -> dict[str, Any]:
    return {'vocabulary': list(self.vocabulary), 'lowercase': self.lowercase}

  @classmethod
  def from_state(cls, state: Mapping[str, Any]) -> Self:
    return cls(state['vocabulary'], lowercase=state['lowercase'])


def _joined(pieces: str) -> bytes:
  """Pieces with spaces between as the text they spell."""
  return pieces.replace(f' {PREFIX}', '').encode()


class _Remembered(dict[str, tuple[int, ...]]):
  """Results of `compute`, which are forgotten when there are too many."""

  def __init__(self, compute: Callable[[str], tuple[int, ...]]):
    super().__init__()
    self._compute = compute

  def __missing__(self, text: str) -> tuple[int, ...]:
    if len(self) >= _REMEMBERED:
      self.clear()
    found = self._compute(text)
    if len(text) <= LONGEST_WORD:
      self[text] = found
    return found


def basic_tokens(text: str, *, lowercase: bool) -> Iterator[str]:
  """BERT's words: between white space, each punctuation sign and each Chinese character a word of its own."""
  text = ''.join(_cleaned(c) for c in base.well_formed(text))
  if lowercase:
    text = ''.join(c for c in unicodedata.normalize('NFD', text) if unicodedata.category(c) != 'Mn')
    text = ''.join(c.lower() for c in text)  # one by one: 'Σ' at a word's end is 'σ' too
  for word in text.split():
    start = 0
    for i, c in enumerate(word):
      if _is_punctuation(c):
        if start < i:
          yield word[start:i]
        yield c
        start = i + 1
    if start < len(word):
      yield word[start:]


@functools.lru_cache(maxsize=2**16)
def _cleaned(c: str) -> str:
  """A character as BERT's cleaning leaves it: '' for control, ' ' for white space, spaces around a Chinese one."""
  if c in '\t\n\r':
    return ' '
  if c in '\0\ufffd' or unicodedata.category(c)[0] == 'C':
    return ''
  if c.isspace():
    return ' '
  return f' {c} ' if _is_chinese(ord(c)) else c


@functools.lru_cache(maxsize=2**16)
def _is_punctuation(c: str) -> bool:
  return unicodedata.category(c)[0] == 'P' or c in '$+<=>^`|~'


def _is_chinese(code: int) -> bool:
  return any(first <= code <= last for first, last in _CHINESE)


# The blocks of CJK unified and compatibility ideographs that BERT names.
_CHINESE = (
  (0x4E00, 0x9FFF),
  (0x3400, 0x4DBF),
  (0x20000, 0x2A6DF),
  (0x2A700, 0x2B73F),
  (0x2B740, 0x2B81F),
  (0x2B820, 0x2CEAF),
  (0xF900, 0xFAFF),
  (0x2F800, 0x2FA1F),
)
