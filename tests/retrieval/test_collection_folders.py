"""Collections in the layouts that BEIR, MTEB, TREC and MS MARCO are published in, made small."""

import gzip
import json

import pyarrow
import pyarrow.parquet
import pytest

from mlsd_jax.errors import UserError
from mlsd_jax.retrieval.judged_collections import open_collection
from mlsd_jax.retrieval.trec import read_documents, read_topics


def write(path, text, encoding='utf-8'):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(gzip.compress(text.encode(encoding)) if path.suffix == '.gz' else text.encode(encoding))


def rows(path, *values):
  path.parent.mkdir(parents=True, exist_ok=True)
  if path.suffix == '.parquet':
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(values)), path)
  else:
    write(path, ''.join(json.dumps(value) + '\n' for value in values))


def read(folder, split=''):
  told = []
  pages, asked = open_collection(str(folder), told.append, split)
  return {page.id: (page.title, page.text) for page in pages}, asked, told


QRELS = '<query-id>\t<corpus-id>\t<score>\n'.replace('<', '').replace('>', '')


@pytest.fixture
def beir(tmp_path):
  rows(tmp_path / 'corpus.jsonl', {'_id': 'a', 'title': 'A', 'text': 'one'}, {'_id': 'b', 'title': '', 'text': 'two'})
  rows(tmp_path / 'queries.jsonl', {'_id': '1', 'text': 'first'}, {'_id': '2', 'text': 'second', 'metadata': {}})
  write(tmp_path / 'qrels/dev.tsv', QRELS + '1\ta\t1\n')
  write(tmp_path / 'qrels/train.tsv', QRELS + '2\tb\t2\n')
  return tmp_path


def test_beir_with_any_split(beir):
  pages, asked, told = read(beir, 'dev')
  assert pages == {'a': ('A', 'one'), 'b': ('', 'two')}
  assert (asked.queries, asked.judgements) == ({'1': 'first'}, {'1': {'a': 1}})
  assert told == ['1 of 2 queries are judged in dev.tsv; the others are not asked']
  assert read(beir, 'train')[1].judgements == {'2': {'b': 2}}
  with pytest.raises(UserError, match=r'qrels/test\.tsv .*; there are dev, train$'):
    read(beir)
  (beir / 'qrels/train.tsv').unlink()
  assert read(beir)[1].queries == {'1': 'first'}  # the only one there is
  write(beir / 'qrels/test.tsv', QRELS + '2\ta\t1\n')
  assert read(beir)[1].queries == {'2': 'second'}


def judged(query, page, score):
  return {'query-id': query, 'corpus-id': page, 'score': score}


@pytest.mark.parametrize('holder', ['qrels', 'default', 'data'])
def test_mteb_in_parquet(tmp_path, holder):
  rows(tmp_path / 'corpus/corpus-00000-of-00002.parquet', {'_id': 'a', 'title': 'A', 'text': 'one'})
  rows(tmp_path / 'corpus/corpus-00001-of-00002.parquet', {'_id': 'b', 'title': None, 'text': 'two'})
  rows(tmp_path / 'queries/queries-00000-of-00001.parquet', {'_id': '1', 'text': 'first'}, {'_id': '2', 'text': 'x'})
  rows(tmp_path / holder / 'test-00000-of-00001.parquet', judged('1', 'a', 1.0), judged('1', 'b', 0.0))
  pages, asked, _ = read(tmp_path)
  assert pages == {'a': ('A', 'one'), 'b': ('', 'two')}
  assert (asked.queries, asked.judgements) == ({'1': 'first'}, {'1': {'a': 1, 'b': 0}})


def test_mteb_in_jsonl(tmp_path):
  rows(tmp_path / 'corpus.jsonl', {'_id': 'a', 'title': 'A', 'text': 'one'})
  rows(tmp_path / 'queries.jsonl', {'_id': '1', 'text': 'first'})
  rows(tmp_path / 'qrels/test.jsonl', judged('1', 'a', 1))
  assert read(tmp_path)[1].judgements == {'1': {'a': 1}}
  rows(tmp_path / 'qrels/test.jsonl', judged('1', 'a', 0.5))
  with pytest.raises(UserError, match=r'test\.jsonl, line 1: the score 0\.5 is no whole number'):
    read(tmp_path)
  rows(tmp_path / 'qrels/test.jsonl', {'query-id': '1', 'score': 1})
  with pytest.raises(UserError, match='line 1: not a judgement'):
    read(tmp_path)


def test_mteb_with_subsets_and_splits_of_the_corpus(tmp_path):
  for language, word in (('de', 'eins'), ('fr', 'un')):
    for split in ('dev', 'test'):
      shard = f'{split}-00000-of-00001.parquet'
      rows(tmp_path / f'{language}-corpus' / shard, {'id': 'a', 'title': '', 'text': f'{word} {split}'})
      rows(tmp_path / f'{language}-queries' / shard, {'id': '1', 'text': f'{word}?'})
      rows(tmp_path / f'{language}-qrels' / shard, judged('1', 'a', 1))
  with pytest.raises(UserError, match='has the subsets de, fr; name one'):
    read(tmp_path)
  assert read(tmp_path, 'fr')[0] == {'a': ('', 'un test')}
  pages, asked, _ = read(tmp_path, 'de/dev')
  assert (pages, asked.queries) == ({'a': ('', 'eins dev')}, {'1': 'eins?'})
  with pytest.raises(UserError, match='there are dev, test'):
    read(tmp_path, 'de/train')


def test_a_damaged_parquet_file_is_named(beir):
  (beir / 'corpus.jsonl').unlink()
  (beir / 'corpus').mkdir()
  (beir / 'corpus/corpus.parquet').write_bytes(b'PAR1 no more')
  with pytest.raises(UserError, match=r'corpus\.parquet is damaged, or no Parquet file'):
    read(beir, 'dev')


DOCUMENTS = """<DOC>
<DOCNO> FT911-3 </DOCNO>
<PROFILE>_AN-BEOA7AAIFT</PROFILE>
<DATE>910514
</DATE>
<HEADLINE>
FT  14 MAY 91 / Caf\xe9 &amp; more
</HEADLINE>
<TEXT>
First line,
goes on.
<P>
Second paragraph: 1 &lt; 2.
</P>
</TEXT>
<PUB>The Financial Times
</PUB>
</DOC>
<DOC>
<DOCNO>AP880212-0001</DOCNO>
<HEAD>Two texts</HEAD>
<TEXT>One.</TEXT>
<TEXT>Two.</TEXT>
</DOC>
"""
BARE = '<DOC>\n<DOCNO>WTX001-B01-1</DOCNO>\n<DOCHDR>\nhttp://x\n</DOCHDR>\n<h1>Web</h1> page\n</DOC>\n'
TOPICS = """<top>

<num> Number: 301
<title> International Organized Crime

<desc> Description:
Identify organizations.

<narr> Narrative:
A relevant document must.

</top>

<top>
<num> Number: 302
<title>
<desc> Description:
Is the disease
under control?
</top>
"""


@pytest.fixture
def trec(tmp_path):
  write(tmp_path / 'ft/ft911_1', DOCUMENTS, 'latin-1')
  write(tmp_path / 'web/B01.gz', BARE)
  write(tmp_path / 'web/readme', 'About these files.')
  write(tmp_path / 'topics.301-302.txt', TOPICS)
  write(tmp_path / 'qrels.301-302.txt', '301 0 FT911-3 1\n301 0 WTX001-B01-1 0\n302 0 AP880212-0001 2\n')
  return tmp_path


def test_trec_documents_and_topics(trec):
  pages, asked, told = read(trec)
  assert pages == {
    'FT911-3': ('FT 14 MAY 91 / Café & more', 'First line, goes on.\n\nSecond paragraph: 1 < 2.'),
    'AP880212-0001': ('Two texts', 'One.\n\nTwo.'),
    'WTX001-B01-1': ('', 'Web page'),
  }
  assert asked.queries == {'301': 'International Organized Crime', '302': 'Is the disease under control?'}
  assert asked.judgements['301'] == {'FT911-3': 1, 'WTX001-B01-1': 0}
  assert told == ['left out, as they hold no <DOC>: 1 files (web/readme)']


def test_trec_years_are_taken_together_or_named(trec):
  write(trec / 'topics.303.txt', TOPICS.replace('301', '303').replace('302', '304'))
  write(trec / 'qrels.303.txt', '303 0 FT911-3 1\n')
  assert set(read(trec)[1].queries) == {'301', '302', '303'}
  assert set(read(trec, '303')[1].queries) == {'303'}
  write(trec / 'qrels.303.txt', '301 0 FT911-3 0\n')
  with pytest.raises(UserError, match="page 'FT911-3' is judged otherwise for topic '301' in another file"):
    read(trec)
  with pytest.raises(UserError, match="no file whose name holds 'topics' and 'robust'"):
    read(trec, 'robust')


def test_topics_in_xml_and_in_lines(tmp_path):
  path = tmp_path / 'topics'
  write(path, '<topics task="COVID">\n<topic number="1">\n<query>origin</query>\n<question>what?</question>\n</topic>')
  assert read_topics(path) == {'1': 'origin'}
  write(path, '<?xml version="1.0"?><topics><topic number="7">\nA patient &amp; more\n</topic></topics>')
  assert read_topics(path) == {'7': 'A patient & more'}
  write(path, '1\thow to\n')
  assert read_topics(path) == {'1': 'how to'}


@pytest.mark.parametrize(
  ('text', 'why'),
  [
    ('<DOC><DOCNO>1</DOCNO>a</DOC>\nstray\n<DOC><DOCNO>2</DOCNO>b</DOC>', 'before number 2'),
    ('<DOC><DOCNO>1</DOCNO>a</DOC><DOC><DOCNO>2</DOCNO>b', 'last document is not closed'),
    ('<DOC>a</DOC>', 'document 1 has no <DOCNO>'),
  ],
)
def test_damaged_documents_are_named(tmp_path, text, why):
  write(tmp_path / 'docs', text)
  with pytest.raises(UserError, match=why):
    list(read_documents(tmp_path / 'docs'))


@pytest.mark.parametrize(
  ('text', 'why'),
  [
    ('<top><title> x </top>', 'topic 1 has no number'),
    ('<top><num> Number: 1 </top>', 'topic 1 has no title'),
    ('<top><num> 1 <title> x </top><top><num> 1 <title> y </top>', "topic 2: '1' is there already"),
    ('<other>', 'holds no topic'),
  ],
)
def test_damaged_topics_are_named(tmp_path, text, why):
  write(tmp_path / 'topics', text)
  with pytest.raises(UserError, match=why):
    read_topics(tmp_path / 'topics')


def test_ms_marco_passages(tmp_path):
  write(tmp_path / 'collection.tsv', '0\tThe presence of communication.\n1\tTwo "quoted\nno tab here\n')
  write(tmp_path / 'queries.dev.small.tsv', '10\twhat is it\n11\tnot judged\n')
  write(tmp_path / 'qrels.dev.small.tsv', '10\t0\t1\t1\n')
  write(tmp_path / 'queries.train.tsv', '20\tother\n')
  pages, asked, told = read(tmp_path)
  assert pages == {'0': ('', 'The presence of communication.'), '1': ('', 'Two "quoted')}
  assert (asked.queries, asked.judgements) == ({'10': 'what is it'}, {'10': {'1': 1}})
  assert any('line 3 has 1 fields, not an id and a text' in line for line in told)
  write(tmp_path / 'qrels.train.tsv', '20\t0\t0\t1\n')
  with pytest.raises(UserError, match=r'several splits: name one with data\.split \(dev\.small, train\)'):
    read(tmp_path)
  assert read(tmp_path, 'train')[1].queries == {'20': 'other'}


def test_ms_marco_documents(tmp_path):
  write(tmp_path / 'msmarco-docs.tsv.gz', 'D1\thttps://x\tTitle\tBody text\n')
  write(tmp_path / 'msmarco-docdev-queries.tsv', '2\tandroid\n')
  write(tmp_path / 'msmarco-docdev-qrels.tsv', '2 0 D1 1\n')
  pages, asked, _ = read(tmp_path, 'dev')
  assert (pages, asked.judgements) == ({'D1': ('Title', 'Body text')}, {'2': {'D1': 1}})


def test_a_split_of_what_has_none_is_refused(tmp_path):
  write(tmp_path / 'page.md', '# One\n\ntext')
  with pytest.raises(UserError, match=r"data\.split='dev' is for folders of BEIR"):
    open_collection(str(tmp_path), print, 'dev')


@pytest.mark.parametrize('names', ['query_id\tcorpus_id\tscore\n', 'qid\tdocid\trelevance\n', ''])
@pytest.mark.parametrize('grade', ['1', '1.0'])
def test_judgements_named_otherwise_or_not_at_all(beir, names, grade):
  write(beir / 'qrels/test.tsv', f'{names}2\ta\t{grade}\n')
  assert read(beir)[1].judgements == {'2': {'a': 1}}


def test_a_grade_that_is_not_whole_is_refused(beir):
  write(beir / 'qrels/test.tsv', '2\ta\t0.5\n')
  with pytest.raises(UserError, match='line 1: not a judgement'):
    read(beir)


def test_topics_of_the_first_trecs(tmp_path):
  """Fields that nothing is read of end those before, and a number has zeros before it that judgements leave out."""
  write(tmp_path / 'docs.jsonl', '{"id": "a", "text": "one"}\n')
  write(
    tmp_path / 'topics.51-100',
    '<top>\r\n<head> Tipster Topic\r\n<num> Number:  051\r\n<dom> Domain: Trade\r\n<title> Topic:  Airbus\r\n'
    '<desc> Description:\r\nIt is.\r\n<con> Concept(s):\r\n1. x\r\n</top>\r\n',
  )
  write(tmp_path / 'qrels.51-100', '51 0 a 1\n')
  assert read(tmp_path)[1].queries == {'51': 'Airbus'}


def test_queries_may_stand_for_topics(tmp_path):
  write(tmp_path / 'docs.jsonl', '{"id": "a", "text": "one"}\n')
  write(tmp_path / 'queries.tsv', '1\twhich\n')
  write(tmp_path / 'qrels.txt', '1 0 a 1\n')
  pages, asked, _ = read(tmp_path)
  assert (set(pages), asked.queries) == ({'a'}, {'1': 'which'})


def test_the_folder_above_a_collection_is_no_corpus(beir, tmp_path_factory):
  above = tmp_path_factory.mktemp('above')
  beir.rename(above / 'scifact')
  with pytest.raises(UserError, match=r'is no judged collection itself; name .*/scifact'):
    read(above)
  write(above / 'page.md', 'text')
  assert any('scifact is a judged collection: name it' in line for line in read(above)[2])


def test_a_folder_of_squads_json_and_an_archive_are_told(tmp_path):
  write(tmp_path / 'dev.json', json.dumps({'data': [{'title': 'A', 'paragraphs': [{'context': 'x', 'qas': []}]}]}))
  with pytest.raises(UserError, match=r'name .*dev\.json'):
    read(tmp_path)
  write(tmp_path / 'beir.zip', 'PK')
  with pytest.raises(UserError, match='is an archive: unpack it'):
    read(tmp_path / 'beir.zip')
