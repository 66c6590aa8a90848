"""Numbered folders that are whole or do not count.

    checkpoints/
      40/                 the files of step 40
      40.sha256.json      its seal, written last: size and checksum of every file, and whatever the owner notes
      60/                 no seal: the run was killed while writing; not a checkpoint
      80.damaged/         did not match its seal and was moved aside by a run that is writing 80 again

Plain files, for one process; checkpoint.py has the arrays and the other processes.
"""

import hashlib
import itertools
import os
import pathlib
import shutil
from typing import Any

from mlsd_jax.errors import UserError
from mlsd_jax.files import read_json, write_json

_SEAL = '.sha256.json'


class SealedSteps:
  """The steps in one folder on a local or shared POSIX file system."""

  def __init__(self, folder: str | os.PathLike[str]):
    self.folder = pathlib.Path(folder).absolute()

  def path(self, step: int) -> pathlib.Path:
    return self.folder / str(step)

  def seal_path(self, step: int) -> pathlib.Path:
    return self.folder / f'{step}{_SEAL}'

  def all_steps(self) -> list[int]:
    """Numbers of which there is a folder, sealed or not."""
    if not self.folder.is_dir():
      return []
    return sorted(int(path.name) for path in self.folder.iterdir() if path.name.isdecimal() and path.is_dir())

  def sealed_steps(self) -> list[int]:
    """Those with a seal; whether the bytes match it is for `damage` to say."""
    return [step for step in self.all_steps() if self.seal_path(step).exists()]

  def note(self, step: int) -> dict[str, Any]:
    """What `seal` was given.

    Raises:
      UserError: the step has no seal, or it is not JSON.
    """
    if not self.seal_path(step).exists():
      raise UserError(f'no checkpoint {step} in {self.folder}; there are {self.sealed_steps() or "none"}')
    return read_json(self.seal_path(step))['note']

  def seal(self, step: int, note: dict[str, Any]) -> None:
    """Makes a step count. Its files reach the disk first: a power cut must not take what a seal vouches for."""
    folder = self.path(step)
    paths = sorted(path for path in folder.rglob('*') if path.is_file())
    if not paths:
      raise FileNotFoundError(f'{folder} has no files')
    files = {}
    for path in paths:
      name = path.relative_to(folder).as_posix()
      files[name] = {'bytes': path.stat().st_size, 'sha256': _digest(path, flush=True)}
    write_json(self.seal_path(step), {'step': step, 'note': note, 'files': files})

  def damage(self, step: int) -> str | None:
    """What is wrong with a step, naming the file; None if every file matches. Reads every byte."""
    folder, seal = self.path(step), self.seal_path(step)
    if not folder.is_dir():
      return f'there is no folder {folder}'
    if not seal.exists():
      return f'{seal.name} is missing (the run was stopped while it wrote the checkpoint)'
    try:
      files = read_json(seal)['files']
      for name, entry in files.items():
        path = folder / name
        if not path.exists():
          return f'{path} is missing'
        if path.stat().st_size != entry['bytes']:
          return f'{path} has {path.stat().st_size} bytes, not {entry["bytes"]}'
        if _digest(path) != entry['sha256']:
          return f'{path} does not match its checksum'
    except (UserError, KeyError, TypeError, AttributeError):
      return f'{seal} is not a whole checksum file'
    except OSError as error:
      return f'{error.filename} cannot be read: {error.strerror}'
    return None

  def move_aside(self, step: int) -> bool:
    """Frees the number of a damaged step without losing what is left of it; whether there was anything to move."""
    if not self.path(step).exists():
      self.seal_path(step).unlink(missing_ok=True)
      return False
    names = (f'{step}.damaged{suffix}' for suffix in itertools.chain([''], itertools.count(2)))
    name = next(name for name in names if not (self.folder / name).exists())
    self.path(step).rename(self.folder / name)
    if self.seal_path(step).exists():
      self.seal_path(step).rename(self.folder / f'{name}{_SEAL}')
    return True

  def delete_aside(self, step: int) -> None:
    """Deletes what `move_aside` kept, once the step is whole again."""
    for path in self.folder.glob(f'{step}.damaged*'):
      _remove(path)

  def delete(self, step: int) -> None:
    """Renamed first, so that no moment shows a reader a seal over a folder that is being emptied."""
    doomed = self.folder / f'{step}.deleting'
    self.path(step).rename(doomed)
    self.seal_path(step).unlink(missing_ok=True)
    _remove(doomed)

  def delete_temporary(self, step: int | None = None) -> None:
    """Deletes what a writer left half-made: of `step`, or of all if none is writing."""
    for path in self.folder.glob(f'{"*" if step is None else step}.orbax-checkpoint-tmp*'):
      _remove(path)

  def tidy(self) -> None:
    """Deletes what killed runs left: half-made and half-deleted folders, seals of nothing. Only while none writes."""
    self.delete_temporary()
    for path in [*self.folder.glob('*.deleting'), *self.folder.glob('.*.tmp.json')]:
      _remove(path)
    for path in self.folder.glob(f'*{_SEAL}'):
      if not (self.folder / path.name.removesuffix(_SEAL)).exists():
        _remove(path)
    for step in self.sealed_steps():
      if self.damage_is_settled(step):
        self.delete_aside(step)

  def damage_is_settled(self, step: int) -> bool:
    return (self.folder / f'{step}.damaged').exists() and self.damage(step) is None


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
