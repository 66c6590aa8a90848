"""The lock: one holder, named by its id; released by any end of the process; nothing left behind."""

import os
import signal
import subprocess
import sys

import pytest

from mlsd_jax.errors import UserError
from mlsd_jax.sealed import lock

HOLD = """
import sys, time
from mlsd_jax.sealed import lock
with lock(sys.argv[1]):
  print('held', flush=True)
  time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
  process = subprocess.Popen([sys.executable, '-c', HOLD, str(tmp_path / 'run')], stdout=subprocess.PIPE, text=True)
  assert process.stdout.readline() == 'held\n'
  yield process
  process.kill()
  process.wait()
  process.stdout.close()


def test_a_second_writer_is_given_the_process_id_of_the_first(tmp_path, holder):
  with pytest.raises(UserError, match=rf'{tmp_path}/run is being written by process {holder.pid}: .*\Z'):
    lock(tmp_path / 'run').__enter__()


def test_the_lock_of_a_killed_process_is_free_at_once(tmp_path, holder):
  holder.send_signal(signal.SIGKILL)
  holder.wait()
  with lock(tmp_path / 'run'):
    assert (tmp_path / 'run' / '.lock').read_text().split()[0] == str(os.getpid())


def test_within_one_process_a_second_holder_is_refused_too(tmp_path):
  with lock(tmp_path), pytest.raises(UserError, match=f'process {os.getpid()}'), lock(tmp_path):
    pass
  with lock(tmp_path):
    pass


def test_nothing_is_left_behind_by_a_start_that_failed(tmp_path):
  with pytest.raises(ZeroDivisionError), lock(tmp_path / 'runs' / 'one'):
    raise ZeroDivisionError
  assert not list(tmp_path.iterdir())


def test_what_was_written_and_what_was_there_stays(tmp_path):
  (tmp_path / 'there').mkdir()
  with lock(tmp_path / 'there'), lock(tmp_path / 'new' / 'run'):
    (tmp_path / 'new' / 'run' / 'result').write_text('1')
  names = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob('*'))
  assert names == ['new', 'new/run', 'new/run/result', 'there']


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
  (tmp_path / 'file').write_text('')
  with (
    pytest.raises(UserError, match=f'cannot write in {tmp_path}/file/run: Not a directory'),
    lock(tmp_path / 'file/run'),
  ):
    pass


COUNT = """
import pathlib, sys, time
from mlsd_jax.sealed import lock
folder = pathlib.Path(sys.argv[1])
for _ in range(25):
  with lock(folder / 'locked', wait=True):
    count = int((folder / 'count').read_text())
    time.sleep(0.001)
    (folder / 'count').write_text(str(count + 1))
"""


def test_those_who_wait_hold_it_one_after_another(tmp_path):
  (tmp_path / 'count').write_text('0')
  processes = [subprocess.Popen([sys.executable, '-c', COUNT, str(tmp_path)]) for _ in range(4)]
  assert [process.wait() for process in processes] == [0] * 4
  assert (tmp_path / 'count').read_text() == '100'
