"""What the towers know without training: factors of all purchases, and how much each item sells.

Factors are a truncated SVD of who bought what (PureSVD; Cremonesi et al. 2010): purchases lose half their weight in
HALF days and count by their logarithm, frequent items and busy users are damped, each direction is shrunk as ridge
regression would. The dot product of an item's factors with the sum of a user's says how well the item goes with all
that the user ever bought, what it bought itself included.

Names: U users, K factors.
"""

import dataclasses

import numpy as np
import scipy.linalg
import scipy.sparse as sp

from mlsd_jax.recsys.purchases.events import DAY
from mlsd_jax.recsys.purchases.histories import Histories, concatenate_ranges

HALF = 180.0  # days
_GAIN = 10.0  # a purchase of today counts log(1 + 10), two log(1 + 20)
_ITEM_POWER, _USER_POWER = 0.5, 0.7  # of the lengths that columns and rows are divided by
_FEW = 4096  # users or items, whichever are fewer, of which all products of two are made
_SPARE, _PASSES = 64, 3  # directions beyond those asked for, and how often they go through the purchases and back
_EXACT = 0.5  # of all directions: where more are asked for, all are found
_COLUMNS = 64  # at once
_ROUNDING = 1e-3  # of the largest value: smaller ones may be what rounding leaves
_SAMPLE = 20_000  # purchases from which a usual score is taken
_WINDOWS = ((7, 1.0), (30, 0.1), (90, 0.01))  # days, weight of a purchase in them


@dataclasses.dataclass(frozen=True)
class Factors:
  """Of all purchases before a cut.

  Attributes:
    table: [num_items + 1, K] float32, row 0 (no item) zero; what a user bought itself scores about 1.
    damping: [num_items + 1] float32, what a purchase of each item is multiplied by.
    popularity: [num_items + 1] float32, logarithm of the purchases of the latest days.
  """

  table: np.ndarray
  damping: np.ndarray
  popularity: np.ndarray

  @classmethod
  def at(cls, histories: Histories, cut: int, num_items: int, dim: int) -> 'Factors':
    """Factors of what was bought before `cut`; directions past the rank of the purchases are zero."""
    users = np.arange(len(histories.start) - 2)
    moment = histories.moments(cut)
    earlier = histories.time < moment
    age, item = (moment - histories.time[earlier]) / DAY, histories.item[earlier]
    counts = [weight * np.bincount(item[age <= days], minlength=num_items + 1) for days, weight in _WINDOWS]
    popularity = np.log(sum(counts) + 0.05).astype(np.float32)
    table = np.zeros((num_items + 1, dim), np.float32)
    bare = cls(table, np.ones(num_items + 1, np.float32), popularity)
    if not dim:
      return bare
    weights = bare.weights(histories, users, np.full(len(users), cut))
    columns = np.asarray(weights.power(2).sum(0)).ravel() + 1
    damped = dataclasses.replace(bare, damping=(columns ** (-_ITEM_POWER / 2)).astype(np.float32))
    matrix = damped.weights(histories, users, np.full(len(users), cut))
    rank = min(dim, min(matrix.shape) - 1)
    if rank < 1 or not matrix.nnz:
      return damped
    values, directions = _largest(matrix, rank)
    shrunk = values**2 / np.maximum(values**2 + values.min() ** 2, 1e-12)
    table[:, :rank] = directions * np.sqrt(shrunk)
    table /= _usual_score(matrix, table)
    return dataclasses.replace(damped, table=table)

  def weights(self, histories: Histories, users: np.ndarray, cuts: np.ndarray) -> sp.csr_matrix:
    """[U, num_items + 1] damped weights of what each user had bought at its cut."""
    moments = histories.moments(cuts)
    starts, stops = histories.start[users], histories.stops(users, moments)
    flat, lengths = concatenate_ranges(starts, stops), stops - starts
    decayed = 0.5 ** ((np.repeat(moments, lengths) - histories.time[flat]) / (HALF * DAY))
    start = np.concatenate([[0], np.cumsum(lengths)])
    bought = sp.csr_matrix((decayed.astype(np.float32), histories.item[flat], start), (len(users), len(self.damping)))
    bought.sum_duplicates()
    bought.data = np.log1p(_GAIN * bought.data) * self.damping[bought.indices]
    lengths = np.sqrt(np.asarray(bought.power(2).sum(1)).ravel())
    scale = np.maximum(lengths, 1e-6) ** -_USER_POWER
    bought.data *= np.repeat(scale, np.diff(bought.indptr)).astype(np.float32)
    return bought

  def of_users(self, histories: Histories, users: np.ndarray, cuts: np.ndarray) -> np.ndarray:
    """[U, K] float32 factors of users as they were at cuts [U]."""
    if not self.table.shape[1]:
      return np.zeros((len(users), 0), np.float32)
    return np.asarray(self.weights(histories, users, cuts) @ self.table, np.float32)


def _largest(matrix: sp.csr_matrix, rank: int) -> tuple[np.ndarray, np.ndarray]:
  """The `rank` largest singular values, ascending, and their right singular vectors [columns, rank].

  Random directions go through the matrix and back _PASSES times, a few more than are asked for, and the best are taken
  of what they span (Halko et al. 2011, arXiv:0909.4061). Where the last values hardly differ, so that it takes
  iterations without end to tell their directions apart, those found are as good as the exact ones.
  """
  few_users = matrix.shape[0] <= matrix.shape[1]
  wide = matrix.T if few_users else matrix
  side, spare = wide.shape[1], rank + _SPARE
  # Of few users or items all products of two are fewer numbers than what would go through the matrix.
  squares = (wide.T @ wide).toarray() if side <= _FEW else None
  if squares is not None and spare > side * _EXACT:
    values, vectors = scipy.linalg.eigh(squares, subset_by_index=(side - rank, side - 1))
  else:
    through = lambda x: _through(wide, x) if squares is None else squares @ x
    found = np.random.default_rng(0).standard_normal((side, min(spare, side)), np.float32)
    for _ in range(_PASSES):
      found = scipy.linalg.qr(through(found), mode='economic', overwrite_a=True, check_finite=False)[0]
    inner = (found.T @ through(found)).astype(np.float64)
    size = len(inner)
    values, best = scipy.linalg.eigh((inner + inner.T) / 2, subset_by_index=(size - rank, size - 1))
    vectors = found @ best.astype(np.float32)
  values = np.sqrt(np.maximum(values, 0.0))
  least = _ROUNDING * max(float(values.max()), 1e-6)
  if few_users:
    # By rows of the product: its transpose as it lies would be gone through column by column, each time all of it.
    vectors = (matrix.T.tocsr() @ vectors) / np.maximum(values, least)
  # Past the rank of the purchases, directions are any.
  return np.where(values > least, values, 0.0), vectors * (values > least)


def _through(matrix: sp.spmatrix, x: np.ndarray) -> np.ndarray:
  """matrix.T @ matrix @ x, some columns at a time: what is between has a row for each of millions of users."""
  out = np.empty((x.shape[1], x.shape[0]), np.float32).T
  for first in range(0, x.shape[1], _COLUMNS):
    part = np.ascontiguousarray(x[:, first : first + _COLUMNS])
    out[:, first : first + _COLUMNS] = matrix.T @ (matrix @ part)
  return out


def _usual_score(matrix: sp.csr_matrix, table: np.ndarray) -> float:
  """Square root of the median score of what was bought."""
  places = np.random.default_rng(0).integers(0, matrix.nnz, _SAMPLE)
  users, row = np.unique(np.searchsorted(matrix.indptr, places, side='right') - 1, return_inverse=True)
  scores = np.einsum('nk,nk->n', (matrix[users] @ table)[row], table[matrix.indices[places]])
  return max(float(np.median(scores)), 1e-6) ** 0.5
