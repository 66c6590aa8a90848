"""Parts: each made once, sealed, found again; whoever makes them and however that ends, the bytes are the same."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from mlsd_jax.errors import UserError
from mlsd_jax.executor import ExecutorConfig, map_parts, open_parts
from mlsd_jax.executor.parts import numbered

KINDS = ('here', 'threads', 'processes')


def squares(log=None, fails=(), dies=()):
  """A worker that writes the squares below its task; `log` gets a line a start of a part.

  Args:
    fails: tasks that raise UserError.
    dies: of these the first to see (log/died-TASK is not there) kills its process.
  """

  def make_worker():
    def work(task, folder):
      if log is not None:
        with open(log / 'made', 'a') as file:
          file.write(f'{task}\n')
      if task in fails:
        raise UserError(f'{task} cannot be squared')
      if task in dies and not (log / f'died-{task}').exists():
        (log / f'died-{task}').touch()
        os.kill(os.getpid(), signal.SIGKILL)
      (folder / 'squares.txt').write_text(' '.join(str(i * i) for i in range(task)))
      return {'count': task}

    return work

  return make_worker


def made_in(log):
  return sorted(map(int, (log / 'made').read_text().split())) if (log / 'made').exists() else []


def texts(parts):
  return [(folder / 'squares.txt').read_text() for folder in parts.folders()]


TASKS = numbered([3, 1, 4, 1, 5])


@pytest.mark.parametrize('kind', KINDS)
def test_every_kind_makes_the_same_parts_in_order(kind, tmp_path):
  config = ExecutorConfig(kind, workers=2)
  parts = map_parts(TASKS, squares(), tmp_path / 'out', identity={'power': 2}, config=config)
  assert texts(parts) == ['0 1 4', '0', '0 1 4 9', '0', '0 1 4 9 16']
  assert list(parts.notes.values()) == [{'count': n} for n in (3, 1, 4, 1, 5)]
  assert parts.made == 5
  opened = open_parts(tmp_path / 'out')
  assert texts(opened) == texts(parts)
  assert opened.identity == {'power': 2}


def test_what_is_there_is_not_made_again_and_what_is_damaged_is(tmp_path):
  make = lambda warn=pytest.fail: map_parts(TASKS, squares(tmp_path), tmp_path / 'out', identity={}, warn=warn)
  first = texts(make())
  assert make().made == 0
  (tmp_path / 'out' / 'part-00002' / 'squares.txt').write_text('0 1 4 8')
  warnings: list[str] = []
  assert make(warnings.append).made == 1
  assert 'part-00002' in warnings[0]
  assert texts(make()) == first
  (tmp_path / 'out' / 'part-00001.sha256.json').unlink()  # as of a worker killed before it sealed
  assert make().made == 1
  assert texts(make()) == first
  assert made_in(tmp_path) == [1, 1, 1, 3, 4, 4, 5]


@pytest.mark.parametrize('text', ['', '{', '{"note": 3}', '[]'])
def test_a_damaged_seal_costs_its_part_and_a_damaged_list_of_all_nothing(text, tmp_path):
  make = lambda warn=pytest.fail: map_parts(TASKS, squares(), tmp_path, identity={}, warn=warn)
  first = texts(make())
  (tmp_path / 'part-00001.sha256.json').write_text(text)
  warnings: list[str] = []
  assert make(warnings.append).made == 1
  assert 'part-00001' in warnings[0]
  (tmp_path / 'made.json').write_text(text)
  assert make().made == 0
  assert texts(open_parts(tmp_path)) == first
  (tmp_path / 'parts.json').write_text(text)
  with pytest.raises(UserError, match=r'parts\.json'):
    make()


@pytest.mark.parametrize('kind', KINDS)
def test_a_users_mistake_is_raised_as_it_is_and_what_is_made_stays(kind, tmp_path):
  config = ExecutorConfig(kind, workers=1)
  with pytest.raises(UserError, match='4 cannot be squared'):
    map_parts(TASKS, squares(fails=[4]), tmp_path, identity={}, config=config)
  with pytest.raises(UserError, match=r'made.json: not all of its 5 parts are made'):
    open_parts(tmp_path)
  assert map_parts(TASKS, squares(), tmp_path, identity={}, config=config).made == 3


def test_parts_of_something_else_are_refused(tmp_path):
  map_parts(TASKS, squares(), tmp_path, identity={'power': 2})
  with pytest.raises(UserError, match='power 2 against 3'):
    map_parts(TASKS, squares(), tmp_path, identity={'power': 3})
  with pytest.raises(UserError, match='cut otherwise'):
    map_parts(numbered([3, 1]), squares(), tmp_path, identity={'power': 2})
  with pytest.raises(UserError, match=r'holds no made\.json: no parts'):
    open_parts(tmp_path / 'nowhere')


@pytest.mark.parametrize('name', ['', '../part', 'a/b', 'a.b'])
def test_names_that_could_leave_the_folder_are_refused(name, tmp_path):
  with pytest.raises(UserError, match='cannot be called'):
    map_parts({name: 1}, squares(), tmp_path, identity={})


def test_a_process_that_is_killed_costs_its_own_part_alone(tmp_path):
  config = ExecutorConfig('processes', workers=2)
  tasks = numbered([3, 7, 4, 8, 5, 6])
  parts = map_parts(tasks, squares(tmp_path, dies=[7, 8]), tmp_path / 'out', identity={}, config=config)
  assert texts(parts) == texts(map_parts(tasks, squares(), tmp_path / 'whole', identity={}))
  assert made_in(tmp_path) == [3, 4, 5, 6, 7, 7, 8, 8]


def test_a_part_that_kills_every_worker_ends_the_run_in_one_line(tmp_path):
  def make_worker():
    def work(task, folder):
      if task == 4:
        os.kill(os.getpid(), signal.SIGKILL)
      (folder / 'done').touch()

    return work

  config = ExecutorConfig('processes', workers=1, attempts=2)
  with pytest.raises(UserError, match=r'part part-00002: 2 workers died over it .*memory ran out') as raised:
    map_parts(TASKS, make_worker, tmp_path, identity={}, config=config)
  assert '\n' not in str(raised.value)
  assert (tmp_path / 'part-00001.sha256.json').exists()


def test_a_worker_that_cannot_be_made_ends_the_run(tmp_path):
  def make_worker():
    os.kill(os.getpid(), signal.SIGKILL)

  with pytest.raises(UserError, match='2 workers died before they had begun'):
    map_parts(TASKS, make_worker, tmp_path, identity={}, config=ExecutorConfig('processes', workers=1, attempts=2))


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(UserError, match='cannot write in'):
    map_parts(TASKS, squares(), tmp_path / 'file' / 'out', identity={})


def test_each_process_has_the_threads_that_it_is_given(tmp_path, monkeypatch):
  def make_worker():
    def work(task, folder):
      (folder / 'done').touch()
      return {name: os.environ[name] for name in ('NPROC', 'OMP_NUM_THREADS')}

    return work

  for name in ('NPROC', 'OMP_NUM_THREADS'):
    monkeypatch.delenv(name, raising=False)
  parts = map_parts(TASKS, make_worker, tmp_path, identity=None, config=ExecutorConfig('processes', workers=1, cpus=3))
  assert list(parts.notes.values()) == [{'NPROC': '3', 'OMP_NUM_THREADS': '3'}] * 5
  assert not (tmp_path / 'made.json').exists()


SCRIPT = """
import pathlib, sys, time
from mlsd_jax.executor import ExecutorConfig, map_parts
from mlsd_jax.executor.parts import numbered

def make_worker():
  def work(task, folder):
    (folder / 'half').write_text('half')
    time.sleep(0.05)
    (folder / 'half').write_text(str(task))
  return work

map_parts(numbered(range(12)), make_worker, sys.argv[1], identity={}, config=ExecutorConfig(sys.argv[2], workers=2))
"""


WAITING = """
import os, pathlib, sys, time
from mlsd_jax.executor import ExecutorConfig, map_parts

def make_worker():
  def work(task, folder):
    pathlib.Path(task, 'pid').write_text(str(os.getpid()))
    time.sleep(600)
  return work

map_parts({'one': sys.argv[1]}, make_worker, sys.argv[1] + '/out', identity={}, config=ExecutorConfig('processes', 1))
"""


def test_workers_end_with_the_command_that_is_killed(tmp_path, start_process, within):
  process = start_process([sys.executable, '-c', WAITING, str(tmp_path)])
  end = time.monotonic() + within(60)
  while not (tmp_path / 'pid').exists() or not (tmp_path / 'pid').read_text():
    assert time.monotonic() < end
    time.sleep(0.05)
  worker = int((tmp_path / 'pid').read_text())
  process.kill()
  process.wait()
  end = time.monotonic() + within(30)
  with contextlib.suppress(ProcessLookupError):
    while time.monotonic() < end:
      os.kill(worker, 0)
      time.sleep(0.1)
    pytest.fail('the worker lives on')


@pytest.mark.parametrize('kind', ['here', 'processes'])
def test_a_run_that_is_killed_again_and_again_goes_on(kind, tmp_path, start_process, within):
  killed = 0
  for number in range(1, 40):
    process = start_process([sys.executable, '-c', SCRIPT, str(tmp_path), kind], stderr=subprocess.PIPE, text=True)
    deadline, wanted = time.monotonic() + within(60), min(5 * number, 12)
    while process.poll() is None and len(list(tmp_path.glob('*.sha256.json'))) < wanted:
      assert time.monotonic() < deadline
      time.sleep(0.005)
    if process.poll() is None and wanted < 12:
      process.kill()
      killed += 1
      process.wait()
      with pytest.raises(UserError, match='not all of its 12 parts'):
        open_parts(tmp_path)
      continue
    assert process.wait(within(60)) == 0, process.stderr.read()
    break
  assert killed == 2
  parts = open_parts(tmp_path)
  assert [(folder / 'half').read_text() for folder in parts.folders()] == [str(i) for i in range(12)]
  with contextlib.suppress(FileNotFoundError):
    assert not list(pathlib.Path(tmp_path).glob('*.writing-*'))


@pytest.mark.parametrize('path', ['gs:/bucket/parts', 's3:/parts', 'S3:/'])
def test_an_address_of_a_store_with_one_slash_is_refused(path, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(UserError, match='has one slash'):
    map_parts(TASKS, squares(), path, identity={'power': 2})
  assert not list(tmp_path.iterdir())
