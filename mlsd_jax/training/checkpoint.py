"""Checkpoints that are whole or do not count.

    checkpoints/
      40/                 what Orbax wrote: {'state': the tree as nested dicts of arrays}
      40.sha256.json      written last: the checksum of every file of 40/, the tree's shapes, the run's metadata
      60/                 no such file beside it: the run was killed while writing; not a checkpoint

Orbax writes asynchronously and commits by a rename, but neither notices a flipped byte nor steps back from a damaged
checkpoint. So a step counts only while every byte of it matches its checksum file, and the newest that does is used.
"""

import contextlib
import errno
import hashlib
import itertools
import logging
import os
import pathlib
import re
import shutil
import sys
import threading
from collections.abc import Callable
from typing import Any, NamedTuple, Self

import jax

from mlsd_jax.errors import UserError
from mlsd_jax.files import read_json, write_json
from mlsd_jax.training import distributed
from mlsd_jax.training.sharding import path_string

_ITEM = 'state'
_logger = logging.getLogger(__name__)

type Shapes = dict[str, list[Any]]  # 'params/blocks/0/mlp/up/kernel' -> [shape, dtype]


class _Answer(NamedTuple):
  """What a process brings to the agreement before a save."""

  error: str | None
  skip: bool = False  # the step is there already, whole
  reload: bool = False  # something of that number was moved out of the way


class Checkpoints:
  """The checkpoints of one run in one folder on a file system that all processes share.

  Every method is called by all processes alike. Saving is asynchronous: what goes wrong in the background is raised by
  the next `save`, `wait` or `close`, on every process.
  """

  def __init__(
    self,
    folder: str | os.PathLike[str],
    *,
    keep: int = 3,
    metadata: dict[str, Any] | None = None,
    warn: Callable[[str], None] = _logger.warning,
  ):
    """Nothing is read or written before it is asked for.

    Args:
      keep: how many whole checkpoints stay; older ones go once a newer one is whole.
      metadata: JSON written beside each checkpoint, e.g. how to rebuild the model.
      warn: gets one line for every damaged checkpoint that is passed over, on process 0.
    """
    if keep < 1:
      raise UserError(f'keep={keep} checkpoints: at least 1 must stay')
    self.folder = pathlib.Path(folder).absolute()
    self._keep = keep
    self._metadata = metadata or {}
    self._warn = warn
    self._orbax: Any = None
    self._tidied = False
    self._verified: set[int] = set()  # read back and found whole, or written, by this object
    self._damaged: set[int] = set()
    self._saving: int | None = None
    self._sealer: threading.Thread | None = None
    self._error: BaseException | None = None

  def __enter__(self) -> Self:
    return self

  def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
    if kind is None:
      self.close()
    else:  # whatever stopped the run is what the user must see, and other processes may be elsewhere
      self._collect()
      self._drop_orbax()

  def save(self, step: int, state: Any) -> None:
    """Begins to write `state`, a tree of jax.Arrays, as checkpoint `step`.

    On return the caller may donate `state`: its values have been copied, or are held by a reference that makes XLA
    copy instead. A whole checkpoint of that step is left as it is; a damaged one is replaced, and deleted only when the
    new one is whole. The same call waits for the previous save, if that is still under way.

    Raises:
      UserError: this or the previous save could not be written; earlier checkpoints are untouched.
    """
    error = self._collect()
    answer = _Answer(self._explain(error)) if error else self._make_room(step, _num_bytes(state))
    if self._agree(answer, error):
      return
    from orbax import checkpoint as ocp

    self._saving = step
    try:
      args = ocp.args.Composite(**{_ITEM: ocp.args.PyTreeSave(_nested(state))})
      self._manager().save(step, args=args, force=True)
    except Exception as exception:
      self._error = exception
      return
    if distributed.is_main():
      record = {'step': step, 'metadata': self._metadata, 'process_count': jax.process_count(), 'tree': shapes(state)}
      self._sealer = threading.Thread(target=self._seal, args=(step, record), name=f'checkpoint-{step}')
      self._sealer.start()

  def wait(self) -> None:
    """Returns when everything saved is whole on disk.

    Raises:
      UserError: the last save could not be written.
    """
    error = self._collect()
    self._agree(_Answer(self._explain(error) if error else None), error)

  def close(self) -> None:
    """`wait`, then lets go of Orbax's threads."""
    try:
      self.wait()
    finally:
      self._drop_orbax()

  def steps(self) -> list[int]:
    """Steps that have a checksum file, in order; whether their bytes match is for `latest_good` to say."""
    return sorted(step for step in self._numbers() if self._sidecar(step).exists() and self._path(step).is_dir())

  def latest_good(self) -> int | None:
    """The newest whole checkpoint, or None. Newer ones that are damaged are named by `warn` and left where they are."""
    return distributed.broadcast_json(f'{self.folder}/latest', self._find_good() if distributed.is_main() else None)

  def restore(self, step: int, abstract_state: Any, *, partial: bool = False) -> Any:
    """The state saved at `step`, placed as `abstract_state` says.

    Args:
      abstract_state: a tree of ShapeDtypeStructs (or arrays) with shardings of the current mesh, which need not be the
        mesh, nor the number of processes, that saved it. A leaf without a sharding goes to the first local device.
      partial: arrays of the checkpoint that `abstract_state` does not name are left unread.

    Raises:
      UserError: there is no such checkpoint, it is damaged, or it is of another model.
    """
    from orbax import checkpoint as ocp

    # Process 0 looks, so that all raise together; others would find the folder as stale as their file system's cache.
    damage = None if step in self._verified else self._damage(step) if distributed.is_main() else None
    damage = distributed.broadcast_json(f'{self.folder}/damage', damage)
    if damage:
      raise UserError(f'checkpoint {step} in {self.folder} cannot be used: {damage}')
    difference = first_difference(self._record(step)['tree'], shapes(abstract_state), partial=partial)
    if difference:
      raise UserError(f'checkpoint {step} in {self.folder} is of another model: {difference}')
    placed = jax.tree.map(_placed, abstract_state)
    wanted = _nested(placed)
    args = ocp.args.PyTreeRestore(
      item=wanted, restore_args=ocp.checkpoint_utils.construct_restore_args(wanted), partial_restore=partial
    )
    found = self._manager().restore(step, args=ocp.args.Composite(**{_ITEM: args}))[_ITEM]
    by_path = {path_string(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(found)}
    return jax.tree_util.tree_map_with_path(lambda path, _: by_path[path_string(path)], abstract_state)

  def restore_params(self, step: int, abstract_params: Any) -> Any:
    """Only the parameters of a saved state, whatever else it held; as `restore`."""
    return self.restore(step, {'params': abstract_params}, partial=True)['params']

  def metadata(self, step: int) -> dict[str, Any]:
    """The metadata that the run which wrote `step` was given.

    Raises:
      UserError: there is no such checkpoint.
    """
    return self._record(step)['metadata']

  def _path(self, step: int) -> pathlib.Path:
    return self.folder / str(step)

  def _sidecar(self, step: int) -> pathlib.Path:
    return self.folder / f'{step}.sha256.json'

  def _record(self, step: int) -> dict[str, Any]:
    if not self._sidecar(step).exists():
      raise UserError(f'no checkpoint {step} in {self.folder}; there are {self.steps() or "none"}')
    return read_json(self._sidecar(step))

  def _numbers(self) -> set[int]:
    if not self.folder.is_dir():
      return set()
    names = (name.removesuffix('.sha256.json') for name in os.listdir(self.folder))
    return {int(name) for name in names if name.isdecimal()}

  def _find_good(self) -> int | None:
    passed_over = []
    good = None
    for step in sorted(self._numbers(), reverse=True):
      damage = None if step in self._verified else self._damage(step)
      if damage is None:
        self._verified.add(step)
        good = step
        break
      if self._path(step).is_dir():
        self._damaged.add(step)
        passed_over.append((step, damage))
    instead = f'checkpoint {good} is used instead' if good is not None else 'no earlier checkpoint is whole'
    for step, damage in passed_over:
      self._warn(f'checkpoint {step} in {self.folder} is passed over: {damage}; {instead}')
    return good

  def _damage(self, step: int) -> str | None:
    """What is wrong with a step, or None if every file of it matches."""
    folder, sidecar = self._path(step), self._sidecar(step)
    if not folder.is_dir():
      return f'there is no folder {folder}'
    if not sidecar.exists():
      return f'{sidecar.name} is missing (the run was stopped while it wrote the checkpoint)'
    try:
      files = read_json(sidecar)['files']
      for name, entry in files.items():
        path = folder / name
        if not path.exists():
          return f'{path} is missing'
        if path.stat().st_size != entry['bytes']:
          return f'{path} has {path.stat().st_size} bytes, not {entry["bytes"]}'
        if _digest(path) != entry['sha256']:
          return f'{path} does not match its checksum'
    except (UserError, KeyError, TypeError):
      return f'{sidecar} is not a whole checksum file'
    except OSError as error:
      return f'{error.filename} cannot be read: {error.strerror}'
    return None

  def _make_room(self, step: int, num_bytes: int) -> _Answer:
    """Process 0, before a save: clears what killed runs left, and moves a damaged `step` out of the way."""
    if not distributed.is_main():
      return _Answer(None)
    try:
      self.folder.mkdir(parents=True, exist_ok=True)
      if not self._tidied:
        self._tidy()
        self._tidied = True
      if self._path(step).is_dir() and (step in self._verified or self._damage(step) is None):
        self._verified.add(step)
        return _Answer(None, skip=True)
      usage = shutil.disk_usage(self.folder)
      if usage.total and usage.free < num_bytes:  # before half of it is written
        raise UserError(f'no space for checkpoint {step}: {_size(num_bytes)} needed, {_size(usage.free)} free')
      return _Answer(None, reload=self._move_aside(step))
    except (OSError, UserError) as error:
      self._saving = step
      return _Answer(self._explain(error))

  def _tidy(self) -> None:
    for path in self.folder.iterdir():
      number = path.name.partition('.')[0]
      half_made = '.orbax-checkpoint-tmp' in path.name or path.name.endswith('.deleting')
      replaced = '.damaged' in path.name and number.isdecimal() and int(number) in self.steps()
      orphan = path.name.endswith('.sha256.json') and not (self.folder / number).exists()
      temporary = path.name.startswith('.') and path.name.endswith('.tmp.json')
      if half_made or replaced or temporary or (orphan and '.damaged' not in path.name):
        _remove(path)

  def _move_aside(self, step: int) -> bool:
    if not self._path(step).exists():
      self._sidecar(step).unlink(missing_ok=True)
      return False
    names = (f'{step}.damaged{suffix}' for suffix in itertools.chain([''], itertools.count(2)))
    name = next(name for name in names if not (self.folder / name).exists())
    self._path(step).rename(self.folder / name)
    if self._sidecar(step).exists():
      self._sidecar(step).rename(self.folder / f'{name}.sha256.json')
    return True

  def _seal(self, step: int, record: dict[str, Any]) -> None:
    """Process 0, in the background: the checksum file of a step once Orbax has committed it; then retention."""
    try:
      self._manager().wait_until_finished()
      folder = self._path(step)
      paths = sorted(path for path in folder.rglob('*') if path.is_file())
      if not paths:
        raise RuntimeError(f'Orbax reported no error but wrote no {folder}')
      # Flushed to disk first: a checkpoint that a power cut can still take away must not cost an older one.
      files = {
        str(path.relative_to(folder)): {'bytes': path.stat().st_size, 'sha256': _digest(path, flush=True)}
        for path in paths
      }
      write_json(self._sidecar(step), record | {'files': files})
      self._verified.add(step)
      self._damaged.discard(step)
      for path in self.folder.glob(f'{step}.damaged*'):
        _remove(path)
      good = [other for other in self.steps() if other not in self._damaged and other != step]
      for old in good[: len(good) - self._keep + 1] if self._keep > 1 else good:
        self._delete(old)
    except BaseException as error:
      self._error = error
      if jax.process_count() == 1:
        for path in self.folder.glob(f'{step}.orbax-checkpoint-tmp*'):
          _remove(path)

  def _delete(self, step: int) -> None:
    """Renamed first, so that no moment shows a reader a checksum file over a folder that is being emptied."""
    self._verified.discard(step)
    doomed = self.folder / f'{step}.deleting'
    self._path(step).rename(doomed)
    self._sidecar(step).unlink(missing_ok=True)
    _remove(doomed)

  def _collect(self) -> BaseException | None:
    """Waits for the save under way on this process and returns what went wrong with it."""
    if self._sealer is not None:
      self._sealer.join()
      self._sealer = None
    elif self._orbax is not None and self._error is None:
      try:
        self._orbax.wait_until_finished()
      except Exception as error:
        self._error = error
    error, self._error = self._error, None
    if error is not None:
      self._drop_orbax()
    return error

  def _agree(self, answer: _Answer, error: BaseException | None) -> bool:
    """Raises on every process if one has an error; else whether process 0 says to skip."""
    answers = [_Answer(*values) for values in distributed.gather_json(f'{self.folder}/agree', answer)]
    if error is not None and not isinstance(error, UserError) and _reason(error) is None:
      raise error
    messages = [other.error for other in answers if other.error]
    if messages:
      raise UserError(messages[0]) from error
    if answers[0].reload and self._orbax is not None:
      self._orbax.reload()
    return answers[0].skip

  def _explain(self, error: BaseException) -> str:
    reason = _reason(error) or f'{type(error).__name__}: {" ".join(str(error).split())[:300]}'
    earlier = [step for step in self.steps() if step not in self._damaged and step != self._saving]
    kept = f'checkpoint {earlier[-1]} is untouched' if earlier else 'there is no earlier one'
    return f'checkpoint {self._saving} could not be written to {self.folder}: {reason}; {kept}'

  def _manager(self) -> Any:
    if self._orbax is None:
      self._orbax = _make_manager(self.folder)
    return self._orbax

  def _drop_orbax(self) -> None:
    manager, self._orbax = self._orbax, None
    if manager is not None:
      with contextlib.suppress(Exception):  # an error of the last save has been told already
        manager.close()


def shapes(tree: Any) -> Shapes:
  """Path -> [shape, dtype] of every array of a tree (of arrays or ShapeDtypeStructs), as JSON."""
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return {path_string(path): [list(leaf.shape), str(leaf.dtype)] for path, leaf in leaves}


def first_difference(saved: Shapes, wanted: Shapes, *, partial: bool = False) -> str | None:
  """The first path at which two trees differ and how, in one clause; None if they agree."""
  show = lambda entry: f'{entry[1]}[{",".join(map(str, entry[0]))}]'
  for path, entry in wanted.items():
    if path not in saved:
      return f'it has no {path}, which is {show(entry)} here'
    if saved[path] != entry:
      return f'{path} is {show(saved[path])} there and {show(entry)} here'
  extra = [path for path in saved if path not in wanted]
  if extra and not partial:
    return f'it has {extra[0]} {show(saved[extra[0]])}, which there is not here'
  return None


def _nested(tree: Any) -> Any:
  """Any pytree as nested dicts by path, so that a checkpoint names no Python type and parts of it can be read."""
  nested: dict[str, Any] = {}
  for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
    if not path:
      return leaf
    node = nested
    for part in path[:-1]:
      node = node.setdefault(path_string((part,)), {})
    node[path_string(path[-1:])] = leaf
  return nested


def _placed(leaf: Any) -> jax.ShapeDtypeStruct:
  where = getattr(leaf, 'sharding', None) or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
  return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where)


def _num_bytes(tree: Any) -> int:
  return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _size(num_bytes: int) -> str:
  return f'{num_bytes / 1e9:.2f} GB' if num_bytes >= 1e8 else f'{num_bytes / 1e6:.2f} MB'


def _digest(path: pathlib.Path, *, flush: bool = False) -> str:
  with open(path, 'rb') as file:
    if flush:
      os.fsync(file.fileno())
    return hashlib.file_digest(file, 'sha256').hexdigest()


def _remove(path: pathlib.Path) -> None:
  if path.is_dir():
    shutil.rmtree(path, ignore_errors=True)
  else:
    path.unlink(missing_ok=True)


def _reason(error: BaseException) -> str | None:
  """The operating system's word on why something could not be written; None if it is not that kind of error."""
  if isinstance(error, UserError):
    return str(error)
  if isinstance(error, OSError) and error.errno is not None:
    return f'{error.strerror} ({error.filename})' if error.filename else error.strerror
  found = re.search(r"os_error_code='(\d+)'", str(error))  # so TensorStore says it, in a ValueError
  if found:
    return os.strerror(int(found[1]))
  return os.strerror(errno.ENOSPC) if 'RESOURCE_EXHAUSTED' in str(error) else None


def _make_manager(folder: pathlib.Path) -> Any:
  """Orbax's CheckpointManager for `folder`, quiet, and without its own retention and preemption handling."""
  from orbax import checkpoint as ocp  # 0.4 s: only for those who save or restore

  _quieten()

  class Manager(ocp.CheckpointManager):
    def reached_preemption(self, step: int) -> bool:
      # It would ask JAX's sync point from a background thread, with numbers of its own (see preemption.py).
      return False

  processes = set(range(jax.process_count()))
  multiprocessing = ocp.options.MultiprocessingOptions(
    # Named processes make Orbax wait at barriers of the coordination service, not at collectives on the devices.
    active_processes=processes if len(processes) > 1 else None,
    barrier_sync_key_prefix=hashlib.sha256(str(folder).encode()).hexdigest()[:12] if len(processes) > 1 else None,
  )
  return Manager(
    folder,
    item_names=(_ITEM,),
    # Weights hardly compress: leaving it out costs a tenth more bytes and saves the processor for the training.
    item_handlers={_ITEM: ocp.PyTreeCheckpointHandler(use_compression=False, multiprocessing_options=multiprocessing)},
    options=ocp.CheckpointManagerOptions(
      create=False,
      multiprocessing_options=multiprocessing,
      lightweight_initialize=True,
    ),
  )


def _quieten() -> None:
  """Drops Orbax's log records, and the complaints TensorStore's callbacks make after a failed write.

  What matters of them reaches the user as one UserError.
  """
  logger = logging.getLogger('absl')
  if not any(isinstance(each, _NotOrbax) for each in logger.filters):
    logger.addFilter(_NotOrbax())
    previous = sys.unraisablehook

    def hook(unraisable: Any) -> None:
      if str(unraisable.exc_value) != 'Event loop is closed':
        previous(unraisable)

    sys.unraisablehook = hook


class _NotOrbax(logging.Filter):
  def filter(self, record: logging.LogRecord) -> bool:
    return f'{os.sep}orbax{os.sep}' not in record.pathname
