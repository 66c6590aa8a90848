"""SQuAD's JSON as a collection, and the answers that are judged by it."""

import json

import numpy as np
import pytest

from mlsd_jax.errors import UserError
from mlsd_jax.retrieval import answers
from mlsd_jax.retrieval.answer_judge import AnswerConfig, judge_answers
from mlsd_jax.retrieval.build import BuildConfig, build_store
from mlsd_jax.retrieval.calibration import PRIOR
from mlsd_jax.retrieval.judged_collections import open_collection
from mlsd_jax.retrieval.search import SearchConfig, Searcher
from mlsd_jax.retrieval.squad import read_squad
from mlsd_jax.retrieval.store import open_store


def question(id_, text, *right):
  return {'id': id_, 'question': text, 'answers': [{'text': each, 'answer_start': 0} for each in right]}


CONTENT = {
  'data': [
    {
      'title': 'Caf%C3%A9_owners',
      'paragraphs': [
        {'context': 'The owner drinks tea.', 'qas': [question('a', 'What is drunk?', 'tea', 'Tea')]},
        {'context': 'He sleeps.', 'qas': [question('b', 'Who sleeps?', 'He'), question('c', 'Why?')]},
      ],
    },
    {'title': 'Tea', 'paragraphs': [{'context': '茶很热。', 'qas': [question(7, '什么很热？', '茶')]}]},
  ]
}


def test_paragraphs_are_pages_and_questions_have_texts(tmp_path):
  (tmp_path / 'set.json').write_text(json.dumps(CONTENT))
  told = []
  pages, asked = open_collection(str(tmp_path / 'set.json'), told.append)
  pages = list(pages)
  assert [(page.id, page.title) for page in pages] == [
    ('Café owners#1', 'Café owners'),
    ('Café owners#2', 'Café owners'),
    ('Tea#1', ''),  # a title of another script is the original's
  ]
  assert asked.judgements == {'a': {'Café owners#1': 1}, 'b': {'Café owners#2': 1}, '7': {'Tea#1': 1}}
  assert asked.answers == {'a': ('tea', 'Tea'), 'b': ('He',), '7': ('茶',)}
  assert told == [f'1 of 4 questions of {tmp_path / "set.json"} have no answer and are not asked']


@pytest.mark.parametrize(
  ('content', 'why'),
  [
    ([], "no object with a list under 'data'"),
    ({'data': [{'title': 'x'}]}, "article 1 is not in SQuAD's form: no object with a list under 'paragraphs'"),
    ({'data': [{'paragraphs': [{'qas': []}]}]}, "paragraph 1 is not in SQuAD's form: no text under 'context'"),
    ({'data': [{'paragraphs': [{'context': 'x', 'qas': []}]}]}, 'holds no question with an answer'),
    (
      {'data': [{'paragraphs': [{'context': 'x', 'qas': [question('a', 'b', 'c')] * 2}]}]},
      "question 'a' is there already",
    ),
    ({'data': [{'paragraphs': [{'context': 'x', 'qas': [question('a', ' ', 'c')]}]}]}, "question 'a' is empty"),
  ],
)
def test_other_json_is_refused_in_a_line(tmp_path, content, why):
  (tmp_path / 'set.json').write_text(json.dumps(content))
  with pytest.raises(UserError, match=why):
    read_squad(tmp_path / 'set.json')


def test_a_key_that_is_there_twice_is_told(tmp_path):
  (tmp_path / 'set.json').write_text('{"data": [], "data": []}')
  with pytest.raises(UserError, match="the key 'data' is there twice"):
    read_squad(tmp_path / 'set.json')


def test_a_name_alone_is_looked_for_among_the_data(tmp_path, monkeypatch):
  monkeypatch.setenv('MLSD_DATA_DIR', str(tmp_path))
  (tmp_path / 'xquad').mkdir()
  (tmp_path / 'xquad' / 'xquad.en.json').write_text(json.dumps(CONTENT))
  assert len(list(open_collection('xquad.en.json', print)[0])) == 3
  with pytest.raises(UserError, match=r'no file elsewhere\.json here'):
    open_collection('elsewhere.json', print)


@pytest.fixture(scope='module')
def searcher(tmp_path_factory, pages, encoder):
  folder = tmp_path_factory.mktemp('judged')
  build_store(pages, folder, encoder, BuildConfig(near_duplicate=0))
  return Searcher(open_store(folder, encoder), encoder, SearchConfig(pages=12))


def test_pages_without_which_is_searched_are_not_found(searcher):
  query = 'number 111 of parsing dates'
  whole = searcher.search(query)
  hidden = {hit.page for hit in whole.hits[:3]}
  found = searcher.search(query, without=hidden)
  for stage, hits in found.stages.items():
    assert hidden.isdisjoint(hit.page for hit in hits)
    before = [hit.page for hit in whole.stages[stage] if hit.page not in hidden]
    assert [hit.page for hit in hits][: len(before)] == before or stage == 'hybrid'  # which is normalised anew
  everything = range(len(searcher.store.page_ids))
  assert not searcher.search(query, without=everything).hits


def test_answers_are_judged_by_their_texts(searcher):
  queries = {str(i): f'number {i * 37} of page {i}' for i in range(4)}
  judgements = {str(i): {f'page-{i}': 1} for i in range(4)}
  texts = {'0': ('IT  says number 0',), '1': ('is nowhere said',), '2': ('it says number 74',)}
  report = judge_answers(searcher, queries, judgements, texts, AnswerConfig())
  assert report.known.shape == report.hidden.shape == (4,)
  for row, (id_, right) in enumerate(texts.items()):
    said = answers.answer(searcher, queries[id_], searcher.search(queries[id_]))
    holds = [' '.join(right[0].lower().split()) in ' '.join(each.text.lower().split()) for each in said.citations]
    np.testing.assert_array_equal(report.right[row, : len(holds)], np.logical_or.accumulate(holds))
  result = report.result()
  assert result['answer_at_3'] >= result['answer_at_1']
  assert 'answer@3' in report.table(0.5)
  for least, expected in ((0.0, (0.0, 1.0)), (1.0, (1.0, 0.0))):
    extreme = judge_answers(searcher, queries, judgements, {}, AnswerConfig(min_confidence=least))
    assert (extreme.result()['abstained_known'], extreme.result()['answered_unknown']) == expected
    assert 'answer_at_1' not in extreme.result()


def test_without_a_relevant_page_there_is_nothing_to_judge(searcher):
  assert judge_answers(searcher, {'a': 'copying'}, {'a': {'elsewhere': 1, 'page-1': 0}}, {}, AnswerConfig()) is None


def test_made_queries_do_not_calibrate(searcher):
  queries, judgements = {'0': 'number 0 of page 0'}, {'0': {'page-0': 1}}
  report = judge_answers(searcher, queries, judgements, {}, AnswerConfig(), fit=False)
  assert report.calibration == PRIOR
  said = answers.answer(searcher, queries['0'], searcher.search(queries['0']), calibration=PRIOR)
  np.testing.assert_allclose(report.known, [said.confidence])
