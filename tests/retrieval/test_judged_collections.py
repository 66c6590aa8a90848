"""Collections in the layouts that are in use, and queries made where nobody judged."""

import gzip
import json

import pytest

from mlsd_jax.data import fetch
from mlsd_jax.errors import UserError
from mlsd_jax.retrieval import judged_collections
from mlsd_jax.retrieval.pages import Page


def beir(folder):
  (folder / 'qrels').mkdir(parents=True)
  with gzip.open(folder / 'corpus.jsonl.gz', 'wt') as file:
    file.writelines(json.dumps({'_id': f'd{i}', 'title': f'T{i}', 'text': f'words {i}'}) + '\n' for i in range(3))
  (folder / 'queries.jsonl').write_text(
    ''.join(json.dumps({'_id': f'q{i}', 'text': f'ask {i}'}) + '\n' for i in range(3))
  )
  (folder / 'qrels' / 'test.tsv').write_text('query-id\tcorpus-id\tscore\nq0\td1\t2\nq0\td2\t0\nq2\td0\t1\n')
  return folder


def test_a_beir_folder(tmp_path):
  pages, asked = judged_collections.open_collection(str(beir(tmp_path / 'set')), print)
  assert [page.id for page in pages] == ['d0', 'd1', 'd2']
  assert asked.queries == {'q0': 'ask 0', 'q2': 'ask 2'}
  assert asked.judgements == {'q0': {'d1': 2, 'd2': 0}, 'q2': {'d0': 1}}


@pytest.mark.parametrize(
  ('name', 'text', 'why'),
  [
    ('queries.jsonl', '{"_id": "q0"}\n', 'line 1: not an object with _id and text'),
    ('qrels/test.tsv', 'q0\td1\tmuch\n', 'line 1: not a judgement'),
    ('qrels/test.tsv', 'q9\td1\t1\n', "judges query 'q9'"),
  ],
)
def test_damaged_collections_are_named(tmp_path, name, text, why):
  folder = beir(tmp_path / 'set')
  (folder / name).write_text(text)
  with pytest.raises(UserError, match=why):
    judged_collections.read_beir(folder)


def test_trec_files(tmp_path):
  (tmp_path / 'qrels').write_text('1 0 a 2\n1 0 b 0\n2 0 c 1\n')
  assert judged_collections.read_qrels(tmp_path / 'qrels') == {'1': {'a': 2, 'b': 0}, '2': {'c': 1}}
  run = {'1': [('b', 2.5), ('a', 2.5), ('c', -1.0)]}
  (tmp_path / 'run').write_text(judged_collections.format_run(run, 'tag'))
  assert judged_collections.read_run(tmp_path / 'run') == {'1': ['b', 'a', 'c']}
  (tmp_path / 'run').write_text('1 Q0 a\n')
  with pytest.raises(UserError, match='line 1: not a line of a run'):
    judged_collections.read_run(tmp_path / 'run')


def test_queries_and_judgements_of_ones_own(tmp_path):
  (tmp_path / 'queries.tsv').write_text('1\thow to\u2028 copy\n\n3\twho knows\n')
  (tmp_path / 'qrels').write_text('1 0 a 2\n2 0 c 1\n')
  asked = judged_collections.read_judged(tmp_path / 'queries.tsv', tmp_path / 'qrels')
  assert asked == judged_collections.Judged({'1': 'how to\u2028 copy'}, {'1': {'a': 2}})
  (tmp_path / 'queries.jsonl').write_text('{"_id": 1, "text": "x"}\n')
  assert judged_collections.read_judged(tmp_path / 'queries.jsonl', tmp_path / 'qrels').queries == {'1': 'x'}
  (tmp_path / 'other').write_text('9\tx\n')
  with pytest.raises(UserError, match='is judged in'):
    judged_collections.read_judged(tmp_path / 'other', tmp_path / 'qrels')
  (tmp_path / 'other').write_text('a query without an id\n')
  with pytest.raises(UserError, match='line 1: not an id, a tab and a query'):
    judged_collections.read_queries(tmp_path / 'other')
  (tmp_path / 'other').write_bytes(b'1\t\xff\n')
  with pytest.raises(UserError, match='is not UTF-8'):
    judged_collections.read_queries(tmp_path / 'other')
  with pytest.raises(UserError, match='cannot read'):
    judged_collections.read_qrels(tmp_path / 'nowhere')


@pytest.mark.skipif(not fetch.locate('cranfield', 'cran.qry'), reason='source cranfield is not on this machine')
def test_cranfield():
  pages, asked = judged_collections.read_cranfield()
  pages = {page.id: page for page in pages}
  assert len(pages) == 1400
  assert len(asked.queries) == 225
  assert asked.queries['1'].startswith('what similarity laws must be obeyed')
  assert asked.judgements['1']['184'] == 1
  assert pages['1'].title.startswith('experimental investigation of the aerodynamics')
  assert not pages['1'].text.startswith(pages['1'].title)
  assert all(page in pages for grades in asked.judgements.values() for page in grades)


@pytest.mark.skipif(not fetch.locate('scifact', 'queries.jsonl'), reason='source scifact is not on this machine')
def test_scifact():
  pages, asked = judged_collections.read_scifact()
  ids = {page.id for page in pages}
  assert (len(ids), len(asked.queries)) == (5183, 300)
  assert sum(grade > 0 for grades in asked.judgements.values() for grade in grades.values()) == 339
  assert all(page in ids for grades in asked.judgements.values() for page in grades)


def test_known_items_by_title():
  pages = [
    Page('a', 'How to Copy', 'See How to copy files. HOW TO COPY is here.'),
    Page('b', 'Same old title', 'x y'),
    Page('c', 'Same old title', 'z'),
    Page('d', 'Short', 'words'),
  ]
  hidden, asked = judged_collections.known_items(pages, 'title')
  assert asked.queries == {'a': 'How to Copy'}
  assert asked.judgements == {'a': {'a': 1}}
  assert hidden[0].title == ''
  assert 'copy' not in hidden[0].text.lower().replace('copy files', '')
  assert hidden[1:] == pages[1:]
  with pytest.raises(UserError, match='known-item queries want titles'):
    judged_collections.known_items(pages[1:], 'title')


def test_known_items_by_first_sentence():
  rest = 'More of what it says. ' * 10
  pages = [
    Page('m.f', 'm.f', f'm.f(a, b)\n\nReturn the sum of two\nnumbers given. {rest}'),
    Page('m.g', 'm.g', 'm.g()\n\nToo short. And little more.'),
  ]
  hidden, asked = judged_collections.known_items(pages)
  assert asked.queries == {'m.f': 'Return the sum of two numbers given.'}
  assert 'sum of two' not in hidden[0].text
  assert hidden[0].title == 'm.f'
  assert hidden[1] == pages[1]
