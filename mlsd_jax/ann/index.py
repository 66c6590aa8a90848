"""Nearest neighbours over vectors with ids: built, searched, changed, saved."""

import dataclasses
import pathlib
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from mlsd_jax.ann import changes, checks, exact
from mlsd_jax.ann.changes import Change
from mlsd_jax.ann.checks import Metric
from mlsd_jax.ann.delta import Delta
from mlsd_jax.ann.filters import Where, expression, keep_rows
from mlsd_jax.ann.folder import FORMAT, Folder, writing
from mlsd_jax.ann.journal import Journal
from mlsd_jax.ann.segment import Segment
from mlsd_jax.ann.settings import Settings
from mlsd_jax.ann.shards import Shard, gather
from mlsd_jax.ann.store import Store
from mlsd_jax.errors import UserError

_LOCAL = 40  # bits of a place within its segment
_ID_TYPES = {'int64': pl.Int64(), 'string': pl.String()}


@dataclasses.dataclass(frozen=True)
class Neighbours:
  """What a search found for Q queries: for each as many as there are, at most k, the nearest first.

  Attributes:
    ids: Q arrays of ids: int64, or objects that are str.
    scores: Q arrays, float32: dot products with the stored vectors; under cosine the cosine.
    rows: Q arrays, int64: the order in which the vectors were handed in, from 0; rebuilding does not change it.
  """

  ids: list[np.ndarray]
  scores: list[np.ndarray]
  rows: list[np.ndarray]

  def __len__(self) -> int:
    return len(self.ids)


class Index:
  """Vectors with ids, searched by dot product or cosine. Make one with `Index.build` or `Index.open`.

  What is built never changes: added vectors are searched exactly until they are many enough to be built into a segment
  of their own, removed ones are left out of what a search finds. After `save`, or when built in a folder or opened,
  each change is on disk before it can be found. Searches may run in other threads while one thread changes the index.
  """

  def __init__(
    self, metric: Metric, dim: int, settings: Settings, id_type: pl.DataType, schema: Any, made_by: str | None
  ):
    self.metric, self.dim, self.settings, self.made_by = metric, dim, settings, made_by
    self._id_type, self._schema = id_type, schema
    self._segments: list[Segment] = []
    self._alive: list[np.ndarray | None] = []  # per segment bool [N]; None: all of them
    self._delta = Delta(dim, id_type)
    self._next_row = 0
    self._folder: Folder | None = None
    self._journal: Journal | None = None
    self._newest = 0  # the generation last seen in the folder
    self._compact_at = settings.delta_limit
    self._lock = threading.RLock()

  @classmethod
  def build(
    cls,
    vectors: Any,
    ids: Any = None,
    *,
    metric: str = 'dot',
    metadata: Any = None,
    settings: Settings | None = None,
    made_by: str | None = None,
    folder: str | pathlib.Path | None = None,
  ) -> 'Index':
    """Builds an index, one shard of `settings.shard_size` vectors after another.

    Args:
      vectors: floating point [N, D], an array or a memory map; or an iterator of such parts, where a part may also be
        a tuple (vectors, ids) or (vectors, ids, metadata). Parts are gathered, or cut, into shards.
      ids: N strings or whole numbers; None is 0 to N - 1.
      metric: 'dot' or 'cosine'.
      metadata: columns of N values by name, or a Polars DataFrame, for `search(where=...)`.
      settings: what to build; None chooses by size.
      made_by: what made the vectors (an encoder's name and checksum); `open` can ask for it.
      folder: where to save each shard as soon as it is built, so that memory holds one at a time.

    Raises:
      UserError: bad vectors, ids or metadata, named by the row; the folder cannot be written.
    """
    settings = settings or Settings()
    kind = checks.metric(metric)
    index: Index | None = None
    target = Folder(folder) if folder is not None else None
    for shard in gather(vectors, ids, metadata, kind, settings.shard_size):
      if index is None:
        schema = None if shard.metadata is None else shard.metadata.schema
        index = cls(kind, shard.vectors.shape[1], settings, shard.ids.dtype, schema, made_by)
      index._take(shard, target)
    if index is None:
      raise UserError('no vectors: an index needs an array of at least shape [0, dimensions]')
    if target is not None:
      index._commit(target, index._segments, index._alive, index._delta)
    return index

  def _take(self, shard: Shard, target: Folder | None) -> None:
    if not shard.numbered:
      for segment in self._segments:
        known = segment.find(shard.ids) >= 0
        if known.any():
          raise UserError(f'ids: {shard.ids[int(known.argmax())]!r} occurs more than once')
    if len(shard.ids) == 0:
      return
    rows = np.arange(self._next_row, self._next_row + len(shard.ids))
    segment = Segment.build(shard.vectors, shard.ids, rows, shard.metadata, self.settings)
    if target is not None:
      with writing(target.path):
        segment.written(target.segments, segment.write(target.segments), release=True)
    self._segments, self._alive = [*self._segments, segment], [*self._alive, None]
    self._next_row += len(shard.ids)

  def search(
    self,
    queries: Any,
    k: int,
    *,
    where: Where | None = None,
    leaves_to_search: int | None = None,
    reorder: int | None = None,
    parallel: bool = True,
  ) -> Neighbours:
    """The `k` nearest vectors of each query, or as many as there are.

    Args:
      queries: floating point [Q, D].
      k: how many; any number from 1.
      where: only among these: {column: value or list of values}, or a Polars expression over the metadata.
      leaves_to_search: instead of the settings'; `tuning.tune` finds a good one.
      reorder: instead of the settings'.
      parallel: use all cores for a batch.

    Raises:
      UserError: queries of another type or width, not finite, or all zeros; k; a filter that does not apply.
    """
    k = checks.count('k', k)
    leaves = None if leaves_to_search is None else checks.count('leaves_to_search', leaves_to_search)
    wider = None if reorder is None else checks.count('reorder', reorder)
    unit, factors = checks.queries(queries, self.metric, self.dim)
    condition = None if where is None else expression(where)
    with self._lock:
      segments, alive = self._segments, self._alive
      vectors, numbers, living = self._delta.view()
      added, table = self._delta.ids, self._delta.metadata
    if condition is not None and self._schema is None:
      raise UserError('where: the index was built without metadata')
    series = [segment.ids for segment in segments]
    codes, rows, scores = ([np.zeros((len(unit), 0), dtype)] for dtype in (np.int64, np.int64, np.float32))
    for segment, keep in zip(segments, alive, strict=True):
      if condition is not None:
        kept = keep_rows(segment.metadata, condition)
        keep = kept if keep is None else keep & kept
      places, found = segment.search(unit, k, keep, leaves, wider, parallel)
      codes.append(places + ((len(codes) - 1) << _LOCAL))
      rows.append(segment.rows[places])
      scores.append(found)
    if len(numbers):
      keep = living if condition is None else living & keep_rows(table, condition)
      places, found = Store(vectors).exact(unit, k, keep)
      codes.append(places + ((len(codes) - 1) << _LOCAL))
      rows.append(numbers[places])
      scores.append(found)
      series.append(added)
    best = exact.order(np.concatenate(rows, 1), np.concatenate(scores, 1), k)
    code, row, score = (np.take_along_axis(np.concatenate(part, 1), best, 1) for part in (codes, rows, scores))
    return Neighbours(list(_ids(code, series, self._id_type)), list(score * factors[:, None]), list(row))

  def add(self, vectors: Any, ids: Any = None, *, metadata: Any = None) -> None:
    """Adds vectors of new ids; the next search finds them.

    Args:
      vectors: floating point [M, D].
      ids: as in `build`; None numbers them by their rows.
      metadata: M values of each column that the index has.

    Raises:
      UserError: as `build`, or an id is there already; then nothing is added.
    """
    with self._lock:
      values, names, table = self._checked(vectors, ids, metadata)
      known = self._contains(names)
      if known.any():
        raise UserError(f'the index has id {names[int(known.argmax())]!r} already: replace it, or delete it first')
      self._change(None, names, values, table)

  def replace(self, vectors: Any, ids: Any, *, metadata: Any = None) -> None:
    """Puts other vectors (and metadata) in the place of those of known ids; they get new row numbers.

    Raises:
      UserError: as `add`, or an id is unknown; then nothing is replaced.
    """
    with self._lock:
      values, names, table = self._checked(vectors, ids, metadata)
      self._change(self._known(names), names, values, table)

  def delete(self, ids: Any) -> None:
    """Removes the vectors of these ids; the next search does not find them.

    Raises:
      UserError: an id is unknown; then nothing is removed.
    """
    with self._lock:
      self._change(self._known(checks.ids(ids)), None, None, None)

  def _checked(self, vectors: Any, ids: Any, metadata: Any) -> tuple[np.ndarray, pl.Series, pl.DataFrame | None]:
    values = checks.vectors(vectors, self.metric, dim=self.dim)
    names = checks.ids(range(self._next_row, self._next_row + len(values)) if ids is None else ids, len(values))
    return values, names, checks.same_columns(checks.metadata(metadata, len(values)), self._schema)

  def _change(self, removed: pl.Series | None, added: pl.Series | None, vectors: Any, table: Any) -> None:
    """Writes one change to the journal, then makes it visible; then compacts, if there is enough to."""
    dead: dict[str, np.ndarray] = {}
    forgotten: list[int | str] = []
    if removed is not None:
      found, in_delta = self._where(removed)
      dead = {s.name: p[p >= 0] for s, p in zip(self._segments, found, strict=True) if (p >= 0).any()}
      forgotten = removed.filter(pl.Series(in_delta, dtype=pl.Boolean)).to_list()
    names = [] if added is None else added.to_list()
    rows = np.arange(self._next_row, self._next_row + len(names))
    change = Change(dead, forgotten, names, vectors if names else None, rows, table if names else None)
    if not (dead or forgotten or names):
      return
    if self._journal is not None:
      self._journal.append(*changes.pack(change))
    self._apply(change)
    if len(self._delta) >= self._compact_at:
      try:
        self.compact()
      except UserError as error:  # the change itself is made, and on the disk
        self._compact_at = 2 * len(self._delta)
        warnings.warn(str(error), RuntimeWarning, stacklevel=3)

  def _apply(self, change: Change) -> None:
    alive = list(self._alive)
    for number, segment in enumerate(self._segments):
      if segment.name in change.dead:
        before = alive[number]
        after = np.ones(len(segment), bool) if before is None else before.copy()
        after[change.dead[segment.name]] = False
        alive[number] = after
    self._alive = alive
    if change.removed:
      self._delta.remove(change.removed)
    if change.added:
      self._delta.add(change.added, change.vectors, change.rows, change.metadata)
      self._next_row = max(self._next_row, int(change.rows.max()) + 1)

  def compact(self) -> None:
    """Builds what was added, together with small or mostly deleted segments, into one new segment.

    It happens by itself when `settings.delta_limit` vectors were added. Searches meanwhile go on in the old segments.

    Raises:
      UserError: the folder cannot be written; the index goes on as it was.
    """
    with self._lock:
      pairs = list(zip(self._segments, self._alive, strict=True))
      chosen = changes.to_merge(pairs, self._delta.num_alive, self.settings.shard_size)
      if not chosen and not len(self._delta):
        return
      merged = changes.merge([pairs[number] for number in sorted(chosen)], self._delta, self.settings)
      kept = [pair for number, pair in enumerate(pairs) if number not in chosen]
      kept += [(merged, None)] if merged else []
      segments, alive = [segment for segment, _ in kept], [living for _, living in kept]
      delta = Delta(self.dim, self._id_type)
      if self._folder is not None:
        self._commit(self._folder, segments, alive, delta)
      self._segments, self._alive, self._delta = segments, alive, delta

  def _where(self, names: pl.Series) -> tuple[list[np.ndarray], np.ndarray]:
    """Places of living ids: per segment [M], -1 for not there, and whether in the delta, bool [M]."""
    found = []
    for segment, alive in zip(self._segments, self._alive, strict=True):
      places = segment.find(names)
      found.append(places if alive is None else np.where(alive[places] & (places >= 0), places, -1))
    return found, np.array([self._delta.place(name) >= 0 for name in names.to_list()], bool)

  def _contains(self, names: pl.Series) -> np.ndarray:
    if len(names) and names.dtype != self._id_type:
      kind = 'strings' if self._id_type == pl.String else 'whole numbers'
      raise UserError(f'the ids of this index are {kind}, not like {names[0]!r}')
    found, added = self._where(names)
    return np.any([added, *(places >= 0 for places in found)], axis=0)

  def _known(self, names: pl.Series) -> pl.Series:
    known = self._contains(names)
    if not known.all():
      raise UserError(f'the index has no id {names[int((~known).argmax())]!r}')
    return names

  def __len__(self) -> int:
    with self._lock:
      living = (len(s) if a is None else int(a.sum()) for s, a in zip(self._segments, self._alive, strict=True))
      return sum(living) + self._delta.num_alive

  def __contains__(self, id: int | str) -> bool:
    with self._lock:
      names = checks.ids([id])
      return names.dtype == self._id_type and bool(self._contains(names)[0])

  def vectors(self, ids: Any) -> np.ndarray:
    """The stored vectors of these ids, float32 [M, D]; under cosine they have norm 1.

    Raises:
      UserError: an id is unknown.
    """
    with self._lock:
      names = self._known(checks.ids(ids))
      found, added = self._where(names)
      out = np.empty((len(names), self.dim), np.float32)
      for segment, places in zip(self._segments, found, strict=True):
        out[places >= 0] = segment.store.rows(places[places >= 0])
      out[added] = self._delta.view()[0][[self._delta.place(name) for name in names.filter(pl.Series(added)).to_list()]]
      return out

  def describe(self) -> list[dict[str, Any]]:
    """One dict a segment: kind, leaves, vectors, how many of them are deleted, bytes on disk (None: in memory)."""
    with self._lock:
      return [
        {
          'kind': segment.kind,
          'leaves': segment.leaves,
          'vectors': len(segment),
          'deleted': 0 if alive is None else int((~alive).sum()),
          'bytes': sum(size for size, _ in segment.entry['files'].values()) if segment.entry else None,
        }
        for segment, alive in zip(self._segments, self._alive, strict=True)
      ]

  def save(self, folder: str | pathlib.Path | None = None) -> None:
    """Writes the index to a folder as its newest generation; from then on every change is written there.

    A save that is killed or finds the disk full leaves the last index in the folder as it was.

    Args:
      folder: None is the one it was opened from or saved to.

    Raises:
      UserError: no folder, one that cannot be written, or one that another process has saved to since it was opened.
    """
    with self._lock:
      target = Folder(folder) if folder is not None else self._folder
      if target is None:
        raise UserError('save() of an index that was never saved needs a folder')
      self._commit(target, self._segments, self._alive, self._delta)

  def _commit(self, target: Folder, segments: list[Segment], alive: list[np.ndarray | None], delta: Delta) -> None:
    newest = max(target.generations(), default=0)
    if self._folder is not None and self._folder.path == target.path and newest != self._newest:
      raise UserError(f'{target.path} was saved to by another process: open the index again')
    with writing(target.path):
      target.segments.mkdir(parents=True, exist_ok=True)
      entries = []
      for segment in segments:
        here = segment.folder == target.segments / segment.name
        entries.append(segment.entry if here and segment.entry else segment.write(target.segments))
      journal = Journal.create(target.journal(newest + 1))
      for change in changes.outstanding(segments, alive, delta):
        journal.append(*changes.pack(change))
      manifest = {
        'format': FORMAT,
        'metric': self.metric,
        'dim': self.dim,
        'ids': 'string' if self._id_type == pl.String else 'int64',
        'made_by': self.made_by,
        'settings': dataclasses.asdict(self.settings),
        'next_row': self._next_row,
        'schema': None if self._schema is None else changes.to_bytes(pl.DataFrame(schema=self._schema)).hex(),
        'segments': entries,
      }
      target.commit(newest + 1, manifest)
    for segment, entry in zip(segments, entries, strict=True):
      if segment.entry is not entry:
        segment.written(target.segments, entry)
    self._folder, self._journal, self._newest = target, journal, newest + 1
    self._compact_at = max(self.settings.delta_limit, 2 * len(delta))

  @classmethod
  def open(
    cls,
    folder: str | pathlib.Path,
    *,
    made_by: str | None = None,
    verify: bool = True,
    generation: int | None = None,
  ) -> 'Index':
    """Opens a saved index; its vectors stay on disk, mapped into memory.

    Args:
      folder: of the index.
      made_by: refuse an index that was made by something else.
      verify: compare every file's SHA-256; False compares sizes only, which takes no time, but a damaged file then may
        give wrong results or end the process.
      generation: another than the newest.

    Raises:
      UserError: no index, a damaged one (with the generation that is whole, if one is), or one made by something else.
    """
    target = Folder(folder)
    number, manifest = target.read(generation, contents=verify)
    if made_by is not None and made_by != manifest['made_by']:
      raise UserError(f'the index in {target.path} was made by {manifest["made_by"]}, not by {made_by}: build it again')
    schema = manifest['schema']
    index = cls(
      manifest['metric'],
      manifest['dim'],
      Settings(**manifest['settings']),
      _ID_TYPES[manifest['ids']],
      None if schema is None else changes.from_bytes(bytes.fromhex(schema)).schema,
      manifest['made_by'],
    )
    index._segments = [Segment.read(target.segments / entry['name'], entry) for entry in manifest['segments']]
    index._alive = [None] * len(index._segments)
    index._next_row = manifest['next_row']
    index._folder, index._newest = target, max(target.generations())
    index._journal = Journal(target.journal(number))
    for record in index._journal.records():
      index._apply(changes.unpack(*record))
    return index


def _ids(codes: np.ndarray, series: list[pl.Series], id_type: pl.DataType) -> Iterator[np.ndarray]:
  """Ids of (segment, place) pairs [Q, K], int64 or objects."""
  out = np.empty(codes.shape, np.int64 if id_type == pl.Int64 else object)
  numbers, places = codes >> _LOCAL, codes & ((1 << _LOCAL) - 1)
  for number, ids in enumerate(series):
    chosen = numbers == number
    if chosen.any():
      out[chosen] = ids.gather(places[chosen]).to_numpy()
  return iter(out)
