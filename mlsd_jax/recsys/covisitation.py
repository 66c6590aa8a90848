"""Which items are bought together: cosine of baskets, the best of each item kept."""

import numpy as np
import polars as pl
import scipy.sparse as sp

from mlsd_jax.recsys.events import DAY

_CHUNK = 2048  # items whose companions are in memory at once


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
  baskets = (
    history.lazy()
    .filter(pl.col('time') > last - days * DAY)
    .select((pl.col('user').cast(pl.Int64) * 100_000 + pl.col('time') // DAY).alias('basket'), 'item')
    .unique(maintain_order=True)
    .with_columns(pl.int_range(pl.len()).over('basket').alias('place'), pl.len().over('basket').alias('size'))
    .filter((pl.col('size') > 1) & (pl.col('place') < largest))
    .select(pl.col('basket').rank('dense').cast(pl.Int64) - 1, 'item', 'size')
    .collect()
  )
  if not baskets.height:
    return {
      'covisit_start': np.zeros(num_items + 1, np.int64),
      'covisit_item': np.zeros(0, np.int32),
      'covisit_score': np.zeros(0, np.float32),
    }
  basket, item = baskets['basket'].to_numpy(), baskets['item'].to_numpy()
  weight = (1 / np.sqrt(np.log2(1 + baskets['size'].to_numpy()))).astype(np.float32)
  held = sp.csr_matrix((weight, (basket, item)), (int(basket.max()) + 1, num_items))
  norm = np.maximum(np.sqrt(np.asarray(held.multiply(held).sum(0)).ravel()), 1e-6)
  by_item = held.T.tocsr()
  starts, items, scores = [np.zeros(1, np.int64)], [], []
  for first in range(0, num_items, _CHUNK):
    part = (by_item[first : first + _CHUNK] @ held).tocsr()
    rows = np.repeat(np.arange(part.shape[0]), np.diff(part.indptr))
    chosen = (part.data > least) & (part.indices != rows + first)
    rows, columns = rows[chosen], part.indices[chosen]
    values = part.data[chosen] / (norm[rows + first] * norm[columns])
    order = np.lexsort((columns, -values, rows))
    rows, columns, values = rows[order], columns[order], values[order]
    keep = np.arange(len(rows)) - np.searchsorted(rows, rows) < companions
    starts.append(starts[-1][-1] + np.cumsum(np.bincount(rows[keep], minlength=part.shape[0])))
    items.append(columns[keep].astype(np.int32))
    scores.append(values[keep].astype(np.float32))
  return {
    'covisit_start': np.concatenate(starts),
    'covisit_item': np.concatenate(items),
    'covisit_score': np.concatenate(scores),
  }
