"""One shard of an index: vectors, ids, metadata, and the searcher over them. It never changes once it is built."""

import pathlib
import shutil
import uuid
from typing import Any

import numpy as np
import polars as pl

from mlsd_jax import sealed
from mlsd_jax.ann import exact
from mlsd_jax.ann.config import IndexConfig
from mlsd_jax.ann.scann_engine import Engine, available
from mlsd_jax.ann.vector_store import Store
from mlsd_jax.errors import UserError

# Filtered: this few rows that may be returned are scored exactly, all of them.
_FEW, _SHARE = 5_000, 0.02


class Segment:
  """Vectors [N, D] with an id, a row number and metadata each.

  Attributes:
    name: of its folder.
    store: the vectors.
    ids: Series of Int64 or String [N].
    rows: int64 [N], the order in which all vectors of the index were handed in.
    metadata: a table of N rows, or None.
    folder: where it is written, or None.
    entry: what the manifest says of it once it is written.
    settings: what it was built with.
  """

  def __init__(
    self,
    store: Store,
    ids: pl.Series,
    rows: np.ndarray,
    metadata: pl.DataFrame | None,
    settings: IndexConfig,
    *,
    engine: Engine | None = None,
    leaves: int = 0,
    kind: str = 'exact',
    name: str = '',
    folder: pathlib.Path | None = None,
  ):
    self.name = name or uuid.uuid4().hex[:12]
    self.store, self.ids, self.rows, self.metadata, self.settings = store, ids, rows, metadata, settings
    self.kind, self.leaves, self.folder = kind, leaves, folder
    self.entry: dict[str, Any] | None = None
    self._engine = engine
    self._finder: tuple[np.ndarray, np.ndarray] | None = None

  @staticmethod
  def build(
    vectors: np.ndarray, ids: pl.Series, rows: np.ndarray, metadata: pl.DataFrame | None, settings: IndexConfig
  ) -> 'Segment':
    """Builds the searcher over checked float32 [N, D]."""
    engine = Engine.build(vectors, settings)
    kind = 'exact' if engine is None else 'tree' if engine.leaves else 'ah'
    store = Store.encode(vectors, settings.stored)
    leaves = engine.leaves if engine else 0
    return Segment(store, ids, rows, metadata, settings, engine=engine, leaves=leaves, kind=kind)

  def __len__(self) -> int:
    return len(self.store)

  @property
  def engine(self) -> Engine | None:
    """The searcher, read from the folder when it is first needed; none where exact search takes its place."""
    if self._engine is None and self.kind != 'exact' and available():
      assert self.folder is not None
      self._engine = Engine.read(self.folder / 'scann', len(self), self.leaves, self.settings.reorder_dtype != 'none')
    return self._engine

  def find(self, ids: pl.Series) -> np.ndarray:
    """Places [M] of `ids` in this segment, -1 for those it has not."""
    if ids.dtype != self.ids.dtype:
      return np.full(len(ids), -1)
    if self._finder is None:
      keys = _keys(self.ids)
      order = np.argsort(keys, kind='stable')
      self._finder = keys[order], order
    sorted_keys, order = self._finder
    wanted = _keys(ids)
    at = np.searchsorted(sorted_keys, wanted)
    found = np.full(len(ids), -1)
    open_ = np.flatnonzero(at < len(order))
    while len(open_):  # more than once only where hashes of different strings collide
      open_ = open_[sorted_keys[at[open_]] == wanted[open_]]
      places = order[at[open_]]
      same = (self.ids.gather(places) == ids.gather(open_)).to_numpy()
      found[open_[same]] = places[same]
      open_ = open_[~same]
      at[open_] += 1
      open_ = open_[at[open_] < len(order)]
    return found

  def search(
    self,
    queries: np.ndarray,
    k: int,
    keep: np.ndarray | None,
    leaves_to_search: int | None,
    reorder: int,
    parallel: bool,
  ) -> tuple[np.ndarray, np.ndarray]:
    """The best of the places where `keep`, bool [N], is true.

    Returns:
      (places int64 [Q, K], scores float32 [Q, K]), best first, K = min(k, places kept).
    """
    kept = len(self) if keep is None else int(keep.sum())
    want = min(k, kept)
    engine = self.engine
    margin = k + max(20, k // 5)  # candidates whose stored vectors are scored: ScaNN's own scores are rounded
    if engine is not None and not engine.reordered:
      margin = max(margin, reorder)
    few = keep is not None and kept <= max(_FEW, _SHARE * len(self))
    if engine is None or few or margin * 4 > kept or len(queries) == 0:
      return self.store.exact(queries, want, keep)
    share = len(self) / kept
    leaves = leaves_to_search or self.settings.searched_for(self.leaves)
    candidates = engine.search(
      queries,
      min(int(margin * share * 1.2) if keep is not None else margin, len(self)),
      int(leaves * min(share, 10)),
      max(reorder, 2 * k),
      parallel,
    )
    if keep is not None:
      candidates[~keep[np.maximum(candidates, 0)]] = -1
      front = np.argsort(candidates < 0, axis=1, kind='stable')[:, :margin]  # ScaNN's order, the left-out last
      candidates = np.take_along_axis(candidates, front, 1)
    scores = self.store.score(queries, candidates)
    places, scores = exact.take_best(np.where(candidates < 0, len(self), candidates), scores, want)
    short = np.flatnonzero((places == len(self)).any(1))
    if len(short):
      places[short], scores[short] = self.store.exact(queries[short], want, keep)
    return places, scores

  def write(self, parent: pathlib.Path) -> dict[str, Any]:
    """Writes parent/name, whole or not at all.

    Returns:
      The segment's entry in the index's manifest: what it is, and size and SHA-256 of its files.
    """
    there = parent / self.name  # of the same name is only the same segment, saved here before
    if self.entry is not None and there.exists() and Segment.check(there, self.entry, contents=True) is None:
      return self.entry
    shutil.rmtree(there, ignore_errors=True)
    unfinished = parent / f'.{self.name}.tmp'
    try:
      unfinished.mkdir(parents=True)
      if self.folder is not None:
        shutil.copytree(self.folder, unfinished, dirs_exist_ok=True)
      else:
        self.store.write(unfinished)
        items = pl.DataFrame({'id': self.ids, 'row': self.rows})
        items.write_ipc(unfinished / 'items.arrow', compression='uncompressed')
        if self.metadata is not None:
          self.metadata.write_ipc(unfinished / 'metadata.arrow', compression='uncompressed')
        if self.engine is not None:
          self.engine.write(unfinished / 'scann')
      written = sealed.seal_files(unfinished)
      unfinished.replace(there)
    finally:
      shutil.rmtree(unfinished, ignore_errors=True)
    return {
      'name': self.name,
      'count': len(self),
      'kind': self.kind,
      'leaves': self.leaves,
      'settings': self.settings.to_json(),
      'files': written,
    }

  def written(self, parent: pathlib.Path, entry: dict[str, Any], *, release: bool = False) -> None:
    """From now on the segment is what was written to parent/name: vectors are mapped, not held.

    Args:
      release: drop the searcher as well; it is read again when it is needed.
    """
    self.folder, self.entry = parent / self.name, entry
    self.store = Store.read(self.folder)
    if release:
      self._engine = None

  @staticmethod
  def check(folder: pathlib.Path, entry: dict[str, Any], *, contents: bool) -> str | None:
    """What is wrong with a written segment: sizes always, contents (SHA-256) if asked for; None if nothing is."""
    return sealed.damage(folder, entry['files'], contents=contents)

  @staticmethod
  def read(folder: pathlib.Path, entry: dict[str, Any]) -> 'Segment':
    """Opens a checked segment; vectors stay on disk, the searcher is read when it is first used."""
    try:
      items = pl.read_ipc(folder / 'items.arrow')
      table = folder / 'metadata.arrow'
      metadata = pl.read_ipc(table) if table.exists() else None
      store = Store.read(folder)
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
      raise UserError(f'{folder} cannot be read: {str(error).splitlines()[0]}') from error
    segment = Segment(
      store,
      items['id'],
      items['row'].to_numpy(),
      metadata,
      IndexConfig.from_json(entry['settings']),
      leaves=entry['leaves'],
      kind=entry['kind'],
      name=entry['name'],
      folder=folder,
    )
    segment.entry = entry
    return segment


def _keys(ids: pl.Series) -> np.ndarray:
  """What a segment's ids are sorted by: the number itself, or a 64-bit hash of the string."""
  return ids.to_numpy() if ids.dtype == pl.Int64 else ids.hash(0).to_numpy()
