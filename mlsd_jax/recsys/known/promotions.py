"""What a shop plans before a week begins: its promotions and its closed days, and who bought on promotion so far.

Of another kind than all else that is known at a cut: it is of the week after it, but was decided before it.
"""

import datetime

import numpy as np
import polars as pl

from mlsd_jax.recsys.purchases.events import DAY, Dataset

PROMOTION = ('display', 'mailer', 'front', 'again')


def read_week(dataset: Dataset, cut: int) -> dict[str, np.ndarray]:
  """Closed days of the week from `cut` on, and the promotions that its middle lies in."""
  days = [datetime.datetime.fromtimestamp(cut + day * DAY + DAY // 2, datetime.UTC).date() for day in range(7)]
  planned = {'open_share': np.array([1 - sum(day in dataset.closed for day in days) / 7], np.float32)}
  promotions = dataset.promotions
  if promotions is None:
    return planned
  flags = [name for name in PROMOTION if name != 'again']
  running = lambda day: (
    promotions.filter(pl.col('start') <= day, pl.col('stop') > day)
    .group_by((pl.col('place').cast(pl.Int64) * dataset.num_items + pl.col('item')).alias('key'))
    .agg(pl.col(flags).max())
    .sort('key')
  )
  table, before = running(days[3]), running(days[3] - datetime.timedelta(7))
  table = table.with_columns(again=pl.Series(np.isin(table['key'].to_numpy(), before['key'].to_numpy())))
  keys = table['key'].to_numpy()
  places = max(len(np.unique(keys // dataset.num_items)), 1)
  share = np.bincount(keys % dataset.num_items, minlength=dataset.num_items) / places
  return planned | {
    'promotion_key': keys,
    'promotion': table.select(pl.col(PROMOTION).cast(pl.Float32)).to_numpy(),
    'promotion_share': share.astype(np.float32),
  }


def count_deals(dataset: Dataset, history: pl.DataFrame, pair_key: np.ndarray) -> dict[str, np.ndarray]:
  """Which share of their purchases pairs, items and users made on promotion; nothing where none are announced."""
  if dataset.promotions is None:
    return {}
  user, item = history['user'].to_numpy().astype(np.int64), history['item'].to_numpy()
  promoted = dataset.on_promotion[: len(user)]

  def share(rows: np.ndarray, number: int) -> np.ndarray:
    counts = np.bincount(rows, minlength=number)
    return (np.bincount(rows, promoted, minlength=number) / np.maximum(counts, 1)).astype(np.float32)

  pairs = np.searchsorted(pair_key, user * dataset.num_items + item)
  return {
    'promotion_pair': share(pairs, len(pair_key)),
    'promotion_item': share(item, dataset.num_items),
    'promotion_user': share(user, dataset.num_users + 1),
  }
