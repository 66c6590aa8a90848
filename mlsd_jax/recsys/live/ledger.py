"""Every purchase, those of the build and those posted since, by user and by item."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from mlsd_jax.recsys.live.growing import Growing
from mlsd_jax.recsys.purchases.events import DAY, Dataset

COLUMNS = ('user', 'item', 'time', 'price', 'quantity', 'place')
_ORDER = ('time', 'user', 'item', 'quantity', 'price', 'place')  # of a Dataset's events


class Ledger:
  """The events of a data set, to which others are added at the end, whenever they were."""

  def __init__(self, dataset: Dataset):
    events = dataset.events
    self._columns = {name: Growing(events[name].to_numpy()) for name in COLUMNS}
    self._promotions = dataset.promotions
    flags = dataset.on_promotion if dataset.promotions is not None else np.zeros(events.height, bool)
    self._columns['promoted'] = Growing(flags)
    self._owners = {
      'user': _Owner(events['user'].to_numpy(), dataset.num_users),
      'item': _Owner(events['item'].to_numpy(), dataset.num_items),
    }

  def add(self, events: pl.DataFrame, promoted: np.ndarray) -> None:
    """Adds events of a Dataset's columns; `promoted` says which were bought on promotion."""
    first = len(self._columns['user'])
    for name in COLUMNS:
      self._columns[name].extend(events[name].to_numpy())
    self._columns['promoted'].extend(promoted)
    for name, owner in self._owners.items():
      owner.add(events[name].to_numpy(), first)

  def of(self, owner: str, numbers: Sequence[int], cut: int) -> dict[str, np.ndarray]:
    """Events of some users or items (`owner` says which), those of one in the order that a Dataset has, one after the
    other: their columns, `local` (the place of each in `numbers`), and age and day as snapshot.date_events has them."""
    rows = [self._owners[owner].rows(number) for number in numbers]
    local = np.repeat(np.arange(len(numbers), dtype=np.int32), [len(each) for each in rows])
    chosen = np.concatenate(rows) if rows else np.zeros(0, np.int64)
    columns = {name: column.view[chosen] for name, column in self._columns.items()}
    order = np.lexsort([*(columns[name] for name in reversed(_ORDER)), local])
    columns = {name: values[order] for name, values in columns.items()}
    age, day = ((cut - columns['time']) / DAY).astype(np.float32), (columns['time'] // DAY).astype(np.int32)
    return columns | {'local': local[order], 'age': age, 'day': day}


class _Owner:
  """Which events are whose: of the first ones one sorted array, of later ones lists."""

  def __init__(self, owner: np.ndarray, number: int):
    self._order = np.argsort(owner, kind='stable')
    self._start = np.searchsorted(owner[self._order], np.arange(number + 1))
    self._later: dict[int, list[int]] = {}

  def add(self, owner: np.ndarray, first: int) -> None:
    for row, number in enumerate(owner.tolist(), first):
      self._later.setdefault(number, []).append(row)

  def rows(self, number: int) -> np.ndarray:
    known = number + 1 < len(self._start)
    sorted_ones = self._order[self._start[number] : self._start[number + 1]] if known else self._order[:0]
    return np.concatenate([sorted_ones, np.array(self._later.get(number, []), np.int64)])
