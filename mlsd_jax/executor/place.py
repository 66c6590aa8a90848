"""Where parts lie: a folder, or a prefix of an object store (s3://, gs://). A part without its seal is not there.

    OUTPUT/
      part-003/               the files of a part
      part-003.sha256.json    its seal, written last: size and checksum of each file, and what the worker notes
      parts.json              what the parts are made of
      made.json               names all parts: written when the last one is there

That is the form of mlsd_jax/sealed/versions.py. In an object store nothing is renamed: an object appears whole or not
at all, its files are put first and the seal last, so that what was half uploaded has no seal and is never read.
"""

import contextlib
import functools
import hashlib
import os
import pathlib
import posixpath
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from mlsd_jax import files, folders, sealed
from mlsd_jax.errors import UserError
from mlsd_jax.schema import one_slash
from mlsd_jax.sealed import Versions

_SEAL = '.sha256.json'
# Where a store lies and who asks: what a cached connection is of.
_NAMED = (
  *('AWS_ENDPOINT_URL', 'AWS_PROFILE', 'AWS_ACCESS_KEY_ID'),
  *('STORAGE_EMULATOR_HOST', 'GOOGLE_APPLICATION_CREDENTIALS', 'GOOGLE_CLOUD_PROJECT'),
)
_NEEDS = {'s3': 's3fs', 'gs': 'gcsfs', 'gcs': 'gcsfs'}

type Seal = dict[str, Any]  # {'note': ..., 'files': {name: {'bytes', 'sha256'}}}


def is_remote(path: str | os.PathLike[str]) -> bool:
  """Whether `path` is of an object store.

  Raises:
    UserError: it is spelled with one slash, as s3:/bucket; as a path it would be a folder of the name s3: here.
  """
  if slip := one_slash(str(path)):
    raise UserError(f'{path} {slip}')
  return '://' in str(path)


def open_place(path: str | os.PathLike[str]) -> 'LocalPlace | RemotePlace':
  """The place of that name; nothing is looked up before it is asked for."""
  return RemotePlace(str(path).rstrip('/')) if is_remote(path) else LocalPlace(path)


class LocalPlace:
  """A folder that all workers see."""

  def __init__(self, path: str | os.PathLike[str]):
    self.versions = Versions(path)
    self.path = str(self.versions.folder)

  @contextlib.contextmanager
  def writing(self) -> Iterator[None]:
    """Holds the folder's lock: one run at a time makes parts there; what killed ones left half-made goes."""
    with sealed.lock(self.path):
      self.versions.tidy('*.writing-*')
      yield

  def seal(self, name: str) -> Seal | None:
    """What was sealed of a part; None if there is none, or none that can be read."""
    path = self.versions.seal_path(name)
    try:
      return sealed.read_json(path) if path.exists() else None
    except UserError:  # damaged: `damage` tells of it
      return None

  def sealed(self) -> dict[str, Seal]:
    """All parts that there are; {} for a seal that cannot be read, of which `damage` tells."""
    return {name: self.seal(name) or {} for name in self.versions.sealed()}

  def damage(self, name: str, _: Seal) -> str | None:
    """What is wrong with a sealed part."""
    return self.versions.damage(name)

  def forget(self, name: str) -> None:
    """Frees the name of a damaged part, whose files are kept beside."""
    self.versions.move_aside(name)

  @contextlib.contextmanager
  def scratch(self, name: str) -> Iterator[pathlib.Path]:
    """A folder for the files of a part, on the disk that they are to lie on."""
    folder = self.versions.folder / f'{name}.writing-{uuid.uuid4().hex[:8]}'
    try:
      folder.mkdir(parents=True)
    except OSError as error:
      raise UserError(f'cannot write in {self.path}: {error.strerror}') from error
    try:
      yield folder
    finally:
      shutil.rmtree(folder, ignore_errors=True)

  def put(self, name: str, folder: pathlib.Path, note: Mapping[str, Any]) -> None:
    """Makes the files in a scratch folder the part `name`; if another worker has put it meanwhile, that one stays."""
    if self.versions.seal_path(name).exists():
      return
    try:
      shutil.rmtree(self.versions.path(name), ignore_errors=True)  # of a worker that was killed before it sealed
      folder.rename(self.versions.path(name))
    except OSError as error:
      raise UserError(f'cannot write {self.versions.path(name)}: {error.strerror}') from error
    self.versions.seal(name, dict(note))

  def folder(self, name: str, _: Seal) -> pathlib.Path:
    """The folder of a part, every file of it as it was written.

    Raises:
      UserError: a file is damaged.
    """
    damage = self.versions.damage(name)
    if damage:
      raise UserError(f'{damage}: run the same command again, which makes that part anew')
    return self.versions.path(name)

  def read_json(self, name: str) -> dict[str, Any] | None:
    """A sealed JSON file of the place; None if there is none."""
    path = self.versions.folder / name
    return sealed.read_json(path) if path.exists() else None

  def write_json(self, name: str, value: Mapping[str, Any]) -> None:
    """Writes one, whole or not at all."""
    sealed.write_json(self.versions.folder / name, value)

  def read_file(self, name: str) -> pathlib.Path:
    """The path of a single file."""
    return self.versions.folder / name

  def write_file(self, source: pathlib.Path, name: str) -> None:
    """Copies a single file there, whole or not at all."""
    with files.atomic_path(self.versions.folder / name) as temporary:
      shutil.copyfile(source, temporary)


class RemotePlace:
  """A prefix of an object store, through fsspec: s3fs for s3://, gcsfs for gs://."""

  def __init__(self, path: str):
    self.path = path

  @property
  def mirror(self) -> pathlib.Path:
    """The folder of the user cache in which lies what was fetched, by the names that it has in the store."""
    return folders.cache_folder() / 'stores' / hashlib.sha256(self.path.encode()).hexdigest()[:16]

  def _files(self) -> Any:
    protocol = self.path.partition('://')[0]
    try:
      return _file_system(protocol, os.getpid(), tuple(os.environ.get(name) for name in _NAMED))
    except ImportError as error:
      raise UserError(
        f"{self.path} requires the package {_NEEDS.get(protocol, protocol)}: pip install 'mlsd-jax[stores]'"
      ) from error
    except ValueError as error:
      raise UserError(f'{self.path}: no store of the kind {protocol}:// is known; s3:// and gs:// are') from error

  def _at(self, name: str) -> str:
    return posixpath.join(self.path, name)

  @contextlib.contextmanager
  def _asking(self, what: str) -> Iterator[Any]:
    """The file system; what it refuses (credentials, permissions, no bucket, no network) is one line."""
    store = self._files()
    try:
      yield store
    except UserError:
      raise
    except FileNotFoundError as error:
      if what != 'write':
        raise
      raise UserError(f'cannot write {self.path}: {" ".join(str(error).split())[:300]}') from error
    except Exception as error:  # each store has errors of its own, of no common kind
      said = ' '.join(str(error).split())[:300] or type(error).__name__
      raise UserError(f'cannot {what} {self.path}: {said}') from error

  @contextlib.contextmanager
  def writing(self) -> Iterator[None]:
    """A store has no lock: two runs of one prefix would make parts twice, each of them whole."""
    yield

  def seal(self, name: str) -> Seal | None:
    return self.read_json(name + _SEAL)

  def sealed(self) -> dict[str, Seal]:
    found = {}
    with self._asking('list') as store:
      try:
        paths = [each for each in store.ls(self.path, detail=False) if each.endswith(_SEAL)]
        contents = store.cat(paths) if paths else {}
      except FileNotFoundError:  # of a prefix without objects, as of a bucket that is not there: writing will tell
        return {}
    for path, content in contents.items():
      found[posixpath.basename(path).removesuffix(_SEAL)] = _parsed(content, f'{self.path}/{posixpath.basename(path)}')
    return found

  def damage(self, name: str, seal: Seal) -> str | None:
    """By size: the bytes are compared when they are fetched."""
    with self._asking('list') as store:
      for file, entry in seal['files'].items():
        at = self._at(f'{name}/{file}')
        try:
          size = store.info(at)['size']
        except FileNotFoundError:
          return f'{at} is missing'
        if size != entry['bytes']:
          return f'{at} has {size} bytes, not {entry["bytes"]}'
    return None

  def forget(self, name: str) -> None:
    """Takes the seal away; the objects are written over."""
    with self._asking('write') as store:
      store.rm_file(self._at(name + _SEAL))

  @contextlib.contextmanager
  def scratch(self, name: str) -> Iterator[pathlib.Path]:
    with tempfile.TemporaryDirectory(prefix=f'{name}-') as folder:
      yield pathlib.Path(folder)

  def put(self, name: str, folder: pathlib.Path, note: Mapping[str, Any]) -> None:
    with self._asking('write') as store:
      if store.exists(self._at(name + _SEAL)):
        return
      entries = sealed.seal_files(folder)
      for file in entries:
        store.put_file(str(folder / file), self._at(f'{name}/{file}'))
    self.write_json(name + _SEAL, {'note': dict(note), 'files': entries})

  def folder(self, name: str, seal: Seal) -> pathlib.Path:
    """A copy in the user cache, every file as it was written; fetched once, checked at each call."""
    here = self.mirror / name
    with sealed.lock(here.parent, wait=True):
      if sealed.damage(here, seal['files']) is None:
        return here
      with self._asking('read') as store:
        for file in seal['files']:
          with files.atomic_path(here / file) as temporary:
            try:
              store.get_file(self._at(f'{name}/{file}'), str(temporary))
            except FileNotFoundError as error:
              raise UserError(f'{self._at(f"{name}/{file}")} is missing: run what made it again') from error
      damage = sealed.damage(here, seal['files'])
    if damage:
      raise UserError(f'{self._at(name)} is damaged ({damage}): run what made it again')
    return here

  def read_json(self, name: str) -> dict[str, Any] | None:
    with self._asking('read') as store:
      try:
        content = store.cat_file(self._at(name))
      except FileNotFoundError:
        return None
    return _parsed(content, self._at(name))

  def write_json(self, name: str, value: Mapping[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
      path = pathlib.Path(folder, 'value.json')
      sealed.write_json(path, value)
      with self._asking('write') as store:
        store.pipe_file(self._at(name), path.read_bytes())

  def read_file(self, name: str) -> pathlib.Path:
    """A copy of a single file in the user cache."""
    here = self.mirror / name
    with self._asking('read') as store, files.atomic_path(here) as temporary:
      try:
        store.get_file(self._at(name), str(temporary))
      except FileNotFoundError as error:
        raise UserError(f'{self._at(name)} is missing') from error
    return here

  def write_file(self, source: pathlib.Path, name: str) -> None:
    with self._asking('write') as store:
      store.put_file(str(source), self._at(name))


@functools.lru_cache(maxsize=4)
def _file_system(protocol: str, process: int, named: tuple[str | None, ...]) -> Any:
  """One of each store and process: a new one takes seconds, to read what the store's client knows of its service."""
  import fsspec

  return fsspec.filesystem(protocol, use_listings_cache=False, skip_instance_cache=True)


def _parsed(content: bytes, name: str) -> dict[str, Any]:
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder, 'value.json')
    path.write_bytes(content)
    try:
      return sealed.read_json(path)
    except UserError as error:
      raise UserError(str(error).replace(str(path), name)) from error
