"""Nearest neighbours over vectors with ids: built, searched, changed, saved."""

import contextlib
import os
import pathlib
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from mlsd_jax.ann import changes, checks, columns
from mlsd_jax.ann.changes import Change
from mlsd_jax.ann.checks import Metric
from mlsd_jax.ann.config import IndexConfig
from mlsd_jax.ann.delta import Delta
from mlsd_jax.ann.filters import Where, condition
from mlsd_jax.ann.folder import FORMAT, Folder, writing
from mlsd_jax.ann.journal import Journal
from mlsd_jax.ann.segment import Segment
from mlsd_jax.ann.shards import Shard, gather
from mlsd_jax.ann.state import Effort, Neighbours, State
from mlsd_jax.errors import UserError
from mlsd_jax.sealed import lock

_ID_TYPES = {'int64': pl.Int64(), 'string': pl.String()}


class Index:
  """Vectors with ids, searched by dot product or cosine. Make one with `Index.build` or `Index.open`.

  What is built never changes: added vectors are searched exactly until they are many enough to be built into a segment
  of their own, removed ones are left out of what a search finds. After `save`, or when built in a folder or opened,
  each change is on disk before it can be found. Searches may run in other threads while one thread changes the index.
  """

  def __init__(
    self, metric: Metric, dim: int, settings: IndexConfig, id_type: pl.DataType, schema: Any, made_by: str | None
  ):
    self.metric, self.dim, self.settings, self.made_by = metric, dim, settings, made_by
    self._id_type, self._schema = id_type, schema
    self._state = State([], [], Delta(dim, id_type))
    self._next_row = 0
    self._folder: Folder | None = None
    self._journal: Journal | None = None
    self._generation = 0  # of the journal
    self._seen = (0, 0)  # Folder.stamp when this index last read or wrote there
    self._compact_at = settings.delta_limit
    self._writing = threading.RLock()  # held through a whole change
    self._lock = threading.RLock()  # held for a moment: what a search sees is of one state

  @classmethod
  def build(
    cls,
    vectors: Any,
    ids: Any = None,
    *,
    metric: str = 'dot',
    metadata: Any = None,
    settings: IndexConfig | None = None,
    made_by: str | None = None,
    folder: str | pathlib.Path | None = None,
  ) -> 'Index':
    """Builds an index, one shard of `settings.shard_size` vectors after another.

    Args:
      vectors: floating point [N, D], an array or a memory map; or an iterator of such parts, where a part may also be
        a tuple (vectors, ids) or (vectors, ids, metadata). Parts are gathered, or cut, into shards. A float32 array
        under 'dot' is not copied: it must not be changed later.
      ids: N strings or whole numbers; None is 0 to N - 1.
      metric: 'dot' or 'cosine'.
      metadata: columns of N values by name, or a Polars DataFrame, for `search(where=...)`.
      settings: what to build; None chooses by size.
      made_by: what made the vectors (an encoder's name and checksum); `open` can ask for it.
      folder: where to save each shard as soon as it is built, so that memory holds one at a time.

    Raises:
      UserError: bad vectors, ids or metadata, named by the row; the folder cannot be written.
    """
    settings = IndexConfig() if settings is None else settings
    if not isinstance(settings, IndexConfig):
      raise UserError(f'settings={checks.shown(settings)}: it is an IndexConfig')
    kind, maker = checks.metric(metric), checks.maker(made_by)
    index: Index | None = None
    target = Folder(folder) if folder is not None else None
    # Held throughout: a save there meanwhile would remove the shards that no generation names yet.
    with contextlib.nullcontext() if target is None else lock(target.path):
      for shard in gather(vectors, ids, metadata, kind, settings.shard_size):
        if index is None:
          schema = None if shard.metadata is None else shard.metadata.schema
          index = cls(kind, shard.vectors.shape[1], settings, shard.ids.dtype, schema, maker)
        index._take(shard, target)
        del shard  # before the next one is made
      if index is None:
        raise UserError('no vectors: an index needs an array of at least shape [0, dimensions]')
      if target is not None:
        with writing(target.path):
          index._commit(target, index._state)
    return index

  def _take(self, shard: Shard, target: Folder | None) -> None:
    if not shard.numbered:
      for segment in self._state.segments:
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
    state = self._state
    self._state = State([*state.segments, segment], [*state.alive, None], state.delta)
    self._next_row += len(shard.ids)

  def search(
    self,
    queries: Any,
    k: int,
    *,
    where: Where | None = None,
    leaves_to_search: int | None = None,
    reorder: int | None = None,
    exact: bool = False,
    parallel: bool = True,
  ) -> Neighbours:
    """The `k` nearest vectors of each query, or as many as there are.

    Args:
      queries: floating point [Q, D].
      k: how many; any number from 1.
      where: only among these: {column: value}, {column: list of values}, {column: {operator: value}} with the operators
        gt, ge, lt, le, ne and in, of which several hold together; None is a row without a value, which no other
        condition takes. Or a Polars expression over the metadata, true or not for each row alone.
      leaves_to_search: instead of the settings'; `tuning.tune` finds a good one.
      reorder: instead of the settings'.
      exact: score every vector: what the rest is measured against.
      parallel: use all cores for a batch.

    Raises:
      UserError: queries of another type or width, not finite, or all zeros; k; a filter of an unknown column or
        operator, or of values of another kind than the column's.
    """
    k = checks.count('k', k)
    leaves = self.settings.leaves_to_search
    leaves = leaves if leaves_to_search is None else checks.count('leaves_to_search', leaves_to_search)
    wider = self.settings.reorder if reorder is None else checks.count('reorder', reorder)
    unit, factors = checks.queries(queries, self.metric, self.dim)
    effort = Effort(leaves, wider, checks.flag('exact', exact), checks.flag('parallel', parallel))
    passes = None if where is None else condition(where, self._schema)
    with self._lock:
      view = self._state.view()
    return view.search(unit, factors, k, passes, effort)

  def add(self, vectors: Any, ids: Any = None, *, metadata: Any = None) -> None:
    """Adds vectors of new ids; the next search finds them.

    Args:
      vectors: floating point [M, D].
      ids: as in `build`; None numbers them by their rows.
      metadata: M values of each column that the index has, of its type: none is rounded, cut or converted.

    Raises:
      UserError: as `build`, an id is there already, a value that its column cannot hold as it is, or the folder was
        changed by another copy of the index; then nothing is added.
    """
    with self._writing:
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
    with self._writing:
      values, names, table = self._checked(vectors, ids, metadata)
      self._change(self._known(names), names, values, table)

  def delete(self, ids: Any) -> None:
    """Removes the vectors of these ids; the next search does not find them.

    Raises:
      UserError: an id is unknown; then nothing is removed.
    """
    with self._writing:
      self._change(self._known(checks.ids(ids, ordered=False)), None, None, None)

  def _checked(self, vectors: Any, ids: Any, metadata: Any) -> tuple[np.ndarray, pl.Series, pl.DataFrame | None]:
    values = checks.vectors(vectors, self.metric, dim=self.dim)
    names = checks.ids(range(self._next_row, self._next_row + len(values)) if ids is None else ids, len(values))
    return values, names, columns.same_columns(columns.metadata(metadata, len(values)), self._schema)

  def _change(self, removed: pl.Series | None, added: pl.Series | None, vectors: Any, table: Any) -> None:
    """Writes one change to the journal, then makes it visible; then compacts, if there is enough to."""
    dead, forgotten = ({}, []) if removed is None else self._state.removal(removed)
    names = [] if added is None else added.to_list()
    rows = np.arange(self._next_row, self._next_row + len(names))
    change = Change(dead, forgotten, names, vectors if names else None, rows, table if names else None)
    if not (dead or forgotten or names):
      return
    if self._folder is not None and self._journal is not None:
      with lock(self._folder.path, wait=True):
        self._refuse_changed(self._folder)
        if self._generation != self._seen[0]:
          raise UserError(
            f'generation {self._generation} of the index in {self._folder.path} is not its newest ({self._seen[0]}), '
            'so that a change of it would not be found again: save() first, which makes it the newest'
          )
        try:
          self._journal.append(*changes.pack(change))
        finally:
          self._seen = self._folder.stamp()
    self._apply(change)
    if len(self._state.delta) >= self._compact_at:
      try:
        self.compact()
      except UserError as error:  # the change itself is made, and on the disk
        self._compact_at = 2 * len(self._state.delta)
        warnings.warn(str(error), RuntimeWarning, stacklevel=3)

  def _apply(self, change: Change) -> None:
    with self._lock:
      self._state = self._state.changed(change)
      self._next_row = max(self._next_row, int(change.rows.max(initial=-1)) + 1)

  def compact(self) -> None:
    """Builds what was added, together with small or mostly deleted segments, into one new segment.

    It happens by itself when `settings.delta_limit` vectors were added. Searches meanwhile go on in the old segments.

    Raises:
      UserError: the folder cannot be written; the index goes on as it was.
    """
    with self._writing:
      state = self._state.compacted(self.settings, Delta(self.dim, self._id_type))
      if state is self._state:
        return
      if self._folder is not None:
        with _sole_writer(self._folder):
          self._commit(self._folder, state)
      with self._lock:
        self._state = state

  def _contains(self, names: pl.Series) -> np.ndarray:
    if len(names) and names.dtype != self._id_type:
      kind = 'strings' if self._id_type == pl.String else 'whole numbers'
      raise UserError(f'the ids of this index are {kind}, not like {names[0]!r}')
    found, added = self._state.find(names)
    return np.any([added, *(places >= 0 for places in found)], axis=0)

  def _known(self, names: pl.Series) -> pl.Series:
    known = self._contains(names)
    if not known.all():
      raise UserError(f'the index has no id {names[int((~known).argmax())]!r}')
    return names

  def __len__(self) -> int:
    with self._lock:
      return len(self._state)

  def __contains__(self, id: int | str) -> bool:
    try:
      names = checks.ids([id])
    except UserError:  # nothing that an index could have
      return False
    with self._lock:
      return names.dtype == self._id_type and bool(self._contains(names)[0])

  def vectors(self, ids: Any) -> np.ndarray:
    """The stored vectors of these ids, float32 [M, D]; under cosine they have norm 1.

    Raises:
      UserError: an id is unknown.
    """
    with self._lock:
      return self._state.vectors(self._known(checks.ids(ids)), self.dim)

  def load(self) -> None:
    """Reads what is otherwise read by the first search; from then on the folder is no longer needed."""
    with self._lock:
      for segment in self._state.segments:
        _ = segment.engine

  def detach(self) -> None:
    """Leaves the folder as it is: later changes are of this copy alone, and `save` asks for a folder."""
    with self._writing:
      self.load()
      self._folder = self._journal = None

  def describe(self) -> list[dict[str, Any]]:
    """One dict a segment: kind, leaves, vectors, how many of them are deleted, bytes on disk (None: in memory)."""
    with self._lock:
      return [
        {
          'kind': segment.kind,
          'leaves': segment.leaves,
          'vectors': len(segment),
          'deleted': 0 if alive is None else int((~alive).sum()),
          'bytes': sum(file['bytes'] for file in segment.entry['files'].values()) if segment.entry else None,
        }
        for segment, alive in self._state.pairs()
      ]

  def save(self, folder: str | pathlib.Path | None = None) -> None:
    """Writes the index to a folder as its newest generation; from then on every change is written there.

    A save that is killed or finds the disk full leaves the last index in the folder as it was.

    Args:
      folder: None is the one it was opened from or saved to.

    Raises:
      UserError: no folder, one that cannot be written, or one that another copy of the index, of this process or of
        another, has changed since this one was opened: its changes would be lost.
    """
    with self._writing:
      target = Folder(folder) if folder is not None else self._folder
      if target is None:
        raise UserError('save() of an index that was never saved needs a folder')
      with _sole_writer(target):
        self._commit(target, self._state)

  def save_copy(self, folder: str | pathlib.Path) -> None:
    """Writes the index to a folder as `save` does, but stays as it is: later changes are not written there.

    For a folder that is part of another and is renamed with it.

    Raises:
      UserError: one that cannot be written, or the index's own.
    """
    with self._writing:
      target = Folder(folder)
      if self._is_own(target):
        raise UserError(f'{target.path} is the folder of this index: save() writes there')
      with _sole_writer(target):
        self._write_generation(target, self._state)

  def _commit(self, target: Folder, state: State) -> None:
    """Writes a generation of `state` to a folder that nobody else writes to, which is the index's own from then on."""
    journal, number, entries = self._write_generation(target, state)
    for segment, entry in zip(state.segments, entries, strict=True):
      if segment.folder != target.segments / segment.name:
        segment.written(target.segments, entry)
    self._folder, self._journal, self._generation, self._seen = target, journal, number, target.stamp()
    self._compact_at = max(self.settings.delta_limit, 2 * len(state.delta))

  def _write_generation(self, target: Folder, state: State) -> tuple[Journal, int, list[dict[str, Any]]]:
    """Its journal, its number and the entries of its segments."""
    newest = max(target.generations(), default=0)
    if self._is_own(target):
      self._refuse_changed(target)
    target.segments.mkdir(parents=True, exist_ok=True)
    entries = []
    for segment in state.segments:
      here = segment.folder == target.segments / segment.name
      entries.append(segment.entry if here and segment.entry else segment.write(target.segments))
    journal = Journal.create(target.journal(newest + 1))
    for change in changes.outstanding(list(state.pairs()), state.delta):
      journal.append(*changes.pack(change))
    manifest = {
      'format': FORMAT,
      'metric': self.metric,
      'dim': self.dim,
      'ids': 'string' if self._id_type == pl.String else 'int64',
      'made_by': self.made_by,
      'settings': self.settings.to_json(),
      'next_row': self._next_row,
      'schema': None if self._schema is None else changes.to_bytes(pl.DataFrame(schema=self._schema)).hex(),
      'segments': entries,
    }
    target.commit(newest + 1, manifest)
    return journal, newest + 1, entries

  def _is_own(self, target: Folder) -> bool:
    return self._folder is not None and os.path.realpath(self._folder.path) == os.path.realpath(target.path)

  def _refuse_changed(self, target: Folder) -> None:
    """Raises UserError if the folder, which is locked, holds changes that this index does not have."""
    newest, size = target.stamp()
    if (newest, size) != self._seen:
      how = 'saved' if newest != self._seen[0] else 'written'
      raise UserError(
        f'{target.path} was {how} to by another process, or another copy of the index in this one, since this one was '
        'opened: open the index again'
      )

  @staticmethod
  def damage(folder: str | pathlib.Path) -> str | None:
    """What is wrong with a saved index, naming the file; None if every file is as it was written."""
    return Folder(folder).damage()

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
      verify: compare the SHA-256 of every file that has changed since that was last done; False compares sizes only,
        and a damaged file then may give wrong results or end the process.
      generation: another than the newest.

    Raises:
      UserError: no index, a damaged one (with the generation that is whole, if one is), or one made by something else.
    """
    checks.maker(made_by)
    target = Folder(folder)
    while True:
      newest = max(target.generations(), default=0)
      try:
        return cls._read(target, made_by, generation, verify=checks.flag('verify', verify))
      except (UserError, OSError):  # perhaps because what was being read was swept by two saves
        if generation is not None or max(target.generations(), default=0) == newest:
          raise

  @classmethod
  def _read(cls, target: Folder, made_by: str | None, generation: int | None, *, verify: bool) -> 'Index':
    seen = target.stamp()  # before anything is read: what is written meanwhile is noticed at the first change
    number, manifest = target.read(generation, contents=verify)
    if made_by is not None and made_by != manifest['made_by']:
      raise UserError(f'the index in {target.path} was made by {manifest["made_by"]}, not by {made_by}: build it again')
    schema = manifest['schema']
    index = cls(
      manifest['metric'],
      manifest['dim'],
      IndexConfig.from_json(manifest['settings']),
      _ID_TYPES[manifest['ids']],
      None if schema is None else changes.from_bytes(bytes.fromhex(schema)).schema,
      manifest['made_by'],
    )
    segments = [Segment.read(target.segments / entry['name'], entry) for entry in manifest['segments']]
    index._state = State(segments, [None] * len(segments), index._state.delta)
    index._next_row = manifest['next_row']
    index._folder, index._generation, index._seen = target, number, seen
    index._journal = Journal(target.journal(number))
    for record in index._journal.records():
      index._apply(changes.unpack(*record))
    return index


@contextlib.contextmanager
def _sole_writer(target: Folder) -> Iterator[None]:
  """The folder's lock, and one line for what goes wrong on the disk meanwhile."""
  with writing(target.path), lock(target.path):
    yield
