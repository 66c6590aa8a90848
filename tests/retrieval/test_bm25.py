"""BM25 against its formula written out, and that what was saved is what is opened."""

import json
import math
import unicodedata

import numpy as np
import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from mlsd_jax.errors import UserError
from mlsd_jax.retrieval import bm25, compiled_scores
from mlsd_jax.retrieval.bm25 import BM25, Analyzer, BM25Config, top
from mlsd_jax.retrieval.terms import _fold

WORDS = st.lists(st.sampled_from(['copy', 'tree', 'folder', 'file', 'time_stamp', 'the', 'x']), max_size=12)
TEXTS = st.lists(WORDS.map(' '.join), min_size=1, max_size=8)


def formula(texts, query, config):
  """Robertson's BM25 with Lucene's inverse document frequency."""
  analyze = Analyzer(config.stem)
  documents = [analyze(text) for text in texts]
  mean = sum(map(len, documents)) / len(documents)
  scores = []
  for document in documents:
    score = 0.0
    for term in analyze(query):
      frequency = sum(term in other for other in documents)
      idf = math.log(1 + (len(documents) - frequency + 0.5) / (frequency + 0.5))
      count = document.count(term)
      if count:
        score += idf * count / (count + config.k1 * (1 - config.b + config.b * len(document) / mean))
    scores.append(score)
  return scores


@given(TEXTS, WORDS.map(' '.join), st.sampled_from([BM25Config(), BM25Config(0.9, 0.4, stem=False)]))
def test_scores_are_the_formula(texts, query, config):
  index = BM25.build(texts, config)
  np.testing.assert_allclose(index.scores(query), formula(texts, query, config), atol=1e-5)


@given(TEXTS, st.lists(st.tuples(st.lists(st.integers(0, 7)), TEXTS), max_size=3), WORDS.map(' '.join))
def test_changes_are_a_rebuild(texts, changes, query):
  index = BM25.build(texts, BM25Config())
  for gone, added in changes:
    kept = [place for place in range(len(texts)) if place not in gone]
    places = np.full(len(texts), -1)
    places[kept] = np.arange(len(kept))
    index, texts = index.changed(places, added), [*(texts[place] for place in kept), *added]
  rebuilt = BM25.build(texts, BM25Config())
  assert index.size == rebuilt.size
  np.testing.assert_allclose(index.scores(query), rebuilt.scores(query), atol=1e-6)
  np.testing.assert_array_equal(index.idf(query.split()), rebuilt.idf(query.split()))


def test_machine_code_gives_the_same_bits(tmp_path, monkeypatch):
  texts = [f'{" file" * (n % 7)} copy {"tree" * (n % 3)} {"x y " * (n % 11)}' for n in range(300)]
  built = BM25.build(texts, BM25Config())
  built.save(tmp_path / 'bm25')
  changed = built.changed(np.array([-1, *range(299)]), ['a copy of a file'])
  for index in (built, BM25.open(tmp_path / 'bm25'), changed):
    plain = index.scores('copy file file tree')
    with monkeypatch.context() as patch:
      patch.setattr(bm25, '_COMPILED_FROM', 1)
      assert compiled_scores.load() is not None
      np.testing.assert_array_equal(index.scores('copy file file tree'), plain)


@given(TEXTS, st.integers(1, 6))
def test_blocks_change_nothing(texts, size):
  analyze, numbers = Analyzer(True), {}
  ids = [analyze.number(text, numbers) for text in texts]
  whole = bm25.Postings.of(ids, numbers)
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(bm25, '_BLOCK', size)
    parts = bm25.Postings.of(ids, numbers)
  for name in ('starts', 'rows', 'counts', 'lengths'):
    np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))


def test_what_was_saved_is_opened(tmp_path):
  texts = ['copy a tree', 'a folder and its files', '', 'remove the tree_of_files']
  BM25.build(texts, BM25Config()).save(tmp_path / 'index')
  opened = BM25.open(tmp_path / 'index')
  assert opened.size == 4
  assert opened.config == BM25Config()
  places, scores = opened.search('trees of files', 10)
  assert sorted(places.tolist()) == [0, 1, 3]
  assert (np.diff(scores) <= 0).all()
  assert opened.search('nothing known', 10)[0].size == 0
  assert opened.search('', 10)[0].size == 0


def test_names_in_code_are_found_by_their_parts():
  index = BM25.build(['os.path_exists(name)', 'something else'], BM25Config())
  assert index.search('exists', 1)[0].tolist() == [0]
  assert index.search('path_exists', 1)[0].tolist() == [0]


@given(st.lists(st.integers(0, 5).map(float), min_size=1, max_size=30), st.integers(1, 40))
def test_top_is_a_stable_sort_of_the_positive_scores(values, k):
  scores = np.array(values, np.float32)
  places, found = top(scores, k)
  want = [i for i in np.argsort(-scores, kind='stable') if scores[i] > 0][:k]
  assert places.tolist() == want
  np.testing.assert_array_equal(found, scores[want])


@pytest.mark.parametrize('values', [{'k1': -1.0}, {'b': 1.5}, {'b': math.nan}, {'k1': math.nan}])
def test_parameters_without_a_meaning_are_refused(values):
  with pytest.raises(UserError, match='bm25 needs'):
    BM25Config(**values)


@pytest.mark.parametrize(
  ('text', 'terms'),
  [
    ('C programming', {'c'}),
    ('C++, C# and F# (or g++)', {'c++', 'c#', 'f#', 'g++'}),
    ('Ｃ＋＋ and C♯', {'c++', 'c#'}),
    ('.NET, ASP.NET (.gitignore)', {'.net', 'net', 'asp.net', 'asp', '.gitignore'}),
    ('node.js 3.12 v1.2.3 192.168.0.1', {'node.js', 'js', '3.12', 'v1.2.3', '192.168.0.1'}),
    ('x86_64 __init__ utf-8', {'x86_64', 'x86', '64', '__init__', 'init', 'utf', '8'}),
    ("l’avion, O'Reilly", {"l'avion", 'avion', "o'reilly", 'reilly'}),
    ('हिन्दी की नमस्ते', {'हिन्दी', 'की', 'नमस्ते'}),
    ('天气很好', {'天', '天气', '气很', '很好'}),
    ('東京タワー', {'東京', 'タワ', 'ワー'}),
    ('สวัสดี', {'สวั', 'วัส', 'สดี'}),
    ('한국어는', {'한국', '국어', '한국어는'}),
    ('iPhone手机 API를', {'iphone', '手机', 'api'}),
    ('AT&T, Q&A and R&D', {'at&t', 'q&a', 'r&d'}),
    ('İstanbul DİYARBAKIR', {'istanbul', 'diyarbakir'}),
    ('🚀 launch ✅done, 👩\u200d💻 👍🏽 🇩🇪 ⚠️', {'🚀', '✅', 'done', '👩', '💻', '👍', '🇩🇪', '⚠'}),
    ('co\u00adop می\u200cشود Straße', {'coop', 'میشود', 'strasse'}),
  ],
)
def test_terms_of_names_and_scripts(text, terms):
  assert terms <= set(Analyzer(stem=False)(text))


@pytest.mark.parametrize(
  ('query', 'text'),
  [
    ('مدرسة', 'والمدرسة في المدينة'),  # with the article
    ('كتاب', 'قرأ كتابه'),
    ('книга', 'читает книги'),
    ('भाषा', 'हिन्दी भाषाओं में'),
    ('θάλασσας', 'η θάλασσα'),
    ('הבית', 'בבית שלי'),
  ],
)
def test_other_forms_of_a_word_find_it(query, text):
  assert BM25.build(['nothing here', text], BM25Config()).search(query, 1)[0].tolist() == [1]
  assert BM25.build(['nothing here', text], BM25Config(stem=False)).search(query, 1)[0].tolist() == []


@pytest.mark.parametrize(
  ('query', 'right', 'wrong'),
  [('C', 'C', 'C++'), ('C', 'C', 'R'), ('C++', 'C++', 'C'), ('C#', 'C#', 'C'), ('F#', 'F#', 'C#'),
   ('AT&T', 'AT&T', 'MT&T'), ('3.12', '3.12', '12'), ('.NET', '.NET', 'net'), ('node.js', 'node.js', 'node')],
)  # fmt: skip
def test_a_name_finds_its_own(query, right, wrong):
  texts = [f'programming in {wrong} for all', f'programming in {right} for all']
  assert BM25.build(texts, BM25Config()).search(f'{query} programming', 1)[0].tolist() == [1]


UNSPACED = st.sampled_from(
  ['天气预报今天很好', 'ひらがなとカタカナー', 'สวัสดีครับผม', 'ខ្មែរភាសា', 'ພາສາລາວ', 'မြန်မာဘာသာ']
)


@given(UNSPACED, st.data())
def test_any_part_of_a_text_without_spaces_finds_it(text, data):
  clusters = regex.findall(r'\X', text)
  start, end = sorted(data.draw(st.lists(st.integers(0, len(clusters)), min_size=2, max_size=2, unique=True)))
  assert BM25.build(['words', text], BM25Config()).search(''.join(clusters[start:end]), 1)[0].tolist() == [1]


@given(st.text(st.characters(categories=('L', 'M', 'N', 'Zs', 'Po')), max_size=40))
def test_spellings_of_one_text_have_the_same_terms(text):
  analyze = Analyzer(stem=True)
  forms = {form: analyze(unicodedata.normalize(form, text)) for form in ('NFC', 'NFD', 'NFKC')}
  assert forms['NFC'] == forms['NFD']
  assert analyze(text) == forms['NFC']


@given(st.lists(st.text("ab .,:'_-+#1\n", max_size=40), max_size=6))
def test_numbers_stand_for_the_terms(texts):
  analyze, vocabulary = Analyzer(stem=True), {}
  numbers = [analyze.number(text, vocabulary) for text in texts]
  names = list(vocabulary)
  assert [[names[number] for number in each] for each in numbers] == [analyze(text) for text in texts]


@given(st.text('aB.,:\'_-+#1()";!?é', max_size=12).filter(lambda piece: not piece.isspace()))
def test_the_short_way_for_plain_words_is_the_long_one(piece):
  analyze = Analyzer(stem=False)
  assert analyze(piece) == analyze._words(_fold(piece))


def test_an_index_with_the_terms_of_an_earlier_release_is_told_apart(tmp_path):
  BM25.build(['one', 'two'], BM25Config()).save(tmp_path)
  config = json.loads((tmp_path / 'config.json').read_text())
  del config['terms']
  (tmp_path / 'config.json').write_text(json.dumps(config))
  with pytest.raises(UserError, match=r'terms .* version 1, not'):
    BM25.open(tmp_path)
