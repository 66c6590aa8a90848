"""Training pairs out of a corpus that nobody labelled: a title, a heading, a sentence or a written question, and the
passage it belongs to, with passages that lie near but answer something else.

A sentence taken out of its passage asks for it (inverse cloze: Lee et al. 2019, arXiv:1906.00300); questions written by
a language model are doc2query (Nogueira et al. 2019, arXiv:1904.08375).
"""

import dataclasses
import random
import re
from collections.abc import Callable, Sequence

import numpy as np

from mlsd_jax.errors import UserError
from mlsd_jax.retrieval.chunking import plain_text
from mlsd_jax.retrieval.encoder import Encoder
from mlsd_jax.retrieval.encoder_data import Pair, Ranked
from mlsd_jax.retrieval.store import Store

SOURCES = ('title', 'heading', 'sentence', 'written')
_NEAR = 60  # neighbours of a query among which negatives are looked for
_SENTENCE = re.compile(r'(?<=[.!?])\s+')


@dataclasses.dataclass(frozen=True)
class PairConfig:
  """Which pairs are made.

  Attributes:
    sources: any of SOURCES; one is drawn for each passage, among those that it has.
    number: at most so many pairs.
    negatives: passages beside each right one; a passage with fewer near ones is left out.
    too_near: what is more similar to the query than this share of the right passage's similarity may answer it as well,
      and is no negative.
    min_words: of a passage.
  """

  sources: tuple[str, ...] = ('title', 'heading', 'sentence')
  number: int = 4000
  negatives: int = 3
  too_near: float = 0.95
  min_words: int = 25
  seed: int = 0

  def __post_init__(self):
    unknown = [name for name in self.sources if name not in SOURCES]
    if unknown or not self.sources:
      raise UserError(f'pairs.sources={self.sources} must be some of {", ".join(SOURCES)}')
    if self.number < 1 or self.negatives < 0:
      raise UserError(f'pairs.number={self.number} must be at least 1 and pairs.negatives={self.negatives} at least 0')


def make_pairs(
  store: Store, encoder: Encoder, config: PairConfig, write: Callable[[str], str] | None = None
) -> list[Pair]:
  """Pairs in random order, their pages' order, so that the last of them can be held out.

  Args:
    write: a language model, for 'written'.

  Raises:
    UserError: 'written' without a model, or the corpus gives no pair.
  """
  if 'written' in config.sources and write is None:
    raise UserError('pairs.sources has "written", which wants a language model: name one with --config.generator')
  rng = random.Random(config.seed)
  rows = list(range(store.num_chunks))
  rng.shuffle(rows)
  examples: list[tuple[str, str, int]] = []
  for row in rows:
    if len(examples) == config.number:
      break
    example = _example(store, row, config, rng, write)
    if example is not None:
      examples.append((*example, row))
  if not examples:
    raise UserError(f'the corpus gives no pairs: no passage of {config.min_words} words has a title of its own')
  queries = encoder.encode([query for query, _, _ in examples], 'query')
  negatives = _negatives(store, queries, [row for *_, row in examples], config, rng)
  return [
    Pair(query, passage, tuple(others))
    for (query, passage, _), others in zip(examples, negatives, strict=True)
    if len(others) == config.negatives
  ]


def ranked(pairs: Sequence[Pair]) -> list[Ranked]:
  """The same for a cross-encoder: the right passage is worth 1, the others nothing."""
  return [Ranked(pair.query, (pair.passage, *pair.negatives), (1.0, *[0.0] * len(pair.negatives))) for pair in pairs]


def _example(
  store: Store, row: int, config: PairConfig, rng: random.Random, write: Callable[[str], str] | None
) -> tuple[str, str] | None:
  """A query and the passage without it; None if the chunk is fit for none."""
  page, chunk = store.page(int(store.owner[row])), store.chunk(row)
  passage = plain_text(page.text[chunk.start : chunk.end], page.format)
  if len(passage.split()) < config.min_words:
    return None
  sentences = [each for each in _SENTENCE.split(passage) if 5 <= len(each.split()) <= 40]
  has: dict[str, Callable[[], str]] = {
    'title': lambda: page.title,
    'heading': lambda: chunk.headings[-1] if chunk.headings else '',
    'sentence': lambda: rng.choice(sentences) if len(sentences) > 2 else '',
    'written': lambda: write(f'Passage: {passage}\nQuestion that it answers:').strip() if write else '',
  }
  sources = list(config.sources)
  rng.shuffle(sources)
  query = next((text for source in sources if (text := has[source]())), '')
  return (query, ' '.join(passage.replace(query, ' ').split())) if query else None


def _negatives(
  store: Store, queries: np.ndarray, rows: Sequence[int], config: PairConfig, rng: random.Random
) -> list[list[str]]:
  """For each query passages of other pages (and not of their near duplicates) that lie near, but not too near."""
  if not config.negatives:
    return [[] for _ in rows]
  found = store.vectors.search(queries, _NEAR)
  own = np.einsum('nd,nd->n', queries, store.vectors.vectors(store.ids[list(rows)]))
  lists = []
  for row, ids, scores, similarity in zip(rows, found.ids, found.scores, own, strict=True):
    group = store.groups[store.owner[row]]
    near = [
      int(other)
      for other, score in zip(store.rows(ids), scores, strict=True)
      if store.groups[store.owner[other]] != group and score < config.too_near * similarity
    ]
    first = near[: 4 * config.negatives]
    lists.append([store.chunk_text(other) for other in rng.sample(first, min(config.negatives, len(first)))])
  return lists
