"""Pairs that nobody labelled: the query is not left in its passage, negatives are of other pages."""

import collections
import dataclasses
import functools
import itertools
import sys

import pytest

from mlsd_jax.errors import UserError
from mlsd_jax.retrieval import chunking, expansion, markdown, query_pairs, relevance_judge
from mlsd_jax.retrieval.build import BuildConfig, build_store
from mlsd_jax.retrieval.chunking import ChunkConfig
from mlsd_jax.retrieval.query_pairs import PairConfig
from mlsd_jax.retrieval.store import open_store

ANY = float('inf')  # an encoder with random weights has no idea of what is near


@pytest.fixture(scope='module')
def opened(tmp_path_factory, pages, encoder):
  folder = tmp_path_factory.mktemp('pairs')
  copies = [dataclasses.replace(page, id=f'copy of {page.id}') for page in pages[:4]]
  build_store([*pages, *copies], folder, encoder, BuildConfig(chunk=ChunkConfig(48, 8, 8)))
  return open_store(folder, encoder)


@pytest.mark.parametrize('source', ['title', 'heading', 'sentence'])
def test_pairs(opened, encoder, source):
  config = PairConfig((source,), number=40, negatives=2, too_near=ANY, min_words=8)
  pairs = query_pairs.make_pairs(opened, encoder, config)
  assert pairs
  assert pairs == query_pairs.make_pairs(opened, encoder, config)
  texts = [opened.chunk_text(row) for row in range(opened.num_chunks)]
  for pair in pairs:
    assert len(pair.query.split()) >= 3
    assert len(pair.negatives) == 2
    for passage in (pair.passage, *pair.negatives):
      assert pair.query.lower() not in passage.lower()
      assert len(passage.split()) >= 2
  # What stands before a passage must not tell the right one from the others.
  if source == 'sentence':
    assert all(negative in texts for pair in pairs for negative in pair.negatives)
  if source == 'title':
    assert not any(passage in texts for pair in pairs for passage in (pair.passage, *pair.negatives))
  lists = query_pairs.ranked(pairs)
  assert lists[0].query == pairs[0].query
  assert lists[0].passages == (pairs[0].passage, *pairs[0].negatives)
  assert lists[0].targets == (1.0, 0.0, 0.0)


def one_after_the_other(store, examples, candidates, number):
  """The plain form: each example's candidates in turn, whatever pages they are of."""
  shown = (
    (query_pairs._negative(store, row, each) for row in rows) for each, rows in zip(examples, candidates, strict=True)
  )
  return [list(itertools.islice(filter(None, texts), number)) for texts in shown]


@pytest.mark.parametrize('negatives', [1, 3])
@pytest.mark.parametrize('sources', [('title',), ('heading',), ('sentence',), ('title', 'heading', 'sentence')])
def test_reading_page_after_page_makes_the_same_pairs(opened, encoder, sources, negatives, monkeypatch):
  config = PairConfig(sources, number=60, negatives=negatives, too_near=ANY, min_words=8, min_query_words=1)
  pairs = query_pairs.make_pairs(opened, encoder, config)
  monkeypatch.setattr(query_pairs, '_first_that_differ', one_after_the_other)
  assert pairs == query_pairs.make_pairs(opened, encoder, config)
  assert pairs


def test_a_page_is_read_once_for_passages_and_once_for_negatives(opened, encoder, monkeypatch):
  read = collections.Counter()

  @functools.lru_cache(1)
  def read_markdown(text):
    read[text] += 1
    return markdown.read_markdown(text)

  monkeypatch.setattr(chunking, 'read_markdown', read_markdown)
  config = PairConfig(('sentence',), number=60, negatives=3, too_near=ANY, min_words=8)
  assert len(query_pairs.make_pairs(opened, encoder, config)) > 10
  copies = collections.Counter(page.text for page in opened.pages())
  assert all(times <= 2 * copies[text] for text, times in read.items())


def test_copies_of_a_page_are_no_negatives(opened, encoder):
  pairs = query_pairs.make_pairs(
    opened, encoder, PairConfig(('title',), number=200, negatives=1, too_near=ANY, min_words=8, min_query_words=1)
  )
  copied = [pair for pair in pairs if 'folders 0' in pair.query]
  assert copied
  assert not any('folders 0' in negative for pair in copied for negative in pair.negatives)


def test_written_questions(opened, encoder):
  config = PairConfig(('written',), number=5, negatives=0, min_words=8)
  pairs = query_pairs.make_pairs(opened, encoder, config, lambda prompt: ' what is asked? ')
  assert {pair.query for pair in pairs} == {'what is asked?'}
  with pytest.raises(UserError, match='needs a language model'):
    query_pairs.make_pairs(opened, encoder, config)
  with pytest.raises(UserError, match='gives no pairs'):
    query_pairs.make_pairs(opened, encoder, PairConfig(min_words=1000))
  with pytest.raises(UserError, match=r'pairs\.sources'):
    PairConfig(('guess',))


def test_a_query_in_other_words():
  assert expansion.rewrites('q', 'none', None) == ()
  assert expansion.rewrites('q', 'hyde', lambda prompt: f' {prompt.count("q")}\n more') == ('1 more',)
  assert expansion.rewrites('q', 'multi', lambda _: ' ') == ()
  with pytest.raises(UserError, match='needs a language model'):
    expansion.rewrites('q', 'hyde', None)
  with pytest.raises(UserError, match='is not one of'):
    expansion.rewrites('q', 'x', None)


def test_a_judge_grades_what_is_shown():
  ask = lambda prompt: 'I say: 3' if 'good' in prompt else 'grade 0.'
  found = relevance_judge.judge({'1': 'q'}, {'1': [('a', 'good words'), ('b', 'bad words')]}, ask)
  assert found == {'1': {'a': 3, 'b': 0}}
  with pytest.raises(UserError, match='gave no grade'):
    relevance_judge.judge({'1': 'q'}, {'1': [('a', 'x')]}, lambda _: 'no idea, 17')


def test_a_judge_may_be_a_program():
  ask = relevance_judge.command(f'{sys.executable} -c "print(len(input()) and 2)"')
  assert ask('a prompt').strip() == '2'
  with pytest.raises(UserError, match='failed with code 3'):
    relevance_judge.command(f'{sys.executable} -c "raise SystemExit(3)"')('x')
  with pytest.raises(UserError, match='cannot be asked'):
    relevance_judge.command('no-such-program-here')('x')


def test_what_is_too_near_is_no_negative(opened, encoder):
  some = PairConfig(('title',), number=40, negatives=1, too_near=ANY, min_words=8)
  assert query_pairs.make_pairs(opened, encoder, some)
  assert not query_pairs.make_pairs(opened, encoder, dataclasses.replace(some, too_near=-ANY))
