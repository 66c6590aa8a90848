"""Which sentences answer a question: question and sentence read together, by the words that they share.

A sentence's score is a sum of few features, all of them of words, so that nothing is computed by a model when a
question comes. Words weigh by their rarity in the corpus (idf); those of the sentence before and of the page's title
count by half, as a sentence often leaves unsaid what they said. The weights were chosen on COVID-QA (Moeller et al.
2020), questions on papers of biology, and are the same everywhere.
"""

import dataclasses
import functools
import itertools
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from mlsd_jax.retrieval import terms
from mlsd_jax.retrieval.bm25 import BM25
from mlsd_jax.retrieval.chunking import plain_span
from mlsd_jax.retrieval.markdown import read_markdown
from mlsd_jax.retrieval.page import MARKDOWN, Page
from mlsd_jax.retrieval.questions import FUNCTION_WORDS, Question
from mlsd_jax.retrieval.sentences import cut_sentences
from mlsd_jax.retrieval.store import Store
from mlsd_jax.retrieval.terms import Analyzer

WEIGHTS = {'sentence': 1.0, 'before': 0.5, 'title': 0.5, 'pairs': 0.2, 'page': 0.3, 'lacks': -0.2}
_SHORTEST = 4  # words; below lie headings and bits of tables
_NEAR = 3  # places apart at most are two words that the question has side by side
_NEEDED = 0.2  # share of the question's weight that only the neighbour has, from which both are cited
_REMEMBERED = 4096  # passages
_LONGEST = 4096  # words of a sentence whose places are kept: a table without a full stop has a hundred thousand
_REFERS = ('he', 'she', 'it', 'they', 'this', 'these', 'those', 'that', 'his', 'her', 'its', 'their', 'such')


@dataclasses.dataclass(frozen=True, slots=True)
class Sentence:
  """The span [start, end) of a page's text, what it says without markup, and its terms with their places.

  The places of a term are the bits of a number. A list for each would be a hundred thousand lists after some hundred
  queries, through which Python's collector of cycles goes again and again: it held up one query in a hundred for half
  a second.
  """

  start: int
  end: int
  text: str
  terms: Mapping[str, int]
  is_code: bool = False
  is_short: bool = False


@dataclasses.dataclass(frozen=True)
class Passage:
  """Sentences that follow each other on a page, and the terms of its title."""

  page: int
  sentences: Sequence[Sentence]
  title: frozenset[str]


@dataclasses.dataclass(frozen=True)
class Candidate:
  """A sentence of a passage, by its place in it, with its score.

  Attributes:
    coverage: share of the question's weight that the sentence has.
    before, after: what only the sentence before, or after it, has besides.
    lacks: it has nothing of the kind that is asked for.
  """

  passage: Passage
  place: int
  score: float
  coverage: float
  before: float
  after: float
  lacks: bool

  @property
  def sentence(self) -> Sentence:
    return self.passage.sentences[self.place]


class Reader:
  """Reads the passages that were found of a store, and scores their sentences."""

  def __init__(self, store: Store):
    self._store = store
    self._lexicon: BM25 = store.bm25_chunks or store.bm25_pages
    self._analyze = Analyzer(self._lexicon.config.stem)
    self._function_words = frozenset(self._analyze(FUNCTION_WORDS))
    self.read = functools.lru_cache(_REMEMBERED)(self._read)

  def weights(self, question: str) -> dict[str, float]:
    """The question's terms in their order, with their idf in the corpus."""
    found = list(dict.fromkeys(self._analyze(question)))
    own = [term for term in found if term not in self._function_words] or found
    return {term: float(weight) for term, weight in zip(own, self._lexicon.idf(own), strict=True)}

  def score(self, question: str, hits: Sequence[tuple[int, float]]) -> list[Candidate]:
    """All sentences of the passages around chunks, in no order.

    Args:
      hits: row and relative score (1 for the best) of each chunk, of different pages.
    """
    weights, asked = self.weights(question), Question(question)
    order = [term for term in self._analyze(question) if term in weights]
    pairs = list(itertools.pairwise(order))
    candidates: list[Candidate] = []
    for row, relative in hits:
      candidates += _score_passage(self.read(row), relative, weights, pairs, asked)
    return candidates

  def page_terms(self, row: int) -> tuple[frozenset[str], frozenset[str]]:
    """The terms of a passage, and those of its title."""
    passage = self.read(row)
    return frozenset().union(*(each.terms for each in passage.sentences)), passage.title

  def _read(self, row: int) -> Passage:
    """The sentences of a chunk and of those beside it on its page."""
    store = self._store
    number = int(store.owner[row])
    page = store.page(number)
    first, last = (at if 0 <= at < store.num_chunks and store.owner[at] == number else row for at in (row - 1, row + 1))
    spans = _spans(page, store.chunk(first).start, store.chunk(last).end)
    found = [self._sentence(page, start, end, is_code) for start, end, is_code in spans]
    kept = [each for each in found if each.text]
    return Passage(number, kept, frozenset(self._analyze(page.title)))

  def _sentence(self, page: Page, start: int, end: int, is_code: bool) -> Sentence:
    text = plain_span(page, start, end)
    places: dict[str, int] = {}
    for place, term in enumerate(self._analyze(text)):
      places[term] = places.get(term, 0) | (1 << place if place < _LONGEST else 0)
    is_short = not is_code and len(list(itertools.islice(terms.spans(text), _SHORTEST))) < _SHORTEST
    return Sentence(start, end, text, places, is_code, is_short)


def span_of(page: Page, candidate: Candidate, chosen: Collection[int]) -> tuple[int, int]:
  """The span [start, end) that is cited of a page for the sentences at the places `chosen` of a candidate's passage.

  Without the blank lines around it; what stands before the first word of its line stays, as it may be its markup.
  """
  sentences = candidate.passage.sentences
  start, end = sentences[min(chosen)].start, sentences[max(chosen)].end
  raw = page.text[start:end]
  start += len(raw) - len(raw.lstrip('\r\n') if page.format == MARKDOWN else raw.lstrip())
  return start, start + len(page.text[start:end].rstrip())


def needed(candidate: Candidate, lacking: Mapping[int, bool]) -> range:
  """The places in its passage of a sentence and of the neighbours without which it does not answer.

  Such a neighbour has a good part of the question that the sentence has not, or is what it refers to with its first
  word, or has the number, time or name that is asked for where the sentence has none. Code stands by itself.

  Args:
    lacking: by place, whether a sentence of the passage lacks the kind that is asked for, where that can be told.
  """
  place, sentences = candidate.place, candidate.passage.sentences
  joins = lambda at: 0 <= at < len(sentences) and not sentences[at].is_code and not sentences[place].is_code
  first = sentences[place].text.split(maxsplit=1)[0].lower().strip(',') if sentences[place].text.strip() else ''
  before = joins(place - 1) and (candidate.before >= _NEEDED or first in _REFERS)
  after = joins(place + 1) and candidate.after >= _NEEDED
  if candidate.lacks and not before and not after:
    after = joins(place + 1) and lacking.get(place + 1) is False
    before = not after and joins(place - 1) and lacking.get(place - 1) is False
  return range(place - before, place + after + 1)


def _score_passage(
  passage: Passage,
  relative: float,
  weights: Mapping[str, float],
  pairs: Sequence[tuple[str, str]],
  asked: Question,
) -> list[Candidate]:
  whole = sum(weights.values()) or 1.0
  whole_pairs = sum(weights[a] + weights[b] for a, b in pairs) or 1.0
  sentences = passage.sentences
  share = lambda found: sum(weights[term] for term in found) / whole
  own = [[term for term in weights if term in each.terms] for each in sentences]
  candidates = []
  several = [place for place, each in enumerate(sentences) if not each.is_short] or list(range(len(sentences)))
  for place in several:
    here = set(own[place])
    left = [term for term in weights if term not in here]
    before = own[place - 1] if place else []
    after = own[place + 1] if place + 1 < len(sentences) else []
    side_by_side = sum(
      weights[a] + weights[b]
      for a, b in pairs
      if a in here and b in here and _near(sentences[place].terms[a], sentences[place].terms[b])
    )
    lacks = bool(asked.lacks(sentences[place].text))
    features = {
      'sentence': share(here),
      'before': share(term for term in left if term in before),
      'title': share(term for term in left if term in passage.title),
      'pairs': side_by_side / whole_pairs,
      'page': relative,
      'lacks': float(lacks),
    }
    after_share = share(term for term in left if term in after)
    score = sum(WEIGHTS[name] * value for name, value in features.items())
    candidates.append(Candidate(passage, place, score, features['sentence'], features['before'], after_share, lacks))
  return candidates


def _near(a: int, b: int) -> bool:
  """Whether two terms, by the bits of their places, stand _NEAR places apart or less."""
  return any((a << apart | a >> apart) & b for apart in range(1, _NEAR + 1))


def _spans(page: Page, start: int, end: int) -> list[tuple[int, int, bool]]:
  """(start, end, is code) of the sentences of page.text[start:end], a block of code as one."""
  code = read_markdown(page.text).code_spans() if page.format == MARKDOWN else []
  inside = [(max(a, start), min(b, end)) for a, b in code]
  inside = [(a, b) for a, b in inside if a < b]
  blocks = set(inside)
  return [(a, b, (a, b) in blocks) for a, b in cut_sentences(page.text, start, end, inside)]


def top_order(candidates: Sequence[Candidate]) -> np.ndarray:
  """Places of candidates by falling score, equal ones as they are."""
  return np.argsort([-each.score for each in candidates], kind='stable')
