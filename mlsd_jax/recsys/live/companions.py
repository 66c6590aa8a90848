"""Co-visitation that goes on: rows of the items of a basket that changed are computed anew, all other rows stay."""

from collections.abc import Mapping

import numpy as np
import polars as pl
import scipy.sparse as sp

from mlsd_jax.recsys.known import covisitation
from mlsd_jax.recsys.live.growing import Growing
from mlsd_jax.recsys.purchases.events import DAY

_DAYS = 365  # as covisitation.covisitation has it


class Companions:
  """c_ij of all baskets as a product of sparse matrices: those of the build, and what has changed since.

  A basket that changes is taken away as it was and added as it is: both are layers, of sign -1 and 1, on the product of
  the build's baskets.
  """

  def __init__(self, events: pl.DataFrame, num_items: int):
    self._since = int(events['time'][-1]) - _DAYS * DAY
    latest = events.filter(pl.col('time') > self._since)
    self._num_items = num_items
    user, item, time = (latest[name].to_numpy() for name in ('user', 'item', 'time'))
    self._key, self._held = covisitation.hold(user, item, time, num_items)
    self._by_item = self._held.T.tocsr()
    self._squares = covisitation.sum_squares(self._held).astype(np.float64)
    self._now: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    self._layers = {
      'layer': Growing(np.zeros(0, np.int64)),
      'item': Growing(np.zeros(0, np.int32)),
      'weight': Growing(np.zeros(0, np.float32)),
    }
    self._signs = Growing(np.zeros(0, np.float32))

  def change(self, events: Mapping[str, np.ndarray], keys: np.ndarray) -> np.ndarray:
    """Takes in what baskets hold by now; the items whose companions may be others.

    Args:
      events: user, item, time of the users of the baskets, those of one user in time.
      keys: of the baskets that changed.
    """
    user, item, time = (events[name] for name in ('user', 'item', 'time'))
    mine = np.isin(covisitation.basket_keys(user, time), keys) & (time > self._since)
    if not mine.any():
      return np.zeros(0, np.int32)
    found, held = covisitation.hold(user[mine], item[mine], time[mine], self._num_items)
    items = []
    for row, key in enumerate(found.tolist()):
      part = slice(held.indptr[row], held.indptr[row + 1])
      old, new = self._before(key), (held.indices[part].astype(np.int32), held.data[part])
      self._now[key] = new
      for sign, (names, weights) in ((-1.0, old), (1.0, new)):
        if len(names):
          self._layers['layer'].extend(np.full(len(names), len(self._signs)))
          self._layers['item'].extend(names)
          self._layers['weight'].extend(weights)
          self._signs.extend(np.array([sign], np.float32))
          np.add.at(self._squares, names, sign * np.square(weights, dtype=np.float64))
          items.append(names)
    return np.unique(np.concatenate(items)) if items else np.zeros(0, np.int32)

  def _before(self, key: int) -> tuple[np.ndarray, np.ndarray]:
    if key in self._now:
      return self._now[key]
    row = int(np.searchsorted(self._key, key))
    if row == len(self._key) or self._key[row] != key:
      return np.zeros(0, np.int32), np.zeros(0, np.float32)
    part = slice(self._held.indptr[row], self._held.indptr[row + 1])
    return self._held.indices[part].astype(np.int32), self._held.data[part]

  def replace(self, arrays: dict[str, np.ndarray], items: np.ndarray) -> dict[str, np.ndarray]:
    """covisit_start, covisit_item and covisit_score with the rows of ascending `items` computed anew."""
    counts, columns, scores = covisitation.keep_best(self._together(items), items, np.sqrt(self._squares))
    start, old_item, old_score = (arrays[f'covisit_{name}'] for name in ('start', 'item', 'score'))
    lengths = np.diff(start)
    lengths[items] = counts
    # The rows between two of `items` are copied as one piece.
    ends = np.cumsum(counts)
    pieces_item, pieces_score, at = [], [], 0
    for place, item in enumerate(items.tolist()):
      fresh = slice(ends[place] - counts[place], ends[place])
      pieces_item += [old_item[at : start[item]], columns[fresh]]
      pieces_score += [old_score[at : start[item]], scores[fresh]]
      at = int(start[item + 1])
    return {
      'covisit_start': np.append(0, np.cumsum(lengths)),
      'covisit_item': np.concatenate([*pieces_item, old_item[at:]]),
      'covisit_score': np.concatenate([*pieces_score, old_score[at:]]),
    }

  def _together(self, items: np.ndarray) -> sp.csr_matrix:
    """[len(items), I] c_ij."""
    together = self._by_item[items] @ self._held
    layer, item, weight = (self._layers[name].view for name in ('layer', 'item', 'weight'))
    touched = np.unique(layer[np.isin(item, items)])
    chosen = np.isin(layer, touched)
    rows = np.searchsorted(touched, layer[chosen])
    held = sp.csr_matrix((weight[chosen], (rows, item[chosen])), (len(touched), self._num_items))
    signed = sp.diags_array(self._signs.view[touched]) @ held
    return sp.csr_matrix(together + held.T.tocsr()[items] @ signed)
