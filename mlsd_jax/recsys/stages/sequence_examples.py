"""Examples for the sequence model: windows of users' histories, and for each event one that came after it.

What came after is the next event where `horizon` is 0, as films are watched one by one. Purchases come in baskets,
whose lines have no order: there it is any purchase of the days that follow, drawn anew each time (the dense all-action
loss of Pancha et al. 2022, 'PinnerFormer', arXiv:2205.04507), which is what a recommender is asked for.

Names: E events of all users, B windows of a batch, T events of a window.
"""

import functools

import numpy as np

from mlsd_jax.data.batches import Batch, BatchList, Stream, padded
from mlsd_jax.errors import UserError
from mlsd_jax.recsys.purchases.events import DAY
from mlsd_jax.recsys.purchases.histories import Histories, concatenate_ranges

_POSITIVES = 64  # events of a user that are evaluated


def find_following(histories: Histories, horizon: float) -> tuple[np.ndarray, np.ndarray]:
  """Where the events begin and end that come after each of E: (first [E], stop [E]), of the same user.

  Args:
    horizon: days, of later moments than the event's own; 0 for the next event alone.
  """
  number = len(histories.item)
  user = np.repeat(np.arange(len(histories.start) - 1), np.diff(histories.start))
  if not horizon:
    first = np.arange(1, number + 1)
    return first, np.minimum(first + 1, histories.start[user + 1])
  time, reach = histories.time.astype(np.int64), round(horizon * DAY)
  # One number for a user and a moment: then all users are searched at once.
  moment = user * (int(time.max(initial=0)) + reach + 1) + time
  first, stop = np.searchsorted(moment, moment, 'right'), np.searchsorted(moment, moment + reach, 'right')
  return first, np.minimum(stop, histories.start[user + 1])


def latest(histories: Histories, users: np.ndarray, cuts: np.ndarray, length: int) -> Batch:
  """The last `length` events of users before cuts, the latest last: history [B, T] rows (-1: none), times [B, T]."""
  stops = histories.stops(users, histories.moments(cuts))
  return _read(histories, histories.start[users], stops, length)[0]


def _read(histories: Histories, starts: np.ndarray, stops: np.ndarray, length: int) -> tuple[Batch, np.ndarray]:
  """Windows that end at `stops` and begin no earlier than `starts`, and the places [B, T] of their events."""
  place = stops[:, None] - np.arange(length, 0, -1)
  known = place >= starts[:, None]
  place = np.where(known, place, 0)
  if not len(histories.item):
    return {name: np.full(place.shape, none, np.int32) for name, none in (('history', -1), ('times', 0))}, place
  history = np.where(known, histories.item[place], -1).astype(np.int32)
  return {'history': history, 'times': np.where(known, histories.time[place], 0).astype(np.int32)}, place


class SequenceBatches(Stream):
  """Shuffled windows that together hold every event, each with one that followed, and drawn negatives (TrainData).

  history, times, target, weights [B, T]; negative [B, n] rows and log_expected [B, n], the log of how often each is
  expected among all B n of them.
  """

  def __init__(
    self,
    histories: Histories,
    num_items: int,
    *,
    length: int,
    batch_size: int,
    horizon: float = 0.0,
    negatives: int = 4,
    popular: float = 0.5,
    seed: int = 0,
  ):
    """Examples of all events of `histories`.

    Args:
      length: T.
      horizon: see `find_following`.
      negatives: n, drawn for each row and shared by all of them.
      popular: share of them that is drawn as often as items occur; the others are uniform (mixed negatives, Yang et al.
        2020: with popular ones alone what never sells is never pushed down).

    Raises:
      UserError: no event has another after it.
    """
    super().__init__(self._batch)
    self.histories, self.length, self.batch_size, self.seed = histories, length, batch_size, seed
    self.negatives = negatives
    self._first, self._stop = find_following(histories, horizon)
    follows = self._stop > self._first
    if not follows.any():
      raise UserError('nobody has an event after another one: there is no sequence to learn')
    counts = np.bincount(histories.item, minlength=num_items + 1)[1:]
    self.q = popular * counts / counts.sum() + (1.0 - popular) / num_items
    self._upto = np.cumsum(self.q)
    sizes = np.diff(histories.start)
    windows = -(-sizes // length)
    user = np.repeat(np.arange(len(sizes)), windows)
    stops = histories.start[user + 1] - length * concatenate_ranges(np.zeros_like(windows), windows)
    # A window in which nothing follows teaches nothing.
    taught = np.concatenate([[0], np.cumsum(follows)])
    begins = np.maximum(histories.start[user], stops - length)
    kept = taught[stops] > taught[begins]
    self.begins, self.stops = begins[kept], stops[kept]

  def __len__(self) -> int:
    """Windows."""
    return len(self.stops)

  @functools.lru_cache(maxsize=2)  # noqa: B019
  def _order(self, epoch: int) -> np.ndarray:
    return np.random.default_rng([self.seed, 0, epoch]).permutation(len(self))

  def _batch(self, number: int, rows: slice | np.ndarray) -> Batch:
    epochs, places = np.divmod(np.arange(number * self.batch_size, (number + 1) * self.batch_size), len(self))
    chosen = np.array([self._order(int(epoch))[place] for epoch, place in zip(epochs, places, strict=True)])[rows]
    rng = np.random.default_rng([self.seed, 1, number])
    drawn = rng.random((self.batch_size, self.length))[rows]
    share = rng.random((self.batch_size, self.negatives))[rows]
    negative = np.searchsorted(self._upto, self._upto[-1] * share, 'right')
    batch, place = _read(self.histories, self.begins[chosen], self.stops[chosen], self.length)
    first, number_following = self._first[place], np.maximum(self._stop - self._first, 0)[place]
    weights = (batch['history'] >= 0) & (number_following > 0)
    at = np.where(weights, first + (drawn * number_following).astype(np.int64), 0)
    return batch | {
      'target': np.where(weights, self.histories.item[at], -1).astype(np.int32),
      'weights': weights.astype(np.float32),
      'negative': (negative + 1).astype(np.int32),
      'log_expected': np.log(self.batch_size * self.negatives * self.q[negative]).astype(np.float32),
    }


def held_out(
  histories: Histories, users: np.ndarray, cut: int, of_user: np.ndarray, item: np.ndarray, length: int, batch_size: int
) -> BatchList:
  """Users [U] at a cut with the items (not rows) that they took after it, in batches: history, times, positives [B, P].

  Args:
    of_user: [N] ascending, who took each of `item` [N].
  """
  place = np.searchsorted(of_user, users)[:, None] + np.arange(_POSITIVES)
  inside = np.minimum(place, len(of_user) - 1)
  taken = (place < len(of_user)) & (of_user[inside] == users[:, None])
  positives = np.where(taken, item[inside] + 1, -1).astype(np.int32)
  known = latest(histories, users, np.full(len(users), cut), length)
  return padded(known | {'positives': positives}, batch_size)
