import json
import pathlib
import signal
import sys
import textwrap
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsd_jax import files, tokenizers
from mlsd_jax.data import prepare as prepare_module
from mlsd_jax.data.documents import Document
from mlsd_jax.data.prepare import prepare
from mlsd_jax.data.sources import Source, open_source
from mlsd_jax.data.tokens import TokenDataset
from mlsd_jax.errors import UserError
from mlsd_jax.tokenizers import ByteTokenizer, CharacterTokenizer, Tokenizer


def source_of(*texts: str, name: str = 'texts') -> Source:
  documents = [Document(str(i), text) for i, text in enumerate(texts)]
  return Source(name, 'none', 'for tests', lambda: iter(documents), lambda: repr(texts))


def content(folder: pathlib.Path) -> dict[str, bytes]:
  return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != '.lock'}


def prepare_but_for_the_manifest(monkeypatch, *arguments, **options) -> None:
  with monkeypatch.context() as patch:
    patch.setattr(prepare_module.Manifest, 'write', lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
      prepare(*arguments, **options)


def tokens(folder: pathlib.Path, split: str) -> list[int]:
  dataset = TokenDataset.open(folder, split)
  return dataset.read(0, len(dataset)).tolist()


WORDS = [f'document {i} ' + 'word ' * (i % 7) for i in range(200)]


@pytest.mark.parametrize('shard_tokens', [1, 100, 10**6])
def test_every_document_lands_in_one_split_behind_a_separator(shard_tokens: int, tmp_path):
  folder = prepare(source_of(*WORDS), ByteTokenizer(), tmp_path, val_fraction=0.3, shard_tokens=shard_tokens)
  found: dict[str, list[str]] = {}
  for split in ('train', 'val'):
    ids = tokens(folder, split)
    assert ids[0] == 256
    dataset = TokenDataset.open(folder, split)
    found[split] = ByteTokenizer().decode(ids).split('<|endoftext|>')[1:]
    assert dataset.num_documents == len(found[split])
    assert dataset.text_bytes == dataset.target_bytes == sum(map(len, found[split]))
  assert sorted(found['train'] + found['val']) == sorted(WORDS)
  for texts in found.values():
    assert texts == [text for text in WORDS if text in texts], 'order is kept'
  assert 0.15 < len(found['val']) / len(WORDS) < 0.45


def test_the_split_of_a_document_depends_on_its_text_only(tmp_path):
  first = prepare(source_of(*WORDS), ByteTokenizer(), tmp_path / 'a', val_fraction=0.3)
  second = prepare(source_of(*WORDS[::-1], *WORDS), ByteTokenizer(), tmp_path / 'b', val_fraction=0.3)
  val = set(ByteTokenizer().decode(tokens(first, 'val')).split('<|endoftext|>'))
  assert set(ByteTokenizer().decode(tokens(second, 'val')).split('<|endoftext|>')) == val


@given(
  texts=st.lists(st.text('abé\n', max_size=30), min_size=1, max_size=8).filter(lambda texts: len(''.join(texts)) > 3),
  val_fraction=st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0]),
  shard_tokens=st.integers(1, 40),
)
def test_a_contiguous_split_cuts_the_characters_once(texts, val_fraction, shard_tokens, tmp_path_factory):
  text = ''.join(texts)
  boundary = int(len(text) * (1 - val_fraction))
  tokenizer = CharacterTokenizer('\nabé')
  folder = tmp_path_factory.mktemp('contiguous')
  options = dict(split='contiguous', val_fraction=val_fraction, shard_tokens=shard_tokens)
  if val_fraction > 0 and boundary == 0 and val_fraction < 1:
    return
  prepare(source_of(*texts), tokenizer, folder, **options)
  for split, expected in (('train', text[:boundary]), ('val', text[boundary:])):
    if expected:
      assert tokenizer.decode(tokens(folder, split)) == expected
      dataset = TokenDataset.open(folder, split)
      assert dataset.text_bytes == len(expected.encode())
      assert dataset.target_bytes == len(expected[1:].encode())


def test_a_document_cut_by_the_split_is_opened_once(tmp_path):
  folder = prepare(source_of('abcd', 'efgh'), ByteTokenizer(), tmp_path, split='contiguous', val_fraction=0.25)
  assert ByteTokenizer().decode(tokens(folder, 'train')) == '<|endoftext|>abcd<|endoftext|>ef'
  assert ByteTokenizer().decode(tokens(folder, 'val')) == 'gh'
  assert TokenDataset.open(folder, 'val').target_bytes == 1


def test_tinyshakespeare_is_split_as_in_nanogpt(real_data, tmp_path):
  source = open_source('tinyshakespeare')
  (document,) = source.documents()
  tokenizer = CharacterTokenizer.train([document.text])
  folder = prepare(source, tokenizer, tmp_path, split='contiguous')
  assert len(tokens(folder, 'train')) == 1_003_854
  assert len(tokens(folder, 'val')) == 111_540
  assert tokenizer.decode(tokens(folder, 'val')) == document.text[-111_540:]


class _Wide(CharacterTokenizer):
  """Ids that do not fit 16 bits."""

  def encode(self, text: str) -> np.ndarray:
    return super().encode(text) + (self.vocab_size - 4)

  def decode_bytes(self, ids) -> bytes:
    return super().decode_bytes([i - (self.vocab_size - 4) for i in ids])


@pytest.mark.parametrize(('vocab_size', 'dtype'), [(65536, '<u2'), (65537, '<u4')])
def test_ids_take_16_bits_if_all_fit(vocab_size: int, dtype: str, tmp_path):
  tokenizer = _Wide('abcd')
  tokenizer.vocab_size = vocab_size
  folder = prepare(source_of('abcd' * 5), tokenizer, tmp_path, val_fraction=0)
  expected = [vocab_size - 4 + i for i in range(4)] * 5
  assert np.fromfile(folder / 'train-00000.bin', dtype).tolist() == expected
  assert tokens(folder, 'train') == expected


def test_workers_do_not_change_a_byte(tmp_path, monkeypatch):
  tokenizer = tokenizers.BPETokenizer.train(WORDS, 300)
  alone = prepare(source_of(*WORDS), tokenizer, tmp_path / 'alone', shard_tokens=500, workers=1)
  monkeypatch.setattr(prepare_module, '_CHUNK_CHARACTERS', 100)
  monkeypatch.setattr(prepare_module, '_CHUNKS_WITHOUT_WORKERS', 1)
  together = prepare(source_of(*WORDS), tokenizer, tmp_path / 'together', shard_tokens=500, workers=2)
  assert content(together) == content(alone)
  assert len(content(alone)) > 6


def test_a_second_preparation_is_found_and_nothing_is_read(own_cache):
  source = source_of(*WORDS)
  folder = prepare(source, ByteTokenizer())
  assert own_cache in folder.parents
  assert tokenizers.load(folder).fingerprint == ByteTokenizer.fingerprint
  unreadable = Source('texts', 'none', 'for tests', lambda: 1 / 0, source.fingerprint)
  assert prepare(unreadable, ByteTokenizer()) == folder


@pytest.mark.parametrize(
  'other',
  [
    dict(source=source_of('x', *WORDS)),
    dict(tokenizer=CharacterTokenizer.train(WORDS)),
    dict(val_fraction=0.2),
    dict(split='contiguous'),
    dict(shard_tokens=1000),
  ],
  ids=lambda other: next(iter(other)),
)
@pytest.mark.parametrize('finished', [True, False])
def test_another_preparation_has_another_folder_and_is_never_mixed_in(other, finished: bool, tmp_path, monkeypatch):
  options = dict(source=source_of(*WORDS), tokenizer=ByteTokenizer(), shard_tokens=300)
  if finished:
    prepare(folder=tmp_path, **options)
  else:
    prepare_but_for_the_manifest(monkeypatch, folder=tmp_path, **options)
  before = content(tmp_path)
  with pytest.raises(UserError, match='holds another preparation') as error:
    prepare(folder=tmp_path, **{**options, **other})
  assert next(iter(other)) in str(error.value)
  assert content(tmp_path) == before
  assert prepare(**options) != prepare(**{**options, **other})


SLOW = """
  import sys, time
  from mlsd_jax.data.documents import Document
  from mlsd_jax.data.prepare import prepare
  from mlsd_jax.data.sources import Source
  from mlsd_jax.tokenizers import ByteTokenizer

  def documents():
    for i in range(300):
      time.sleep(float(sys.argv[2]))
      yield Document(str(i), f'document {i} ' + 'word ' * (i % 7))

  import mlsd_jax.data.prepare as module
  module._CHUNK_CHARACTERS = 50
  source = Source('slow', 'none', 'for tests', documents, lambda: 'the same')
  prepare(source, ByteTokenizer(), sys.argv[1], val_fraction=0.2, shard_tokens=400)
"""


@pytest.fixture
def start_slow(start_process):
  return lambda folder, pause: start_process([sys.executable, '-c', textwrap.dedent(SLOW), str(folder), str(pause)])


def finished_shards(folder: pathlib.Path) -> dict[str, int]:
  """Shards on record and when they were written."""
  if not (folder / prepare_module.UNFINISHED).exists():
    return {}
  parts = json.loads((folder / prepare_module.UNFINISHED).read_text())['parts']
  names = [shard['file'] for part in parts for shard in part['shards'].values()]
  return {name: (folder / name).stat().st_mtime_ns for name in names}


def test_killed_at_any_moment_it_goes_on_and_ends_the_same(tmp_path, start_slow):
  undisturbed = tmp_path / 'undisturbed'
  assert start_slow(undisturbed, 0).wait() == 0
  killed = tmp_path / 'killed'
  rng = np.random.default_rng(0)
  kept: dict[str, int] = {}
  for stop_at in (3, 9, 15, 15, 24):
    process = start_slow(killed, 0.002)
    while process.poll() is None and len(finished_shards(killed)) < stop_at:
      time.sleep(0.002)
    time.sleep(rng.uniform(0, 0.02))
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, 'it was killed before its end'
    (killed / '.train-00099-left.tmp.bin').write_bytes(b'half a shard')
    now = finished_shards(killed)
    assert kept.items() <= now.items(), 'finished shards are not written again'
    kept = now
  assert len(kept) >= 24
  assert start_slow(killed, 0).wait() == 0
  assert content(killed) == content(undisturbed)
  assert {name: (killed / name).stat().st_mtime_ns for name in kept} == kept


def test_two_processes_prepare_a_folder_once(tmp_path, start_slow):
  processes = [start_slow(tmp_path / 'shared', 0.001) for _ in range(2)]
  assert [process.wait() for process in processes] == [0, 0]
  assert start_slow(tmp_path / 'alone', 0).wait() == 0
  assert content(tmp_path / 'shared') == content(tmp_path / 'alone')


def test_a_damaged_shard_of_an_unfinished_preparation_is_named(tmp_path, monkeypatch):
  prepare_but_for_the_manifest(monkeypatch, source_of(*WORDS), ByteTokenizer(), tmp_path, shard_tokens=300)
  shard = tmp_path / 'train-00001.bin'
  data = bytearray(shard.read_bytes())
  data[5] ^= 1
  shard.write_bytes(data)
  with pytest.raises(UserError, match=r'train-00001\.bin does not match its checksum'):
    prepare(source_of(*WORDS), ByteTokenizer(), tmp_path, shard_tokens=300)


def test_a_full_disk_is_told_in_one_line_and_leaves_no_half_shard(tmp_path, monkeypatch):
  def full(descriptor: int) -> None:
    raise OSError(28, 'No space left on device')

  tokenizer = ByteTokenizer()
  monkeypatch.setattr(Tokenizer, 'save', lambda self, path: path)
  monkeypatch.setattr(files.os, 'fsync', full)
  with pytest.raises(UserError, match='No space left on device'):
    prepare(source_of(*WORDS), tokenizer, tmp_path)
  assert content(tmp_path) == {}


@pytest.mark.parametrize(
  ('texts', 'options', 'message'),
  [
    ([], {}, 'holds no text'),
    (['', ''], {}, 'holds no text'),
    (['one document'], {}, 'leaves the val split of texts empty: use split='),
    (['ab'], dict(split='contiguous', val_fraction=0.9), 'leaves the train split of texts empty'),
    (['ab'], dict(val_fraction=1.5), 'between 0 and 1, not 1.5'),
    (['ab'], dict(split='random'), "'documents' or 'contiguous', not 'random'"),
    (['ab'], dict(shard_tokens=0), 'shard_tokens must be at least 1'),
  ],
)
def test_what_cannot_be_prepared_is_refused_in_one_line(texts, options, message: str, tmp_path):
  with pytest.raises(UserError, match=message) as error:
    prepare(source_of(*texts), ByteTokenizer(), tmp_path / 'folder', **options)
  assert '\n' not in str(error.value)
  assert not (tmp_path / 'folder' / 'manifest.json').exists()


def test_a_character_that_the_vocabulary_lacks_stops_the_preparation(tmp_path):
  with pytest.raises(UserError, match="character 'z'"):
    prepare(source_of('abc', 'xyz'), CharacterTokenizer('abcxy'), tmp_path)
  assert not (tmp_path / 'manifest.json').exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(UserError, match='cannot write in'):
    prepare(source_of(*WORDS), ByteTokenizer(), tmp_path / 'file' / 'folder')


def test_a_long_document_in_pieces_is_one_document(tmp_path, monkeypatch):
  monkeypatch.setattr('mlsd_jax.data.documents.PIECE_CHARACTERS', 64)
  text = '\n'.join(f'line {i}' for i in range(500))
  (tmp_path / 'long.txt').write_text(text)
  folder = prepare(open_source(str(tmp_path / 'long.txt')), ByteTokenizer(), tmp_path / 'tokens', val_fraction=0)
  dataset = TokenDataset.open(folder, 'train')
  assert dataset.num_documents == 1
  assert ByteTokenizer().decode(dataset.read(1, len(dataset))) == text
