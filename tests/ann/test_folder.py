import os
import pathlib
import random
import shutil
import subprocess
import sys
import warnings

import numpy as np
import polars as pl
import pytest

from mlsd_jax.ann import Index, IndexConfig
from mlsd_jax.ann.segment import Segment
from mlsd_jax.errors import UserError

GENERATOR = np.random.default_rng(0)
VECTORS = GENERATOR.standard_normal((600, 8)).astype(np.float32)
# Everything is looked at and scored again: ScaNN's rounding cannot show.
TREE = IndexConfig(kind='tree', leaves=20, leaves_to_search=20, reorder=600)


def build(folder, **options):
  options = {'settings': TREE, 'made_by': 'encoder 1', 'metadata': {'odd': np.arange(600) % 2 == 1}} | options
  index = Index.build(VECTORS, [f'doc {row}' for row in range(600)], metric='cosine', **options)
  index.save(folder)
  return index


def same(a, b):
  for where in (None, {'odd': True}):
    one, two = (index.search(VECTORS[:30], 7, where=where) for index in (a, b))
    np.testing.assert_array_equal(one.ids, two.ids)
    np.testing.assert_array_equal(one.scores, two.scores)
    np.testing.assert_array_equal(one.rows, two.rows)


def paths(folder):
  return sorted(path.relative_to(folder).as_posix() for path in folder.rglob('*') if path.is_file())


def flip(path, at=0.5):
  content = bytearray(path.read_bytes())
  content[int(len(content) * at)] ^= 1
  path.write_bytes(content)


def test_a_saved_index_is_the_same_and_can_be_moved(tmp_path):
  index = build(tmp_path / 'here')
  same(index, Index.open(tmp_path / 'here'))
  (tmp_path / 'here').rename(tmp_path / 'there')
  again = Index.open(tmp_path / 'there')
  same(index, again)
  again.add(VECTORS[:1], ['new'], metadata={'odd': [True]})
  assert 'new' in Index.open(tmp_path / 'there')
  assert not (tmp_path / 'here').exists()
  for path in (tmp_path / 'there').rglob('*'):
    assert path.is_dir() or str(tmp_path).encode() not in path.read_bytes()
    assert 'pkl' not in path.name


def test_a_copy_may_be_renamed_and_takes_no_later_change(tmp_path):
  index = build(tmp_path / 'here')
  for name in ('first', 'second'):
    index.save_copy(tmp_path / 'unfinished')
    (tmp_path / 'unfinished').rename(tmp_path / name)
  index.delete(['doc 3'])
  assert len(Index.open(tmp_path / 'here')) == 599
  for name in ('first', 'second'):
    assert len(Index.open(tmp_path / name)) == 600
  index.save()
  same(index, Index.open(tmp_path / 'here'))


def test_vectors_are_mapped_not_read(tmp_path):
  build(tmp_path)
  store = Index.open(tmp_path)._state.segments[0].store
  assert isinstance(store._codes, np.memmap)


def test_every_change_is_on_disk_before_it_is_seen(tmp_path):
  index = build(tmp_path)
  index.delete(['doc 3', 'doc 4'])
  index.add(VECTORS[3:5], ['doc 4', 'doc 601'], metadata=pl.DataFrame({'odd': [True, False]}))
  index.replace(VECTORS[5:7], ['doc 601', 'doc 9'], metadata={'odd': [True, True]})
  again = Index.open(tmp_path)
  same(index, again)
  assert len(again) == 600
  np.testing.assert_array_equal(again.vectors(['doc 601', 'doc 8']), index.vectors(['doc 601', 'doc 8']))
  index.save()
  same(index, Index.open(tmp_path))
  index.compact()
  same(index, Index.open(tmp_path))
  index.delete([f'doc {row}' for row in range(5, 600)])
  index.compact()
  assert [part['vectors'] for part in index.describe()] == [len(index)] == [5]
  same(index, Index.open(tmp_path))


def test_what_grows_is_built_and_what_is_deleted_goes(tmp_path):
  settings = IndexConfig(delta_limit=100)
  index = Index.build(VECTORS[:300], settings=settings, folder=tmp_path)
  for start in range(300, 600, 50):
    index.add(VECTORS[start : start + 50])
  assert sum(part['vectors'] for part in index.describe()) == 600
  assert len(index.describe()) < 4
  again = Index.open(tmp_path)
  np.testing.assert_array_equal(again.search(VECTORS, 1).rows, index.search(VECTORS, 1).rows)
  np.testing.assert_allclose(
    index.search(VECTORS, 5).scores, Index.build(VECTORS).search(VECTORS, 5).scores, rtol=1e-5, atol=1e-5
  )
  kept = {path.split('/')[1] for path in paths(tmp_path) if path.startswith('segments/')}
  assert len(kept) <= 2 * len(index.describe()) + 1  # of the newest two generations, and no more


def test_only_an_index_of_the_same_encoder_opens(tmp_path):
  build(tmp_path)
  assert Index.open(tmp_path, made_by='encoder 1').made_by == 'encoder 1'
  with pytest.raises(UserError, match='was made by encoder 1, not by encoder 2: build it again'):
    Index.open(tmp_path, made_by='encoder 2')


def test_no_index(tmp_path):
  with pytest.raises(UserError, match='no index in'):
    Index.open(tmp_path / 'nothing')
  with pytest.raises(UserError, match='needs a folder'):
    Index.build(VECTORS).save()
  build(tmp_path)
  with pytest.raises(UserError, match=r'no generation 5 in .*; there are 1'):
    Index.open(tmp_path, generation=5)


def test_any_damaged_file_is_named(tmp_path):
  index = build(tmp_path)
  index.add(VECTORS[:1], ['x'], metadata={'odd': [True]})
  before = np.stack(index.search(VECTORS, 7).ids)
  for name in paths(tmp_path):
    kept = (tmp_path / name).read_bytes()
    if not kept:
      continue
    for at in (0, 0.5, 0.999):
      flip(tmp_path / name, at)
      with pytest.raises(UserError, match=pathlib.Path(name).name):
        Index.open(tmp_path)
      (tmp_path / name).write_bytes(kept)
    if not name.endswith('.log'):
      (tmp_path / name).write_bytes(kept[:-4])
      with pytest.raises(UserError, match=r'not valid JSON|bytes, not'):
        Index.open(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(UserError, match=r'is missing|no index in'):
      Index.open(tmp_path)
    (tmp_path / name).write_bytes(kept)
  np.testing.assert_array_equal(Index.open(tmp_path).search(VECTORS, 7).ids, before)


def test_every_flipped_bit_is_noticed(tmp_path, check_flips):
  index = build(tmp_path)
  index.add(VECTORS[:1], ['x'], metadata={'odd': [True]})
  check_flips(tmp_path, lambda: np.stack(Index.open(tmp_path).search(VECTORS[:9], 3).ids).tolist())


def test_the_generation_before_is_named_and_still_opens(tmp_path):
  first = build(tmp_path)
  index = Index.open(tmp_path)
  index.add(VECTORS[:400], [f'new {row}' for row in range(400)], metadata={'odd': [True] * 400})
  index.compact()
  (new,) = [path for path in tmp_path.glob('segments/*') if path.name != first._state.segments[0].name]
  flip(new / 'vectors.npy')
  message = 'generation 2 .*vectors.npy does not match its checksum.*; generation 1 is whole: open it with generation=1'
  with pytest.raises(UserError, match=message):
    Index.open(tmp_path)
  old = Index.open(tmp_path, generation=1)
  assert len(old) == 1000  # its journal has the added ones
  old.save()  # and it goes on from there
  assert len(Index.open(tmp_path)) == 1000


def test_half_a_record_of_a_killed_process_is_dropped_and_written_over(tmp_path):
  index = build(tmp_path)
  journal = tmp_path / 'journal-000001.log'
  index.delete(['doc 1'])
  whole = journal.stat().st_size
  index.delete(['doc 2'])
  for size in (whole + 1, whole + 15, whole + 30, journal.stat().st_size - 1):
    shutil.copytree(tmp_path, tmp_path / 'copy')
    os.truncate(tmp_path / 'copy' / journal.name, size)
    again = Index.open(tmp_path / 'copy')
    assert len(again) == 599
    again.delete(['doc 5'])
    assert len(Index.open(tmp_path / 'copy')) == 598
    shutil.rmtree(tmp_path / 'copy')


@pytest.mark.parametrize('first', ['add', 'delete', 'replace', 'save', 'compact', 'nothing'])
@pytest.mark.parametrize('then', ['save', 'add', 'delete', 'compact'])
@pytest.mark.parametrize('copy', ['opened', 'built', 'linked'])
def test_a_second_copy_never_loses_what_the_first_one_changed(tmp_path, first, then, copy):
  one = Index.build(VECTORS[:9], folder=tmp_path / 'index')
  if copy != 'built':
    one = Index.open(tmp_path / 'index')
  there = tmp_path / 'index'
  if copy == 'linked':
    there = tmp_path / 'link'
    there.symlink_to(tmp_path / 'index')
  two = Index.open(there)
  work = {
    'add': lambda index: index.add(VECTORS[9:11], [len(index), 77]),
    'delete': lambda index: index.delete([3]),
    'replace': lambda index: index.replace(VECTORS[20:21], [4]),
    'save': lambda index: index.save(),
    'compact': lambda index: (index.add(VECTORS[30:31], [50]), index.compact()),
    'nothing': lambda index: None,
  }
  work[first](one)
  ids = np.sort(one.search(VECTORS[:1], 99).ids[0])
  if first == 'nothing':
    work[then](two)
    with pytest.raises(UserError, match='open the index again'):
      one.add(VECTORS[40:41], [99])
    return
  with pytest.raises(
    UserError, match=r'by another process, or another copy of the index in this one.*open the index again'
  ):
    work[then](two)
  with pytest.raises(UserError, match='open the index again'):
    two.save(tmp_path / 'index')
  one.add(VECTORS[40:41], [99])
  np.testing.assert_array_equal(np.sort(Index.open(there).search(VECTORS[:1], 99).ids[0]), np.append(ids, 99))


def test_an_older_generation_is_not_changed_where_nobody_would_find_it(tmp_path):
  index = Index.build(VECTORS[:9], folder=tmp_path)
  index.save()
  old = Index.open(tmp_path, generation=1)
  with pytest.raises(UserError, match=r'generation 1 .* is not its newest \(2\).*save\(\) first'):
    old.delete([3])
  assert len(old) == 9
  old.save()
  old.delete([3])
  assert len(Index.open(tmp_path)) == 8


def test_a_copy_into_its_own_folder_is_refused(tmp_path):
  index = Index.build(VECTORS[:9], folder=tmp_path)
  with pytest.raises(UserError, match='is the folder of this index'):
    index.save_copy(tmp_path)


def test_a_build_in_a_folder_holds_it(tmp_path):
  other = Index.build(VECTORS[:9])

  def parts():
    yield VECTORS[:5]
    yield VECTORS[5:10]
    with pytest.raises(UserError, match='is being written by process'):
      other.save(tmp_path)
    raise OSError('of the reader of vectors')

  with pytest.raises(OSError, match=r'^of the reader of vectors$'):
    Index.build(parts(), settings=IndexConfig(shard_size=5), folder=tmp_path)
  other.save(tmp_path)
  assert len(Index.open(tmp_path)) == 9


def test_an_index_that_is_saved_while_it_is_opened_opens(tmp_path, monkeypatch):
  index = Index.build(VECTORS[:9], folder=tmp_path)
  read, times = Segment.read, []

  def slow(*arguments):
    if not times:
      times.append(1)
      for number in range(3):  # which sweep away what is being read
        index.add(VECTORS[10 + number : 11 + number])
        index.compact()
    return read(*arguments)

  monkeypatch.setattr(Segment, 'read', slow)
  assert len(Index.open(tmp_path)) == 12


@pytest.mark.parametrize('folder', [None, 5, '', b'x'])
def test_no_folder_at_all(folder):
  with pytest.raises(UserError, match='folder='):
    Index.open(folder)
  with pytest.raises(UserError, match='folder='):
    Index.build(VECTORS).save_copy(folder)


FULL = """
import resource, sys
import numpy as np
from mlsd_jax.ann import Index, IndexConfig
from mlsd_jax.errors import UserError
vectors = np.random.default_rng(0).standard_normal((2000, 16)).astype(np.float32)
index = Index.build(vectors[:1000], settings=IndexConfig(kind='tree'), folder=sys.argv[1])
index.add(vectors[1000:])
for limit in (100_000, 50_000, 10_000, 3_000, 100):  # in the vectors, in ScaNN's files, in the manifest
  resource.setrlimit(resource.RLIMIT_FSIZE, (limit, -1))
  for work in (index.compact, lambda: index.add(vectors[:900] + 1), lambda: index.save(sys.argv[2])):
    try:
      work()
    except UserError as error:
      print(error, flush=True)
    else:
      print('written', flush=True)
  resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
  opened = Index.open(sys.argv[1])
  assert len(opened) == len(index) >= 2000, (len(opened), len(index))
  assert (np.stack(opened.search(vectors[:9], 5).rows) == np.stack(index.search(vectors[:9], 5).rows)).all()
"""


def test_a_full_disk_is_one_line_and_the_last_index_stays(tmp_path, within):
  """A limit on the size of files stands in for a full disk: it strikes in NumPy, Polars, ScaNN and the journal."""
  command = [sys.executable, '-W', 'error', '-c', FULL, str(tmp_path / 'a'), str(tmp_path / 'b')]
  result = subprocess.run(command, capture_output=True, text=True, timeout=within(300))
  assert result.returncode == 0, result.stderr
  assert result.stderr == ''
  lines = result.stdout.splitlines()
  assert len(lines) == 15
  assert len([line for line in lines if line.startswith('cannot write')]) >= 12, lines


def test_a_compaction_that_fails_warns_and_the_change_is_kept(tmp_path, monkeypatch):
  index = Index.build(VECTORS[:300], settings=IndexConfig(delta_limit=10), folder=tmp_path)

  def fail(*_):
    raise OSError(28, 'No space left on device')

  with monkeypatch.context() as patch:
    patch.setattr(Segment, 'write', fail)
    with pytest.warns(RuntimeWarning, match='No space left on device; the last index saved there is untouched'):
      index.add(VECTORS[300:320])
    with warnings.catch_warnings():
      warnings.simplefilter('error')
      index.add(VECTORS[320:325])  # not tried again at once
  assert len(Index.open(tmp_path)) == len(index) == 325
  index.add(VECTORS[325:400])
  assert sum(part['vectors'] for part in index.describe()) == 400


KILLED = """
import sys
import numpy as np
from mlsd_jax.ann import Index, IndexConfig
folder, first = sys.argv[1], int(sys.argv[2])
vectors = lambda n: np.random.default_rng(n).standard_normal((20, 8)).astype(np.float32)
if first:
  index = Index.open(folder)
else:
  index = Index.build(np.random.default_rng(0).standard_normal((300, 8)).astype(np.float32),
                      settings=IndexConfig(kind='tree', delta_limit=60), metric='cosine', folder=folder)
for number in range(first, 10_000):
  index.add(vectors(number), range(1000 + 20 * number, 1020 + 20 * number))
  print(number, flush=True)
"""


@pytest.mark.slow
def test_kill_at_any_moment_loses_nothing_that_was_added(tmp_path, start_process):
  draw, done = random.Random(0), -1
  for _ in range(3):
    command = [sys.executable, '-c', KILLED, str(tmp_path), str(done + 1)]
    process = start_process(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    for _ in range(draw.randint(3, 12)):
      done = int(process.stdout.readline())
    process.kill()
    rest = process.stdout.read().split()
    process.wait()
    done = int(rest[-1]) if rest else done
    index = Index.open(tmp_path)
    added = (len(index) - 300) // 20
    assert added in (done + 1, done + 2)  # the one that was being added may be there, but not half of it
    assert len(index) == 300 + 20 * added
    done = added - 1
    probe = np.random.default_rng(done).standard_normal((20, 8)).astype(np.float32)
    np.testing.assert_array_equal(np.concatenate(index.search(probe, 1).ids), 1000 + 20 * done + np.arange(20))
