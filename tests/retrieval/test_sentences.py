"""Sentences of any script, and which of them answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsd_jax.retrieval.page import MARKDOWN, PLAIN, Page
from mlsd_jax.retrieval.questions import Kind, Question
from mlsd_jax.retrieval.sentence_scores import _NEAR, Reader, _near, needed, top_order
from mlsd_jax.retrieval.sentences import cut_sentences


def cut(text, *whole):
  return [text[start:end].strip() for start, end in cut_sentences(text, 0, len(text), whole)]


@pytest.mark.parametrize(
  ('text', 'expected'),
  [
    ('He came. He saw!  Why? Nobody knows.', ['He came.', 'He saw!', 'Why?', 'Nobody knows.']),
    ('"It is." She left (at last.) Then so did he.', ['"It is."', 'She left (at last.)', 'Then so did he.']),
    ('Dr. No met J. R. Brown, e.g. in the U.S. Senate.', ['Dr. No met J. R. Brown, e.g. in the U.S. Senate.']),
    ('It cost 3.5 m. in all. See Fig. 2.', ['It cost 3.5 m. in all.', 'See Fig. 2.']),
    ('他来了。“为什么？”没人知道！好', ['他来了。', '“为什么？”', '没人知道！', '好']),
    ('彼は来た。誰も知らない。', ['彼は来た。', '誰も知らない。']),
    ('وصل الرجل. لماذا؟ لا أحد يعرف.', ['وصل الرجل.', 'لماذا؟', 'لا أحد يعرف.']),
    ('वह आया। क्यों? पता नहीं॥', ['वह आया।', 'क्यों?', 'पता नहीं॥']),
    (
      'one line\nand its end\n\nnext\n- an item\n- another',
      ['one line\nand its end', 'next', '- an item', '- another'],
    ),
    ('see a.b/c?d=1 now', ['see a.b/c?d=1 now']),
    (
      'the flow is slow . it is shown in fig. 2 . no more .',
      ['the flow is slow .', 'it is shown in fig. 2 .', 'no more .'],
    ),
    ('   \n\n ', []),
  ],
)
def test_where_sentences_end(text, expected):
  assert cut(text) == expected


@given(st.text(alphabet=st.sampled_from('aB.!? \n。」"(1-`#'), max_size=60), st.integers(0, 30), st.integers(0, 30))
def test_sentences_cover_their_span_and_never_cut_what_is_whole(text, a, b):
  start, end = sorted((min(a, len(text)), min(b, len(text))))
  spans = cut_sentences(text, start, end)
  assert ''.join(text[x:y] for x, y in spans).split() == text[start:end].split()
  assert all(start <= x < y <= end for x, y in spans)
  middle = (start + (end - start) // 3, end - (end - start) // 3)
  if middle[0] < middle[1] and text[slice(*middle)].strip():
    assert middle in cut_sentences(text, start, end, [middle])


@pytest.mark.parametrize(
  ('question', 'kind', 'has', 'lacks'),
  [
    ('How many men came in 1066?', Kind.NUMBER, 'It was seven thousand men.', 'In 1066 men came.'),
    ('What year did he die?', Kind.TIME, 'He died in 1943.', 'He died poor.'),
    ('Who built the tower?', Kind.NAME, 'It was built by Eiffel.', 'It was built of iron.'),
    ('Why did it fall?', Kind.REASON, 'It fell because of rust.', 'It fell down.'),
    ('黑豹队丢了多少分？', Kind.NUMBER, '只丢了308分。', '他们很好。'),
    ('Wie viele Tore fielen?', Kind.NUMBER, 'Es fielen 3 Tore.', 'Es regnete.'),
  ],
)
def test_what_a_question_asks_for(question, kind, has, lacks):
  asked = Question(question)
  assert asked.kind is kind
  assert asked.lacks(has) is False
  assert asked.lacks(lacks) is True


def test_of_other_questions_nothing_is_claimed():
  assert Question('Which animal sleeps most?').lacks('It is the koala.') is None


TEXT = (
  'The tower stands in Lyon. It was built by Anna Reich in 1901. Visitors climb its many steps each summer.\n\n'
  '```\nsteps = climb(tower)\n```\n\nThe mayor opened the old bridge. Nothing else is known of it.'
)


@pytest.fixture(scope='module')
def reader(tmp_path_factory, encoder):
  from mlsd_jax.retrieval.build import BuildConfig, build_store
  from mlsd_jax.retrieval.store import open_store

  folder = tmp_path_factory.mktemp('sentences')
  others = [Page(f'p{i}', f'Page {i}', f'Nothing of note is said here, {i} times over. Nor there.') for i in range(6)]
  chinese = Page('zh', '', '黑豹队只丢了308分。他们在联赛中排名第六。', '', PLAIN)
  pages = [Page('tower', 'The tower', TEXT, '', MARKDOWN), chinese, *others]
  build_store(pages, folder, encoder, BuildConfig(near_duplicate=0))
  return Reader(open_store(folder, encoder))


def best(reader, question, row=0):
  candidates = reader.score(question, [(row, 1.0)])
  return candidates[top_order(candidates)[0]]


@pytest.mark.parametrize(
  ('question', 'says'),
  [
    ('Who built the tower?', 'It was built by Anna Reich in 1901.'),
    ('What do visitors climb?', 'Visitors climb its many steps each summer.'),
    ('Who opened the bridge?', 'The mayor opened the old bridge.'),
    ('what is steps = climb(tower)', 'steps = climb(tower)'),
  ],
)
def test_the_sentence_that_answers_is_first(reader, question, says):
  found = best(reader, question)
  assert found.sentence.text == says
  assert 0 <= found.coverage <= 1


def test_sentences_without_spaces_are_told_apart(reader):
  assert best(reader, '联赛排名第几？', 1).sentence.text == '他们在联赛中排名第六。'


def test_a_neighbour_joins_where_it_is_needed(reader):
  by_pronoun = best(reader, 'Who built it in 1901?')
  assert list(needed(by_pronoun, {})) == [by_pronoun.place - 1, by_pronoun.place]
  alone = best(reader, 'Which visitors climb many steps each summer?')
  assert list(needed(alone, {})) == [alone.place]
  code = best(reader, 'what is steps = climb(tower)')
  assert code.sentence.is_code
  assert list(needed(code, {code.place - 1: False})) == [code.place]


def test_rare_words_weigh_more(reader):
  weights = reader.weights('nothing is said of Lyon')
  assert weights['lyon'] > weights['noth']
  assert list(reader.weights('what did who do')) != []  # of function words alone, they count


places = st.sets(st.integers(0, 40), min_size=1)


@given(places, places)
def test_places_as_bits_tell_who_is_near(a, b):
  bits = lambda own: sum(1 << place for place in own)
  assert _near(bits(a), bits(b)) == any(0 < abs(x - y) <= _NEAR for x in a for y in b)


def test_what_is_remembered_is_little_for_the_collector_of_cycles(reader):
  """A container for each term would be the most of what Python goes through again and again."""
  sentences = reader.read(0).sentences
  assert sentences
  assert all(type(held) in (int, str, bool) for each in sentences for held in (*each.terms, *each.terms.values()))
  assert not any(hasattr(each, '__dict__') for each in sentences)
