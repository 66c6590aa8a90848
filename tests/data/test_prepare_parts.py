"""Token shards by parts: in order they are what one preparation writes, whoever makes them."""

import json

import numpy as np
import pytest

from mlsd_jax import tokenizers
from mlsd_jax.data import prepare_parts as parts_module
from mlsd_jax.data.prepare import prepare
from mlsd_jax.data.prepare_parts import local_tokens, prepare_parts
from mlsd_jax.data.sources import open_source
from mlsd_jax.data.tokens import TokenDataset
from mlsd_jax.errors import UserError
from mlsd_jax.executor import ExecutorConfig


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  root = tmp_path_factory.mktemp('texts')
  for file in range(5):
    rows = [json.dumps({'text': f'{file} and {row}, ' * (1 + row % 7)}) for row in range(60)]
    (root / f'{file}.jsonl').write_text('\n'.join(rows) + '\n')
  (root / 'empty.jsonl').write_text(json.dumps({'text': ''}) + '\n')
  return root


@pytest.fixture(scope='module')
def tokenizer():
  return tokenizers.ByteTokenizer()


def splits(folder):
  return {
    name: np.array(TokenDataset.open(folder, name).read(0, len(TokenDataset.open(folder, name))))
    for name in ('train', 'val')
  }


@pytest.mark.parametrize(
  'config', [ExecutorConfig(), ExecutorConfig('processes', workers=2)], ids=lambda each: each.kind
)
def test_in_order_the_parts_are_what_one_preparation_writes(config, folder, tokenizer, tmp_path):
  parts = prepare_parts(str(folder), tokenizer, tmp_path / 'parts', part_bytes=3000, config=config)
  assert 2 < len(parts.seals) < 7
  whole = prepare(open_source(str(folder)), tokenizer, tmp_path / 'whole')
  found, wanted = splits(tmp_path / 'parts'), splits(whole)
  for name in wanted:
    np.testing.assert_array_equal(found[name], wanted[name])
    one, other = (TokenDataset.open(each, name) for each in (tmp_path / 'parts', whole))
    assert (one.num_documents, one.text_bytes, one.target_bytes) == (
      other.num_documents, other.text_bytes, other.target_bytes,
    )  # fmt: skip
  assert prepare_parts(str(folder), tokenizer, tmp_path / 'parts', part_bytes=3000).made == 0


def test_a_flipped_byte_is_told_with_what_makes_its_part_anew(folder, tokenizer, tmp_path):
  make = lambda: prepare_parts(str(folder), tokenizer, tmp_path, part_bytes=3000)
  make()
  whole = splits(tmp_path)
  path = next((tmp_path / 'part-00001').glob('train*'))
  data = bytearray(path.read_bytes())
  data[7] ^= 1
  path.write_bytes(bytes(data))
  with pytest.raises(UserError, match='prepare again, which makes that part anew'):
    splits(tmp_path)
  assert make().made == 1
  np.testing.assert_array_equal(splits(tmp_path)['train'], whole['train'])


def test_until_the_last_part_is_there_nothing_can_be_opened(folder, tokenizer, tmp_path, monkeypatch):
  def fails(*arguments):
    raise UserError('stop')

  monkeypatch.setattr(parts_module, '_write_manifest', fails)
  with pytest.raises(UserError, match='stop'):
    prepare_parts(str(folder), tokenizer, tmp_path, part_bytes=3000)
  with pytest.raises(UserError, match='holds no manifest'):
    TokenDataset.open(local_tokens(tmp_path), 'train')


def test_another_preparation_and_what_has_no_files_are_refused(folder, tokenizer, tmp_path):
  prepare_parts(str(folder), tokenizer, tmp_path)
  with pytest.raises(UserError, match=r'val_fraction 0\.1 against 0\.2'):
    prepare_parts(str(folder), tokenizer, tmp_path, val_fraction=0.2)
  with pytest.raises(UserError, match='only what consists of files'):
    prepare_parts('python_docs', tokenizer, tmp_path)
