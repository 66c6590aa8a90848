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
  user, item, time = (latest[name].to_numpy() for name in ('user', 'item', 'time'))
  _, held = hold(user, item, time, num_items, largest)
  norm, by_item = np.sqrt(sum_squares(held)), held.T.tocsr()

  def companions_of(first: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    part = (by_item[first : first + _CHUNK] @ held).tocsr()
    return keep_best(part, np.arange(first, first + part.shape[0]), norm, companions, least)

  with ThreadPoolExecutor(os.cpu_count()) as pool:
    counts, items, scores = zip(*pool.map(companions_of, range(0, num_items, _CHUNK)), strict=True)
  return {
    'covisit_start': np.append(0, np.cumsum(np.concatenate(counts))),
    'covisit_item': np.concatenate(items),
    'covisit_score': np.concatenate(scores),
  }


def hold(
  user: np.ndarray, item: np.ndarray, time: np.ndarray, num_items: int, largest: int = 60
) -> tuple[np.ndarray, sp.csr_matrix]:
  """Baskets of events that ascend in time: their keys [B], ascending, and what each holds [B, num_items].

  What a basket holds stands with the square root of what a pair in it weighs: held.T @ held is c_ij.
  """
  by_basket = Grouped(basket_keys(user, time))
  basket, item = np.cumsum(by_basket.first) - 1, item[by_basket.order]
  # Where an item stands in its basket for the first time.
  once = np.sort(Grouped(basket * num_items + item).earliest)
  basket, item = basket[once], item[once]
  size = np.bincount(basket)[basket]
  place = np.arange(len(basket)) - np.searchsorted(basket, basket)
  kept = (size > 1) & (place < largest)
  weight = (1 / np.sqrt(np.log2(1 + size[kept]))).astype(np.float32)
  return by_basket.key, sp.csr_matrix((weight, (basket[kept], item[kept])), (len(by_basket.key), num_items))


def basket_keys(user: np.ndarray, time: np.ndarray) -> np.ndarray:
  """[N] int64, one number for what one user bought on one day."""
  return user.astype(np.int64) * 100_000 + time // DAY


def sum_squares(held: sp.csr_matrix) -> np.ndarray:
  """[num_items] what each item weighs over all baskets, c_ii."""
  return np.asarray(held.multiply(held).sum(0)).ravel()


def keep_best(
  together: sp.csr_matrix, items: np.ndarray, norm: np.ndarray, companions: int = 50, least: float = 0.5
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """The best companions of `items` [R] by c_ij [R, I]: how many of each [R], then their items and scores, row by row.

  Args:
    norm: [I] square roots of c_ii.
  """
  norm = np.maximum(norm, 1e-6)
  rows = np.repeat(np.arange(together.shape[0]), np.diff(together.indptr))
  chosen = (together.data > least) & (together.indices != items[rows])
  rows, columns = rows[chosen], together.indices[chosen]
  values = together.data[chosen] / (norm[items[rows]] * norm[columns])
  order = np.lexsort((columns, -values, rows))
  rows, columns, values = rows[order], columns[order], values[order]
  keep = np.arange(len(rows)) - np.searchsorted(rows, rows) < companions
  counts = np.bincount(rows[keep], minlength=together.shape[0])
  return counts, columns[keep].astype(np.int32), values[keep].astype(np.float32)
