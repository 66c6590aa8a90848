"""One call of an experiment: its config, its flags, its workdir."""

import contextlib
import os
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from experiments import config_files, process
from mlsd_jax import sealed, tuning
from mlsd_jax.errors import UserError
from mlsd_jax.printable import printable

# What lies in a workdir before its run has made anything: the claim, and the tokenizer that the run begins with.
_CLAIM = ('config.json', 'data.json', 'tokenizer.json')


class Run:
  """One call of an experiment: the config with its overrides, the flags, the workdir.

  Attributes:
    config: locked ConfigDict.
    flags: values of the experiment's own flags by name.
    workdir: this run's folder.
    stored: the config of the run that the workdir holds, as `config` would spell it; None if it holds none.
    given: the keys that the command line sets.
    overruled: lines about flags that are given twice.
  """

  def __init__(
    self,
    name: str,
    config: ConfigDict,
    values: Mapping[str, Any],
    workdir: pathlib.Path,
    stored: Mapping[str, Any] | None = None,
    given: Sequence[str] = (),
    overruled: Sequence[str] = (),
  ):
    self.overruled = overruled
    self.name, self.config, self.flags, self.workdir = name, config, values, workdir
    self.stored, self.given = stored, given
    self._is_first = False
    self._earlier: set[pathlib.Path] = set()
    self._lock: contextlib.ExitStack | None = None

  def given_keys(self) -> list[str]:
    """The keys that the command line sets, without an index; a path of one's own is a source too."""
    keys = [key.partition('[')[0] for key in self.given]
    return list(dict.fromkeys([*keys, *(['data.source'] if 'data.path' in keys else [])]))

  def check(self, free: Sequence[str] = (), data: Mapping[str, Any] | None = None) -> None:
    """Looks whether the workdir is free for this config, or holds a run of it; writes nothing.

    Args:
      free: keys (or sections) that may differ from the earlier run, as they do not change its results.
      data: fingerprints of what the config names, by name, to be compared with those in data.json.

    Raises:
      UserError: the workdir holds a run of another config or of other data; what differs is named.
    """
    if self.stored is not None:
      differing = config_files.differences(self.stored, self.config.to_dict(), free)
      if differing:
        raise UserError(f'{self.workdir} holds a run with another config ({differing}); choose another --workdir')
    path = self.workdir / 'data.json'
    differing = config_files.differences(sealed.read_json(path), data) if data and path.exists() else ''
    if differing:
      raise UserError(f'{self.workdir} was begun with other data ({differing}); choose another --workdir')

  def claim(self, free: Sequence[str] = (), data: Mapping[str, Any] | None = None) -> None:
    """Makes the workdir this run's own: `check`, a lock until `launch` returns, then config.json and data.json.

    Called when all that can be wrong has been looked at, right before the work. If the work ends in a user's mistake or
    an interrupt all the same before it has made anything, `launch` takes the claim back, so that the mended command
    finds the workdir as it was.

    Raises:
      KeyboardInterrupt: Ctrl-C was pressed, and whatever was at work has swallowed it.
      UserError: as `check`, or another process is at work in the workdir; its id is named. (The processes of one
        distributed run share the lock of the first.)
    """
    process.check()
    self.check(free, data)
    if self._lock is None:
      self._lock = contextlib.ExitStack()
      self._earlier = set(self.workdir.iterdir()) if self.workdir.is_dir() else set()
      if _is_main():
        self._lock.enter_context(sealed.lock(self.workdir))
      self._is_first = self.stored is None and not (self.workdir / 'config.json').exists()
    barrier('workdir-claimed')
    if _is_main():
      if data:
        sealed.write_json(self.workdir / 'data.json', dict(data))
      sealed.write_json(self.workdir / 'config.json', self.config.to_dict())

  def take_back(self) -> None:
    """Removes what `claim` wrote, unless an earlier run or this one made more there. What lay there before stays."""
    if not (self._is_first and _is_main()):
      return
    made = [path for path in self.workdir.iterdir() if path not in self._earlier and path.name != '.lock']
    inside = [path for each in made if each.is_dir() for path in each.rglob('*')]
    if any(path.name not in _CLAIM for path in made if path.is_file()) or any(path.is_file() for path in inside):
      return
    for path in sorted([*made, *inside], reverse=True):
      if path.is_dir():
        path.rmdir()
      else:
        path.unlink(missing_ok=True)

  def release(self) -> None:
    """Lets others into the workdir; one that `claim` made is removed if it is empty."""
    if self._lock is not None:
      self._lock.close()

  def result(self) -> dict[str, Any] | None:
    """What an earlier, finished run wrote to result.json."""
    path = self.workdir / 'result.json'
    return sealed.read_json(path) if path.exists() else None

  def write_result(self, values: Mapping[str, Any]) -> None:
    """Adds final numbers to result.json."""
    if _is_main():
      sealed.write_json(self.workdir / 'result.json', (self.result() or {}) | dict(values))

  def print_finished(self, summary: str) -> None:
    """Says that the workdir is finished, and which of the given keys can change nothing any more."""
    here, there = (dict(config_files.leaves(config)) for config in (self.config.to_dict(), self.stored or {}))
    late = [f'--config.{key}' for key in self.given_keys() if here.get(key) != there.get(key, here.get(key))]
    late += [tuning.VARIABLE] if os.environ.get(tuning.VARIABLE) else []
    self.print(f'{self.workdir} is finished: {summary}')
    if late:
      self.print(f'{", ".join(late)} had no effect on it')

  def print(self, text: str = '') -> None:
    """Shows a text, whoever wrote it."""
    if _is_main():
      print(printable(text), flush=True)


def _is_main() -> bool:
  if 'jax' not in sys.modules:  # an experiment without JAX is one process
    return True
  from mlsd_jax.training import distributed

  return distributed.is_main()


def barrier(name: str) -> None:
  if 'jax' in sys.modules:
    from mlsd_jax.training import distributed

    distributed.barrier(name)
