"""What an index holds at one moment: built segments, which of their vectors live, and the delta."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import polars as pl

from mlsd_jax.ann import changes
from mlsd_jax.ann.changes import Change
from mlsd_jax.ann.config import IndexConfig
from mlsd_jax.ann.delta import Delta
from mlsd_jax.ann.exact import order
from mlsd_jax.ann.filters import Condition
from mlsd_jax.ann.segment import Segment
from mlsd_jax.ann.vector_store import Store

_LOCAL = 40  # bits of a place within its segment


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


@dataclasses.dataclass(frozen=True)
class Effort:
  """How a search is done: `Index.search` explains."""

  leaves_to_search: int | None
  reorder: int
  exact: bool
  parallel: bool


@dataclasses.dataclass(frozen=True)
class State:
  """Segments, per segment which vectors live (bool [N]; None: all), and the delta, which alone grows in place."""

  segments: list[Segment]
  alive: list[np.ndarray | None]
  delta: Delta

  def pairs(self) -> Iterator[tuple[Segment, np.ndarray | None]]:
    return zip(self.segments, self.alive, strict=True)

  def __len__(self) -> int:
    """How many vectors live."""
    built = sum(len(segment) if alive is None else int(alive.sum()) for segment, alive in self.pairs())
    return built + self.delta.num_alive

  def view(self) -> 'View':
    """What a search needs, unmoved by later changes."""
    return View(list(self.pairs()), *self.delta.view(), self.delta.ids, self.delta.metadata)

  def find(self, names: pl.Series) -> tuple[list[np.ndarray], np.ndarray]:
    """Places of living ids: per segment [M], -1 for not there, and whether in the delta, bool [M]."""
    found = []
    for segment, alive in self.pairs():
      places = segment.find(names)
      found.append(places if alive is None else np.where(alive[places] & (places >= 0), places, -1))
    return found, np.array([self.delta.place(name) >= 0 for name in names.to_list()], bool)

  def vectors(self, names: pl.Series, dim: int) -> np.ndarray:
    """The vectors of living ids, float32 [M, D]."""
    found, added = self.find(names)
    out = np.empty((len(names), dim), np.float32)
    for segment, places in zip(self.segments, found, strict=True):
      out[places >= 0] = segment.store.rows(places[places >= 0])
    out[added] = self.delta.view()[0][[self.delta.place(name) for name in names.filter(pl.Series(added)).to_list()]]
    return out

  def removal(self, names: pl.Series) -> tuple[dict[str, np.ndarray], list[int | str]]:
    """Where living ids are: places by the name of their segment, and those in the delta."""
    found, added = self.find(names)
    pairs = zip(self.segments, found, strict=True)
    dead = {segment.name: places[places >= 0] for segment, places in pairs if (places >= 0).any()}
    return dead, names.filter(pl.Series(added, dtype=pl.Boolean)).to_list()

  def changed(self, change: Change) -> 'State':
    """The state after `change`; the delta is the same one, changed."""
    alive = []
    for segment, living in self.pairs():
      if segment.name in change.dead:
        living = np.ones(len(segment), bool) if living is None else living.copy()
        living[change.dead[segment.name]] = False
      alive.append(living)
    if change.removed:
      self.delta.remove(change.removed)
    if change.added:
      self.delta.add(change.added, change.vectors, change.rows, change.metadata)
    return State(self.segments, alive, self.delta)

  def compacted(self, settings: IndexConfig, empty: Delta) -> 'State':
    """The state with the delta, and what it is worth merging with, built into one new segment."""
    pairs = list(self.pairs())
    chosen = changes.to_merge(pairs, self.delta.num_alive, settings.shard_size)
    if not chosen and not len(self.delta):
      return self
    merged = changes.merge([pairs[number] for number in sorted(chosen)], self.delta, settings)
    kept = [pair for number, pair in enumerate(pairs) if number not in chosen] + ([(merged, None)] if merged else [])
    return State([segment for segment, _ in kept], [living for _, living in kept], empty)


@dataclasses.dataclass(frozen=True)
class View:
  """What a search sees."""

  pairs: list[tuple[Segment, np.ndarray | None]]
  vectors: np.ndarray
  numbers: np.ndarray
  living: np.ndarray
  added: pl.Series
  table: pl.DataFrame | None

  def search(
    self, unit: np.ndarray, factors: np.ndarray, k: int, condition: Condition | None, effort: Effort
  ) -> Neighbours:
    """The best `k` for unit queries [Q, D], scores multiplied by `factors` [Q]."""
    codes, rows, scores = ([np.zeros((len(unit), 0), dtype)] for dtype in (np.int64, np.int64, np.float32))

    def take(places: np.ndarray, numbers: np.ndarray, found: np.ndarray) -> None:
      codes.append(places + ((len(codes) - 1) << _LOCAL))
      rows.append(numbers[places])
      scores.append(found)

    for segment, keep in self.pairs:
      if condition is not None:
        assert segment.metadata is not None  # `condition` was made for the index's columns
        kept = condition(segment.metadata)
        keep = kept if keep is None else keep & kept
      if effort.exact:
        places, found = segment.store.exact(unit, k, keep)
      else:
        places, found = segment.search(unit, k, keep, effort.leaves_to_search, effort.reorder, effort.parallel)
      take(places, segment.rows, found)
    series = [segment.ids for segment, _ in self.pairs]
    if len(self.numbers):
      keep = self.living
      if condition is not None and self.table is not None:
        keep = keep & condition(self.table)
      places, found = Store(self.vectors).exact(unit, k, keep)
      take(places, self.numbers, found)
      series.append(self.added)
    best = order(np.concatenate(rows, 1), np.concatenate(scores, 1), k)
    code, row, score = (np.take_along_axis(np.concatenate(part, 1), best, 1) for part in (codes, rows, scores))
    return Neighbours(list(_ids(code, series, self.added.dtype)), list(score * factors[:, None]), list(row))


def _ids(codes: np.ndarray, series: list[pl.Series], id_type: pl.DataType) -> np.ndarray:
  """Ids of (segment, place) pairs [Q, K], int64 or objects."""
  out = np.empty(codes.shape, np.int64 if id_type == pl.Int64 else object)
  numbers, places = codes >> _LOCAL, codes & ((1 << _LOCAL) - 1)
  for number, ids in enumerate(series):
    chosen = numbers == number
    if chosen.any():
      wanted = places[chosen]
      out[chosen] = ids.to_numpy()[wanted] if ids.dtype == pl.Int64 else ids.gather(wanted).to_numpy()
  return out
