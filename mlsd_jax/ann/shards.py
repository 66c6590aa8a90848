"""What a build is handed, checked and gathered into shards of a wanted size."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import polars as pl

from mlsd_jax.ann import checks, columns
from mlsd_jax.ann.checks import Metric
from mlsd_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Shard:
  """Checked vectors [N, D] with their ids and metadata; `numbered`: the ids are row numbers, so none occurs twice."""

  vectors: np.ndarray
  ids: pl.Series
  metadata: pl.DataFrame | None
  numbered: bool


def gather(vectors: Any, ids: Any, metadata: Any, metric: Metric, size: int) -> Iterator[Shard]:
  """Shards of `size` vectors, the last of fewer; one empty shard for an empty array.

  Raises:
    UserError: what `Index.build` says.
  """
  if isinstance(vectors, Iterator):
    if ids is not None or metadata is not None:
      raise UserError('ids and metadata of an iterator of parts come with the parts: (vectors, ids, metadata)')
    parts: Iterable[Any] = vectors
  else:
    parts = [(vectors, ids, metadata)]
  waiting: list[Shard] = []
  empty: Shard | None = None
  first, yielded = 0, False
  for part in parts:
    shard = _checked(part, metric, first, waiting[-1] if waiting else None)
    if len(shard.ids) == 0:
      empty = shard
      continue
    first += len(shard.ids)
    start = 0
    while (held := sum(len(one.ids) for one in waiting)) + len(shard.ids) - start >= size:
      stop = start + size - held
      waiting.append(_cut(shard, start, stop))
      yield _join(waiting)
      waiting, start, yielded = [_cut(shard, stop, stop)], stop, True
    waiting.append(_cut(shard, start, len(shard.ids)))
  if any(len(one.ids) for one in waiting):
    yield _join(waiting)
  elif empty is not None and not yielded:
    yield empty


def _checked(part: Any, metric: Metric, first: int, before: Shard | None) -> Shard:
  values, ids, metadata = (*part, None, None)[:3] if isinstance(part, tuple) else (part, None, None)
  vectors = checks.vectors(values, metric, dim=before.vectors.shape[1] if before else None)
  names = checks.ids(range(first, first + len(vectors)) if ids is None else ids, len(vectors))
  table = columns.metadata(metadata, len(vectors))
  if before is not None and len(vectors):
    if names.dtype != before.ids.dtype or (ids is None) != before.numbered:
      raise UserError('the parts of a build have ids of one type: all strings, all whole numbers, or none')
    table = columns.same_columns(table, None if before.metadata is None else before.metadata.schema)
  return Shard(vectors, names, table, ids is None)


def _cut(shard: Shard, start: int, stop: int) -> Shard:
  table = None if shard.metadata is None else shard.metadata[start:stop]
  return Shard(shard.vectors[start:stop], shard.ids[start:stop], table, shard.numbered)


def _join(shards: list[Shard]) -> Shard:
  """One shard of several, which leave the list as they are copied, so that memory never holds all of it twice."""
  several = [shard for shard in shards if len(shard.ids)]
  shards.clear()
  if len(several) == 1:
    return several[0]
  ids, numbered = pl.concat([shard.ids for shard in several]), several[0].numbered
  tables = [shard.metadata for shard in several if shard.metadata is not None]
  vectors = np.empty((len(ids), several[0].vectors.shape[1]), np.float32)
  end = len(vectors)
  while several:
    last = several.pop().vectors
    vectors[end - len(last) : end] = last
    end -= len(last)
  return Shard(vectors, ids, pl.concat(tables) if tables else None, numbered)
