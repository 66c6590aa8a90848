"""What happens in a shop while it is served: every event is in a log before anybody is told so, and then counted.

    STATE/RECOMMENDER/events.log     JSON records in order: the shop's clock, which version was first served when,
                                     events, new items; ids of events that builds have taken in

One thread writes and counts: it takes all that has come meanwhile at once, so that many events share one fsync.
"""

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import datetime
import json
import logging
import math
import pathlib
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mlsd_jax.errors import UserError
from mlsd_jax.files import to_json
from mlsd_jax.recsys.live import LiveState, Purchase
from mlsd_jax.recsys.live.live_state import View
from mlsd_jax.recsys.purchases.events import DAY
from mlsd_jax.recsys.serving import State, recommend
from mlsd_jax.sealed import AppendLog, lock
from mlsd_jax.serving.errors import ApiError

KINDS = ('purchase', 'click', 'impression')
_MAGIC = b'SHOP'
_AHEAD = 300  # seconds that a client's clock may be ahead
_LIVE = 30 * DAY  # a shop whose last purchase is longer ago than this goes on from there, not from today
_AT_ONCE = 10_000  # events of one write
_WARM = (1, 8, 64)  # users of a batch
_COMPACT = 1000  # events that builds have taken in, from which on the log is written without them
_logger = logging.getLogger(__name__)
_TICK_SECONDS = 30.0  # after which an idle shop looks whether its day is over


@dataclasses.dataclass(frozen=True)
class Event:
  """What a user did.

  Attributes:
    id: by which a repetition is known.
    time: seconds since 1970, of the shop's clock.
    kind: one of KINDS; purchases are counted, all are logged.
    answer: the id of the answer of /v1/recommend that it followed; '' if that is not known.
  """

  id: str
  user: str
  item: str
  time: int
  kind: str = 'purchase'
  price: float | None = None
  quantity: float = 1.0
  answer: str = ''

  @property
  def purchase(self) -> Purchase:
    return Purchase(self.user, self.item, self.time, self.price, self.quantity)


@dataclasses.dataclass(frozen=True)
class _Waiting:
  events: Sequence[Event]
  items: Sequence[Mapping[str, str | None]]
  build: State | None  # that takes the place of the one that is served
  done: concurrent.futures.Future[int]


class Shop:
  """A recommender's live state behind its log.

  Attributes:
    listener: is told of events when they are counted, by the thread that counts.
    version: of the build that is served.
    unknown: purchases of the log that are of no item of this build.
    torn: bytes of a half-written record that were cut off the end of the log when it was opened.
  """

  def __init__(
    self,
    state: State,
    folder: pathlib.Path,
    *,
    wall: Callable[[], float] = time.time,
    compact: int = _COMPACT,
  ):
    """Opens or begins the log in `folder`, and counts what is in it.

    Args:
      compact: so many events that the last two builds have among their own purchases leave the log, but for their ids.

    Raises:
      UserError: the folder cannot be written or another server writes there, the log is damaged, the state is one of an
        earlier release.
    """
    self._wall, self._compact_from = wall, compact
    self.listener: Callable[[Sequence[Event]], None] = lambda events: None
    self._held = contextlib.ExitStack()
    self._held.enter_context(lock(folder))
    try:
      self._open(state, folder / 'events.log')
    except BaseException:
      self._held.close()
      raise
    self._came, self._closing = threading.Condition(), False
    self._queue: list[_Waiting] = []
    self._thread = threading.Thread(target=self._run, name=f'events of {folder.name}', daemon=True)
    self._thread.start()

  def _open(self, state: State, path: pathlib.Path) -> None:
    try:
      self._log = AppendLog(path, _MAGIC) if path.exists() else AppendLog.create(path, _MAGIC)
    except OSError as error:
      raise UserError(f'cannot write {path}: {error.strerror}') from error
    records = [json.loads(body) for body in self._log.records()]
    self.torn = self._log.torn
    if not records:
      late = self._wall() - state.snapshot.cut
      records = [{'clock': math.floor(late) if late > _LIVE else 0}]
      self._write(records)
    self._behind = int(records[0]['clock'])
    self._ids = {record['event']['id'] for record in records if 'event' in record}
    self._ids.update(*(record['ids'] for record in records if 'ids' in record))
    self._count(state, records)
    served = [record['version'] for record in records if 'version' in record]
    self._compact(records, {state.version, *served[-2:]} if len(served) > 1 else set())

  def _count(self, state: State, records: list[dict[str, Any]]) -> None:
    """Makes the live state of a build and the log's records."""
    cut = state.snapshot.cut
    if not any(record.get('version') == state.version for record in records):
      records.append({'version': state.version, 'cut': cut})
      self._write(records[-1:])
    first_served = next(at for at, record in enumerate(records) if record.get('version') == state.version)
    items: dict[str, dict[str, str | None]] = {}
    counted: list[Purchase] = []
    for at, record in enumerate(records):
      if 'item' in record:
        items.setdefault(record['item']['id'], record['item'])
      if 'event' in record:
        event = Event(**record['event'])
        # What was before this version's cut when it came is among the purchases that it was built from.
        if event.kind == 'purchase' and (at > first_served or event.time >= cut):
          counted.append(event.purchase)
    known = {*map(str, state.items['id']), *items}
    self.unknown = sum(each.item not in known for each in counted)
    live = LiveState(state, self._next_cut(cut), [each for each in counted if each.item in known], list(items.values()))
    for users in _WARM:  # compiled before anybody is answered from it
      recommend(live.view.state, np.zeros(users, np.int64))
    self._live, self.version = live, state.version

  def _compact(self, records: list[dict[str, Any]], builds: set[str]) -> None:
    """Writes the log without the events that each of these builds, by version, has among its own purchases.

    Their ids stay: whoever sends one again is told that it was counted. A log that cannot be written anew stays.
    """
    places = [at for at, record in enumerate(records) if record.get('version') in builds]
    if not places:
      return
    first, cut = places[0], min(records[at]['cut'] for at in places)
    is_absorbed = lambda at, record: at < first and 'event' in record and record['event']['time'] < cut
    absorbed = [record['event']['id'] for at, record in enumerate(records) if is_absorbed(at, record)]
    if len(absorbed) < self._compact_from:
      return
    ids = [id_ for record in records for id_ in record.get('ids', ())] + absorbed
    left = [record for at, record in enumerate(records) if not is_absorbed(at, record) and 'ids' not in record]
    bodies = [to_json(record, self._log.path).encode() for record in (left[0], {'ids': ids}, *left[1:])]
    try:
      self._log.rewrite(bodies)
    except OSError as error:
      _logger.warning('%s is not compacted: %s', self._log.path.name, error.strerror)

  def _next_cut(self, cut: int) -> int:
    """The first end of a day of the shop's after now, days being counted from `cut`."""
    return cut + DAY * max(0, (self.now() + _AHEAD - cut) // DAY + 1)

  def now(self) -> int:
    """Seconds since 1970 by the shop's clock, which goes on from its last purchase if that is long ago."""
    return math.floor(self._wall()) - self._behind

  @property
  def view(self) -> View:
    return self._live.view

  @property
  def newcomers(self) -> np.ndarray:
    """Rows of the items that came after the build."""
    return self._live.newcomers

  def make_event(self, user: str, item: str, moment: str | float | None = None, **fields: Any) -> Event:
    """An event as it will be logged.

    Args:
      moment: ISO 8601 with a zone, seconds since 1970, or None for now.

    Raises:
      UserError: an item that is not known, a time that cannot be read or is still to come.
    """
    if item not in self.view.items:
      raise UserError(f'item: no item has the id {item[:100]!r}')
    now = self.now()
    at = now if moment is None else read_time(moment)
    if at > now + _AHEAD:
      shown = datetime.datetime.fromtimestamp(now, datetime.UTC).isoformat()
      raise UserError(f'time: {str(moment)[:40]!r} is still to come: it is {shown} in this shop')
    if fields.get('kind', 'purchase') == 'purchase' and fields.get('price') is None:
      fields['price'] = self._live.price_of(item)
    fields['id'] = fields.get('id') or uuid.uuid4().hex
    return Event(user=user, item=item, time=at, **fields)

  async def post(self, events: Sequence[Event]) -> int:
    """Logs and counts events; how many of them were new. When it returns, they are in the log and in the next answer.

    Raises:
      ApiError: the log cannot be written (503), or the server stops.
    """
    return await self._put(events, ())

  async def post_items(self, items: Sequence[Mapping[str, str | None]]) -> int:
    """Logs items and takes them in; how many of them were new. What is there already stays as it is.

    Raises:
      UserError: a column or a value that the table of items cannot have.
      ApiError: as `post`.
    """
    for item in items:
      self._live.read_item(item)
    return await self._put((), items)

  def replace(self, state: State) -> None:
    """Counts on another build from now on; waits until it does. Events that come meanwhile wait, too.

    Raises:
      UserError: the state holds no purchases, or the log cannot be written.
    """
    done: concurrent.futures.Future[int] = concurrent.futures.Future()
    with self._came:
      self._queue.append(_Waiting((), (), state, done))
      self._came.notify()
    done.result()

  async def _put(self, events: Sequence[Event], items: Sequence[Mapping[str, str | None]]) -> int:
    done: concurrent.futures.Future[int] = concurrent.futures.Future()
    with self._came:
      if self._closing:
        raise ApiError(503, 'the server stops', retry_after=1)
      self._queue.append(_Waiting(events, items, None, done))
      self._came.notify()
    # What is written is written: a client that goes away meanwhile takes nothing back.
    return await asyncio.shield(asyncio.wrap_future(done))

  def _run(self) -> None:
    while True:
      with self._came:
        if not self._queue and not self._closing:
          self._came.wait(_TICK_SECONDS)
        batch, self._queue = self._queue[:_AT_ONCE], self._queue[_AT_ONCE:]
        if not batch and self._closing:
          return
      try:
        if self._next_cut(self._live.cut) != self._live.cut:
          self._live.retake(self._next_cut(self._live.cut))
        new = self._take(batch)
        for each in batch:
          if each.build is not None and each.build.version != self.version:
            records, before = [json.loads(body) for body in self._log.records()], self.version
            self._count(each.build, records)
            self._compact(records, {before, each.build.version})  # the one before may be put back
      except Exception as error:
        for each in batch:
          unwritten = isinstance(error, UserError) and each.build is None
          each.done.set_exception(ApiError(503, str(error), retry_after=5) if unwritten else error)
        continue
      for each, number in zip(batch, new, strict=True):
        each.done.set_result(number)

  def _take(self, batch: Sequence[_Waiting]) -> list[int]:
    """Logs and counts what is new in a batch; how many events of each request are."""
    fresh: dict[str, Event] = {}
    items: dict[str, Mapping[str, str | None]] = {}
    new = []
    for each in batch:
      before = len(fresh) + len(items)
      items |= {str(item['id']): item for item in each.items if item['id'] not in self.view.items}
      fresh |= {event.id: event for event in each.events if event.id not in self._ids and event.id not in fresh}
      new.append(len(fresh) + len(items) - before)
    if items:
      self._write({'item': dict(item)} for item in items.values())
      self._live.add_items(list(items.values()))
    events = list(fresh.values())
    if events:
      self._write({'event': dataclasses.asdict(event)} for event in events)
      self._ids.update(fresh)
      self._live.add([event.purchase for event in events if event.kind == 'purchase'])
      self.listener(events)
    return new

  def _write(self, records: Iterable[dict[str, Any]]) -> None:
    try:
      self._log.append(*(to_json(record, self._log.path).encode() for record in records))
    except OSError as error:
      raise UserError(f'events cannot be written: {error.strerror}') from error

  def close(self) -> None:
    """Counts what waits, and gives the folder up."""
    with self._came:
      self._closing = True
      self._came.notify()
    self._thread.join()
    self._held.close()


def read_time(moment: str | float) -> int:
  """Whole seconds since 1970.

  Raises:
    UserError: no ISO 8601 time, one without a zone, or a number that is no time.
  """
  if isinstance(moment, str):
    try:
      read = datetime.datetime.fromisoformat(moment)
    except ValueError:
      raise UserError(f'time: {moment[:40]!r} is neither ISO 8601 nor seconds since 1970') from None
    if read.tzinfo is None:
      raise UserError(f'time: {moment[:40]!r} has no zone; append Z or +00:00')
    seconds = read.timestamp()
  else:
    seconds = float(moment)
  if not 0 <= seconds < 2**33:
    raise UserError(f'time: {str(moment)[:40]!r} is not between 1970 and 2242')
  return math.floor(seconds)
