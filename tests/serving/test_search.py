"""A corpus over HTTP: what is found and cited is what the library finds, and the run's settings hold."""

import dataclasses

import pytest
from starlette.testclient import TestClient

from mlsd_jax.retrieval import answers
from mlsd_jax.retrieval.build import BuildConfig, build_store
from mlsd_jax.retrieval.pages import MARKDOWN, Page
from mlsd_jax.retrieval.search import SearchConfig, Searcher
from mlsd_jax.retrieval.store import open_store
from mlsd_jax.serving import SearchService, Services, create_app
from mlsd_jax.serving.search_service import AskConfig

SUBJECTS = ('folders', 'archives', 'numbers', 'dates')


@pytest.fixture(scope='module')
def searcher(small_encoder, tmp_path_factory):
  pages = [
    Page(
      f'page-{i}',
      f'All about {subject}',
      f'# All about {subject}\n\nHow {subject} are copied. Number {i}.\n',
      'a',
      MARKDOWN,
    )
    for i, subject in enumerate(SUBJECTS)
  ]
  folder = tmp_path_factory.mktemp('store') / 'store'
  build_store(pages, folder, small_encoder, BuildConfig(near_duplicate=0))
  return Searcher(open_store(folder, small_encoder), small_encoder, SearchConfig(pages=4))


@pytest.fixture
def ask(searcher):
  """ask(path, body, **options of SearchService) -> the answer."""

  def ask(path, body, **options):
    services = Services(searches={'docs': SearchService('docs', searcher, **options)})
    with TestClient(create_app(services), raise_server_exceptions=False) as client:
      return client.post(path, json=body)

  return ask


def test_pages_are_those_of_the_library(ask, searcher):
  said = ask('/v1/search', {'query': 'archives', 'number': 2}).json()
  hits = searcher.search('archives').hits
  assert [page['id'] for page in said['pages']] == [searcher.store.page_ids[hit.page] for hit in hits[:2]]
  assert said['pages'][0]['id'] == 'page-1'
  assert said['milliseconds']


def test_what_a_search_box_shows(ask):
  said = ask('/v1/search', {'query': 'copied archivse', 'number': 1}).json()
  assert said['did_you_mean'] == 'copied archives'
  assert said['folders'] == [{'folder': 'a', 'pages': 4}]
  (page,) = said['pages']
  snippet = page['snippet']
  assert 'copied' in [snippet['text'][start:end] for start, end in snippet['marks']]
  assert (page['folder'], ask('/v1/search', {'query': 'archives'}).json()['did_you_mean']) == ('a', '')


def test_citations_are_those_of_the_library_and_as_many_as_set(ask, searcher):
  expected = answers.answer(searcher, 'archives', searcher.search('archives'), sentences=1, pages=2)
  said = ask('/v1/ask', {'query': 'archives'}, config=AskConfig(sentences=1, pages=2)).json()
  (citation,) = said['citations']
  assert citation == dataclasses.asdict(expected.citations[0])
  assert said['text'] == ''


def test_queries_are_rewritten_and_answers_written_as_configured(ask):
  prompts = []
  write = lambda prompt: prompts.append(prompt) or ' Nobody says this [1]. '
  rewrite = lambda query: ['dates'] if query == 'zebra' else []
  said = ask('/v1/ask', {'query': 'zebra'}, rewrite=rewrite, write=write).json()
  assert said['text'] == ''  # what its sources do not say is left out
  assert 'zebra' in prompts[-1]
  first = ask('/v1/search', {'query': 'zebra'}, rewrite=rewrite).json()['pages'][0]
  assert first['id'] == 'page-3'


@pytest.mark.parametrize('path', ['/v1/search', '/v1/ask'])
@pytest.mark.parametrize(
  ('body', 'status'),
  [
    ({'query': ''}, 400),
    ({'query': ' '}, 400),
    ({'query': 'x', 'folder': 'nowhere'}, 400),
    ({'query': 'x', 'number': 0}, 400),
    ({'query': 'x', 'model': 'nobody'}, 404),
    ({'query': 7}, 400),
    ({'quary': 'x'}, 400),
  ],
)
def test_what_cannot_be_searched_is_one_line(ask, path, body, status):
  answer = ask(path, body)
  assert answer.status_code == status
  message = answer.json()['error']['message']
  assert message
  assert '\n' not in message
