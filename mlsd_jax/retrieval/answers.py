"""Answers out of what was found: sentences with citations, or nothing where the corpus does not seem to know.

A citation is a character span of a page's text. Whether to answer is decided by the similarity of the nearest passage,
through a logistic curve (Platt 1999) that tells the queries of an evaluation, which the corpus answers, from questions
of everyday life, which few corpora do.
"""

import dataclasses
import itertools
import re
from collections.abc import Callable, Sequence

import numpy as np

from mlsd_jax.encoder.encoder import Encoder
from mlsd_jax.retrieval.chunking import plain_span
from mlsd_jax.retrieval.markdown import read_markdown
from mlsd_jax.retrieval.page import MARKDOWN, Page
from mlsd_jax.retrieval.search import Found, Searcher

_SENTENCE = re.compile(r'(?<=[.!?])["\')\]]*\s+|\n\s*\n|\n(?=\s*[-*#|]|\s*\d+\.\s|\s*```)')
_SHORTEST = 4  # words; below lie headings and bits of tables
EVERYDAY = (
  'how do I bake a chocolate cake', 'what is the capital of France', 'who won the world cup in 1998',
  'how long should I boil an egg', 'which plants grow well in the shade', 'what causes a toothache at night',
  'when was the French revolution', 'how do I change a flat bicycle tyre', 'why is the sky blue',
  'how much does a flight to Tokyo cost', 'what should I feed a kitten', 'how to remove red wine stains from a carpet',
  'who painted the Mona Lisa', 'what is a good exercise for back pain', 'how tall is Mount Everest',
  'when do strawberries ripen', 'how do I knit a scarf', 'what is the plot of Hamlet', 'how to tune a guitar',
  'which river flows through Vienna', 'how do I get a baby to sleep', 'what is the offside rule in football',
  'how to make sourdough bread', 'what are the symptoms of measles', 'who was the first person on the moon',
  'how do bees make honey', 'what colour goes with dark green walls', 'how do I train for a marathon',
  'when is the best time to prune roses', 'how do I apply for a visa to Brazil', 'what is the population of Nigeria',
  'how to remove a splinter', 'how do I cook rice without it sticking', 'what is the meaning of the name Sophie',
  'how do I iron a silk shirt', 'why do cats purr', 'what instruments are in a string quartet',
  'how to whiten teeth at home', 'which wine goes with salmon', 'how do I get rid of ants in the kitchen',
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Citation:
  """The span [start, end) of a page's text, which says `text` (without markup), and how near it is to the question."""

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
    confidence: probability that the corpus answers such a query; None if that was never calibrated.
    abstains: the confidence is below what was asked for, so `citations` should not be taken for an answer.
    text: written by a language model from the citations; '' without one.
  """

  citations: Sequence[Citation]
  confidence: float | None
  abstains: bool
  text: str = ''


@dataclasses.dataclass(frozen=True)
class Calibration:
  """P(answered | s) = 1 / (1 + exp(-(slope * s + offset))), s the similarity of the nearest chunk."""

  slope: float
  offset: float

  def __call__(self, similarity: float) -> float:
    return float(1 / (1 + np.exp(-(self.slope * similarity + self.offset))))


def calibrate(answered: np.ndarray, unanswered: np.ndarray, *, steps: int = 50) -> Calibration:
  """Fits the curve to the similarities [N] and [M] of both kinds of queries, by Newton's method with a weak prior.

  Both kinds weigh the same in all: 0.5 is where a query is as likely of one as of the other.
  """
  x = np.concatenate([answered, unanswered]).astype(np.float64)
  x = np.stack([x, np.ones_like(x)], 1)
  y = np.repeat([1.0, 0.0], [len(answered), len(unanswered)])
  weights = np.repeat([0.5 / len(answered), 0.5 / len(unanswered)], [len(answered), len(unanswered)])
  ridge = np.diag([1e-5, 1e-7])
  beta = np.zeros(2)
  for _ in range(steps):
    p = 1 / (1 + np.exp(-x @ beta))
    gradient = x.T @ (weights * (p - y)) + ridge @ beta
    hessian = (x * (weights * p * (1 - p) + 1e-12)[:, None]).T @ x + ridge
    step = np.linalg.solve(hessian, gradient)
    beta -= step / max(1.0, np.abs(step).max() / 5)  # far from the optimum Newton overshoots
  return Calibration(float(beta[0]), float(beta[1]))


def nearest(found: Found) -> float:
  """The similarity of the nearest chunk, 0 if nothing was found."""
  return found.stages['dense'][0].score if found.stages['dense'] else 0.0


def answer(
  searcher: Searcher,
  query: str,
  found: Found,
  *,
  calibration: Calibration | None = None,
  min_confidence: float = 0.5,
  sentences: int = 3,
  pages: int = 5,
  write: Callable[[str], str] | None = None,
) -> Answer:
  """Picks the sentences nearest to the query from the first pages found, each page's near duplicates left out.

  Args:
    min_confidence: below it the answer abstains.
    pages: how many of the first pages are read.
    write: a language model, prompt to continuation; it is given the citations and the query.
  """
  candidates = [each for hit in distinct(searcher, found)[:pages] for each in _sentences(searcher, hit.chunk)]
  citations = _pick(searcher.encoder, query, candidates, sentences)
  confidence = calibration(nearest(found)) if calibration else None
  abstains = not citations or (confidence is not None and confidence < min_confidence)
  text = write(prompt(query, citations)).strip() if write and not abstains else ''
  return Answer(citations, confidence, abstains, text)


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
  return f'Sources:\n{sources}\n\nQuestion: {query}\nAnswer, with the sources in brackets:'


def _sentences(searcher: Searcher, chunk_row: int) -> list[Citation]:
  """The sentences of a chunk, a block of code as one; the whole of it if all are short."""
  store = searcher.store
  page = store.page(int(store.owner[chunk_row]))
  chunk = store.chunk(chunk_row)
  code = read_markdown(page.text).code_spans() if page.format == MARKDOWN else []
  code = [(max(start, chunk.start), min(end, chunk.end)) for start, end in code]
  inside = [span for span in code if span[0] < span[1]]
  edges = {chunk.start, chunk.end, *itertools.chain.from_iterable(inside)}
  for found in _SENTENCE.finditer(page.text, chunk.start, chunk.end):
    if not any(start < found.end() < end for start, end in inside):
      edges.add(found.end())
  spans = []
  for start, end in itertools.pairwise(sorted(edges)):
    text = plain_span(page, start, end)
    if len(text.split()) >= (1 if (start, end) in inside else _SHORTEST):
      spans.append(_citation(page, start, end, text))
  return spans or [_citation(page, chunk.start, chunk.end, plain_span(page, chunk.start, chunk.end))]


def _citation(page: Page, start: int, end: int, text: str) -> Citation:
  """Without the blank lines around it; what stands before the first word of its line stays, as it may be its markup."""
  raw = page.text[start:end]
  start += len(raw) - len(raw.lstrip('\r\n') if page.format == MARKDOWN else raw.lstrip())
  return Citation(page.id, page.title, start, start + len(page.text[start:end].rstrip()), text, 0.0)


def _pick(encoder: Encoder, query: str, candidates: Sequence[Citation], number: int) -> list[Citation]:
  """The nearest sentences by their similarity alone and together with their title, no text twice."""
  if not candidates:
    return []
  texts = [f'{each.title}: {each.text}' for each in candidates]
  similarity = encoder.encode(texts, 'passage') @ encoder.encode([query], 'query')[0]
  picked: dict[str, Citation] = {}
  for place in np.argsort(-similarity, kind='stable'):
    each = candidates[place]
    picked.setdefault(each.text, dataclasses.replace(each, similarity=float(similarity[place])))
  return list(picked.values())[:number]
