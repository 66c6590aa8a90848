"""Training pairs out of a corpus that nobody labelled: a title, a heading, a sentence or a written question, and the
passage it belongs to, with passages that a search finds for it too.

What is asked is taken out of the right passage; so that this does not give it away, every other passage loses its own
title or heading in the same way. A sentence taken out of its passage asks for it (inverse cloze: Lee et al. 2019,
arXiv:1906.00300); questions written by a language model are doc2query (Nogueira et al. 2019, arXiv:1904.08375).
"""

import dataclasses
import itertools
import random
import re
from collections.abc import Callable, Iterator, Sequence

from mlsd_jax.encoder.encoder import Encoder
from mlsd_jax.encoder.examples import Pair, Ranked
from mlsd_jax.errors import UserError
from mlsd_jax.retrieval.bm25 import top
from mlsd_jax.retrieval.store import Store

SOURCES = ('title', 'heading', 'sentence', 'written')
_NEAR = 30  # chunks that BM25 and dense search each find for a query, among which negatives are drawn
_SENTENCE = re.compile(r'(?<=[.!?])\s+')


@dataclasses.dataclass(frozen=True)
class PairConfig:
  """Which pairs are made.

  Attributes:
    sources: any of SOURCES; one is drawn for each passage, among those that it has.
    number: at most so many pairs.
    negatives: passages beside each right one; a query for which fewer are found is left out.
    too_near: what is more similar than this to the right passage may answer as well, and is no negative.
    min_words: of a passage.
    min_query_words: of a query; titles and headings such as 'Overview' ask for nothing.
  """

  sources: tuple[str, ...] = ('title', 'heading', 'sentence')
  number: int = 4000
  negatives: int = 3
  too_near: float = 0.85
  min_words: int = 25
  min_query_words: int = 3
  seed: int = 0

  def __post_init__(self):
    unknown = [name for name in self.sources if name not in SOURCES]
    if unknown or not self.sources:
      raise UserError(f'pairs.sources={self.sources} must be some of {", ".join(SOURCES)}')
    if self.number < 1 or self.negatives < 0:
      raise UserError(f'pairs.number={self.number} must be at least 1 and pairs.negatives={self.negatives} at least 0')


@dataclasses.dataclass(frozen=True)
class _Example:
  """A query out of the chunk of a row, and that chunk without it."""

  query: str
  source: str
  passage: str
  row: int


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
    raise UserError('pairs.sources has "written", which needs a language model: name one with --config.generator')
  rng = random.Random(config.seed)
  rows = list(range(store.num_chunks))
  rng.shuffle(rows)
  examples = list(itertools.islice(_examples(store, rows, config, rng, write), config.number))
  if not examples:
    raise UserError(f'the corpus gives no pairs: no passage of {config.min_words} words has a title of its own')
  negatives = _negatives(store, encoder, examples, config, rng)
  return [
    Pair(each.query, each.passage, tuple(others))
    for each, others in zip(examples, negatives, strict=True)
    if len(others) == config.negatives
  ]


def ranked(pairs: Sequence[Pair]) -> list[Ranked]:
  """The same for a cross-encoder: the right passage is worth 1, the others nothing."""
  return [Ranked(pair.query, (pair.passage, *pair.negatives), (1.0, *[0.0] * len(pair.negatives))) for pair in pairs]


def _examples(
  store: Store, rows: Sequence[int], config: PairConfig, rng: random.Random, write: Callable[[str], str] | None
) -> Iterator[_Example]:
  """Of rows, in their order.

  As many as are wanted are read at a time, page after page: to read a chunk is to read the Markdown of its page, and
  that of few pages is remembered. What a language model writes is not written in advance.
  """
  for block in itertools.batched(rows, 1 if write else config.number):
    found = {row: _example(store, row, config, rng, write) for row in sorted(block)}
    yield from (each for row in block if (each := found[row]) is not None)


def _example(
  store: Store, row: int, config: PairConfig, rng: random.Random, write: Callable[[str], str] | None
) -> _Example | None:
  """None if the chunk is fit for no source."""
  text = store.chunk_text(row)
  sources = list(config.sources)
  rng.shuffle(sources)
  for source in sources:
    if source == 'written':
      assert write is not None
      query = write(f'Passage: {text}\nQuestion that it answers:').strip()
    elif source == 'sentence':
      sentences = [each for each in _SENTENCE.split(text)[1:] if 5 <= len(each.split()) <= 40]
      query = rng.choice(sentences) if len(sentences) > 1 else ''
    else:
      query = _name(store, row, source)
    passage = _without(text, query) if len(query.split()) >= config.min_query_words else ''
    if len(passage.split()) >= config.min_words:
      return _Example(query, source, passage, row)
  return None


def _name(store: Store, row: int, source: str) -> str:
  """The title or the innermost heading of a chunk; '' if it has none."""
  headings = store.chunk(row).headings
  return store.titles[store.owner[row]] if source == 'title' else headings[-1] if headings else ''


def _without(text: str, words: str) -> str:
  left = ' '.join(re.sub(re.escape(words), ' ', text, flags=re.IGNORECASE).split())
  return left.lstrip(':- ').replace(' - :', ':')


def _negatives(
  store: Store, encoder: Encoder, examples: Sequence[_Example], config: PairConfig, rng: random.Random
) -> list[list[str]]:
  """For each query passages of other pages (and not of their near duplicates) that BM25 or dense search finds."""
  if not config.negatives:
    return [[] for _ in examples]
  vectors = encoder.encode([each.query for each in examples], 'query')
  found = store.vectors.search(vectors, _NEAR)
  group_of = store.groups[store.owner]
  lexical = store.bm25_chunks or store.bm25_pages
  candidates = []
  for each, query, ids in zip(examples, vectors, found.ids, strict=True):
    places, _ = top(lexical.scores(each.query), _NEAR)
    own = group_of == group_of[each.row]
    near = [row for row in dict.fromkeys(map(int, (*store.rows(ids), *places))) if not own[row]]
    if len(near) < config.negatives:  # its own page is so long that it hides the others
      wider = store.vectors.search(query[None], _NEAR + int(own.sum()))
      near = [row for row in store.rows(wider.ids[0]).tolist() if not own[row]]
    right, *near_vectors = store.vectors.vectors(store.ids[[each.row, *near]])
    others = [row for row, vector in zip(near, near_vectors, strict=True) if vector @ right <= config.too_near]
    rng.shuffle(others)
    candidates.append(others)
  return _first_that_differ(store, examples, candidates, config.negatives)


def _first_that_differ(
  store: Store, examples: Sequence[_Example], candidates: Sequence[Sequence[int]], number: int
) -> list[list[str]]:
  """Of each example's candidates, in their order, the first `number` that do not say its query, as they are shown.

  Read page after page, as `_examples` reads, and no further in a list than is needed: as many as are missing of every
  example are read in one pass over the corpus, then what is still missing in the next.
  """
  lists: list[list[str]] = [[] for _ in examples]
  begun = [0] * len(examples)
  while True:
    wanted: list[tuple[int, int, int]] = []  # row, example, place among the candidates
    for i, rows in enumerate(candidates):
      upto = min(begun[i] + number - len(lists[i]), len(rows))
      wanted += [(rows[place], i, place) for place in range(begun[i], upto)]
      begun[i] = upto
    if not wanted:
      return lists
    texts = {(i, place): _negative(store, row, examples[i]) for row, i, place in sorted(wanted)}
    for (i, _), text in sorted(texts.items()):
      if text:
        lists[i].append(text)


def _negative(store: Store, row: int, example: _Example) -> str:
  """A chunk as an example's right one is shown; '' if it says the query."""
  text = store.chunk_text(row)
  if example.source in ('title', 'heading') and (name := _name(store, row, example.source)):
    text = _without(text, name)
  return '' if example.query.lower() in text.lower() else text
