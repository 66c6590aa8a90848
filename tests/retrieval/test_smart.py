"""SMART's files as CISI and CACM have them."""

import pytest

from mlsd_jax.errors import UserError
from mlsd_jax.retrieval.judged_collections import open_collection
from mlsd_jax.retrieval.smart import is_smart, read_smart

DOCUMENTS = (
  '.I 1\n.T\nA Title of\ntwo lines\n.A\nSomebody\n.W\nThe text.\nGoes on.\n.X\n1\t5\t1\n.I 2\n.T\nNo text\n.B\nCACM\n'
)
QUERIES = '.I 1\n.W\nWhat goes on?\n.N\n 1. A name\n.I 2\n.W\nNothing\n'


@pytest.fixture
def folder(tmp_path):
  (tmp_path / 'CISI.ALL').write_text(DOCUMENTS + '.I 3\n.T\nCaf\xe9\n.W\nopen\n', encoding='latin-1')
  (tmp_path / 'query.text').write_text(QUERIES)
  (tmp_path / 'qrels.text').write_text('01 0001 0 0\n     1 \t3\t0\t0.000000\n\n')
  return tmp_path


def test_a_smart_folder(folder):
  told = []
  pages, asked = open_collection(str(folder), told.append)
  assert [(page.id, page.title, page.text) for page in pages] == [
    ('1', 'A Title of two lines', 'The text. Goes on.'),
    ('2', 'No text', 'No text'),
    ('3', 'Café', 'open'),
  ]
  assert asked.queries == {'1': 'What goes on?'}
  assert asked.judgements == {'1': {'1': 1, '3': 1}}
  assert len(told) == 1
  assert told[0].startswith('1 of 2 queries')


@pytest.mark.parametrize(
  ('name', 'text', 'why'),
  [
    ('qrels.text', '1 x 0\n', r'line 1: not a query and a document'),
    ('qrels.text', '7 1 0\n', 'is judged in'),
    ('query.text', 'What?\n', 'does not begin with a record'),
    ('CISI.ALL', '.I 1\n.X\n1 2\n', 'holds no document'),
  ],
)
def test_damage_is_named(folder, name, text, why):
  (folder / name).write_text(text)
  with pytest.raises(UserError, match=why):
    read_smart(folder)


def test_what_is_missing_is_named(folder):
  (folder / 'qrels.text').unlink()
  assert not is_smart(folder)
  with pytest.raises(UserError, match=r'no file of relevant: a name that ends in \.rel or qrels\.text or cranqrel'):
    read_smart(folder)


def test_judgements_in_four_columns_as_meds(folder):
  (folder / 'qrels.text').write_text('1 0 3 1\n1 0 2 1\n2 0 1 1\n')
  _, asked = read_smart(folder)
  assert asked.judgements == {'1': {'3': 1, '2': 1}, '2': {'1': 1}}


def test_cranfields_names_and_its_way_of_counting_queries(folder):
  (folder / 'CISI.ALL').rename(folder / 'cran.all.1400')
  (folder / 'query.text').unlink()
  (folder / 'qrels.text').unlink()
  (folder / 'cran.qry').write_text('.I 001\n.W\nfirst\n.I 007\n.W\nsecond\n')
  (folder / 'cranqrel').write_text('1 1 2\n2 3 4\n2 2 -1\n')
  told = []
  _, asked = open_collection(str(folder), told.append)
  assert asked.queries == {'1': 'first', '2': 'second'}
  assert asked.judgements == {'1': {'1': 1}, '2': {'3': 1, '2': 0}}
  assert [line for line in told if 'counts the queries' in line]
