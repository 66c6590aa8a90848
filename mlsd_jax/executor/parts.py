"""Parts in, sealed folders out: what is there is not made again, whoever made it and however that ended."""

import contextlib
import dataclasses
import hashlib
import itertools
import json
import logging
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from mlsd_jax.errors import UserError
from mlsd_jax.executor import pool, workers
from mlsd_jax.executor.config import ExecutorConfig
from mlsd_jax.executor.place import LocalPlace, RemotePlace, Seal, open_place
from mlsd_jax.executor.pool import Note
from mlsd_jax.executor.workers import MakeWorker

_PARTS, _MANIFEST = 'parts.json', 'made.json'
_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Parts:
  """Parts that are all there.

  Attributes:
    path: of the folder or prefix.
    identity: what they are made of.
    seals: by the name of a part, in order: what its worker noted, size and checksum of its files.
    made: how many were made now, and not found.
  """

  path: str
  identity: Mapping[str, Any]
  seals: Mapping[str, Seal]
  made: int = 0

  @property
  def notes(self) -> dict[str, Note]:
    """What the workers noted, by name, in order."""
    return {name: seal['note'] for name, seal in self.seals.items()}

  def folder(self, name: str) -> pathlib.Path:
    """A local folder of a part, every file as it was written; of an object store it is fetched, once.

    Raises:
      UserError: it is damaged, or cannot be read.
    """
    return open_place(self.path).folder(name, self.seals[name])

  def folders(self) -> Iterator[pathlib.Path]:
    """Those of all parts, in order."""
    return (self.folder(name) for name in self.seals)


def map_parts(
  parts: Mapping[str, Any],
  make_worker: MakeWorker,
  output: str | os.PathLike[str],
  *,
  identity: Mapping[str, Any] | None,
  config: ExecutorConfig | None = None,
  setup: Callable[[], object] | None = None,
  on_part: Callable[[str, Note], object] = lambda name, note: None,
  warn: Callable[[str], object] = _logger.warning,
) -> Parts:
  """Has every part made that is not there yet, each by one worker, and returns all.

  A part is a folder: its worker is called as worker(task, folder), fills the empty folder, and may return a small
  dictionary of JSON, which is noted in the seal. The folder counts once it is sealed. A run that was killed, of any
  kind, goes on with what has no seal.

  Results do not depend on who computes: a part is computed by itself. That holds to the bit where a worker's result
  depends on nothing but its task (a batch of another composition, or another number of threads, may round otherwise).

  Args:
    parts: name -> task, in order. Names are of letters, digits, '-' and '_'; tasks are pickled, and best small.
    make_worker: called once in each thread, process or actor; importable there, or pickled by value.
    output: a folder that all workers see, or a prefix of an object store (s3://..., gs://...).
    identity: what determines the parts besides their names, of JSON; parts of another identity are refused. None for
      parts that are added to others: then nothing is refused, and no manifest is written.
    setup: called before `make_worker` in each process that is started.
    on_part: called with each part that is made now, as it is made.
    warn: gets a line of a part that is damaged and made anew.

  Raises:
    UserError: a worker's own; workers that die again and again; parts of something else in `output`; it cannot be
      written. What is made stays.
  """
  config, place = config or ExecutorConfig(), open_place(output)
  _check_names(parts)
  with place.writing():
    if identity is not None:
      _claim(place, identity, list(parts))
    there = _whole(place, parts, warn)
    missing = [name for name in parts if name not in there]
    if missing:
      with _slots(config, make_worker, setup, place.path, len(missing)) as (slots, wanted):

        def find(name: str) -> Note | None:
          seal = place.seal(name)
          return None if seal is None else seal['note']

        def made(name: str, note: Note) -> None:
          seal = place.seal(name)
          if seal is None:
            raise UserError(
              f'part {name} was made, but is not to be seen in {place.path} from here: workers on several machines '
              'need a folder that all of them share, or a store (s3://..., gs://...)'
            )
          there[name] = seal
          on_part(name, note)

        pool.run(
          slots, parts, missing, made,
          find=find, attempts=config.attempts, start_seconds=config.start_seconds, wanted=wanted,
        )  # fmt: skip
    seals = {name: there[name] for name in parts}
    if identity is not None:
      _finish(place, identity, seals)
  return Parts(place.path, dict(identity or {}), seals, len(missing))


def open_parts(path: str | os.PathLike[str]) -> Parts:
  """Parts that `map_parts` made to the end.

  Raises:
    UserError: nothing was made there, or not to the end.
  """
  place = open_place(path)
  manifest = place.read_json(_MANIFEST)
  if manifest is None:
    begun = place.read_json(_PARTS)
    how = f'not all of its {len(begun["parts"])} parts are made: run the same command again' if begun else 'no parts'
    raise UserError(f'{place.path} holds no {_MANIFEST}: {how}')
  return Parts(place.path, manifest['identity'], manifest['parts'])


def _check_names(parts: Mapping[str, Any]) -> None:
  if not parts:
    raise UserError('there are no parts to make')
  for name in parts:
    if not name or not all(letter.isalnum() or letter in '-_' for letter in name):
      raise UserError(f'a part cannot be called {name!r}: letters, digits, - and _')


def _claim(place: LocalPlace | RemotePlace, identity: Mapping[str, Any], names: Sequence[str]) -> None:
  """Raises UserError if parts of something else lie there."""
  wanted = json.loads(json.dumps({'identity': dict(identity), 'parts': names}))
  found = place.read_json(_PARTS)
  if found is None:
    place.write_json(_PARTS, wanted)
  elif not isinstance(found.get('identity'), dict):
    raise UserError(
      f'{place.path}/{_PARTS} is damaged: delete it and run the same command again; parts that are made stay'
    )
  elif found != wanted:
    keys = [key for key in {**found['identity'], **wanted['identity']}
            if found['identity'].get(key) != wanted['identity'].get(key)]  # fmt: skip
    differing = ', '.join(
      f'{key} {found["identity"].get(key)!r} against {wanted["identity"].get(key)!r}' for key in keys
    )
    raise UserError(
      f'{place.path} holds parts of something else ({differing or "cut otherwise"}); name another folder, or move that '
      'one away'
    )


def _whole(place: LocalPlace | RemotePlace, parts: Mapping[str, Any], warn: Callable[[str], object]) -> dict[str, Seal]:
  whole = {}
  for name, seal in place.sealed().items():
    if name not in parts:
      continue
    damage = place.damage(name, seal)
    if damage is None:
      whole[name] = seal
    else:
      warn(f'{damage}: that part is made anew')
      place.forget(name)
  return whole


def _finish(place: LocalPlace | RemotePlace, identity: Mapping[str, Any], seals: Mapping[str, Seal]) -> None:
  manifest = json.loads(json.dumps({'identity': dict(identity), 'parts': dict(seals)}))
  try:
    there = place.read_json(_MANIFEST)
  except UserError:  # damaged, but all that it says is said by the seals
    there = None
  if there != manifest:
    place.write_json(_MANIFEST, manifest)


@contextlib.contextmanager
def _slots(
  config: ExecutorConfig, make_worker: MakeWorker, setup: Callable[[], object] | None, path: str, parts: int
) -> Iterator[tuple[Sequence[pool.Slot], str]]:
  """As many slots as the config says, and there are parts; and what they ask for, for an error."""
  cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1  # macOS has none
  number = min(config.workers or max(cores // config.cpus, 1), parts)
  if config.kind == 'here':
    yield [workers.Here(make_worker, path)], ''
    return
  if config.kind == 'threads':
    yield [workers.Thread(make_worker, path) for _ in range(number)], ''
    return
  import cloudpickle

  payload = cloudpickle.dumps((setup, make_worker))
  if config.kind == 'processes':
    variables = workers.environment(config.cpus)
    yield [workers.Process(payload, path, variables) for _ in range(number)], ''
    return
  from mlsd_jax.executor import ray_workers

  with ray_workers.connected(config) as ray:
    number = min(config.workers or ray_workers.default_number(ray, config), parts)
    yield [ray_workers.Actor(ray, payload, path, config) for _ in range(number)], ray_workers.describe(ray, config)


def fingerprint(value: Any) -> str:
  """A short digest of what is JSON, for an identity that would be long."""
  return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:24]


def numbered(tasks: Sequence[Any], stem: str = 'part') -> dict[str, Any]:
  """Tasks by names in order: part-00000, part-00001 and so on."""
  return {f'{stem}-{number:05d}': task for number, task in zip(itertools.count(), tasks, strict=False)}
