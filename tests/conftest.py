"""What every test needs: eight CPU devices, caches of its own, strict array ranks."""

import contextlib
import gc
import os
import pathlib
import sys
import tempfile
from collections.abc import Callable, Iterable
from typing import Any

# Workers of one test run share the compiled programs; nothing is taken from or left in the user's cache.
_RUN = os.environ.setdefault('MLSD_TEST_RUN', os.environ.get('PYTEST_XDIST_TESTRUNUID') or str(os.getpid()))
_CACHE = pathlib.Path(tempfile.gettempdir(), f'mlsd-jax-tests-{_RUN}')
# Half of a start's time is compiling the sources of JAX and others, where Python may not keep what it compiled: here it
# may, for this run, and so may the processes that tests start.
if os.environ.pop('PYTHONDONTWRITEBYTECODE', ''):
  sys.dont_write_bytecode, sys.pycache_prefix = False, str(_CACHE / 'pycache')
  os.environ['PYTHONPYCACHEPREFIX'] = sys.pycache_prefix
os.environ.setdefault('MLSD_CACHE_DIR', str(_CACHE))
os.environ.setdefault('JAX_COMPILATION_CACHE_DIR', str(_CACHE / 'jax'))
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0')
os.environ.setdefault('JAX_NUM_CPU_DEVICES', '8')
os.environ.setdefault('NPROC', '32')  # threads of the eight devices (mlsd_jax/training/devices.py)
os.environ.setdefault('JAX_PLATFORMS', 'cpu')

import shutil
import subprocess
from collections.abc import Iterator

import hypothesis
import jax
import pytest

from mlsd_jax.errors import UserError

# The same examples in every run; `--hypothesis-profile=search` looks for new ones, a hundred thousand a property.
hypothesis.settings.register_profile('same', derandomize=True, deadline=None)
hypothesis.settings.register_profile('search', max_examples=100_000, deadline=None)
hypothesis.settings.load_profile('same')

# Most of a test's time is LLVM's. Runs that a test starts as processes of their own are compiled as a user's are.
jax.config.update('jax_disable_most_optimizations', True)


@pytest.fixture
def key() -> jax.Array:
  return jax.random.key(0)


@pytest.fixture(scope='session')
def within() -> Callable[[float], float]:
  """within(seconds): the limit on this machine for what has a limit of `seconds` on an idle one."""

  def within(seconds: float) -> float:
    waiting_per_core = max(os.getloadavg()[:2]) / len(os.sched_getaffinity(0))
    return seconds * max(1.0, waiting_per_core)

  return within


@pytest.fixture
def start_process() -> Iterator[Callable[..., subprocess.Popen]]:
  """subprocess.Popen; at the test's end, also where it fails, what still runs is killed and pipes are closed."""
  with contextlib.ExitStack() as stack:

    def start(*arguments, **options) -> subprocess.Popen:
      process = stack.enter_context(subprocess.Popen(*arguments, **options))  # whose exit closes pipes and waits
      stack.callback(process.kill)
      return process

    yield start


@pytest.fixture(autouse=True, scope='module')
def few_memory_maps() -> Iterator[None]:
  """Lets go of compiled programs before the kernel refuses to map more (vm.max_map_count, 65,530 by default).

  Each program is some ten maps, and LLVM dies of a segmentation fault where it gets none.
  """
  yield
  maps = pathlib.Path('/proc/self/maps')
  if maps.exists() and maps.read_bytes().count(b'\n') > 20_000:
    jax.clear_caches()
    gc.collect()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
  """Slow tests first, so that no worker is left with one at the end."""
  items.sort(key=lambda item: item.get_closest_marker('slow') is None)


def pytest_sessionfinish(session: pytest.Session) -> None:
  """The controller (or the only process) removes the run's caches."""
  if not hasattr(session.config, 'workerinput'):
    shutil.rmtree(_CACHE, ignore_errors=True)


@pytest.fixture
def check_flips(caplog):
  """Flips bits of every file of a folder, one at a time, and reads it: each flip is noticed or changes nothing."""

  def check(
    folder: pathlib.Path,
    read: Callable[[], Any],
    leave_out: Iterable[str] = (),
    shares: Iterable[float] = (0, 1 / 3, 1 / 2, 1),
  ) -> list[str]:
    """Args: read: what a user gets of the folder, comparable by ==; shares: where in a file a bit is flipped.

    Returns: the files whose flips were noticed.
    """
    whole, noticed = read(), []
    for path in sorted(path for path in folder.rglob('*') if path.is_file() and path.name not in leave_out):
      content = path.read_bytes()
      for place in sorted({int(share * (len(content) - 1)) for share in shares} if content else ()):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << place % 7]) + content[place + 1 :])
        caplog.clear()
        said: list[str] = []
        try:
          found = read()
        except UserError as error:
          said = [str(error)]
        said += caplog.messages
        if said:
          assert all('\n' not in line and path.name in line for line in said), f'{path}: {said}'
          noticed.append(path.relative_to(folder).as_posix())
        else:
          assert found == whole, f'a flip at byte {place} of {path} changed what was read without a word'
      path.write_bytes(content)
    assert read() == whole
    return list(dict.fromkeys(noticed))

  return check
