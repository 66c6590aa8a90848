import json

from mlsd_jax.data import python_docs


def test_it_is_a_corpus_of_titled_english(built_docs):
  assert len(built_docs) > 3000
  assert sum(map(len, built_docs.values())) > 1_000_000
  assert 'Recursively copy a directory tree' in built_docs['shutil.copytree']
  assert built_docs['shutil.copytree'].startswith('shutil.copytree(src, dst')
  assert 'str.split' in built_docs
  assert any(title.startswith('help(') for title in built_docs)
  assert not any(title.split('.')[0] in ('test', 'site-packages') for title in built_docs)


def test_every_document_is_different(built_docs):
  assert len(set(built_docs.values())) == len(built_docs)


def test_documents_come_sorted_from_a_file_that_is_written_once(built_docs, own_cache, monkeypatch):
  monkeypatch.setattr(python_docs, 'build', lambda: built_docs)
  found = list(python_docs.documents())
  assert [document.title for document in found] == sorted(built_docs)
  assert {document.title: document.text for document in found} == built_docs
  monkeypatch.setattr(python_docs, 'build', lambda: 1 / 0)
  assert list(python_docs.documents()) == found
  file = python_docs.corpus_file()
  assert own_cache in file.parents
  assert json.loads(file.read_text(encoding='utf-8').splitlines()[0])['title'] == found[0].title
