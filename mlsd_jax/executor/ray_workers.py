"""Workers that are actors of a Ray cluster: one that is started here, or one that is given by its address.

Ray places the actors and tells of their death; what is made already, and what is to be made again, is told by the seals
(parts.py), and no data goes through Ray's object store but a part's task and its note.
"""

import concurrent.futures
import contextlib
import os
import re
import socket
from collections.abc import Iterator, Mapping
from typing import Any

from mlsd_jax.errors import UserError
from mlsd_jax.executor import workers
from mlsd_jax.executor.config import ExecutorConfig
from mlsd_jax.executor.pool import LostWorkerError, Note

_CONNECT_SECONDS = 10.0
_OBJECT_STORE = 256 * 2**20  # bytes of a cluster that is started here; tasks and notes are small
# Ray reports usage to its maker, runs workers by `uv run` where the driver was, and empties CUDA_VISIBLE_DEVICES of who
# asks for no GPU: none of it is wanted here.
_SETTINGS = {
  'RAY_USAGE_STATS_ENABLED': '0',
  'RAY_ENABLE_UV_RUN_RUNTIME_ENV': '0',
  'RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO': '0',
}


def import_ray() -> Any:
  """The package, told to report nothing.

  Raises:
    UserError: it is not installed.
  """
  for name, value in _SETTINGS.items():
    os.environ.setdefault(name, value)
  try:
    import ray
  except ImportError as error:
    raise UserError("executor 'ray' requires the package ray: pip install 'mlsd-jax[ray]'") from error
  if os.environ['RAY_ENABLE_UV_RUN_RUNTIME_ENV'] == '0':
    from ray._private import ray_constants

    ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV = False  # read at Ray's import, which may have been before this
  return ray


@contextlib.contextmanager
def connected(config: ExecutorConfig) -> Iterator[Any]:
  """Yields ray, connected to the cluster that the config names; one that this program is in already stays as it is.

  Raises:
    UserError: no Ray, no cluster at the address, or one of another Ray or Python.
  """
  ray = import_ray()
  if ray.is_initialized():
    yield ray
    return
  address = config.address or os.environ.get('RAY_ADDRESS', '')
  check_address(address)
  own = {} if address else {'num_cpus': config.workers * config.cpus or None, 'object_store_memory': _OBJECT_STORE}
  try:
    ray.init(
      address=address or 'local', include_dashboard=False if not address else None, log_to_driver=False,
      logging_level='ERROR', **own,
    )  # fmt: skip
  except (RuntimeError, ConnectionError, ValueError, OSError) as error:
    where = f'the cluster at {address}' if address else 'a cluster on this machine'
    raise UserError(f'cannot use {where}: {_one_line(error)}') from error
  try:
    yield ray
  finally:
    ray.shutdown()


def check_address(address: str) -> None:
  """Raises UserError if nobody listens at HOST:PORT. Ray itself would end this program, after some seconds."""
  host, _, port = address.removeprefix('ray://').rpartition(':')
  if not port.isdecimal():  # auto, or none
    return
  try:
    socket.create_connection((host.strip('[]'), int(port)), timeout=_CONNECT_SECONDS).close()
  except (OSError, OverflowError) as error:
    why = getattr(error, 'strerror', None) or error
    raise UserError(f'cannot use the cluster at {address}: nobody answers there ({why})') from error


def asked(config: ExecutorConfig) -> dict[str, Any]:
  """What an actor asks for, as Ray's options."""
  options: dict[str, Any] = {'num_cpus': config.cpus, 'max_restarts': 0}
  if config.gpus:
    options['num_gpus'] = config.gpus
  if config.tpus:
    options['resources'] = {'TPU': config.tpus}
  if config.memory_gigabytes:
    options['memory'] = int(config.memory_gigabytes * 2**30)
  return options


def default_number(ray: Any, config: ExecutorConfig) -> int:
  """As many workers as the cluster has room for now."""
  there = ray.cluster_resources()
  shares = [there.get('CPU', 1) / config.cpus]
  shares += [there.get('GPU', 0) / config.gpus] if config.gpus else []
  shares += [there.get('TPU', 0) / config.tpus] if config.tpus else []
  return max(int(min(shares)), 1)


def describe(ray: Any, config: ExecutorConfig) -> str:
  """What a worker asks for and what the cluster has, for an error."""
  there = {name: amount for name, amount in ray.cluster_resources().items() if name in ('CPU', 'GPU', 'TPU', 'memory')}
  wanted = ', '.join(f'{name}={value}' for name, value in asked(config).items() if name != 'max_restarts')
  return f': each asks for {wanted}, and the cluster has {there}'


class _Actor:
  """What runs in Ray's process."""

  def begin(self, payload: bytes, variables: Mapping[str, str]) -> tuple[dict[str, str], str]:
    workers.begin(payload, variables)
    return workers.release(), socket.gethostname()

  def make(self, path: str, name: str, task: Any) -> Note:
    return workers.make_held(path, name, task)


class Actor:
  """A slot for one actor."""

  def __init__(self, ray: Any, payload: bytes, path: str, config: ExecutorConfig):
    self._ray, self._payload, self._path = ray, payload, path
    self._variables = workers.environment(config.cpus)
    self._remote = ray.remote(_Actor).options(**asked(config))
    self._actor: Any = None

  def start(self) -> concurrent.futures.Future[None]:
    self.stop()
    self._actor = self._remote.remote()
    return self._translated(self._actor.begin.remote(self._payload, self._variables), check=True)

  def make(self, name: str, task: Any) -> concurrent.futures.Future[Note]:
    return self._translated(self._actor.make.remote(self._path, name, task))

  def stop(self) -> None:
    if self._actor is not None:
      with contextlib.suppress(Exception):  # it is dead, or the cluster is gone
        self._ray.kill(self._actor)
      self._actor = None

  def _translated(self, reference: Any, *, check: bool = False) -> concurrent.futures.Future[Any]:
    """A future of what Ray has: a worker's own error as it was raised, its death as LostWorkerError."""
    own: concurrent.futures.Future[Any] = concurrent.futures.Future()
    errors = self._ray.exceptions

    def pass_on(done: concurrent.futures.Future[Any]) -> None:
      try:
        value = done.result()
        if check:
          workers.check_release(*value)
        own.set_result(value)
      except errors.RayTaskError as error:
        cause = error.cause
        known = isinstance(cause, Exception) and not isinstance(cause, errors.RayError)
        own.set_exception(cause if known else error)
      except errors.OutOfMemoryError as error:
        own.set_exception(LostWorkerError(f'memory ran out: {_one_line(error)}'))
      except errors.RayError as error:
        own.set_exception(LostWorkerError(_one_line(error)))
      except BaseException as error:
        own.set_exception(error)

    reference.future().add_done_callback(pass_on)
    return own


def _one_line(error: BaseException) -> str:
  """What an error of Ray's says, without colours, banners and what follows."""
  text = re.sub(r'\x1b\[[0-9;]*m', '', str(error))
  return ' '.join(text.split())[:400] or type(error).__name__
