"""A log that only grows: what was acknowledged is there, in order, whatever is killed, cut or flipped."""

import errno
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from mlsd_jax.errors import UserError
from mlsd_jax.sealed import AppendLog

MAGIC = b'TST1'
BODIES = [b'one', b'', b'a longer record ' * 3, bytes(range(40))]


@pytest.fixture
def log(tmp_path) -> AppendLog:
  log = AppendLog.create(tmp_path / 'events.log', MAGIC)
  for body in BODIES:
    log.append(body)
  return log


def read(path: pathlib.Path) -> list[bytes]:
  return list(AppendLog(path, MAGIC).records())


def test_many_records_of_one_call_read_as_of_many(log, tmp_path):
  other = AppendLog.create(tmp_path / 'other.log', MAGIC)
  other.append(*BODIES)
  other.append()
  assert other.path.read_bytes() == log.path.read_bytes()
  assert read(log.path) == BODIES
  with pytest.raises(UserError, match='at byte 0: no record begins there'):
    list(AppendLog(log.path, b'ELSE').records())


def test_cut_anywhere_it_holds_what_was_whole_and_goes_on_there(log):
  whole = log.path.read_bytes()
  ends = [0]
  for body in BODIES:
    ends.append(ends[-1] + 20 + len(body))
  assert ends[-1] == len(whole)
  for size in range(len(whole) + 1):
    log.path.write_bytes(whole[:size])
    kept = sum(end <= size for end in ends[1:])
    cut = AppendLog(log.path, MAGIC)
    assert list(cut.records()) == BODIES[:kept]
    assert cut.torn == size - ends[kept]
    cut.append(b'later')
    assert read(log.path) == [*BODIES[:kept], b'later']


def test_every_flipped_bit_is_named(log):
  whole = log.path.read_bytes()
  for place in range(len(whole)):
    for bit in range(8):
      flipped = bytearray(whole)
      flipped[place] ^= 1 << bit
      log.path.write_bytes(flipped)
      with pytest.raises(UserError, match=r'events\.log is damaged'):
        read(log.path)


def test_zeros_at_the_end_were_never_written(log):
  with open(log.path, 'ab') as file:
    file.write(bytes(3000))
  cut = AppendLog(log.path, MAGIC)
  assert list(cut.records()) == BODIES
  assert cut.torn == 3000


def test_a_full_disk_leaves_what_was_there(log, monkeypatch):
  def refuse(_):
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(os, 'fsync', refuse)
  with pytest.raises(OSError, match='No space left'):
    log.append(b'lost')
  monkeypatch.undo()
  log.append(b'kept')
  assert read(log.path) == [*BODIES, b'kept']


def test_whoever_is_killed_loses_nothing_that_was_acknowledged(tmp_path):
  """A child prints a number when `append` has returned, and is killed at some moment."""
  child = (
    'import pathlib, sys\n'
    'from mlsd_jax.sealed.append_log import AppendLog\n'
    'log = AppendLog(pathlib.Path(sys.argv[1]), b"TST1")\n'
    'for number in range(sum(1 for _ in log.records()), 10**9):\n'
    '  log.append(str(number).encode() * 2000)\n'
    '  print(number, flush=True)\n'
  )
  path = AppendLog.create(tmp_path / 'events.log', MAGIC).path
  for pause in (0.0, 0.003, 0.02):
    process = subprocess.Popen([sys.executable, '-c', child, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    acknowledged = int(process.stdout.readline())
    time.sleep(pause)
    process.send_signal(signal.SIGKILL)
    acknowledged = int((process.stdout.read().splitlines() or [acknowledged])[-1])
    process.wait()
    process.stdout.close()
    found = read(path)
    assert len(found) > acknowledged
    assert all(body == str(number).encode() * 2000 for number, body in enumerate(found))


def test_a_log_that_is_rewritten_is_the_old_or_the_new_whatever_is_killed(tmp_path):
  """A child rewrites and appends, prints how far it is, and is killed at some moment."""
  child = (
    'import pathlib, sys\n'
    'from mlsd_jax.sealed.append_log import AppendLog\n'
    'log = AppendLog(pathlib.Path(sys.argv[1]), b"TST1")\n'
    'last = [*log.records()][-1:]\n'
    'number = int(last[0][:9]) if last else 0\n'
    'while True:\n'
    '  number += 1\n'
    '  log.append(b"%09d" % number * 3000)\n'
    '  log.rewrite([b"%09d" % n * 3000 for n in range(max(number - 3, 1), number + 1)])\n'
    '  print(number, flush=True)\n'
  )
  path = AppendLog.create(tmp_path / 'events.log', MAGIC).path
  for pause in (0.0, 0.001, 0.004, 0.01):
    process = subprocess.Popen([sys.executable, '-c', child, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    acknowledged = int(process.stdout.readline())
    time.sleep(pause)
    process.send_signal(signal.SIGKILL)
    acknowledged = int((process.stdout.read().splitlines() or [acknowledged])[-1])
    process.wait()
    process.stdout.close()
    found = [int(body[:9]) for body in read(path)]
    assert found[-1] in (acknowledged, acknowledged + 1)
    assert found == list(range(found[0], found[-1] + 1))
    assert found[0] <= max(found[-1] - 3, 1)


def test_a_rewrite_that_fails_changes_nothing(tmp_path, monkeypatch):
  log = AppendLog.create(tmp_path / 'events.log', MAGIC)
  log.append(*BODIES)

  def refuse(descriptor):
    raise OSError(errno.ENOSPC, 'No space left on device')

  monkeypatch.setattr(os, 'fsync', refuse)
  with pytest.raises(OSError, match='No space left'):
    log.rewrite([b'other'])
  monkeypatch.undo()
  assert read(log.path) == BODIES
  log.append(b'more')
  log.rewrite([b'a', b'b'])
  log.append(b'c')
  assert read(log.path) == [b'a', b'b', b'c']
