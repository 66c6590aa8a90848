"""Checksums of files: taken when they are written, compared before they are used.

What was compared once is remembered in the user cache by the file's size, times and inode, so that a start does not
read every byte again. $MLSD_VERIFY=full (`--verify=full`) does: it also finds what the disk changed by itself.
"""

import concurrent.futures
import contextlib
import hashlib
import os
import pathlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from mlsd_jax import files, folders
from mlsd_jax.errors import UserError

VERIFY = 'MLSD_VERIFY'
_REMEMBERED_DAYS = 30  # then every byte is read again
_SETTLED = 2e9  # nanoseconds: what was written later than that could be written again under the same times
_ALONE = 2**20  # bytes below which starting threads takes longer than it saves


def verify_fully() -> bool:
  """Whether every byte is to be read, whatever is remembered.

  Raises:
    UserError: $MLSD_VERIFY is neither 'changed' nor 'full'.
  """
  asked = os.environ.get(VERIFY, '') or 'changed'
  if asked not in ('changed', 'full'):
    raise UserError(f"{VERIFY} is {asked!r}; it may be 'changed', which is the default, or 'full'")
  return asked == 'full'


def seal_files(folder: pathlib.Path, *, leave_out: Iterable[str] = ()) -> dict[str, dict[str, Any]]:
  """name -> {'bytes', 'sha256'} of every file in `folder` and below, which are flushed to the disk first.

  Args:
    leave_out: folders in it that check their own files.

  Raises:
    FileNotFoundError: there is no file.
  """
  doomed = {folder / name for name in leave_out}
  paths = sorted(path for path in folder.rglob('*') if path.is_file() and doomed.isdisjoint(path.parents))
  if not paths:
    raise FileNotFoundError(f'{folder} has no files')
  names = (path.relative_to(folder).as_posix() for path in paths)
  return dict(zip(names, _in_parallel(seal_file, paths), strict=True))


def seal_file(path: pathlib.Path) -> dict[str, Any]:
  """{'bytes', 'sha256'} of a file, flushed to the disk first: a power cut must not take what a seal vouches for."""
  files.flush(path)
  return {'bytes': path.stat().st_size, 'sha256': files.sha256(path)}


def damage(
  folder: str | os.PathLike[str],
  sealed: Mapping[str, Any],
  *,
  contents: bool = True,
  inspect: Callable[[pathlib.Path], str | None] | None = None,
) -> str | None:
  """What is wrong with the first file that is missing or not as it was written, naming it; None if all are.

  Args:
    sealed: name -> {'bytes', 'sha256'}, or the SHA-256 alone.
    contents: False compares sizes only.
    inspect: what else is wrong with a file of the right bytes; asked as often as its bytes are compared.
  """
  folder = pathlib.Path(folder).absolute()
  remembered = _read_memory(folder)
  stamps: dict[str, list[int | str]] = {}
  to_read = []
  written = {}  # when, by name
  everything = verify_fully()
  try:
    for name, entry in sealed.items():
      path = folder / name
      if not path.is_file():
        return f'{path} is missing'
      status = path.stat()
      if isinstance(entry, Mapping) and status.st_size != entry['bytes']:
        return f'{path} has {status.st_size} bytes, not {entry["bytes"]}'
      stamps[name] = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, _digest_of(entry)]
      written[name] = max(status.st_mtime_ns, status.st_ctime_ns)
      if contents and (everything or remembered.get(name) != stamps[name]):
        to_read.append(name)
    digests = _in_parallel(files.sha256, [folder / name for name in to_read])
    for name, digest in zip(to_read, digests, strict=True):
      if digest != _digest_of(sealed[name]):
        return f'{folder / name} does not match its checksum'
      wrong = inspect(folder / name) if inspect is not None else None
      if wrong is not None:
        return f'{folder / name} {wrong}'
  except OSError as error:
    return f'{error.filename} cannot be read: {error.strerror}'
  now = time.time_ns()
  settled = {name: stamps[name] for name in to_read if written[name] < now - _SETTLED}
  if settled:
    _write_memory(folder, remembered | settled)
  return None


def _digest_of(entry: Any) -> str:
  return entry if isinstance(entry, str) else entry['sha256']


def _in_parallel[T](function: Callable[[pathlib.Path], T], paths: list[pathlib.Path]) -> Iterator[T]:
  """`function` of each path, in order; hashing lets go of the interpreter, so threads do."""
  if len(paths) < 2 or sum(path.stat().st_size for path in paths) < _ALONE:
    yield from map(function, paths)
    return
  with concurrent.futures.ThreadPoolExecutor(min(len(paths), os.cpu_count() or 1)) as pool:
    yield from pool.map(function, paths)


def _memory(folder: pathlib.Path) -> pathlib.Path:
  name = hashlib.sha256(str(folder.resolve()).encode('utf-8', 'surrogateescape')).hexdigest()[:24]
  return folders.cache_folder() / 'verified' / f'{name}.json'


def _read_memory(folder: pathlib.Path) -> dict[str, Any]:
  path = _memory(folder)
  try:
    if path.stat().st_mtime < time.time() - 86_400 * _REMEMBERED_DAYS:
      return {}
    content = files.read_json(path)
  except (OSError, UserError):  # not there, or not whole: nothing is remembered
    return {}
  return content if isinstance(content, dict) else {}


def _write_memory(folder: pathlib.Path, remembered: Mapping[str, Any]) -> None:
  path = _memory(folder)
  with contextlib.suppress(OSError, UserError):  # a cache that cannot be written costs time, nothing else
    if not path.exists():
      for other in path.parent.glob('*.json'):
        if other.stat().st_mtime < time.time() - 86_400 * _REMEMBERED_DAYS:
          other.unlink(missing_ok=True)
    files.write_json(path, {name: entry for name, entry in remembered.items() if (folder / name).exists()})
