"""What a request may not be answered with: left out inside the sources, so that they name as many others."""

import dataclasses

import numpy as np

from mlsd_jax.recsys.known.snapshot import Snapshot


@dataclasses.dataclass(frozen=True, eq=False)
class Filter:
  """Which items pass.

  Attributes:
    in_stock: [I] bool; None where all are.
    exclude_bought: leave out what a user has bought before.
  """

  in_stock: np.ndarray | None = None
  exclude_bought: bool = False

  def passing(self, snapshot: Snapshot, users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """[N] bool: whether each item may be recommended to the user beside it."""
    passes = np.ones(len(items), bool) if self.in_stock is None else self.in_stock[items]
    if self.exclude_bought:
      passes &= ~snapshot.bought(users, items)
    return passes

  def stocked(self, scores: np.ndarray) -> np.ndarray:
    """Scores [I] with 0, which names nothing, for what is not in stock."""
    return scores if self.in_stock is None else np.where(self.in_stock, scores, 0).astype(scores.dtype)

  def spare(self, snapshot: Snapshot, users: np.ndarray) -> int:
    """How many more items a list for all of `users` must have, so that enough remain for each."""
    if not self.exclude_bought or not len(users):
      return 0
    starts, stops = snapshot.pairs_of(users)
    return int((stops - starts).max())

  def first_passing(
    self, snapshot: Snapshot, users: np.ndarray, items: np.ndarray, scores: np.ndarray, k: int
  ) -> tuple[np.ndarray, np.ndarray]:
    """Of lists [U, K] the first `k` that pass, filled up with -1 and 0."""
    row = np.repeat(np.arange(len(users)), items.shape[1])
    flat = np.maximum(items.ravel(), 0)
    passes = (items >= 0) & self.passing(snapshot, users[row], flat).reshape(items.shape)
    place = np.cumsum(passes, 1) - 1
    rows, columns = np.nonzero(passes & (place < k))
    out, values = np.full((len(users), k), -1, np.int32), np.zeros((len(users), k), np.float32)
    out[rows, place[rows, columns]] = items[rows, columns]
    values[rows, place[rows, columns]] = scores[rows, columns]
    return out, values
