"""Checkpoints of a sharded state, written in the background, verified before they are trusted.

Orbax writes the arrays asynchronously and commits them by a rename, but neither notices a flipped byte nor steps back
from a damaged checkpoint. So each is sealed with checksums of our own once it is committed (mlsd_jax/sealed), and only
one whose every byte matches is used.
"""

import contextlib
import errno
import logging
import os
import re
import shutil
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Self

import jax

from mlsd_jax.errors import UserError
from mlsd_jax.sealed import Versions, lock
from mlsd_jax.training import distributed
from mlsd_jax.training.orbax_manager import OtherProcessError, make_manager
from mlsd_jax.training.sharding import path_string

_ITEM = 'state'
_TEMPORARY = '.orbax-checkpoint-tmp*'
_logger = logging.getLogger(__name__)

type Shapes = dict[str, list[Any]]  # 'params/blocks/0/mlp/up/kernel' -> [shape, dtype]


class _Answer(NamedTuple):
  """What a process brings to the agreement before a save."""

  error: str | None  # '' if it is another process's
  skip: bool = False  # the step is there already, whole
  reload: bool = False  # a damaged one of that number was moved out of the way


class Checkpoints:
  """The checkpoints of one run in one folder, which all processes share.

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
      keep: how many whole checkpoints stay; an older one goes once a newer one is whole.
      metadata: JSON written beside each checkpoint, e.g. how to rebuild the model.
      warn: gets one line for every damaged checkpoint that is passed over, on process 0.
    """
    if keep < 1:
      raise UserError(f'keep={keep} checkpoints: at least 1 must stay')
    self._files = Versions(folder)
    self.folder = self._files.folder
    self._keep = keep
    self._metadata = metadata or {}
    self._warn = warn
    self._orbax: Any = None
    self._lock = contextlib.ExitStack()  # taken by process 0 with the first save
    self._writing = False
    self._good: set[int] = set()  # sealed, or read back and found whole, by this object
    self._damaged: set[int] = set()
    self._passed_over: set[int] = set()  # damaged when `latest_good` looked, whatever became of them
    self._saving: int | None = None
    self._sealer: threading.Thread | None = None
    self._error: BaseException | None = None

  def __enter__(self) -> Self:
    return self

  def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
    if kind is None:
      self.close()
    else:  # the user must see what stopped the run; and other processes may be elsewhere, so nothing to agree on
      self._collect()
      self._drop_orbax()
      self._unlock()

  def save(self, step: int, state: Any) -> None:
    """Begins to write `state`, a tree of jax.Arrays, as checkpoint `step`; first waits for the save before, if need be.

    From the first save to `close` no other run can save here.

    On return the caller may donate `state`: its values have been copied to the host or, where that is the same memory,
    are held by a reference that makes XLA copy instead of reuse. A whole checkpoint of that step is left as it is. A
    damaged one is replaced, and deleted only when the new one is whole.

    Raises:
      UserError: this or the previous save could not be written, or another run, named by its process id, saves here;
        earlier checkpoints are untouched.
    """
    error = self._collect()
    answer = _Answer(self._explain(error)) if error else self._make_room(step, state)
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
      note = {'metadata': self._metadata, 'process_count': jax.process_count(), 'tree': shapes(state)}
      self._sealer = threading.Thread(target=self._seal, args=(step, note), name=f'checkpoint-{step}')
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
      self._unlock()

  def damaged(self) -> list[str]:
    """Those that `latest_good` passed over, as 'checkpoints/40'; on process 0."""
    return [f'{self.folder.name}/{step}' for step in sorted(self._passed_over)]

  def steps(self) -> list[int]:
    """Steps written to their end, in order; whether their bytes are still right is for `latest_good` to say."""
    return self._files.sealed_numbers()

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
    damage = self._files.damage(step) if distributed.is_main() and step not in self._good else None
    damage = distributed.broadcast_json(f'{self.folder}/damage', damage)
    if damage:
      raise UserError(f'checkpoint {step} in {self.folder} cannot be used: {damage}')
    difference = first_difference(self._files.note(step)['tree'], shapes(abstract_state), partial=partial)
    if difference:
      raise UserError(f'checkpoint {step} in {self.folder} is of another model: {difference}')
    from orbax import checkpoint as ocp

    wanted = _nested(jax.tree.map(_placed, abstract_state))
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
    return self._files.note(step)['metadata']

  def _find_good(self) -> int | None:
    passed_over = []
    good = None
    for step in reversed(self._files.numbers()):
      damage = self._files.damage(step)
      if damage is None:
        good = step
        self._good.add(step)
        break
      if self._files.path(step).is_dir():  # else another process has just retired it
        self._good.discard(step)
        self._damaged.add(step)
        self._passed_over.add(step)
        passed_over.append((step, damage))
    instead = f'checkpoint {good} is used instead' if good is not None else 'and no earlier checkpoint is whole'
    for step, damage in passed_over:
      self._warn(f'checkpoint {step} in {self.folder} is passed over: {damage}; {instead}')
    return good

  def _make_room(self, step: int, state: Any) -> _Answer:
    """Process 0, before a save: clears what killed runs left, and moves a damaged `step` out of the way."""
    if not distributed.is_main():
      return _Answer(None)
    self._saving = step
    try:
      if not self._writing:
        self._lock.enter_context(lock(self.folder))
        self._files.tidy(f'*{_TEMPORARY}')
        self._writing = True
      if self._files.path(step).is_dir() and (step in self._good or self._files.damage(step) is None):
        self._good.add(step)
        return _Answer(None, skip=True)
      needed = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
      usage = shutil.disk_usage(self.folder)
      if usage.total and usage.free < needed:  # said before half of it is written
        raise OSError(errno.ENOSPC, f'{os.strerror(errno.ENOSPC)}, {_size(needed)} needed, {_size(usage.free)} free')
      return _Answer(None, reload=self._files.move_aside(step))
    except (OSError, UserError) as error:
      return _Answer(self._explain(error))

  def _seal(self, step: int, note: dict[str, Any]) -> None:
    """Process 0, in the background: the seal of a step once Orbax has committed it; then retention."""
    try:
      self._manager().wait_until_finished()
      self._files.seal(step, note)
      self._good.add(step)
      self._damaged.discard(step)
      self._files.delete_aside(step)
      others = [other for other in self.steps() if other not in self._damaged and other != step]
      for old in others[: max(0, len(others) - (self._keep - 1))]:
        self._good.discard(old)
        self._files.delete(old)
    except BaseException as error:
      self._error = error

  def _collect(self) -> BaseException | None:
    """Waits for the save under way on this process and returns what went wrong with it."""
    if self._sealer is not None:
      self._sealer.join()
      self._sealer = None
    elif self._orbax is not None and self._error is None:
      try:
        self._orbax.wait_until_finished()
      except Exception as exception:
        self._error = exception
    error, self._error = self._error, None
    if error is not None:
      _hush_orbax(self.folder)
      self._drop_orbax()
    while isinstance(error, OtherProcessError) and error.__context__ is not None:
      error = error.__context__  # it was this process that failed first, and then met the others
    return error

  def _agree(self, answer: _Answer, error: BaseException | None) -> bool:
    """Raises on every process if one has an error; else whether process 0 says to skip."""
    answers = [_Answer(*each) for each in distributed.gather_json(f'{self.folder}/agree', answer)]
    failures = [each.error for each in answers if each.error is not None]
    if failures:
      if distributed.is_main() and self._saving is not None:
        self._files.delete_temporary(f'{self._saving}{_TEMPORARY}')  # by now no process writes it any more
      if error is not None and _reason(error) is None and not isinstance(error, OtherProcessError):
        raise error
      raise UserError(max(failures, key=bool)) from error
    if answers[0].reload and self._orbax is not None:
      self._orbax.reload()
    return answers[0].skip

  def _explain(self, error: BaseException) -> str:
    if isinstance(error, OtherProcessError):
      return ''
    reason = _reason(error) or f'{type(error).__name__}: {" ".join(str(error).split())[:300]}'
    earlier = [step for step in self.steps() if step not in self._damaged and step != self._saving]
    kept = f'checkpoint {earlier[-1]} is untouched' if earlier else 'there is no earlier one'
    return f'checkpoint {self._saving} could not be written to {self.folder}: {reason}; {kept}'

  def _manager(self) -> Any:
    if self._orbax is None:
      self._orbax = make_manager(self._files, _ITEM)
    return self._orbax

  def _unlock(self) -> None:
    self._writing = False
    self._lock.close()

  def _drop_orbax(self) -> None:
    manager, self._orbax = self._orbax, None
    if manager is not None:
      with contextlib.suppress(Exception):  # an error of the last save has been told already
        manager.close()


def _hush_orbax(folder: os.PathLike[str]) -> None:
  """Of a save that failed Orbax's other threads fail too, and asyncio tells that nobody asked them why."""

  def is_of_others(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return not (isinstance(error, OSError) and str(folder) in str(error.filename))

  logging.getLogger('asyncio').addFilter(is_of_others)


def origin(step: int, damaged: Sequence[str]) -> dict[str, Any]:
  """What a result says of the parameters it is of, as JSON.

  Args:
    step: theirs.
    damaged: newer checkpoints, or better ones, that could not be used.
  """
  return {'checkpoint_step': step} | ({'damaged_checkpoints': list(damaged)} if damaged else {})


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
    node = nested
    for part in path[:-1]:
      node = node.setdefault(path_string((part,)), {})
    node[path_string(path[-1:])] = leaf
  return nested


def _placed(leaf: Any) -> jax.ShapeDtypeStruct:
  where = getattr(leaf, 'sharding', None) or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
  return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where)


def _size(num_bytes: int) -> str:
  return f'{num_bytes / 1e9:.2f} GB' if num_bytes >= 1e8 else f'{num_bytes / 1e6:.2f} MB'


def _reason(error: BaseException) -> str | None:
  """The operating system's word on why something could not be written; None if it is not that kind of error."""
  if isinstance(error, UserError):
    return str(error)
  if isinstance(error, OSError) and error.errno is not None:
    return f'{error.strerror} ({error.filename})' if error.filename else error.strerror
  found = re.search(r"os_error_code='(\d+)'", str(error))  # so TensorStore says it, in a ValueError
  return os.strerror(int(found[1])) if found else None
