"""The stages against plain references, and what a search promises whatever is asked."""

import numpy as np
import pytest

from mlsd_jax.errors import UserError
from mlsd_jax.retrieval import answers
from mlsd_jax.retrieval.build import BuildConfig, build_store
from mlsd_jax.retrieval.calibration import PRIOR, Calibration
from mlsd_jax.retrieval.chunking import ChunkConfig, plain_text
from mlsd_jax.retrieval.fusion import best, weighted_fusion
from mlsd_jax.retrieval.pages import Page
from mlsd_jax.retrieval.query_pairs import PairConfig, make_pairs
from mlsd_jax.retrieval.search import Hit, SearchConfig, Searcher
from mlsd_jax.retrieval.store import open_store

QUERIES = ('copying folders', 'number 111 of parsing dates', 'code_7', 'archives? and "mail"', '漢字 🙂', 'page ' * 300)


@pytest.fixture(scope='module')
def searcher(tmp_path_factory, pages, encoder):
  folder = tmp_path_factory.mktemp('search')
  build_store(pages, folder, encoder, BuildConfig(chunk=ChunkConfig(48, 8, 8)))
  return Searcher(open_store(folder, encoder), encoder, SearchConfig(pages=12))


@pytest.mark.parametrize('query', QUERIES)
def test_stages_are_what_they_say(searcher, encoder, query):
  store = searcher.store
  found = searcher.search(query)
  vectors = store.vectors.vectors(store.ids)
  similarity = np.maximum.reduceat(vectors @ encoder.encode([query], 'query')[0], store.starts)
  dense = found.stages['dense']
  np.testing.assert_allclose([hit.score for hit in dense], similarity[[hit.page for hit in dense]], atol=1e-5)
  np.testing.assert_allclose([hit.score for hit in dense], np.sort(similarity)[::-1][: len(dense)], atol=1e-5)
  lexical = store.bm25_pages.scores(query) + np.maximum.reduceat(store.bm25_chunks.scores(query), store.starts)
  bm25 = found.stages['bm25']
  np.testing.assert_allclose([hit.score for hit in bm25], np.sort(lexical[lexical > 0])[::-1][:12], rtol=1e-5)
  both = [{hit.page: hit.score for hit in hits} for hits in (bm25, dense)]
  fused = weighted_fusion(both, [0.5, 0.5])
  assert [hit.page for hit in found.stages['hybrid']] == best(fused)
  for hits in found.stages.values():
    assert all(store.owner[hit.chunk] == hit.page for hit in hits)
    assert len({hit.page for hit in hits}) == len(hits)
  assert found.hits == found.stages['hybrid']


def test_a_folder_filters_every_stage(searcher):
  found = searcher.search('number of pages', folder='copying')
  for hits in found.stages.values():
    assert hits
    assert {searcher.store.folders[hit.page] for hit in hits} == {'copying'}
  with pytest.raises(UserError, match='no page is filed under'):
    searcher.search('number', folder='nowhere')


@pytest.mark.parametrize('query', ['', '  \n'])
def test_an_empty_query_is_an_error(searcher, query):
  with pytest.raises(UserError, match='query is empty'):
    searcher.search(query)


def test_the_query_as_its_own_rewrite_changes_nothing(searcher):
  once, twice = searcher.search('sending mail'), searcher.search('sending mail', rewrites=('sending mail',))
  for stage in once.stages:
    np.testing.assert_allclose(
      [hit.score for hit in once.stages[stage]], [hit.score for hit in twice.stages[stage]], atol=1e-5
    )


def test_an_encoder_that_does_not_know_a_script_counts_less(searcher):
  known = searcher.search('parsing dates')
  assert searcher._trust('parsing dates', known.stages['bm25'], known.stages['dense']) == 1.0
  hits = lambda pages: {page: Hit(page, page, 1.0) for page in pages}
  trust = lambda first, second: searcher._trust('漢字かな交じり文', hits(first), hits(second))
  assert trust(range(10), range(10, 20)) == 0.0
  assert 0.0 < trust(range(10), range(8, 18)) < trust(range(10), range(6, 16)) < 1.0
  assert trust(range(10), range(10)) == 1.0
  assert trust([], range(10)) == 0.0
  only = searcher._fuse(hits([1, 2]), hits([3]), 0.0)
  assert only[3].score == 0.0


class Reversing:
  """A cross-encoder that likes the last of what it is shown."""

  def score_pairs(self, pairs):
    return np.arange(len(pairs), dtype=np.float32)


def test_reranking_reorders_the_first_pages_only(searcher):
  config = SearchConfig(pages=12, rerank=4, rerank_weight=1.0)
  reranker = Searcher(searcher.store, searcher.encoder, config, Reversing())
  found = reranker.search('parsing dates')
  before = [hit.page for hit in found.stages['hybrid']]
  after = [hit.page for hit in found.stages['rerank']]
  assert after == before[:4][::-1] + before[4:]
  assert found.hits == found.stages['rerank']
  with pytest.raises(UserError, match='requires a cross-encoder'):
    Searcher(searcher.store, searcher.encoder, config)


def test_citations_resolve_to_the_source_text(searcher):
  query = 'number 111 of parsing dates'
  said = answers.answer(searcher, query, searcher.search(query))
  assert said.citations
  assert not said.abstains
  by_id = {page.id: page for page in searcher.store.pages()}
  for each in said.citations:
    page = by_id[each.page_id]
    assert plain_text(page.text[each.start : each.end], page.format) == each.text
    assert each.title == page.title
  similarities = [each.similarity for each in said.citations]
  assert similarities == sorted(similarities, reverse=True)


def test_it_abstains_below_the_calibrated_threshold(searcher):
  query = 'drawing circles'
  found = searcher.search(query)
  sure, unsure = (Calibration((0.0,) * len(PRIOR.weights), offset) for offset in (4.0, -4.0))
  asked = []
  write = lambda prompt: asked.append(prompt) or ' Drawing circles [1]. Elephants said so [1]. '
  answered = answers.answer(searcher, query, found, calibration=sure, write=write)
  assert (answered.abstains, answered.text) == (False, 'Drawing circles [1].')
  assert answered.dropped == ('Elephants said so [1].',)
  assert query in asked[0]
  assert answered.citations[0].text in asked[0]
  silent = answers.answer(searcher, query, found, calibration=unsure, write=write)
  assert silent.abstains
  assert silent.text == ''
  assert len(asked) == 1


@pytest.mark.parametrize('values', [{'pages': 0}, {'fusion': 'x'}, {'dense_weight': 2.0}, {'rerank': -1}])
def test_settings_without_a_meaning_are_refused(values):
  with pytest.raises(UserError, match='search'):
    SearchConfig(**values)


@pytest.fixture(scope='module')
def one_long_page(tmp_path_factory, pages, encoder):
  """Searched for three pages: one of them has more chunks about the query than are fetched at first."""
  folder = tmp_path_factory.mktemp('long')
  text = '\n\n'.join(f'# Sending mail {i}\n\nSending mail {i}.' for i in range(60))
  long = Page('long', 'Sending mail', text, 'long')
  build_store([long, *pages[:8]], folder, encoder, BuildConfig(chunk=ChunkConfig(16, 0, 0), near_duplicate=0))
  return Searcher(open_store(folder, encoder), encoder, SearchConfig(pages=3))


@pytest.mark.parametrize(('folder', 'number'), [('', 3), ('long', 1), ('copying', 2)])
def test_a_page_of_many_chunks_hides_no_other(one_long_page, encoder, folder, number):
  store = one_long_page.store
  similarity = store.vectors.vectors(store.ids) @ encoder.encode(['sending mail'], 'query')[0]
  best_of_pages = np.maximum.reduceat(similarity, store.starts)
  inside = [row for row, name in enumerate(store.folders) if name.startswith(folder)]
  dense = one_long_page.search('sending mail', folder=folder).stages['dense']
  expected = sorted(best_of_pages[inside], reverse=True)[:number]
  np.testing.assert_allclose([hit.score for hit in dense], expected, atol=1e-5)


def test_pairs_are_made_of_a_page_of_many_chunks(one_long_page, encoder):
  config = PairConfig(sources=('title',), number=50, negatives=2, too_near=1.0, min_words=1, min_query_words=1)
  examples = [pair for pair in make_pairs(one_long_page.store, encoder, config) if pair.query == 'Sending mail']
  assert examples
  assert all(len(pair.negatives) == 2 for pair in examples)
