"""BM25 over texts, with bm25s (Lu 2024, arXiv:2407.03618) and Snowball's stemmer.

bm25s scores every term of every text beforehand, so its index is not changed but built anew, out of the terms.
"""

import dataclasses
import logging
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from mlsd_jax import files
from mlsd_jax.errors import UserError
from mlsd_jax.retrieval import terms
from mlsd_jax.retrieval.terms import Analyzer


@dataclasses.dataclass(frozen=True)
class BM25Config:
  """Robertson's parameters (Robertson and Zaragoza 2009), and whether words are stemmed.

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


class BM25:
  """An index over N texts; see `build` and `open`."""

  def __init__(self, index: Any, config: BM25Config, size: int):
    self._index, self.config, self.size = index, config, size
    self._analyze = Analyzer(config.stem)

  @classmethod
  def build(cls, texts: Iterable[str], config: BM25Config) -> 'BM25':
    """Indexes texts, which are known by their places from 0 on."""
    import bm25s

    analyze = Analyzer(config.stem)
    vocabulary: dict[str, int] = {}
    ids = [analyze.number(text, vocabulary) for text in texts]
    nothing = vocabulary.setdefault('', len(vocabulary))  # which no query has
    if not any(ids):
      ids = [[nothing]] * len(ids)  # bm25s divides by the mean length
    logging.getLogger('bm25s').setLevel(logging.WARNING)
    index = bm25s.BM25(k1=config.k1, b=config.b)
    index.index((ids, vocabulary), show_progress=False)
    return cls(index, config, len(ids))

  def scores(self, query: str) -> np.ndarray:
    """float32 [N]: the score of every text, 0 where no term is shared."""
    known = self._index.vocab_dict
    found = [known[term] for term in self._analyze(query) if term in known]
    return self._index.get_scores_from_ids(found) if found else np.zeros(self.size, np.float32)

  def idf(self, found: Sequence[str]) -> np.ndarray:
    """float64 [terms]: log(1 + (N - n + 0.5) / (n + 0.5)) of each term, which n of the N texts have."""
    known, starts = self._index.vocab_dict, self._index.scores['indptr']
    rows = np.array([known.get(term, -1) for term in found], np.int64)
    counts = np.where(rows >= 0, starts[rows + 1] - starts[rows], 0).astype(np.float64)
    return np.log1p((self.size - counts + 0.5) / (counts + 0.5))

  def search(self, query: str, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The places and scores of the best k texts that share a term with the query, the best first."""
    return top(self.scores(query), k)

  def save(self, folder: pathlib.Path) -> None:
    """Writes the index into a folder of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    self._index.save(folder, show_progress=False)
    written = dataclasses.asdict(self.config) | {'size': self.size, 'terms': terms.VERSION}
    files.write_json(folder / 'config.json', written)

  @classmethod
  def open(cls, folder: pathlib.Path) -> 'BM25':
    """What `save` wrote; the scores stay on disk and are mapped into memory.

    Raises:
      UserError: its terms are those of another release, so that queries would not find them.
    """
    import bm25s

    written = files.read_json(folder / 'config.json')
    size, version = written.pop('size'), written.pop('terms', 1)
    if version != terms.VERSION:
      raise UserError(f'the terms in {folder} are of version {version}, not {terms.VERSION}: build again')
    return cls(bm25s.BM25.load(folder, mmap=True), BM25Config(**written), size)


def top(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
  """Places and values of the k greatest positive scores, falling; equal ones by place."""
  if k < len(scores):
    least = np.partition(scores, len(scores) - k)[len(scores) - k]
    places = np.flatnonzero(scores >= max(least, np.finfo(np.float32).tiny))
  else:
    places = np.flatnonzero(scores > 0)
  order = places[np.argsort(-scores[places], kind='stable')][:k]
  return order, scores[order]
