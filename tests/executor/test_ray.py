"""Parts made by actors of Ray: the same bytes, whatever is killed. Starting Ray takes half a minute on a busy machine.

One cluster of two nodes serves all tests here: a start is tried twice, within a limit of its own.
"""

import contextlib
import os
import signal
import threading
import time

import pytest

from mlsd_jax.errors import UserError
from mlsd_jax.executor import ExecutorConfig, map_parts, ray_workers
from mlsd_jax.executor.parts import numbered

ray = pytest.importorskip('ray', reason='Ray is not installed: uv sync --group cluster')
pytestmark = [
  pytest.mark.slow,
  pytest.mark.ray,
  # Ray leaves sockets and processes to the interpreter's end, and names what a later release does.
  *(pytest.mark.filterwarnings(f'ignore::{kind}') for kind in (
    'ResourceWarning', 'FutureWarning', 'DeprecationWarning', 'pytest.PytestUnraisableExceptionWarning',
  )),
]  # fmt: skip

NODE = {'num_cpus': 1, 'object_store_memory': 80 * 2**20}


@pytest.fixture(scope='module')
def cluster(within):
  """Two nodes of a core each, on this machine; this process is connected to it."""
  ray_workers.import_ray()
  from ray.cluster_utils import Cluster

  for last in (False, True):
    found = Cluster()
    try:
      found.add_node(**NODE)
      found.add_node(**NODE)
      ray.init(address=found.address, log_to_driver=False, logging_level='ERROR')
      break
    except Exception:  # of a machine too busy to start its eight processes in time
      ray.shutdown()
      found.shutdown()
      if last:
        raise
  yield found
  ray.shutdown()
  found.shutdown()


def slow_squares(log, seconds=0.2):
  """A worker that notes its process in `log`, takes its time, and writes a square."""

  def make_worker():
    def work(task, folder):
      with open(log, 'a') as file:
        file.write(f'{task} {os.getpid()}\n')
      time.sleep(seconds)
      if task < 0:
        raise UserError('no negative numbers, please')
      (folder / 'square.txt').write_text(str(task * task))
      return {'task': task}

    return work

  return make_worker


def lines_of(log):
  return [tuple(map(int, line.split())) for line in log.read_text().splitlines()] if log.exists() else []


def texts(parts):
  return [(folder / 'square.txt').read_text() for folder in parts.folders()]


CONFIG = ExecutorConfig('ray', workers=2, attempts=20, start_seconds=300)
TASKS = numbered(range(10))


def test_actors_make_what_this_process_makes(cluster, tmp_path):
  parts = map_parts(TASKS, slow_squares(tmp_path / 'log', 0.0), tmp_path / 'ray', identity={}, config=CONFIG)
  here = map_parts(TASKS, slow_squares(tmp_path / 'own', 0.0), tmp_path / 'here', identity={})
  assert texts(parts) == texts(here)
  assert parts.seals == here.seals
  assert os.getpid() not in {pid for _, pid in lines_of(tmp_path / 'log')}
  with pytest.raises(UserError, match=r'^no negative numbers, please$'):
    map_parts(numbered([-1]), slow_squares(tmp_path / 'log'), tmp_path / 'bad', identity={}, config=CONFIG)


def test_a_worker_killed_again_and_again_costs_a_part_each_time(cluster, tmp_path):
  log, kills = tmp_path / 'log', 0
  done = threading.Event()

  def kill():
    nonlocal kills
    while not done.wait(1.0):
      lines = lines_of(log)
      if lines and kills < 4:
        with contextlib.suppress(ProcessLookupError):  # that one is dead, and the next has not begun
          os.kill(lines[-1][1], signal.SIGKILL)
          kills += 1

  killer = threading.Thread(target=kill)
  killer.start()
  try:
    parts = map_parts(TASKS, slow_squares(log, 0.6), tmp_path / 'out', identity={}, config=CONFIG)
  finally:
    done.set()
    killer.join()
  assert texts(parts) == [str(i * i) for i in range(10)]
  assert kills >= 2
  assert len(lines_of(log)) <= len(TASKS) + kills


def test_one_node_of_two_is_killed_and_the_run_ends_right(cluster, tmp_path):
  node = cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20, resources={'own': 1})
  log = tmp_path / 'log'

  def kill():
    while len(lines_of(log)) < 4:
      time.sleep(0.1)
    cluster.remove_node(node, allow_graceful=False)

  killer = threading.Thread(target=kill)
  killer.start()
  config = ExecutorConfig('ray', workers=3, attempts=20, start_seconds=300)
  parts = map_parts(numbered(range(14)), slow_squares(log, 0.5), tmp_path / 'out', identity={}, config=config)
  killer.join()
  assert texts(parts) == [str(i * i) for i in range(14)]
  assert len(lines_of(log)) <= 14 + 1


def test_what_the_cluster_cannot_give_is_one_line(cluster, tmp_path):
  config = ExecutorConfig('ray', workers=1, gpus=1, start_seconds=2)
  with pytest.raises(UserError, match=r'no worker could be started within 2 s: each asks for .*num_gpus=1') as raised:
    map_parts(TASKS, slow_squares(tmp_path / 'log'), tmp_path / 'out', identity={}, config=config)
  assert '\n' not in str(raised.value)


@pytest.mark.parametrize('address', ['127.0.0.1:1', 'ray://127.0.0.1:1', 'no-such-host.invalid:6379'])
def test_a_cluster_that_is_not_there_is_one_line(address):
  with pytest.raises(UserError, match=f'cannot use the cluster at {address}: nobody answers there') as raised:
    ray_workers.check_address(address)
  assert '\n' not in str(raised.value)
