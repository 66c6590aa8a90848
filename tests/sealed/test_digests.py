"""Checksums: what is compared, what is remembered, what full verification finds besides."""

import json
import os
import time

import pytest

from mlsd_jax import sealed
from mlsd_jax.errors import UserError
from mlsd_jax.sealed import digests


@pytest.fixture
def folder(tmp_path, monkeypatch):
  monkeypatch.setenv('MLSD_CACHE_DIR', str(tmp_path / 'cache'))
  monkeypatch.delenv(sealed.VERIFY, raising=False)
  (tmp_path / 'data' / 'deep').mkdir(parents=True)
  (tmp_path / 'data' / 'a').write_bytes(bytes(range(256)) * 4)
  (tmp_path / 'data' / 'deep' / 'b').write_bytes(b'b')
  return tmp_path / 'data'


def settle(monkeypatch):
  """As if the files had been written a while ago."""
  now = time.time_ns()
  monkeypatch.setattr(digests.time, 'time_ns', lambda: now + 10_000_000_000)


def test_bytes_are_read_once_and_again_when_a_file_changes(folder, monkeypatch):
  entries = sealed.seal_files(folder)
  settle(monkeypatch)
  read = []
  digest = digests.files.sha256
  monkeypatch.setattr(digests.files, 'sha256', lambda path: read.append(path.name) or digest(path))
  assert sealed.damage(folder, entries) is None
  assert sorted(read) == ['a', 'b']
  assert sealed.damage(folder, entries) is None
  assert sorted(read) == ['a', 'b']
  (folder / 'a').write_bytes((folder / 'a').read_bytes())
  assert sealed.damage(folder, entries) is None
  assert sorted(read) == ['a', 'a', 'b']


def test_what_was_just_written_is_read_again(folder, monkeypatch):
  entries = sealed.seal_files(folder)
  assert sealed.damage(folder, entries) is None
  content = bytearray((folder / 'a').read_bytes())
  content[7] ^= 1
  (folder / 'a').write_bytes(content)
  os.utime(folder / 'a')
  assert sealed.damage(folder, entries) == f'{folder}/a does not match its checksum'


def test_full_verification_finds_a_flip_that_changes_no_time_and_no_inode(folder, monkeypatch):
  entries = sealed.seal_files(folder)
  settle(monkeypatch)
  with open(folder / 'a', 'r+b') as file:
    file.write(b'\xff')  # the flip, of which then the memory is made to know nothing: as when the disk itself changes
  status = (folder / 'a').stat()
  stamp = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, entries['a']['sha256']]
  digests._write_memory(folder, {'a': stamp})
  assert sealed.damage(folder, entries) is None
  monkeypatch.setenv(sealed.VERIFY, 'full')
  assert sealed.damage(folder, entries) == f'{folder}/a does not match its checksum'
  monkeypatch.setenv(sealed.VERIFY, 'all')
  with pytest.raises(UserError, match="MLSD_VERIFY is 'all'; it may be 'changed'"):
    sealed.damage(folder, entries)


def test_another_checksum_is_not_what_was_remembered(folder, monkeypatch):
  entries = sealed.seal_files(folder)
  settle(monkeypatch)
  assert sealed.damage(folder, entries) is None
  entries['a']['sha256'] = '0' * 64
  assert sealed.damage(folder, entries) == f'{folder}/a does not match its checksum'


def test_a_memory_that_is_old_damaged_or_cannot_be_written_only_costs_time(folder, monkeypatch):
  entries = sealed.seal_files(folder)
  settle(monkeypatch)
  assert sealed.damage(folder, entries) is None
  memory = digests._memory(folder)
  assert json.loads(memory.read_text()).keys() == {'a', 'deep/b'}
  memory.write_text('[')
  assert sealed.damage(folder, entries) is None
  os.utime(memory, (0, 0))
  assert digests._read_memory(folder) == {}
  monkeypatch.setenv('MLSD_CACHE_DIR', str(folder / 'a' / 'no folder'))
  assert sealed.damage(folder, entries) is None


def test_many_files_are_hashed_as_one_by_one(tmp_path):
  for number in range(9):
    (tmp_path / f'{number}').write_bytes(bytes([number]) * 300_000)
  entries = sealed.seal_files(tmp_path)
  assert entries == {f'{number}': sealed.seal_file(tmp_path / f'{number}') for number in range(9)}
  (tmp_path / '5').write_bytes(bytes(300_000))
  (tmp_path / '7').write_bytes(bytes(300_000))
  assert sealed.damage(tmp_path, entries) == f'{tmp_path}/5 does not match its checksum'
