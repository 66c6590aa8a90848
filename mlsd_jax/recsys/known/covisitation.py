"""Which items are bought together: cosine of baskets, the best of each item kept."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
import scipy.sparse as sp

from mlsd_jax.recsys.known.grouped import Grouped
from mlsd_jax.recsys.purchases.events import DAY

_CHUNK = 1024  # items whose companions are in memory at once


def covisitation(
  history: pl.DataFrame, num_items: int, *, days: int = 365, companions: int = 50, largest: int = 60, least: float = 0.5
) -> dict[str, np.ndarray]:
  """Item-to-item scores from baskets, a basket being what one user bought on one day.

  The score of i and j is c_ij / sqrt(c_i c_j), with c_ij the baskets that hold both, each weighing 1 / log2(1 + size)
  so that a trolley that holds everything says little.

  Args:
    history: events before the cut.
    days: of the history that count.
    companions: kept of each item.
    largest: items of a basket that count, the first ones.
    least: weight of common baskets below which a pair is chance: one basket of two items weighs 0.63, of three 0.5.

  Returns:
    covisit_start [num_items + 1], covisit_item and covisit_score: rows of a sparse matrix.
  """
  last = history['time'][-1]
  latest = history.filter(pl.col('time') > last - days * DAY)
  user, item, day = latest['user'].to_numpy(), latest['item'].to_numpy(), latest['time'].to_numpy() // DAY
  by_basket = Grouped(user.astype(np.int64) * 100_000 + day)
  basket, item = np.cumsum(by_basket.first) - 1, item[by_basket.order]
  # Where an item stands in its basket for the first time.
  once = np.sort(Grouped(basket * num_items + item).earliest)
  basket, item = basket[once], item[once]
  size = np.bincount(basket)[basket]
  place = np.arange(len(basket)) - np.searchsorted(basket, basket)
  kept = (size > 1) & (place < largest)
  if not kept.any():
    return {
      'covisit_start': np.zeros(num_items + 1, np.int64),
      'covisit_item': np.zeros(0, np.int32),
      'covisit_score': np.zeros(0, np.float32),
    }
  basket, item = basket[kept], item[kept]
  weight = (1 / np.sqrt(np.log2(1 + size[kept]))).astype(np.float32)
  held = sp.csr_matrix((weight, (basket, item)), (int(basket[-1]) + 1, num_items))
  norm = np.maximum(np.sqrt(np.asarray(held.multiply(held).sum(0)).ravel()), 1e-6)
  by_item = held.T.tocsr()

  def companions_of(first: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    part = (by_item[first : first + _CHUNK] @ held).tocsr()
    rows = np.repeat(np.arange(part.shape[0]), np.diff(part.indptr))
    chosen = (part.data > least) & (part.indices != rows + first)
    rows, columns = rows[chosen], part.indices[chosen]
    values = part.data[chosen] / (norm[rows + first] * norm[columns])
    order = np.lexsort((columns, -values, rows))
    rows, columns, values = rows[order], columns[order], values[order]
    keep = np.arange(len(rows)) - np.searchsorted(rows, rows) < companions
    counts = np.bincount(rows[keep], minlength=part.shape[0])
    return counts, columns[keep].astype(np.int32), values[keep].astype(np.float32)

  with ThreadPoolExecutor(os.cpu_count()) as pool:
    counts, items, scores = zip(*pool.map(companions_of, range(0, num_items, _CHUNK)), strict=True)
  return {
    'covisit_start': np.append(0, np.cumsum(np.concatenate(counts))),
    'covisit_item': np.concatenate(items),
    'covisit_score': np.concatenate(scores),
  }
