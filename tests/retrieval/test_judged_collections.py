"""Collections in the layouts that are in use, and queries made where nobody judged."""

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    ('qrels/test.tsv', 'query-id\tcorpus-id\tscore\n', 'holds no judgement'),
    ('qrels/test.tsv', 'q0\td1\t1\nq0\td1\t2\n', "line 2: page 'd1' is judged twice for query 'q0', 1 and 2"),
    ('qrels/test.tsv', 'q0\td1\t1.5\n', 'line 1: not a judgement'),
    ('qrels/test.tsv', 'q0 0 my page 1\n', 'line 1: not a judgement.*separate the fields by tabs'),
    ('queries.jsonl', '{"_id": "q0", "text": " "}\n', "line 1: query 'q0' is empty"),
    ('queries.jsonl', '{"_id": "q0", "text": null}\n', "line 1: query 'q0' is empty"),
    ('queries.jsonl', '{"_id": "q0", "text": ["a"]}\n', "line 1: the text of query 'q0' is a JSON list"),
    ('queries.jsonl', '{"_id": [1], "text": "a"}\n', 'line 1: _id is a JSON list'),
    ('queries.jsonl', '{"_id": true, "text": "a"}\n', 'line 1: _id is a JSON bool'),
    ('queries.jsonl', '{"_id": "", "text": "a"}\n', 'line 1: _id is empty'),
    (
      'queries.jsonl',
      '{"_id": "q0", "text": "a"}\n\n{"_id": "q0", "text": "b"}\n',
      "line 3: query 'q0' is there already",
    ),
    ('queries.jsonl', '{"_id": "q0", "_id": "q1", "text": "a"}\n', "line 1: the key '_id' is there twice"),
    ('queries.jsonl', '[' * 100_000, 'line 1: nested more than'),
    ('queries.jsonl', '\n', 'holds no query'),
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


@pytest.mark.parametrize(
  ('line', 'why'),
  [
    ('1 Q0 a', 'line 2: not a line of a run'),
    ('1 Q0 a 1 high tag', 'line 2: not a line of a run'),
    ('1 Q0 a 1 nan tag', 'line 2: not a line of a run'),
    ('1 Q0 my page 1 2.5 tag', 'line 2: not a line of a run.*separate the fields by tabs'),
    ('1 Q0 z 2 1.5 tag', "line 2: page 'z' is ranked twice for query '1'"),
  ],
)
def test_damaged_runs_are_named(tmp_path, line, why):
  (tmp_path / 'run').write_text(f'1 Q0 z 1 2.5 tag\n{line}\n')
  with pytest.raises(UserError, match=why):
    judged_collections.read_run(tmp_path / 'run')


IDS = st.text(st.characters(codec='utf-8'), min_size=1) | st.sampled_from(
  [
    'my page',
    'a\tb',
    'x\xa0y',
    '\\x20',
    '\\\\x20',
    'a\\ b',
    'C:\\docs',
    'http://x/a%20b',
    '\u2028',
    '\x85',
    '\\u00a0 \n',
  ]
)


@given(st.dictionaries(IDS, st.lists(IDS, min_size=1, unique=True), min_size=1))
def test_ids_of_any_characters_are_read_back_from_a_run(tmp_path_factory, ranked):
  run = {query: [(page, -float(rank)) for rank, page in enumerate(pages)] for query, pages in ranked.items()}
  written = judged_collections.format_run(run, 'tag')
  assert all(len(line.split()) == 6 for line in written.splitlines())
  path = tmp_path_factory.mktemp('runs') / 'run'
  path.write_text(written, newline='')
  assert judged_collections.read_run(path) == {query: list(pages) for query, pages in ranked.items()}


def test_ids_without_blanks_stand_in_a_run_as_they_are():
  for id_ in ('doc-1', 'http://x/a%20b?c', 'C:\\docs', 'é漢', 'a\\xyz'):
    assert judged_collections.format_run({id_: [(id_, 1.0)]}, 't') == f'{id_} Q0 {id_} 1 1.000000 t\n'


def test_ids_with_blanks_are_whole_in_judgements(tmp_path):
  (tmp_path / 'beir.tsv').write_bytes('\ufeffquery-id\tcorpus-id\tscore\r\nq 1\tmy page\t2\r\n'.encode())
  assert judged_collections.read_qrels(tmp_path / 'beir.tsv') == {'q 1': {'my page': 2}}
  (tmp_path / 'trec').write_text('q\\x201 0  my\\x20page 2\nq2\t0\ta b\t1\n')
  assert judged_collections.read_qrels(tmp_path / 'trec') == {'q 1': {'my page': 2}, 'q2': {'a b': 1}}


@pytest.mark.parametrize('encoding', ['utf-8-sig', 'utf-16', 'utf-32'])
@pytest.mark.parametrize('packed', [False, True])
def test_queries_in_every_encoding(tmp_path, encoding, packed):
  for name, text in (('q.jsonl', '{"_id": 1, "text": "wié"}\r\n'), ('q.tsv', '1\twié\r\n')):
    path = tmp_path / f'{name}.gz' if packed else tmp_path / name
    path.write_bytes(gzip.compress(text.encode(encoding)) if packed else text.encode(encoding))
    assert judged_collections.read_queries(path) == {'1': 'wié'}


def test_pages_that_were_judged_and_are_not_there_are_told():
  lines = []
  judged_collections.check_judged({'q': {'a': 1, 'b': 0, 'c': 2}}, ['a', 'b', 'x'], lines.append)
  assert lines == ["1 of 3 judged pages are not in the corpus and count as not found, 1 of them relevant ('c')"]
  judged_collections.check_judged({'q': {'a': 1}}, ['a'], pytest.fail)
  with pytest.raises(UserError, match="the file judges no page of the corpus: 'c' there, 'a' here"):
    judged_collections.check_judged({'q': {'a': 0, 'c': 2}}, ['a'], print)


def test_queries_that_only_one_file_has_are_told(tmp_path):
  (tmp_path / 'queries.tsv').write_text('id\tquery\n1\tone\n2\ttwo\n')
  (tmp_path / 'qrels').write_text('1 0 a 2\n9 0 c 1\n')
  lines = []
  asked = judged_collections.read_judged(tmp_path / 'queries.tsv', tmp_path / 'qrels', lines.append)
  assert asked.queries == {'1': 'one'}
  assert [line.split(' of /')[0] for line in lines] == ['left out: 2 of 3 queries', 'left out: 1 of 2 queries']
  assert "'id', '2'" in lines[0]


def test_a_beir_folder_may_be_packed_and_tells_what_it_leaves_out(tmp_path):
  folder = beir(tmp_path / 'set')
  (folder / 'queries.jsonl.gz').write_bytes(gzip.compress((folder / 'queries.jsonl').read_bytes()))
  (folder / 'queries.jsonl').unlink()
  lines = []
  pages, asked = judged_collections.open_collection(str(folder), lines.append)
  assert len(list(pages)) == 3
  assert set(asked.queries) == {'q0', 'q2'}
  assert lines == ['2 of 3 queries are judged in test.tsv; the others are not asked']


def test_queries_and_judgements_of_ones_own(tmp_path):
  (tmp_path / 'queries.tsv').write_text('1\thow to\u2028 copy\n\n3\twho knows\n')
  (tmp_path / 'qrels').write_text('1 0 a 2\n2 0 c 1\n')
  asked = judged_collections.read_judged(tmp_path / 'queries.tsv', tmp_path / 'qrels', print)
  assert asked == judged_collections.Judged({'1': 'how to\u2028 copy'}, {'1': {'a': 2}})
  (tmp_path / 'queries.jsonl').write_text('{"_id": 1, "text": "x"}\n')
  assert judged_collections.read_judged(tmp_path / 'queries.jsonl', tmp_path / 'qrels', print).queries == {'1': 'x'}
  (tmp_path / 'other').write_text('9\tx\n')
  with pytest.raises(UserError, match='is judged in'):
    judged_collections.read_judged(tmp_path / 'other', tmp_path / 'qrels', print)
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
