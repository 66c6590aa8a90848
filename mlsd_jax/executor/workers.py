"""A worker of each kind but Ray's: in this thread, in a thread of its own, in a process of its own."""

import concurrent.futures
import errno
import os
import pathlib
import platform
from collections.abc import Callable, Mapping
from typing import Any

import mlsd_jax
from mlsd_jax import processes
from mlsd_jax.errors import UserError
from mlsd_jax.executor.place import open_place
from mlsd_jax.executor.pool import LostWorkerError, Note

type Worker = Callable[[Any, pathlib.Path], Note | None]  # (task, empty folder) -> what to note, having filled it
type MakeWorker = Callable[[], Worker]

_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
_OWN = ('NPROC', 'OMP_NUM_THREADS')


def make_part(worker: Worker, path: str, name: str, task: Any) -> Note:
  """Has a worker fill a folder, and seals it as the part `name` of the place `path`."""
  place = open_place(path)
  try:
    with place.scratch(name) as folder:
      note = worker(task, folder) or {}
      place.put(name, folder, note)
  except OSError as error:
    if error.errno not in _UNWRITABLE:
      raise
    raise UserError(f'cannot write part {name} in {path}: {error.strerror}; what is made stays') from error
  return note


def environment(cpus: int) -> dict[str, str]:
  """What a process with `cpus` cores to itself is told: XLA takes its number of threads from NPROC."""
  return {name: os.environ.get(name) or str(cpus) for name in _OWN}


def release() -> dict[str, str]:
  """What must be the same of those who compute parts of one thing."""
  return {'Python': '.'.join(platform.python_version_tuple()[:2]), 'mlsd_jax': mlsd_jax.__version__}


class Here:
  """Parts one after the other in the calling thread, which Ctrl-C interrupts as any other work."""

  def __init__(self, make_worker: MakeWorker, path: str):
    self._make_worker, self._path = make_worker, path

  def start(self) -> concurrent.futures.Future[None]:
    self._worker = self._make_worker()
    return _done(None)

  def make(self, name: str, task: Any) -> concurrent.futures.Future[Note]:
    return _done(make_part(self._worker, self._path, name, task))

  def stop(self) -> None:
    pass


class Thread:
  """A worker in a thread of its own: for what lets go of the interpreter."""

  def __init__(self, make_worker: MakeWorker, path: str):
    self._make_worker, self._path = make_worker, path
    self._thread = concurrent.futures.ThreadPoolExecutor(1)

  def start(self) -> concurrent.futures.Future[None]:
    return self._thread.submit(self._begin)

  def _begin(self) -> None:
    self._worker = self._make_worker()

  def make(self, name: str, task: Any) -> concurrent.futures.Future[Note]:
    return self._thread.submit(make_part, self._worker, self._path, name, task)

  def stop(self) -> None:
    self._thread.shutdown(cancel_futures=True)


class Process:
  """A worker in a process of its own, so that the death of one is felt by no other."""

  def __init__(self, payload: bytes, path: str, variables: Mapping[str, str]):
    self._payload, self._path, self._variables = payload, path, variables
    self._pool: Any = None

  def start(self) -> concurrent.futures.Future[None]:
    self.stop()
    self._pool = processes.process_pool(1)
    return _translated(self._pool.submit(begin, self._payload, self._variables))

  def make(self, name: str, task: Any) -> concurrent.futures.Future[Note]:
    return _translated(self._pool.submit(make_held, self._path, name, task))

  def stop(self) -> None:
    if self._pool is not None:
      self._pool.shutdown(kill_workers=True)
      self._pool = None


_held: Worker


def begin(payload: bytes, variables: Mapping[str, str]) -> None:
  """Makes the worker of this process. The variables are set before anything that reads them is imported.

  Args:
    payload: (setup, make_worker), pickled, as unpickling imports what they are of.
  """
  global _held
  os.environ.update(variables)
  import cloudpickle

  setup, make_worker = cloudpickle.loads(payload)
  if setup is not None:
    setup()
  _held = make_worker()


def make_held(path: str, name: str, task: Any) -> Note:
  """`make_part` by the worker that `begin` made."""
  return make_part(_held, path, name, task)


def _done[T](value: T) -> concurrent.futures.Future[T]:
  future: concurrent.futures.Future[T] = concurrent.futures.Future()
  future.set_result(value)
  return future


def _translated(future: concurrent.futures.Future[Any]) -> concurrent.futures.Future[Any]:
  """The future, with the death of its process as LostWorkerError."""
  own: concurrent.futures.Future[Any] = concurrent.futures.Future()

  def pass_on(done: concurrent.futures.Future[Any]) -> None:
    if done.cancelled():
      own.set_exception(LostWorkerError('its process was ended'))
      return
    error = done.exception()
    if isinstance(error, concurrent.futures.BrokenExecutor):
      own.set_exception(LostWorkerError('its process was killed: SIGKILL often means that memory ran out'))
    elif error is not None:
      own.set_exception(error)
    else:
      own.set_result(done.result())

  future.add_done_callback(pass_on)
  return own


def check_release(theirs: Mapping[str, str], where: str) -> None:
  """Raises UserError if a worker is not of this program's release."""
  ours = release()
  for what, version in ours.items():
    if theirs.get(what) != version:
      raise UserError(
        f'the worker on {where} has {what} {theirs.get(what)}, this program {version}: start the cluster with the same'
      )
