"""BM25 over texts, with bm25s (Lu 2024, arXiv:2407.03618) and Snowball's stemmer.

bm25s scores every term of every text beforehand, so its index is not changed but built anew, out of the terms.
"""

import dataclasses
import logging
import pathlib
import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from mlsd_jax import files
from mlsd_jax.errors import UserError

_WORD = re.compile(r'\w+')


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


class Analyzer:
  """Texts to terms: words of two or more characters in lower case, also the parts of snake_case, stemmed."""

  def __init__(self, stem: bool):
    import Stemmer
    from bm25s.stopwords import STOPWORDS_EN

    self._stop = frozenset(STOPWORDS_EN)
    self._stemmer = Stemmer.Stemmer('english') if stem else None

  def __call__(self, text: str) -> list[str]:
    words = [word for word in _WORD.findall(text.lower()) if len(word) > 1]
    words += [part for word in words if '_' in word.strip('_') for part in word.split('_') if len(part) > 1]
    if self._stemmer is None:
      return words
    return self._stemmer.stemWords([word for word in words if word not in self._stop])


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
    ids = [[vocabulary.setdefault(term, len(vocabulary)) for term in analyze(text)] for text in texts]
    nothing = vocabulary.setdefault('', len(vocabulary))  # which no query has
    if not any(ids):
      ids = [[nothing]] * len(ids)  # bm25s divides by the mean length
    logging.getLogger('bm25s').setLevel(logging.WARNING)
    index = bm25s.BM25(k1=config.k1, b=config.b)
    index.index((ids, vocabulary), show_progress=False)
    return cls(index, config, len(ids))

  def scores(self, query: str) -> np.ndarray:
    """float32 [N]: the score of every text, 0 where no term is shared."""
    terms = [self._index.vocab_dict[term] for term in self._analyze(query) if term in self._index.vocab_dict]
    return self._index.get_scores_from_ids(terms) if terms else np.zeros(self.size, np.float32)

  def search(self, query: str, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The places and scores of the best k texts that share a term with the query, the best first."""
    return top(self.scores(query), k)

  def save(self, folder: pathlib.Path) -> None:
    """Writes the index into a folder of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    self._index.save(folder, show_progress=False)
    files.write_json(folder / 'config.json', dataclasses.asdict(self.config) | {'size': self.size})

  @classmethod
  def open(cls, folder: pathlib.Path) -> 'BM25':
    """What `save` wrote; the scores stay on disk and are mapped into memory."""
    import bm25s

    written = files.read_json(folder / 'config.json')
    size = written.pop('size')
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
