"""A change of an index: as a journal's record and back, and what many changes are merged into."""

import dataclasses
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from mlsd_jax.ann.config import IndexConfig
from mlsd_jax.ann.delta import Delta
from mlsd_jax.ann.segment import Segment
from mlsd_jax.ann.vector_store import Store

Living = tuple[Segment, np.ndarray | None]  # a segment, and which of its vectors are not deleted; None: all of them


@dataclasses.dataclass(frozen=True)
class Change:
  """One step of an index, taken whole.

  Attributes:
    dead: places that die, by the name of their segment.
    removed: ids that leave the delta.
    added: ids that enter it, with vectors [M, D], rows [M] and metadata.
  """

  dead: dict[str, np.ndarray]
  removed: list[int | str]
  added: list[int | str]
  vectors: Any
  rows: np.ndarray
  metadata: pl.DataFrame | None


def pack(change: Change) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
  """A change as JSON and arrays."""
  note = {'dead': list(change.dead), 'removed': change.removed, 'added': change.added}
  arrays = {f'dead {name}': places for name, places in change.dead.items()}
  if change.added:
    arrays |= {'vectors': change.vectors, 'rows': change.rows}
    if change.metadata is not None:
      arrays['metadata'] = np.frombuffer(to_bytes(change.metadata), np.uint8)
  return note, arrays


def unpack(note: dict[str, Any], arrays: dict[str, np.ndarray]) -> Change:
  """What `pack` packed."""
  table = from_bytes(arrays['metadata'].tobytes()) if 'metadata' in arrays else None
  dead = {name: arrays[f'dead {name}'] for name in note['dead']}
  rows = arrays.get('rows', np.zeros(0, np.int64))
  return Change(dead, note['removed'], note['added'], arrays.get('vectors'), rows, table)


def outstanding(pairs: list[Living], delta: Delta) -> Iterator[Change]:
  """What a new journal begins with: the deleted of each segment, and what lives in the delta."""
  dead = {segment.name: np.flatnonzero(~living) for segment, living in pairs if living is not None and not living.all()}
  nothing = np.zeros(0, np.int64)
  if dead:
    yield Change(dead, [], [], None, nothing, None)
  vectors, rows, living = delta.view()
  if living.any():
    kept = pl.Series(living)
    table = None if delta.metadata is None else delta.metadata.filter(kept)
    yield Change({}, [], delta.ids.filter(kept).to_list(), vectors[living], rows[living], table)


def to_merge(pairs: list[Living], added: int, largest: int) -> set[int]:
  """Which segments to build anew together with `added` vectors, so that at most `largest` come together.

  Those at most twice as large as what is merged already, so that a vector is rebuilt a logarithmic number of times, and
  those more than half of which is deleted.
  """
  sizes = [len(segment) if alive is None else int(alive.sum()) for segment, alive in pairs]
  total, chosen, more = added, set(), True
  while more:  # what was chosen may make others small beside it
    more = False
    for number in np.argsort(sizes, kind='stable').tolist():
      wanted = sizes[number] <= 2 * total or sizes[number] * 2 < len(pairs[number][0])
      if number not in chosen and wanted and total + sizes[number] <= largest:
        chosen.add(number)
        total, more = total + sizes[number], True
  return chosen


def merge(pairs: list[Living], delta: Delta, settings: IndexConfig) -> Segment | None:
  """One segment of all that lives in `pairs` and in the delta, in the order of their rows; None if nothing does."""
  vectors, rows, living = delta.view()
  sources = [(segment.store, segment.rows, segment.ids, segment.metadata, alive) for segment, alive in pairs]
  sources.append((Store(vectors), rows, delta.ids, delta.metadata, living))
  parts = []
  for store, numbers, ids, table, alive in sources:
    places = np.arange(len(store)) if alive is None else np.flatnonzero(alive)
    if len(places):
      parts.append((store.rows(places), numbers[places], ids.gather(places), None if table is None else table[places]))
  if not parts:
    return None
  order = np.argsort(np.concatenate([part[1] for part in parts]))
  tables = [part[3] for part in parts if part[3] is not None]
  return Segment.build(
    np.concatenate([part[0] for part in parts])[order],
    pl.concat([part[2] for part in parts]).gather(order),
    np.concatenate([part[1] for part in parts])[order],
    pl.concat(tables)[order] if tables else None,
    settings,
  )


def to_bytes(table: pl.DataFrame) -> bytes:
  """A table in Arrow's IPC format."""
  buffer = io.BytesIO()
  table.write_ipc(buffer)
  return buffer.getvalue()


def from_bytes(content: bytes) -> pl.DataFrame:
  """What `to_bytes` gave."""
  return pl.read_ipc(io.BytesIO(content))
