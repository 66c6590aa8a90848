import gzip
import hashlib
import io
import json
import os
import tarfile
from typing import ClassVar

import numpy as np
import polars
import pytest

from mlsd_jax.data import fetch, sources
from mlsd_jax.data.sources import SOURCES, open_source
from mlsd_jax.errors import UserError


def texts(spec: str, **options) -> list[str]:
  return [document.text for document in open_source(str(spec), **options).documents()]


def test_tinyshakespeare_is_one_document(real_data):
  (text,) = texts('tinyshakespeare')
  assert len(text) == 1_115_394
  assert len(set(text)) == 65


def test_novels_are_97(real_data):
  found = list(open_source('novels').documents())
  titles = {document.title for document in found}
  assert len(titles) == 97
  assert not titles & sources._NOVELS_LEFT_OUT
  assert 'Barclay_Rosary_1909' in titles
  assert '\r' not in found[0].text
  digest = hashlib.sha256(''.join(document.text for document in found).encode()).hexdigest()
  assert digest == open_source('novels').fingerprint(), 'an archive packed by GitHub is known by the same digest'


def test_novels_are_read_from_an_archive_as_github_packs_it(own_cache, monkeypatch):
  path = own_cache / 'sources' / 'novels' / 'novels.tar.gz'
  path.parent.mkdir(parents=True)
  left_out = next(iter(sources._NOVELS_LEFT_OUT))
  with tarfile.open(path, 'w:gz') as archive:
    for name in ('README.md', 'corpus/Author_One_1900.txt', f'corpus/{left_out}.txt', 'lists/words.txt'):
      member = tarfile.TarInfo(f'100_english_novels-143e6018/{name}')
      member.size = 7
      archive.addfile(member, io.BytesIO(b'chapter'))
  with pytest.raises(UserError, match=r'novels\.tar\.gz is damaged'):
    texts('novels')
  digest = hashlib.sha256(b'chapter').hexdigest()
  remote = fetch.RemoteFile('novels.tar.gz', sources._NOVELS.url, digest, sources._NOVELS.digest)
  monkeypatch.setattr(sources, '_NOVELS', remote)
  assert texts('novels') == ['chapter']


def test_every_named_source_says_what_it_is(monkeypatch, built_docs):
  monkeypatch.setattr('mlsd_jax.data.python_docs.build', lambda: built_docs)
  for name, source in SOURCES.items():
    assert source.name == name
    assert source.licence
    assert source.description
    assert len(source.fingerprint()) == 64
    assert source.url.startswith('https://') or name == 'python_docs'


def test_a_folder_is_read_in_order_with_all_below(tmp_path):
  (tmp_path / 'b').mkdir()
  (tmp_path / 'b' / 'x.md').write_text('two')
  (tmp_path / 'a.txt').write_text('one')
  (tmp_path / 'c.jsonl.gz').write_bytes(gzip.compress(json.dumps({'body': 'three'}).encode()))
  polars.DataFrame({'body': ['four', 'five']}).write_parquet(tmp_path / 'd.parquet')
  (tmp_path / '.hidden.txt').write_text('no')
  (tmp_path / 'picture.png').write_bytes(b'\x89')
  (tmp_path / 'empty.txt').write_text('')
  assert texts(tmp_path, text_key='body') == ['one', 'two', 'three', 'four', 'five']
  assert texts(tmp_path / 'b' / 'x.md') == ['two']
  assert texts(f'hf:{tmp_path}', text_key='body') == ['three', 'four', 'five'], 'a README.md is not data'
  assert texts(f'hf:{tmp_path}/*.parquet', text_key='body') == ['four', 'five']


def test_the_amount_of_text_is_known_beforehand_where_that_is_cheap(tmp_path):
  texts = [f'row {i} ' * 50 for i in range(100)]
  polars.DataFrame({'number': range(100), 'text': texts}).write_parquet(tmp_path / 'a.parquet')
  (tmp_path / 'b.txt').write_text('é' * 1000)
  expected = sum(map(len, texts)) + 2000
  assert open_source(str(tmp_path)).text_bytes() == pytest.approx(expected, rel=0.05)
  (tmp_path / 'c.jsonl.gz').write_bytes(gzip.compress(b'{"text": "x"}'))
  assert open_source(str(tmp_path)).text_bytes() is None


def test_the_fingerprint_follows_the_files_and_the_key(tmp_path):
  file = tmp_path / 'a.jsonl'
  file.write_text('{"text": "one", "body": "two"}')
  before = open_source(str(tmp_path)).fingerprint()
  assert open_source(str(tmp_path)).fingerprint() == before
  assert open_source(str(tmp_path), text_key='body').fingerprint() != before
  os.utime(file, ns=(1, 1))
  assert open_source(str(tmp_path)).fingerprint() != before


@pytest.mark.parametrize(
  ('spec', 'message'),
  [
    ('nowhere', "no source 'nowhere': neither one of python_docs, tinyshakespeare, novels, nor a file"),
    ('nowhere/*.txt', 'no source'),
    ('hf:nowhere', 'no source'),
    ('hf:', 'no source'),
    ('folder', 'holds no file that can be read'),
    ('folder/picture.png', 'names must end in one of'),
    ('empty.txt', 'is empty'),
  ],
)
def test_what_cannot_be_read_is_refused_in_one_line(spec: str, message: str, tmp_path, monkeypatch):
  (tmp_path / 'folder').mkdir()
  (tmp_path / 'folder' / 'picture.png').write_bytes(b'\x89')
  (tmp_path / 'empty.txt').write_text('')
  monkeypatch.chdir(tmp_path)
  with pytest.raises(UserError, match=message) as error:
    open_source(spec)
  assert '\n' not in str(error.value)


def test_a_key_of_text_without_keys_is_refused(tmp_path):
  (tmp_path / 'song.txt').write_text('ten green bottles')
  for spec in ('python_docs', str(tmp_path / 'song.txt'), str(tmp_path)):
    with pytest.raises(UserError, match="text_key='body' has no effect"):
      open_source(spec, text_key='body')
  (tmp_path / 'rows.jsonl').write_text('{"body": "nine"}\n')
  assert texts(tmp_path, text_key='body') == ['nine', 'ten green bottles']


@pytest.mark.filterwarnings('ignore')
def test_a_dataset_prepared_by_tensorflow_datasets_is_read(tmp_path, monkeypatch):
  tfds = pytest.importorskip('tensorflow_datasets')
  monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path))

  class LittleText(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    VERSION = tfds.core.Version('1.0.0')
    name = 'little_text'
    url_infos: ClassVar = {}  # else it looks for its checksums beside the code

    def _info(self):
      features = tfds.features.FeaturesDict({'text': tfds.features.Text(), 'number': tfds.features.Scalar(np.int64)})
      return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, download_manager):
      return {'train': ((i, {'text': f'text {i} é', 'number': i}) for i in range(5))}

    def _generate_examples(self):
      raise NotImplementedError

  with pytest.raises(UserError, match='knows no'):
    texts('tfds:little_text')
  LittleText(data_dir=tmp_path, file_format='array_record').download_and_prepare()
  source = open_source('tfds:little_text')
  assert sorted(document.text for document in source.documents()) == [f'text {i} é' for i in range(5)]
  assert source.fingerprint() == open_source('tfds:little_text').fingerprint()
  with pytest.raises(UserError, match="no feature 'body' \\(it has 'number', 'text'\\)"):
    texts('tfds:little_text', text_key='body')
  with pytest.raises(UserError, match='lm1b is not prepared'):
    texts('tfds:lm1b')


def test_what_a_folder_holds_besides_is_told_and_links_that_lead_out_are_not_followed(tmp_path, capsys):
  (tmp_path / 'own').mkdir()
  (tmp_path / 'else.jsonl').write_text('{"text": "elsewhere"}\n')
  (tmp_path / 'own' / 'a.jsonl').write_text('{"text": "own"}\n')
  (tmp_path / 'own' / 'b.jsonl').symlink_to(tmp_path / 'else.jsonl')
  (tmp_path / 'own' / 'c.pdf').write_text('x')
  assert texts(tmp_path / 'own') == ['own']
  told = capsys.readouterr().err
  assert 'b.jsonl is a link that leads out of the folder' in told
  assert 'not read: 1 .pdf' in told
  assert texts(f'hf:{tmp_path / "own"}') == ['own', 'elsewhere']  # as the hub's cache keeps its files
