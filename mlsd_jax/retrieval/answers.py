"""Answers out of what was found: sentences with citations, or nothing where the corpus does not seem to know.

A citation is a character span of a page's text: a sentence, with a neighbour where one does not answer by itself.
Which sentences answer is told by sentence_scores.py, and whether to answer at all by calibration.py.
"""

import dataclasses
import weakref
from collections.abc import Callable, Sequence

from mlsd_jax.retrieval.calibration import NOTHING, Calibration, Signals
from mlsd_jax.retrieval.chunking import plain_span
from mlsd_jax.retrieval.questions import Question
from mlsd_jax.retrieval.search import Found, Hit, Searcher
from mlsd_jax.retrieval.sentence_scores import Candidate, Reader, needed, span_of, top_order
from mlsd_jax.retrieval.store import Store
from mlsd_jax.retrieval.written import Write, Written, write_answer

__all__ = ['Answer', 'Calibration', 'Citation', 'answer', 'distinct', 'prompt', 'signals']


@dataclasses.dataclass(frozen=True)
class Citation:
  """The span [start, end) of a page's text, which says `text` (without markup), and how well it fits the question.

  `similarity` is the sentence's score: 1 where it has all of the question's words, somewhat more if its page is first.
  """

  page_id: str
  title: str
  start: int
  end: int
  text: str
  similarity: float


@dataclasses.dataclass(frozen=True)
class Answer:
  """What the corpus says.

  Attributes:
    citations: the best sentence first; empty if nothing was found.
    confidence: probability that the corpus answers such a query; None without a calibration.
    abstains: the confidence is below what was asked for, so `citations` should not be taken for an answer.
    text: written by a language model from the citations, the sentences that they hold (written.py); '' without one.
    dropped: the sentences that they do not.
    signals: what the confidence was made of.
  """

  citations: Sequence[Citation]
  confidence: float | None
  abstains: bool
  text: str = ''
  dropped: Sequence[str] = ()
  signals: Signals = NOTHING


def answer(
  searcher: Searcher,
  query: str,
  found: Found,
  *,
  calibration: Calibration | None = None,
  min_confidence: float = 0.5,
  sentences: int = 3,
  pages: int = 5,
  write: Write | None = None,
  on_sentence: Callable[[str], None] | None = None,
) -> Answer:
  """Picks the sentences that fit the query best from the first pages found, each page's near duplicates left out.

  Args:
    min_confidence: below it the answer abstains.
    pages: how many of the first pages are read.
    write: a language model, prompt to continuation; it is given the citations and the query.
    on_sentence: called with each sentence of it that the citations hold, as it is written; see written.write_answer.
  """
  reader = _reader(searcher.store)
  candidates = reader.score(query, _relative(distinct(searcher, found)[:pages]))
  citations = _cite(searcher.store, query, candidates, sentences)
  told = signals(reader, query, found, candidates)
  confidence = calibration(told) if calibration else None
  abstains = not citations or (confidence is not None and confidence < min_confidence)
  text = Written()
  if write and not abstains:
    sources = [f'{each.title}: {each.text}' for each in citations]
    text = write_answer(write, prompt(query, citations), query, sources, on_sentence)
  return Answer(citations, confidence, abstains, text.text, text.dropped, told)


def signals(reader: Reader, query: str, found: Found, candidates: Sequence[Candidate]) -> Signals:
  """What tells whether the best of the candidates answers."""
  if not candidates:
    return NOTHING
  first = candidates[top_order(candidates)[0]]
  others = [each.score for each in candidates if each.passage.page != first.passage.page]
  weights = reader.weights(query)
  said = frozenset().union(*(each.terms for each in first.passage.sentences))
  share = lambda terms, of: sum(weights[t] for t in of if t in terms) / (sum(weights[t] for t in of) or 1.0)
  bm25, dense = ([hit.score for hit in found.stages.get(stage, ())[:2]] for stage in ('bm25', 'dense'))
  return Signals(
    score=first.score,
    coverage=first.coverage,
    passage=share(said | first.passage.title, weights),
    untitled=share(said, [term for term in weights if term not in first.passage.title]),
    margin=first.score - max(others, default=0.0),
    bm25_gap=(bm25[0] - bm25[1]) / bm25[0] if len(bm25) == 2 else float(len(bm25)),
    nearest=float(dense[0]) if dense else 0.0,
  )


def distinct(searcher: Searcher, found: Found) -> list:
  """The hits without pages that are nearly the same as one before them."""
  seen: set[int] = set()
  kept = []
  for hit in found.hits:
    group = int(searcher.store.groups[hit.page])
    if group not in seen:
      seen.add(group)
      kept.append(hit)
  return kept


def prompt(query: str, citations: Sequence[Citation]) -> str:
  """What a language model is asked to continue."""
  sources = '\n'.join(f'[{i}] {each.title}: {each.text}' for i, each in enumerate(citations, start=1))
  return f'Sources:\n{sources}\n\nQuestion: {query}\nAnswer from the sources alone, each sentence with their numbers:'


def _relative(hits: Sequence[Hit]) -> list[tuple[int, float]]:
  """Row of each hit's chunk, and its score beside the best one's."""
  best = hits[0].score if hits else 1.0
  return [(hit.chunk, hit.score / best if best > 0 else 1.0) for hit in hits]


def _cite(store: Store, query: str, candidates: Sequence[Candidate], number: int) -> list[Citation]:
  """The best candidates with the neighbours that they need, no sentence and no text twice."""
  asked = Question(query)
  used: set[tuple[int, int]] = set()  # page, start of a sentence
  cited: dict[str, Citation] = {}
  for at in top_order(candidates):
    candidate = candidates[at]
    page_row, own = candidate.passage.page, candidate.passage.sentences
    if (page_row, candidate.sentence.start) in used:
      continue
    beside = [place for place in (candidate.place - 1, candidate.place + 1) if 0 <= place < len(own)]
    lacking = {place: missing for place in beside if (missing := asked.lacks(own[place].text)) is not None}
    places = [
      place
      for place in needed(candidate, lacking)
      if place == candidate.place or (page_row, own[place].start) not in used
    ]
    used |= {(page_row, own[place].start) for place in places}
    page = store.page(page_row)
    start, end = span_of(page, candidate, places)
    text = plain_span(page, start, end)
    cited.setdefault(text, Citation(page.id, page.title, start, end, text, candidate.score))
    if len(cited) == number:
      break
  return list(cited.values())


_readers: weakref.WeakKeyDictionary[Store, Reader] = weakref.WeakKeyDictionary()


def _reader(store: Store) -> Reader:
  """The reader of a store, which remembers what it read."""
  if store not in _readers:
    _readers[store] = Reader(store)
  return _readers[store]
