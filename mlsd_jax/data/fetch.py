"""Files of public sources: found on this machine, else downloaded and checked."""

import dataclasses
import pathlib
from collections.abc import Callable

from mlsd_jax import files, folders, sealed
from mlsd_jax.data.reading_progress import progress_bar
from mlsd_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class RemoteFile:
  """A file at its public home.

  Attributes:
    name: what it is called on this machine.
    url: where it is downloaded from.
    sha256: what `digest` of the right file is.
    digest: the SHA-256 of the file's bytes, unless only what is in it can be relied on, as with an archive that is
      packed anew on demand.
  """

  name: str
  url: str
  sha256: str
  digest: Callable[[pathlib.Path], str] = files.sha256


def locate(source: str, name: str) -> pathlib.Path | None:
  """The file `name` of `source` in $MLSD_DATA_DIR/SOURCE or the user cache, or None."""
  return next((folder / name for folder in _folders(source) if (folder / name).is_file()), None)


def fetch(source: str, remote: RemoteFile) -> pathlib.Path:
  """The file, from $MLSD_DATA_DIR/SOURCE, else the user cache, else downloaded into the user cache.

  Raises:
    UserError: the file is damaged, or it is absent and cannot be downloaded; the line says where to put it by hand.
  """
  found = locate(source, remote.name)
  if found is not None:
    check(found, remote)
    return found
  target = _folders(source)[-1] / remote.name
  with files.atomic_path(target) as temporary:
    _download(source, remote, temporary)
    if remote.digest(temporary) != remote.sha256:
      raise UserError(
        f'{remote.url} is not the file that was expected (SHA-256 is not {remote.sha256}); nothing was kept'
      )
  return target


def check(path: pathlib.Path, remote: RemoteFile) -> None:
  """Raises UserError if `path` is not the expected file."""
  whole = remote.digest is files.sha256 and sealed.damage(path.parent, {path.name: remote.sha256}) is None
  if not whole and remote.digest(path) != remote.sha256:
    raise UserError(f'{path} is damaged (SHA-256 is not {remote.sha256}): delete it, or replace it by {remote.url}')


def _folders(source: str) -> list[pathlib.Path]:
  laid_down = folders.data_folder()
  cached = folders.cache_folder() / 'sources' / source
  return [cached] if laid_down is None else [laid_down / source, cached]


def _download(source: str, remote: RemoteFile, target: pathlib.Path) -> None:
  import httpx

  as_it_is = {'Accept-Encoding': 'identity'}  # the digest is that of the file, not of what a server packs for the way
  request = httpx.stream('GET', remote.url, headers=as_it_is, follow_redirects=True, timeout=30)
  try:
    with request as response, target.open('wb') as file:
      response.raise_for_status()
      length = response.headers.get('Content-Length')
      with progress_bar(f'downloading {source}', int(length) if length else None) as advance:
        for block in response.iter_raw(2**16):
          file.write(block)
          advance(len(block))
  except (httpx.HTTPError, httpx.InvalidURL) as error:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    raise UserError(
      f'source {source} is not on this machine and cannot be downloaded ({reason}): '
      f'put {remote.url} into {_folders(source)[0]} as {remote.name}'
    ) from error
