import itertools
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mlsd_jax import files
from mlsd_jax.data.batches import ALL_ROWS
from mlsd_jax.data.shards import Manifest, Shard
from mlsd_jax.data.tokens import EvalBatches, TokenBatches, TokenDataset
from mlsd_jax.errors import UserError
from mlsd_jax.tokenizers import ByteTokenizer, CharacterTokenizer


def write_tokens(folder: pathlib.Path, shards: list[list[int]], dtype: str = 'uint16', vocab_size: int = 60000) -> None:
  """A preparation with a training split only."""
  folder.mkdir(parents=True, exist_ok=True)
  described = []
  for i, tokens in enumerate(shards):
    path = folder / f'train-{i:05d}.bin'
    np.array(tokens, np.dtype(dtype).newbyteorder('<')).tofile(path)
    described.append(Shard(path.name, len(tokens), 1, 2 * len(tokens), tokens[0], max(tokens), files.sha256(path)))
  identity = dict(tokenizer='bytes', tokenizer_fingerprint=ByteTokenizer.fingerprint)
  Manifest(identity, vocab_size, None, dtype, {'train': described, 'val': []}, {'train': 2, 'val': 0}).write(folder)


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> pathlib.Path:
  return tmp_path_factory.mktemp('tokens')


def counting(folder: pathlib.Path, num_tokens: int, num_shards: int = 1) -> TokenDataset:
  """Tokens 0, 1, 2, ..., so that a row tells where it was read."""
  target = folder / f'{num_tokens}-{num_shards}'
  if not target.exists():
    write_tokens(target, [part.tolist() for part in np.array_split(np.arange(num_tokens), num_shards)])
  return TokenDataset.open(target, 'train')


SIZES = st.tuples(st.integers(2, 300), st.integers(1, 4)).filter(lambda sizes: sizes[0] >= sizes[1])


@given(sizes=SIZES, data=st.data())
def test_reading_crosses_shard_boundaries(folder, sizes, data):
  dataset = counting(folder, *sizes)
  assert len(dataset) == sizes[0]
  start = data.draw(st.integers(0, sizes[0]))
  stop = data.draw(st.integers(start, sizes[0]))
  found = dataset.read(start, stop)
  assert found.dtype == np.int32
  assert found.tolist() == list(range(start, stop))


@pytest.mark.parametrize(('dtype', 'largest'), [('uint16', 65535), ('uint32', 200_000)])
def test_both_widths_are_read_as_int32(dtype: str, largest: int, tmp_path):
  write_tokens(tmp_path, [[0, largest, 7], [largest, 1]], dtype, vocab_size=largest + 1)
  dataset = TokenDataset.open(tmp_path, 'train')
  assert dataset.read(0, 5).tolist() == [0, largest, 7, largest, 1]
  assert (dataset.text_bytes, dataset.target_bytes, dataset.num_documents) == (10, 8, 2)


def truncate(path: pathlib.Path) -> None:
  path.write_bytes(path.read_bytes()[:-1])


def flip(path: pathlib.Path) -> None:
  path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])


@pytest.mark.parametrize(
  ('damage', 'message'),
  [
    (truncate, r'train-00001\.bin has 5 bytes, not 6'),
    (pathlib.Path.unlink, r'train-00001\.bin is missing'),
    (flip, r'train-00001\.bin does not match its checksum'),
  ],
)
def test_a_damaged_shard_is_named(damage, message: str, tmp_path):
  write_tokens(tmp_path, [[1, 2, 3], [4, 5, 6]])
  damage(tmp_path / 'train-00001.bin')
  with pytest.raises(UserError, match=message):
    TokenDataset.open(tmp_path, 'train')


def test_every_flipped_bit_is_noticed(tmp_path, check_flips):
  write_tokens(tmp_path, [[1, 2, 3], [4, 5, 6]])
  noticed = check_flips(tmp_path, lambda: TokenDataset.open(tmp_path, 'train').read(0, 6).tolist())
  assert noticed == ['manifest.json', 'train-00000.bin', 'train-00001.bin']


def test_ids_beyond_the_vocabulary_are_refused(tmp_path):
  write_tokens(tmp_path, [[1, 2, 3], [4, 500, 6]])
  with pytest.raises(UserError, match=r'train-00001\.bin holds token id 500, out of range for 500 tokens'):
    TokenDataset.open(tmp_path, 'train', vocab_size=500)
  assert len(TokenDataset.open(tmp_path, 'train', vocab_size=501)) == 6


@pytest.mark.parametrize(
  ('dtype', 'bad'), [('uint16', 60), ('uint16', 65535), ('uint32', 2**31), ('uint32', 2**32 - 1)]
)
def test_ids_beyond_the_vocabulary_are_refused_whatever_the_manifest_says(dtype: str, bad: int, tmp_path):
  write_tokens(tmp_path, [[1, 2], [3, bad, 5]], dtype, vocab_size=60)
  content = files.read_json(tmp_path / 'manifest.json')
  del content['sha256']
  for shard in content['splits']['train']['shards']:
    shard['max_token'] = 5
  files.write_json(tmp_path / 'manifest.json', content)
  with pytest.raises(UserError, match=rf'shard .*train-00001\.bin holds token id {bad}, out of range for 60 tokens'):
    TokenDataset.open(tmp_path, 'train')


@pytest.mark.parametrize('dtype', ['uint16', 'uint32'])
@pytest.mark.parametrize('read', ['batches', 'evaluation', 'read'])
def test_a_shard_that_changes_while_it_is_open_is_noticed(dtype: str, read: str, tmp_path):
  write_tokens(tmp_path, [[1] * 20, [2] * 20], dtype, vocab_size=60)
  dataset = TokenDataset.open(tmp_path, 'train')
  with open(tmp_path / 'train-00001.bin', 'rb+') as file:
    file.seek(12)
    file.write(b'\xff' * np.dtype(dtype).itemsize)
  reading = {
    'batches': lambda: list(itertools.islice(TokenBatches(dataset, 4, 6).batches(0, ALL_ROWS), 4)),
    'evaluation': lambda: list(EvalBatches(dataset, 4, 6).batches(ALL_ROWS)),
    'read': lambda: dataset.read(15, 40),
  }
  message = r'shard .*train-00001\.bin holds token id (65535|4294967295), out of range for 60 tokens'
  with pytest.raises(UserError, match=message):
    reading[read]()


def test_tokens_of_another_tokenizer_are_refused(tmp_path):
  write_tokens(tmp_path, [[1, 2, 3]])
  TokenDataset.open(tmp_path, 'train', tokenizer=ByteTokenizer())
  with pytest.raises(UserError, match='was prepared with tokenizer bytes, not with this char-3'):
    TokenDataset.open(tmp_path, 'train', tokenizer=CharacterTokenizer('abc'))


def test_what_is_not_there_is_named(tmp_path):
  with pytest.raises(UserError, match=r'holds no manifest\.json'):
    TokenDataset.open(tmp_path, 'train')
  write_tokens(tmp_path, [[1, 2, 3]])
  with pytest.raises(UserError, match="has no 'val' split; it has train"):
    TokenDataset.open(tmp_path, 'val')


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (lambda content: content.update(format=0), 'has format 0'),
    (lambda content: content.pop('dtype'), 'is damaged'),
    (lambda content: content['splits']['train'].pop('shards'), 'is damaged'),
  ],
)
def test_a_manifest_that_is_not_whole_is_refused(change, message: str, tmp_path):
  write_tokens(tmp_path, [[1, 2, 3]])
  content = json.loads((tmp_path / 'manifest.json').read_text())
  del content['sha256']
  change(content)
  (tmp_path / 'manifest.json').write_text(json.dumps(content))
  with pytest.raises(UserError, match=message):
    TokenDataset.open(tmp_path, 'train')


def take(batches, count: int) -> list[np.ndarray]:
  found = [batch['tokens'] for batch in itertools.islice(batches, count)]
  batches.close()
  return found


@given(
  sizes=SIZES,
  batch_size=st.integers(1, 5),
  length=st.integers(1, 40),
  seed=st.integers(0, 2**32 - 1),
  epoch=st.integers(0, 9),
)
def test_an_epoch_visits_every_window_once(folder, sizes, batch_size, length, seed, epoch):
  assume(sizes[0] > length)
  batches = TokenBatches(counting(folder, *sizes), batch_size, length, seed)
  first = epoch * batches.windows_per_epoch
  visits = range(first, first + batches.windows_per_epoch)
  rows = [batches.batch(visit // batch_size, ALL_ROWS)['tokens'][visit % batch_size] for visit in visits]
  assert all((np.diff(row) == 1).all() and row.dtype == np.int32 and len(row) == length + 1 for row in rows)
  starts = sorted(int(row[0]) for row in rows)
  assert (np.diff(starts) == length).all(), 'every target once, side by side'
  assert starts[0] + sizes[0] - 1 - (starts[-1] + length) < 2 * length, 'the two ends hold less than two more windows'


def test_windows_too_many_to_list_are_visited_once_too(tmp_path):
  count = 2**16 + 100
  write_tokens(tmp_path, [list(range(count))], 'uint32', vocab_size=count)
  batches = TokenBatches(TokenDataset.open(tmp_path, 'train'), 1000, 1, seed=4)
  assert batches.windows_per_epoch == count - 1
  visited = np.concatenate([batches.batch(i, ALL_ROWS)['tokens'][:, 0] for i in range(count // 1000 + 1)])[: count - 1]
  assert sorted(visited) == list(range(count - 1))
  assert np.abs(np.diff(visited)).mean() > count / 4, 'in no order'


def test_epochs_differ_in_order_and_in_where_windows_begin(folder):
  batches = TokenBatches(counting(folder, 300, 3), 1, 10, seed=3)
  count = batches.windows_per_epoch
  rows = (batches.batch(i, ALL_ROWS)['tokens'] for i in range(8 * count))
  epochs = np.array([row[0, 0] for row in rows]).reshape(8, count)
  assert len({row.min() for row in epochs}) > 3
  assert len({tuple((row - row.min()).tolist()) for row in epochs}) == 8


def test_every_token_can_be_a_target_in_every_column(folder):
  batches = TokenBatches(counting(folder, 40), 4, 7)
  seen = {
    (int(token), column)
    for i in range(2000)
    for row in batches.batch(i, ALL_ROWS)['tokens']
    for column, token in enumerate(row)
  }
  assert {token for token, column in seen if column} == set(range(1, 40))
  assert {token for token, column in seen if column == 3} == set(range(3, 36))


@given(start=st.integers(0, 10**12), rows=st.sampled_from([slice(None), slice(0, 2), slice(2, 6), slice(5, 6)]))
def test_a_batch_is_the_same_from_any_start_and_for_any_rows(folder, start, rows):
  batches = TokenBatches(counting(folder, 200, 2), 6, 8, seed=1)
  whole = [batches.batch(start + i, ALL_ROWS)['tokens'] for i in range(3)]
  for found, expected in zip(take(batches.batches(start, rows), 3), whole, strict=True):
    np.testing.assert_array_equal(found, expected[rows])
  np.testing.assert_array_equal(take(batches.batches(start + 2, rows), 1)[0], whole[2][rows])


def test_another_object_and_another_process_see_the_same_batches(folder):
  dataset = counting(folder, 200, 2)
  here = [batch.tolist() for batch in take(TokenBatches(dataset, 4, 8, seed=5).batches(7), 3)]
  assert [batch.tolist() for batch in take(TokenBatches(dataset, 4, 8, seed=5).batches(7), 3)] == here
  assert [batch.tolist() for batch in take(TokenBatches(dataset, 4, 8, seed=6).batches(7), 3)] != here
  code = f"""if True:
    import itertools, json
    from mlsd_jax.data.tokens import TokenBatches, TokenDataset
    batches = TokenBatches(TokenDataset.open({str(dataset.folder)!r}, 'train'), 4, 8, seed=5).batches(7)
    print(json.dumps([batch['tokens'].tolist() for batch in itertools.islice(batches, 3)]))
  """
  there = subprocess.run([sys.executable, '-c', code], check=True, capture_output=True, text=True)
  assert json.loads(there.stdout) == here


@given(sizes=SIZES, batch_size=st.integers(1, 5), length=st.integers(1, 40), data=st.data())
def test_evaluation_weighs_every_token_but_the_first_once(folder, sizes, batch_size, length, data):
  assume(sizes[0] > length)
  stride = data.draw(st.integers(1, length))
  dataset = counting(folder, *sizes)
  batches = EvalBatches(dataset, batch_size, length, stride)
  found = list(batches.batches())
  assert len(found) == len(batches)
  targets = []
  for batch in found:
    tokens, weights = batch['tokens'], batch['weights']
    assert (tokens.shape, tokens.dtype) == ((batch_size, length + 1), np.int32)
    assert (weights.shape, weights.dtype) == ((batch_size, length), np.float32)
    for row, weight in zip(tokens, weights, strict=True):
      if weight.any():
        assert (np.diff(row) == 1).all()
      if row[0] > 0 and weight.any():
        assert np.flatnonzero(weight)[0] >= length - stride, 'context before the first weighted target'
    targets += tokens[:, 1:][weights == 1].tolist()
  assert targets == list(range(1, sizes[0]))
  assert batches.num_targets == len(targets)
  assert batches.target_bytes == dataset.target_bytes
  for rows in (slice(0, 1), slice(1, None)):
    for batch, part in zip(found, batches.batches(rows), strict=True):
      for name in ('tokens', 'weights'):
        np.testing.assert_array_equal(part[name], batch[name][rows])


@given(max_batches=st.integers(1, 20), stride=st.integers(1, 7))
def test_evaluation_can_end_early(folder, max_batches, stride):
  dataset = counting(folder, 200)
  whole, part = EvalBatches(dataset, 3, 7, stride), EvalBatches(dataset, 3, 7, stride, max_batches)
  assert len(part) == min(max_batches, len(whole))
  weights = 0.0
  for batch, expected in zip(part.batches(), whole.batches(), strict=False):
    np.testing.assert_array_equal(batch['tokens'], expected['tokens'])
    weights += batch['weights'].sum()
  assert part.num_targets == weights
  assert part.target_bytes == pytest.approx(dataset.target_bytes * weights / 199, abs=0.5)


@pytest.mark.parametrize('batches', [TokenBatches, EvalBatches])
def test_a_split_shorter_than_a_row_is_refused(batches, folder):
  dataset = counting(folder, 20)
  assert batches(dataset, 2, 19).batch(0, ALL_ROWS)['tokens'][0].tolist() == list(range(20))
  with pytest.raises(UserError, match=r'train split holds 20 tokens, too few for a window of 20.*at most 19'):
    batches(dataset, 2, 20)


@pytest.mark.parametrize(
  ('batches', 'arguments'),
  [
    (TokenBatches, (0, 4)),
    (TokenBatches, (1, 4, -1)),
    (EvalBatches, (0, 4)),
    (EvalBatches, (1, 4, 5)),
    (EvalBatches, (1, 4, 0)),
    (EvalBatches, (1, 4, 4, 0)),
  ],
)
def test_impossible_sizes_are_refused(batches, arguments, folder):
  with pytest.raises(UserError, match='must be positive'):
    batches(counting(folder, 20), *arguments)
