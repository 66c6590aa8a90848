"""ScaNN, and nothing else of the package touches it: one searcher over one shard of checked vectors."""

import contextlib
import importlib.util
import os
import pathlib
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from mlsd_jax.ann.config import IndexConfig
from mlsd_jax.errors import UserError

_PARALLEL_FROM = 64  # queries; fewer are not worth handing to threads


class Engine:
  """A ScaNN searcher whose answers have no padding. Vectors and queries are handed in checked."""

  def __init__(self, searcher: Any, count: int, leaves: int, reordered: bool):
    self._searcher = searcher
    self.count, self.leaves, self.reordered = count, leaves, reordered

  @staticmethod
  def build(vectors: np.ndarray, settings: IndexConfig, threads: int = 0) -> 'Engine | None':
    """A searcher over float32 [N, D]; None where exact search takes its place: too few vectors, all of them zero, or no
    ScaNN."""
    kind = settings.kind_for(*vectors.shape) if available() else 'exact'
    largest = 0.0 if kind == 'exact' else float(np.sqrt(max(_largest_square(vectors), 0.0)))
    if largest == 0:
      return None
    if not 0.1 <= largest <= 10:  # ScaNN's own fixed-point steps are made for norms near 1; ranks do not change
      vectors = vectors * np.float32(1 / largest)
    scann, types = _scann()
    builder = scann.builder(vectors, 10, 'dot_product').set_n_training_threads(threads)
    leaves = settings.leaves_for(len(vectors)) if kind == 'tree' else 0
    if leaves:
      builder = builder.tree(
        num_leaves=leaves,
        num_leaves_to_search=settings.searched_for(leaves),
        training_sample_size=max(settings.training_sample, leaves),
      )
    builder = builder.score_ah(
      min(settings.dims_per_block, vectors.shape[1]),
      anisotropic_quantization_threshold=settings.anisotropic_threshold,
      training_sample_size=settings.training_sample,
    )
    if settings.reorder_dtype != 'none':
      builder = builder.reorder(settings.reorder, types[settings.reorder_dtype.upper()])
    with _quiet():
      searcher = builder.build()
    return Engine(searcher, len(vectors), leaves, settings.reorder_dtype != 'none')

  def search(
    self, queries: np.ndarray, k: int, leaves_to_search: int, reorder: int, parallel: bool = True
  ) -> np.ndarray:
    """Rows [Q, k] of the likely nearest vectors, best first; -1 where fewer were found."""
    search = self._searcher.search_batched
    if parallel and len(queries) >= _PARALLEL_FROM:
      search = self._searcher.search_batched_parallel
    wanted = max(reorder, k) if self.reordered else None
    leaves = min(leaves_to_search, self.leaves) if self.leaves else None
    rows, distances = search(queries, min(k, self.count), wanted, leaves)
    return np.where(np.isnan(distances), -1, rows.astype(np.int64))

  def write(self, folder: pathlib.Path) -> None:
    """Writes ScaNN's files into an empty folder; they hold no absolute path and no pickle."""
    folder.mkdir(parents=True)
    self._searcher.serialize(str(folder), relative_path=True)

  @staticmethod
  def read(folder: pathlib.Path, count: int, leaves: int, reordered: bool) -> 'Engine':
    """Reads what `write` wrote. Check the files first: ScaNN does not."""
    scann, _ = _scann()
    try:
      with _quiet():
        searcher = scann.scann_pybind.ScannNumpy(str(folder), (folder / 'scann_assets.pbtxt').read_text())
    except (OSError, RuntimeError) as error:
      raise UserError(f'ScaNN cannot read {folder}: {str(error).splitlines()[0]}') from error
    return Engine(scann.ScannSearcher(searcher), count, leaves, reordered)


def _largest_square(vectors: np.ndarray) -> float:
  blocks = (vectors[at : at + 65_536] for at in range(0, len(vectors), 65_536))
  return max(float(np.einsum('nd,nd->n', block, block).max()) for block in blocks)


def available() -> bool:
  """Whether there is ScaNN: it has packages for Linux only."""
  return importlib.util.find_spec('scann') is not None


def _scann() -> tuple[Any, Any]:
  """ScaNN's NumPy front and its dtypes by name, without the TensorFlow that `import scann` would pull in."""
  loaded = 'tensorflow' in sys.modules
  if not loaded:
    sys.modules['tensorflow'] = None  # type: ignore[assignment]
  try:
    from scann.scann_ops.py import scann_builder, scann_ops_pybind
  finally:
    if not loaded:
      del sys.modules['tensorflow']
  return scann_ops_pybind, scann_builder.ReorderType


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
  """Holds back what ScaNN's C++ writes to standard error; what is worse than a warning is shown."""
  sys.stderr.flush()
  kept = os.dup(2)
  with tempfile.TemporaryFile() as log:
    os.dup2(log.fileno(), 2)
    try:
      yield
    finally:
      os.dup2(kept, 2)
      os.close(kept)
      log.seek(0)
      errors = [line for line in log.read().decode(errors='replace').splitlines() if line[:1] not in 'IW']
      if errors:
        print('\n'.join(errors), file=sys.stderr)
