"""What every user bought, in time: what it had bought at any moment is one slice."""

import dataclasses

import numpy as np
import polars as pl

from mlsd_jax.recsys.purchases.events import DAY


@dataclasses.dataclass(frozen=True)
class Histories:
  """Events by user, in time, so that what a user had bought at any moment is one slice.

  Attributes:
    start: [U + 2] where each user's events begin; user U, whom nobody knows, has none.
    item: [E] rows of the item table (item + 1).
    time: [E] whole seconds since `origin`, ascending within a user. (From day 256 on, days in float32 would not tell a
      purchase at midnight from a cut a second later.)
    origin: seconds since 1970.
  """

  start: np.ndarray
  item: np.ndarray
  time: np.ndarray
  origin: int

  @classmethod
  def from_events(cls, events: pl.DataFrame, num_users: int) -> 'Histories':
    # Lines of one basket come in no order: without repeats, and sorted by item.
    ordered = events.select('user', 'time', 'item').sort('user', 'time', 'item')
    user = ordered['user'].to_numpy()
    origin = int(events['time'][0]) if events.height else 0
    time = ordered['time'].to_numpy() - origin
    if len(time) and time.max() < 2**31:  # 68 years
      time = time.astype(np.int32)
    return cls(np.searchsorted(user, np.arange(num_users + 2)), ordered['item'].to_numpy() + 1, time, origin)

  def at(self, users: np.ndarray, cuts: np.ndarray, length: int) -> dict[str, np.ndarray]:
    """The last `length` purchases before each cut, the latest last.

    Returns:
      history [B, H] rows (-1: none), ages [B, H] in days.
    """
    moments = self.moments(cuts)
    place = self.stops(users, moments)[:, None] - np.arange(length, 0, -1)
    known = place >= self.start[users][:, None]
    place = np.where(known, place, 0)
    items = np.where(known, self.item[place], -1) if len(self.item) else np.full(place.shape, -1)
    ages = np.where(known, moments[:, None] - self.time[place], 0) if len(self.item) else np.zeros(place.shape)
    return {'history': items.astype(np.int32), 'ages': (ages / DAY).astype(np.float32)}

  def moments(self, cuts: np.ndarray | int) -> np.ndarray:
    """Seconds since 1970 as seconds since `origin`."""
    return np.asarray(cuts, np.int64) - self.origin

  def stops(self, users: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """Where each user's events before a moment end: a binary search in all slices at once."""
    low, high = self.start[users].copy(), self.start[users + 1].copy()
    while (low < high).any():
      middle = (low + high) // 2
      open_ = low < high
      earlier = open_ & (self.time[np.minimum(middle, len(self.time) - 1)] < moments)
      low = np.where(earlier, middle + 1, low)
      high = np.where(open_ & ~earlier, middle, high)
    return low


def concatenate_ranges(starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
  """starts[0], ..., stops[0] - 1, starts[1], ..."""
  lengths = stops - starts
  offset = np.repeat(starts - np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths) if len(lengths) else starts
  return np.arange(lengths.sum()) + offset
