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
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np

from mlsd_jax.errors import UserError
from mlsd_jax.tokenizers import base
from mlsd_jax.tokenizers.merges import learn_merges
from mlsd_jax.tokenizers.special import allowed_in, split_at

UNKNOWN, SPECIAL_TOKENS = '[UNK]', ('[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]')
PREFIX = '##'
_LONGEST_WORD = 100  # characters; a longer one is unknown


class WordPieceTokenizer(base.Tokenizer):
  """BERT's tokenizer over a vocabulary of its kind. Text is not got back exactly: case, accents and spaces are lost.

  Attributes:
    vocabulary: the pieces by id.
    lowercase: letters are lowered and accents go (as in BERT's uncased models).
    ids: id of each piece.
    special_tokens: id of each of SPECIAL_TOKENS that the vocabulary holds.
  """

  kind = 'wordpiece'
  end_of_text = None

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
    try:
      text = pathlib.Path(path).read_text(encoding='utf-8')
    except (OSError, UnicodeDecodeError) as error:
      raise UserError(f'cannot read the vocabulary {path}: {error}') from error
    return cls(text.removesuffix('\n').split('\n'), lowercase=lowercase)

  @classmethod
  def train(cls, texts: Iterable[str], vocab_size: int, *, lowercase: bool = True) -> Self:
    """Learns a vocabulary: the characters, then the most frequent pair of neighbouring pieces again and again.

    (Merging by frequency is what Hugging Face's trainer does; Wu et al. choose by likelihood.)

    Raises:
      UserError: vocab_size has no room for the special tokens and the characters.
    """
    words: collections.Counter[str] = collections.Counter()
    for text in texts:
      words.update(basic_tokens(text, lowercase=lowercase))
    spelled = {word: [word[0], *(PREFIX + c for c in word[1:])] for word in words if len(word) <= _LONGEST_WORD}
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
    allowed = allowed_in(text, allowed_special, self.special_tokens)
    ids: list[int] = []
    for part in split_at(text, allowed):
      if part in allowed:
        ids.append(self.ids[part])
      else:
        ids.extend(itertools.chain.from_iterable(map(self._word, basic_tokens(part, lowercase=self.lowercase))))
    return np.array(ids, np.int32)

  @functools.cached_property
  def _word(self):
    return functools.lru_cache(maxsize=2**18)(self._cut)

  def _cut(self, word: str) -> tuple[int, ...]:
    """The longest piece from the left, again and again; [UNK] for the whole word if that gets stuck."""
    unknown = (self.ids[UNKNOWN],)
    if len(word) > _LONGEST_WORD:
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
    return ' '.join(pieces).replace(f' {PREFIX}', '').encode()

  def state(self) -> dict[str, Any]:
    return {'vocabulary': list(self.vocabulary), 'lowercase': self.lowercase}

  @classmethod
  def from_state(cls, state: Mapping[str, Any]) -> Self:
    return cls(state['vocabulary'], lowercase=state['lowercase'])


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
