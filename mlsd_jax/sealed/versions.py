"""Versions of something, each a folder that is whole or does not count.

    FOLDER/
      40/                 the files of version 40
      40.sha256.json      its seal, written last: size and checksum of every file, and whatever the owner notes
      60/                 no seal: the process was killed while writing; not a version
      80.damaged/         did not match its seal and was moved aside by a writer that is writing 80 again
      current.json        names the version that counts, where the owner has it so (`write`, `current`)

Plain files, for one process that writes, on a local or shared POSIX file system.
"""

import contextlib
import itertools
import logging
import os
import pathlib
import shutil
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from mlsd_jax.errors import UserError
from mlsd_jax.sealed import digests, json_files

_SEAL = '.sha256.json'
_CURRENT = 'current.json'
_WRITING = '.writing'
_logger = logging.getLogger(__name__)

type Name = int | str


class Versions:
  """The versions in one folder. Nothing is read or written before it is asked for."""

  def __init__(self, folder: str | os.PathLike[str]):
    self.folder = pathlib.Path(folder).absolute()

  def path(self, name: Name) -> pathlib.Path:
    return self.folder / str(name)

  def seal_path(self, name: Name) -> pathlib.Path:
    return self.folder / f'{name}{_SEAL}'

  def numbers(self) -> list[int]:
    """Whole numbers of which there is a folder, sealed or not, ascending."""
    if not self.folder.is_dir():
      return []
    return sorted(int(path.name) for path in self.folder.iterdir() if path.name.isdecimal() and path.is_dir())

  def sealed_numbers(self) -> list[int]:
    """Those with a seal; whether the bytes match it is for `damage` to say."""
    return [number for number in self.numbers() if self.seal_path(number).exists()]

  def sealed(self) -> list[str]:
    """Names of all with a seal, the newest seal first."""
    written: list[tuple[int, str]] = []
    for path in self.folder.glob(f'*{_SEAL}'):
      with contextlib.suppress(FileNotFoundError):  # deleted by a writer since it was listed
        written.append((path.stat().st_mtime_ns, path.name))
    names = (name.removesuffix(_SEAL) for _, name in sorted(written, reverse=True) if '.damaged' not in name)
    return [name for name in names if self.path(name).is_dir()]

  def note(self, name: Name) -> dict[str, Any]:
    """What `seal` was given.

    Raises:
      UserError: the version has no seal, or it is not whole.
    """
    if not self.seal_path(name).exists():
      raise UserError(f'no version {name} in {self.folder}; there are {", ".join(self.sealed()) or "none"}')
    return json_files.read_json(self.seal_path(name))['note']

  def seal(self, name: Name, note: dict[str, Any], *, leave_out: Iterable[str] = ()) -> None:
    """Makes a version count.

    Args:
      leave_out: folders in it that check their own files.
    """
    sealed = digests.seal_files(self.path(name), leave_out=leave_out)
    json_files.write_json(self.seal_path(name), {'note': note, 'files': sealed})

  def damage(self, name: Name) -> str | None:
    """What is wrong with a version, naming the file; None if every file matches."""
    folder, seal = self.path(name), self.seal_path(name)
    if not folder.is_dir():
      return f'there is no folder {folder}'
    if not seal.exists():
      return f'{seal.name} is missing (its writer was stopped before the end)'
    try:
      sealed = json_files.read_json(seal)['files']
      return digests.damage(self.folder, {f'{name}/{file}': entry for file, entry in sealed.items()})
    except (UserError, KeyError, TypeError, AttributeError):
      return f'{seal} is not a whole checksum file'

  @contextlib.contextmanager
  def write(self, name: str, note: dict[str, Any], *, leave_out: Iterable[str] = ()) -> Iterator[pathlib.Path]:
    """Yields a folder that becomes version `name`, the current one, on a clean exit; the one before is kept, others go.

    Hold `lock(folder)` meanwhile.

    Args:
      name: one that there is not yet, see `fresh`.
      note, leave_out: as in `seal`.
    """
    unfinished = self.folder / f'{name}{_WRITING}'
    before = self._named()
    self.folder.mkdir(parents=True, exist_ok=True)
    _remove(unfinished)
    try:
      unfinished.mkdir()
      yield unfinished
      unfinished.rename(self.path(name))
      self.seal(name, note, leave_out=leave_out)
    except BaseException:
      _remove(unfinished)
      _remove(self.path(name))
      raise
    json_files.write_json(self.folder / _CURRENT, {'version': name})
    for other in self.sealed():
      if other not in (name, before):
        self.delete(other)
    for left in self.folder.glob(f'*{_WRITING}'):
      _remove(left)

  def fresh(self, name: str) -> str:
    """`name`, or where something stands there already, name-2 and so on."""
    names = itertools.chain([name], (f'{name}-{number}' for number in itertools.count(2)))
    return next(each for each in names if not self.path(each).exists())

  def has_current(self) -> bool:
    """Whether `write` has been here to its end."""
    return (self.folder / _CURRENT).exists()

  def current_note(self) -> dict[str, Any] | None:
    """What the version that counts was sealed with, whether or not its files are whole; None if nothing says so."""
    named = self._named()
    try:
      return None if named is None else self.note(named)
    except (UserError, KeyError):
      return None

  def current(
    self,
    *,
    remedy: str,
    older: bool = True,
    besides: Callable[[pathlib.Path], str | None] = lambda _: None,
    warn: Callable[[str], None] = _logger.warning,
  ) -> str:
    """The version that counts, every file of it as it was written; if it is damaged, the newest that is whole.

    Args:
      remedy: what to do if there is none, such as 'build again'.
      older: False refuses a damaged version instead of going back to the one before.
      besides: what is wrong with what was left out of the seal.
      warn: gets one line, naming the damaged file, if another version is used.

    Raises:
      UserError: no version is whole.
    """
    named = self._named()
    names = dict.fromkeys([*([named] if named else []), *self.sealed()])
    problem = None if named else f'{self.folder / _CURRENT} is damaged'
    if not self.sealed():
      raise UserError(f'{self.folder} was written by an earlier release, without checksums, or is damaged: {remedy}')
    for name in names:
      wrong = self.damage(name) or besides(self.path(name))
      if wrong is None:
        if problem:
          warn(f'{problem}; version {name} in {self.folder} is used instead')
        return name
      problem = problem or wrong
      if not older:
        raise UserError(f'{problem}: {remedy}')
    raise UserError(f'{problem}; no other version in {self.folder} is whole: {remedy}')

  def open[T](
    self,
    open_: Callable[[pathlib.Path, dict[str, Any]], T],
    *,
    remedy: str,
    older: bool = True,
    besides: Callable[[pathlib.Path], str | None] = lambda _: None,
    warn: Callable[[str], None] = _logger.warning,
  ) -> T:
    """`open_(folder, note)` of the version that counts, as `current` has it.

    A writer keeps the current version and the one before. Who is overtaken by two updates while reading finds files
    gone: then the version that counts by now is opened, and nothing is said of the one that was.

    Args:
      open_: reads all that it will ever need of the folder, or maps it into memory.

    Raises:
      UserError: as `current` and `open_`.
    """
    while True:
      named = self._named()
      warnings: list[str] = []
      try:
        name = self.current(remedy=remedy, older=older, besides=besides, warn=warnings.append)
        opened = open_(self.path(name), self.note(name))
      except (OSError, UserError):
        if self._named() == named:
          raise
        continue
      if warnings and self._named() != named:
        continue
      for line in warnings:
        warn(line)
      return opened

  def _named(self) -> str | None:
    try:
      name = json_files.read_json(self.folder / _CURRENT)['version']
    except (UserError, KeyError, TypeError):
      return None
    return name if isinstance(name, str) else None

  def move_aside(self, name: Name) -> bool:
    """Frees the name of a damaged version without losing what is left of it; whether there was anything to move."""
    if not self.path(name).exists():
      self.seal_path(name).unlink(missing_ok=True)
      return False
    names = (f'{name}.damaged{suffix}' for suffix in itertools.chain([''], itertools.count(2)))
    aside = next(each for each in names if not (self.folder / each).exists())
    self.path(name).rename(self.folder / aside)
    if self.seal_path(name).exists():
      self.seal_path(name).rename(self.folder / f'{aside}{_SEAL}')
    return True

  def delete_aside(self, name: Name) -> None:
    """Deletes what `move_aside` kept, once the version is whole again."""
    for path in self.folder.glob(f'{name}.damaged*'):
      _remove(path)

  def delete(self, name: Name) -> None:
    """Renamed first, so that no moment shows a reader a seal over a folder that is being emptied."""
    doomed = self.folder / f'{name}.deleting'
    self.path(name).rename(doomed)
    self.seal_path(name).unlink(missing_ok=True)
    _remove(doomed)

  def tidy(self, temporary: str) -> None:
    """Deletes what killed processes left: half-made and half-deleted folders, seals of nothing. Only while none writes.

    Args:
      temporary: a pattern of the folders that the owner's writer makes.
    """
    self.delete_temporary(temporary)
    for path in [*self.folder.glob('*.deleting'), *self.folder.glob('.*.tmp.json')]:
      _remove(path)
    for path in self.folder.glob(f'*{_SEAL}'):
      if not (self.folder / path.name.removesuffix(_SEAL)).exists():
        _remove(path)
    for number in self.sealed_numbers():
      if (self.folder / f'{number}.damaged').exists() and self.damage(number) is None:
        self.delete_aside(number)

  def delete_temporary(self, pattern: str) -> None:
    """Deletes what matches: what a writer left half-made."""
    for path in self.folder.glob(pattern):
      _remove(path)


def _remove(path: pathlib.Path) -> None:
  if path.is_dir():
    shutil.rmtree(path, ignore_errors=True)
  else:
    path.unlink(missing_ok=True)
