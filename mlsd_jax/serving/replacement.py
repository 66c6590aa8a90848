"""A newer version of a run takes the place of the one that is served, and one call puts the one before back.

The new one is opened and warmed up while the old one answers; then names are pointed at it. Requests that the old one
has begun stay with it: it is kept, to be put back, and whatever was kept before it is closed when it is idle.
"""

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from mlsd_jax.errors import UserError
from mlsd_jax.serving.errors import ApiError
from mlsd_jax.serving.memory import give_memory_back

KINDS = ('texts', 'vectors', 'searches', 'recommenders', 'names', 'tokenizers')  # fields of Services
_IDLE_SECONDS = 60.0  # that a service has nothing to do before it is closed
_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Source:
  """Where a served run comes from.

  Attributes:
    name: of the run.
    version: the one that lies there now; None while it is not whole. It is asked often, so it reads little.
    now: what was opened of it: kind -> name -> service. Who takes it over empties it, as what was opened first would
      else be held for ever.
    open: opens what lies there now.
    opened: the version of `now`.
  """

  name: str
  version: Callable[[], str | None]
  now: dict[str, dict[str, Any]]
  open: Callable[[], dict[str, dict[str, Any]]]
  opened: str | None = None


@dataclasses.dataclass
class _Served:
  """What a source gave.

  Attributes:
    refused: a version that could not be opened, or that was put back: it is not tried again.
  """

  version: str | None
  now: dict[str, dict[str, Any]]
  previous: tuple[str | None, dict[str, dict[str, Any]]] | None = None
  refused: str | None = None


class Replacement:
  """Replaces what is served. All of it runs in the event loop but opening and warming up.

  Args:
    kinds: kind -> name -> service, in which requests look.
    begin: starts and warms up one service, in a thread.
  """

  def __init__(
    self,
    kinds: dict[str, dict[str, Any]],
    sources: Sequence[Source],
    begin: Callable[[Any], None],
    *,
    warn: Callable[[str], None] = _logger.warning,
  ):
    self._kinds, self._begin, self._warn = kinds, begin, warn
    self._sources = {source.name: source for source in sources}
    copy = lambda kinds: {kind: dict(named) for kind, named in kinds.items()}
    self._served = {source.name: _Served(source.opened, copy(source.now)) for source in sources}
    for source in sources:
      source.now.clear()
    self._turn = asyncio.Lock()
    self._closing: set[asyncio.Task[None]] = set()

  def version(self, name: str) -> str | None:
    """Of what is served by a name; None of what is of no source."""
    return self._served[name].version if name in self._served else None

  async def watch(self, seconds: float) -> None:
    """Looks for newer versions, for ever."""
    while True:
      await asyncio.sleep(seconds)
      for name in self._sources:
        try:
          await self.refresh(name)
        except Exception:
          _logger.exception('%s was not replaced', name)

  async def refresh(self, name: str) -> bool:
    """Replaces a run if another version of it is there; whether it did. One that cannot be opened is told of once."""
    source, served = self._sources[name], self._served[name]
    async with self._turn:
      version = await asyncio.to_thread(source.version)
      if version is None or version in (served.version, served.refused):
        return False
      try:
        fresh = await asyncio.to_thread(self._open, source)
      except UserError as error:
        served.refused = version
        self._warn(f'{name}: version {version} is not served: {error}')
        return False
      dropped, served.previous = served.previous, (served.version, served.now)
      served.version, served.now, served.refused = version, fresh, None
      self._point(fresh)
      if dropped is not None:
        self._close_later(dropped[1])
      self._warn(f'{name}: version {version} is served')
      await asyncio.to_thread(give_memory_back)  # of what warmed it up
      return True

  def _open(self, source: Source) -> dict[str, dict[str, Any]]:
    fresh = source.open()
    for service in _each(fresh):
      self._begin(service)
    for service in _each(fresh):
      _take_over(service)
    return fresh

  async def roll_back(self, name: str) -> str | None:
    """Puts the version before back, and gives its name; the one that it replaces is not taken again by itself.

    Raises:
      ApiError: there is none (409), or nothing is served by this name (404).
    """
    if name not in self._served:
      raise ApiError(404, f'the model {name[:100]!r} is not served here', param='model', code='model_not_found')
    served = self._served[name]
    async with self._turn:
      if served.previous is None:
        raise ApiError(409, f'{name} was not replaced since the server started', code='no_previous_version')
      version, before = served.previous
      for service in _each(before):
        await asyncio.to_thread(_take_over, service)
      served.previous, served.refused = (served.version, served.now), served.version
      served.version, served.now = version, before
      self._point(before)
      return version

  def _point(self, fresh: dict[str, dict[str, Any]]) -> None:
    for kind, named in fresh.items():
      self._kinds[kind].update(named)

  def _close_later(self, old: dict[str, dict[str, Any]]) -> None:
    async def close() -> None:
      services = list(_each(old))
      old.clear()
      while services:
        while not _is_idle(services[-1]):
          await asyncio.sleep(_IDLE_SECONDS)
        await asyncio.sleep(_IDLE_SECONDS)
        await close_service(services.pop())
      await asyncio.to_thread(give_memory_back, was_closed=True)

    task = asyncio.create_task(close())
    self._closing.add(task)
    task.add_done_callback(self._closing.discard)

  @contextlib.asynccontextmanager
  async def running(self, seconds: float) -> AsyncIterator[None]:
    """Looks for newer versions meanwhile, if `seconds` is above 0; closes what was kept at the end."""
    watching = asyncio.create_task(self.watch(seconds)) if seconds and self._sources else None
    try:
      yield
    finally:
      for task in [*self._closing, *([watching] if watching else [])]:
        task.cancel()
      for served in self._served.values():
        for service in _each(served.previous[1] if served.previous else {}):
          await close_service(service)


def _each(kinds: dict[str, dict[str, Any]]) -> Iterator[Any]:
  for named in kinds.values():
    yield from named.values()


def _take_over(service: Any) -> None:
  take_over = getattr(service, 'take_over', None)
  if take_over is not None:
    take_over()


def _is_idle(service: Any) -> bool:
  stats = getattr(service, 'stats', None)
  return not getattr(service, 'waiting', 0) and not (stats and stats.reading + stats.decoding)


async def close_service(service: Any) -> None:
  """Closes a service that another has taken the place of; what the two share stays open."""
  close = getattr(service, 'retire', None) or getattr(service, 'close', None)
  if close is not None:
    closing = close()
    if asyncio.iscoroutine(closing):
      await closing
