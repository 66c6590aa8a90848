"""BM25 (Robertson and Zaragoza 2009) with Lucene's idf, over postings that say how often a text has a term.

What depends on the whole corpus, idf and mean length, is worked out when a query comes: texts may come and go without
another posting being touched, and scores are those of an index that is built anew (scores kept beforehand, as bm25s
keeps them, Lu 2024, arXiv:2407.03618, save a division and have to be computed again for every change).
"""

import collections
import dataclasses
import itertools
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from mlsd_jax import files
from mlsd_jax.errors import UserError
from mlsd_jax.retrieval import compiled_scores, terms
from mlsd_jax.retrieval.terms import Analyzer

_BLOCK = 2**22  # terms that are sorted at a time
_COMPILED_FROM = 1024  # texts; fewer are scored in NumPy before machine code is loaded
_ARRAYS = ('starts', 'rows', 'counts', 'lengths')


@dataclasses.dataclass(frozen=True)
class BM25Config:
  """Robertson's parameters, and whether words are stemmed.

  Attributes:
    k1: how fast the weight of a term saturates with its count.
    b: how far long texts are discounted, 0 to 1.
    stem: Snowball's English stemmer and Lucene's stop words.
  """

  k1: float = 1.5
  b: float = 0.75
  stem: bool = True

  def __post_init__(self):
    if not self.k1 >= 0 or not 0 <= self.b <= 1:
      raise UserError(f'bm25 needs k1 >= 0 and b in [0, 1], got k1={self.k1}, b={self.b}')


@dataclasses.dataclass(frozen=True)
class Postings:
  """Of T terms, in which of M texts each stands and how often.

  Attributes:
    numbers: of each term.
    starts: int64 [T + 1]: where a term's postings begin, and the next one's.
    rows: int32 [P]: the texts, ascending for each term.
    counts: unsigned [P]: how often.
    lengths: int32 [M]: terms of each text, repetitions counted.
  """

  numbers: Mapping[str, int]
  starts: np.ndarray
  rows: np.ndarray
  counts: np.ndarray
  lengths: np.ndarray

  @classmethod
  def of(cls, texts: Iterable[Sequence[int]], numbers: Mapping[str, int]) -> 'Postings':
    """Of texts as numbers of their terms; `numbers` may grow while they are read. A block is sorted at a time."""
    lengths: list[int] = []
    blocks = []
    for first, block in _blocks(texts, lengths):
      rows = np.repeat(np.arange(first, first + len(block)), [len(text) for text in block])
      own = np.fromiter((number for text in block for number in text), np.int64, len(rows))
      keys, counts = np.unique(own << 32 | rows, return_counts=True)
      blocks.append((keys >> 32, (keys & 0xFFFFFFFF).astype(np.int32), counts))
    frequency = np.zeros(len(numbers), np.int64)
    for own, _, _ in blocks:
      frequency += np.bincount(own, minlength=len(numbers))
    starts = np.concatenate([[0], np.cumsum(frequency)])
    most = max((int(counts.max(initial=0)) for _, _, counts in blocks), default=0)
    rows = np.empty(starts[-1], np.int32)
    counts = np.empty(starts[-1], np.uint16 if most < 2**16 else np.uint32)
    free = starts[:-1].copy()  # where the next block's postings of a term go
    for own, texts_of, often in blocks:
      here = np.bincount(own, minlength=len(numbers))
      places = np.arange(len(own)) - np.repeat(np.cumsum(here) - here, here) + np.repeat(free, here)
      rows[places], counts[places] = texts_of, often
      free += here
    return cls(numbers, starts, rows, counts, np.array(lengths, np.int32))

  def find(self, term: str) -> tuple[np.ndarray, np.ndarray]:
    """(texts, counts) of a term."""
    number = self.numbers.get(term)
    if number is None:
      return self.rows[:0], self.counts[:0]
    place = slice(int(self.starts[number]), int(self.starts[number + 1]))
    return self.rows[place], self.counts[place]


def _blocks(texts: Iterable[Sequence[int]], lengths: list[int]) -> Iterator[tuple[int, list[Sequence[int]]]]:
  """(number of the first, texts), so many that they have some _BLOCK terms; the length of each goes to `lengths`."""
  block: list[Sequence[int]] = []
  size = 0
  for text in texts:
    block.append(text)
    lengths.append(len(text))
    size += len(text)
    if size >= _BLOCK:
      yield len(lengths) - len(block), block
      block, size = [], 0
  if block:
    yield len(lengths) - len(block), block


class BM25:
  """An index over N texts, which are known by their places; see `build`, `open` and `changed`."""

  def __init__(self, parts: Sequence[tuple[Postings, np.ndarray | None]], config: BM25Config):
    """
    Args:
      parts: postings, and for each of their texts its place in the whole, -1 for one that is gone; None: as they are.
    """
    self.config, self._parts = config, parts
    living = [part.lengths if places is None else part.lengths[places >= 0] for part, places in parts]
    self.size = sum(map(len, living))
    lengths = np.zeros(self.size)
    for part, places in parts:
      if places is None:
        lengths[:] = part.lengths
      else:
        lengths[places[places >= 0]] = part.lengths[places >= 0]
    mean = lengths.mean() if self.size and lengths.any() else 1.0
    self._saturation = (config.k1 * (1 - config.b + config.b * lengths / mean)).astype(np.float32)
    self._analyze = Analyzer(config.stem)

  @classmethod
  def build(cls, texts: Iterable[str], config: BM25Config) -> 'BM25':
    """Indexes texts, which are known by their places from 0 on."""
    analyze = Analyzer(config.stem)
    numbers: dict[str, int] = {}
    return cls([(Postings.of((analyze.number(text, numbers) for text in texts), numbers), None)], config)

  def changed(self, places: np.ndarray, added: Iterable[str]) -> 'BM25':
    """This index with other texts, sharing its postings.

    Args:
      places: int [N]: where each text stands from now on, -1 for one that is removed.
      added: texts that stand behind those that are kept.
    """
    parts = [(part, places if old is None else np.where(old >= 0, places[old], -1)) for part, old in self._parts]
    more = BM25.build(added, self.config)
    return BM25([*parts, (more._parts[0][0], np.arange(more.size) + int((places >= 0).sum()))], self.config)

  def scores(self, query: str) -> np.ndarray:
    """float32 [N]: the score of every text, 0 where no term is shared."""
    scores = np.zeros(self.size, np.float32)
    add = (compiled_scores.load() if self.size >= _COMPILED_FROM else None) or _add
    for term, times in collections.Counter(self._analyze(query)).items():
      found = self._find(term)
      weight = np.float32(times * self._idf(sum(len(rows) for rows, _ in found)))
      for rows, counts in found:
        add(scores, rows, counts, self._saturation, weight)
    return scores

  def _find(self, term: str) -> list[tuple[np.ndarray, np.ndarray]]:
    found = []
    for part, places in self._parts:
      rows, counts = part.find(term)
      if places is not None and len(rows):
        rows = places[rows]
        if len(rows) and rows.min() < 0:
          rows, counts = rows[rows >= 0], counts[rows >= 0]
      if len(rows):
        found.append((rows, counts))
    return found

  def texts_with(self, term: str) -> np.ndarray:
    """int: the places of the texts that have a term."""
    return np.concatenate([np.zeros(0, np.int64), *(rows for rows, _ in self._find(term))])

  def vocabulary(self) -> Iterator[str]:
    """The terms, those of texts that are gone among them."""
    return itertools.chain.from_iterable(part.numbers for part, _ in self._parts)

  def _idf(self, number: int) -> float:
    return float(np.log1p((self.size - number + 0.5) / (number + 0.5)))

  def idf(self, found: Sequence[str]) -> np.ndarray:
    """float64 [terms]: log(1 + (N - n + 0.5) / (n + 0.5)) of each term, which n of the N texts have."""
    return np.array([self._idf(sum(len(rows) for rows, _ in self._find(term))) for term in found])

  def search(self, query: str, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The places and scores of the best k texts that share a term with the query, the best first."""
    return top(self.scores(query), k)

  def save(self, folder: pathlib.Path) -> None:
    """Writes an index that was built into a folder of its own."""
    ((part, _),) = self._parts
    folder.mkdir(parents=True, exist_ok=True)
    for name in _ARRAYS:
      np.save(folder / f'{name}.npy', getattr(part, name))
    files.write_json(folder / 'terms.json', sorted(part.numbers, key=part.numbers.__getitem__))
    written = dataclasses.asdict(self.config) | {'size': self.size, 'terms': terms.VERSION}
    files.write_json(folder / 'config.json', written)

  @classmethod
  def open(cls, folder: pathlib.Path) -> 'BM25':
    """What `save` wrote; the postings stay on disk and are mapped into memory.

    Raises:
      UserError: its terms are those of another release, so that queries would not find them.
    """
    written = files.read_json(folder / 'config.json')
    version = written.pop('terms', 1)
    if version != terms.VERSION:
      raise UserError(f'the terms in {folder} are of version {version}, not {terms.VERSION}: build again')
    del written['size']
    # As plain arrays over the same memory: NumPy takes microseconds more for each step on a memmap.
    arrays = {name: np.asarray(np.load(folder / f'{name}.npy', mmap_mode='r')) for name in _ARRAYS}
    numbers = {term: number for number, term in enumerate(files.read_json(folder / 'terms.json'))}
    return cls([(Postings(numbers, **arrays), None)], BM25Config(**written))


def _add(scores: np.ndarray, rows: np.ndarray, counts: np.ndarray, saturation: np.ndarray, weight: np.float32) -> None:
  """What compiled_scores.py does."""
  often = counts.astype(np.float32)
  scores[rows] += weight * often / (often + saturation[rows])


def top(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
  """Places and values of the k greatest positive scores, falling; equal ones by place."""
  places = np.flatnonzero(scores > 0)  # few of many texts share a term with a query
  if k < len(places):
    found = scores[places]
    places = places[found >= np.partition(found, len(found) - k)[len(found) - k]]
  order = places[np.argsort(-scores[places], kind='stable')][:k]
  return order, scores[order]
