"""Snippets, folders and "did you mean": marks are the query's words, suggestions the corpus's own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsd_jax.retrieval.as_typed import Marker, Speller, facets
from mlsd_jax.retrieval.build import BuildConfig, build_store
from mlsd_jax.retrieval.page import Page
from mlsd_jax.retrieval.search import Hit
from mlsd_jax.retrieval.store import open_store
from mlsd_jax.retrieval.terms import Analyzer

WORDS = st.lists(
  st.sampled_from(['copy', 'folders', 'and', 'archive\n', '  keeps', '天气', '👍', 'long' * 9]), max_size=80
)


@given(
  WORDS.map(' '.join), st.sampled_from(['copying a folder', 'archives', '天气', 'nothing', 'the']), st.integers(20, 90)
)
def test_a_snippet_is_part_of_its_text_with_the_querys_words_marked(text, query, most):
  made = Marker(query).snippet(text, most)
  whole = ' '.join(text.split())
  inner = made.text.removeprefix('… ').removesuffix(' …')
  assert len(made.text) <= most
  assert inner in whole
  assert (made.text == whole) == (len(whole) <= most)
  analyze = Analyzer(stem=True)
  words = set(analyze(query))
  for start, end in made.marks:
    assert words & set(analyze(made.text[start:end]))
  assert list(made.marks) == sorted(made.marks)
  if Marker(query).marks(whole):
    assert made.marks  # what is marked anywhere is shown


def test_a_snippet_shows_where_most_of_the_words_are():
  text = f'A folder. {"Nothing of it. " * 40}Copying a folder keeps its permissions. {"Nothing of it. " * 40}'
  made = Marker('copy folder permissions').snippet(text, 120)
  assert [made.text[start:end] for start, end in made.marks] == ['Copying', 'folder', 'permissions']
  assert made.text.startswith('… ')
  assert made.text.endswith(' …')


@pytest.fixture(scope='module')
def store(tmp_path_factory, encoder):
  pages = [
    Page('1', 'Copying', 'Copying folders keeps the permissions of files.', 'guide'),
    Page('2', 'Archives', 'An archive holds folders; archives are packed. Größe zählt.', 'guide/more'),
    Page('3', 'Погода', 'Сегодня хорошая погода. 今天天气很好', ''),
    Page('4', 'Holders', 'Holders of files.', 'guide'),
  ]
  folder = tmp_path_factory.mktemp('store')
  build_store(pages, folder, encoder, BuildConfig(near_duplicate=0))
  return open_store(folder, encoder)


@pytest.mark.parametrize(
  ('query', 'meant'),
  [
    ('copyign folders', 'copying folders'),  # two letters that changed places
    ('Permisions of flies', 'permissions of files'),  # one is missing; two changed places
    ('archivves', 'archives'),
    ('folters', 'folders'),  # which more pages have than holders
    ('Grösse', ''),  # NFKC and case folding make it Größe already
    ('gröse', 'größe'),
    ('prmisions', ''),  # two letters away
    ('погада', 'погода'),
    ('copying archives', ''),
    ('xyzzy', ''),
    ('fil', ''),
    ('天汽', ''),
    ('the of', ''),
  ],
)
def test_a_word_that_no_page_has_is_one_that_some_have(store, query, meant):
  assert Speller(store).suggest(query) == meant


def test_folders_are_counted(store):
  hits = [Hit(row, row, 1.0) for row in (1, 2, 0, 3)]
  assert facets(store, hits) == [('guide', 2), ('guide/more', 1)]
