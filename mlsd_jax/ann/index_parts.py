"""An index larger than a machine, as parts: each a whole index over some of the vectors, to be searched side by side.

    OUTPUT/part-00003/vectors/      an index (mlsd_jax/ann/folder.py)

A search of all parts, merged by score, finds what one index over all vectors finds: every vector lies in one part, and
the best k of all are among the best k of each. serving/sharded_search.py does that over machines.
"""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from mlsd_jax import files
from mlsd_jax.ann.config import IndexConfig
from mlsd_jax.ann.index import Index
from mlsd_jax.errors import UserError
from mlsd_jax.executor import ExecutorConfig, Parts, map_parts
from mlsd_jax.executor.parts import numbered

INDEX = 'vectors'  # its folder in a part


def build_parts(
  vectors: pathlib.Path,
  output: str | os.PathLike[str],
  *,
  part: int,
  metric: str = 'dot',
  settings: IndexConfig | None = None,
  made_by: str | None = None,
  config: ExecutorConfig | None = None,
  on_part: Callable[[int], object] = lambda count: None,
) -> Parts:
  """Indices over `part` vectors each; ids are the rows of the file. A killed build goes on with the parts not there.

  Args:
    vectors: a .npy file of floating point [N, D], mapped into memory: a worker reads its rows of it.
    output: a folder that all workers see, or a prefix of an object store.
    on_part: called with the vectors of each part that is built.

  Raises:
    UserError: no such file, bad vectors, parts of other vectors or settings in `output`, or what `map_parts` says.
  """
  settings = settings or IndexConfig()
  if part < 1:
    raise UserError(f'part={part}: a part has at least 1 vector')
  count = len(_mapped(vectors))
  identity = {
    'vectors': files.sha256(vectors),
    'metric': metric,
    'made_by': made_by,
    'settings': settings.to_json(),
    'part': part,
  }
  ranges = [(start, min(start + part, count)) for start in range(0, max(count, 1), part)]
  worker = functools.partial(_Builder, pathlib.Path(vectors).absolute(), metric, settings, made_by)
  return map_parts(
    numbered(ranges), worker, output, identity=identity, config=config,
    on_part=lambda name, note: on_part(note['vectors']),
  )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class _Builder:
  """A worker; see `build_parts`."""

  path: pathlib.Path
  metric: str
  settings: IndexConfig
  made_by: str | None

  def __call__(self, rows: tuple[int, int], folder: pathlib.Path) -> dict[str, Any]:
    start, stop = rows
    vectors = np.asarray(_mapped(self.path)[start:stop])
    index = Index.build(
      vectors, np.arange(start, stop), metric=self.metric, settings=self.settings, made_by=self.made_by
    )
    index.save(folder / INDEX)
    return {'vectors': stop - start}


def _mapped(path: pathlib.Path) -> np.ndarray:
  try:
    vectors = np.load(path, mmap_mode='r', allow_pickle=False)
  except (OSError, ValueError) as error:
    raise UserError(f'{path} cannot be read as a .npy file of vectors: {str(error).splitlines()[0]}') from error
  if vectors.ndim != 2:
    raise UserError(f'{path} holds an array of shape {vectors.shape}, not vectors [N, D]')
  return vectors
