"""What a snapshot and the towers know of users, counted anew for some of them: by the functions that count all."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from mlsd_jax.recsys.known import snapshot
from mlsd_jax.recsys.known.snapshot import Snapshot
from mlsd_jax.recsys.live.growing import Growing
from mlsd_jax.recsys.purchases.histories import Histories

_KEYED = ('pair_key', 'affinity_key_')  # numbers of a user and something else


@dataclasses.dataclass(frozen=True)
class UserRows:
  """Arrays of a snapshot and of histories with a row a user or a row a user's something, to which users are added.

  A user that is counted anew gets new rows at the end of everything; its old ones stay, and nobody asks for them any
  more. Whoever holds the arrays of before sees no change, so that a request needs no lock.
  """

  arrays: Mapping[str, Growing]
  history: Mapping[str, Growing]
  codes: Growing
  origin: int

  @classmethod
  def of(cls, known: Snapshot, histories: Histories, codes: np.ndarray) -> 'UserRows':
    """Of a state; `codes` [U + 1, columns] are those of the users' attributes."""
    names = ['pair_key', 'pair', 'user', 'place', 'recent', 'recent_age', 'reorder_user']
    names += [f'affinity{part}_{level}' for level in range(len(known.categories)) for part in ('', '_key')]
    names += [name for name in ('promotion_pair', 'promotion_user') if name in known.arrays]
    history = {name: Growing(getattr(histories, name)) for name in ('start', 'item', 'time')}
    return cls({name: Growing(known[name]) for name in names}, history, Growing(codes), histories.origin)

  @property
  def number(self) -> int:
    """Of rows; the next user gets this one."""
    return len(self.arrays['user'])

  def add(self, events: Mapping[str, np.ndarray], known: Snapshot, reorder: np.ndarray, codes: np.ndarray) -> None:
    """Adds users.

    Args:
      events: of them, as Ledger.of gives them: `local` is 0 for the first to be added, and so on.
      known: what their items are looked up in.
      reorder: [U] what stands for them in reorder_user.
      codes: [U, columns] of their attributes.
    """
    first, users = self.number, len(codes)
    for name, rows in count(events, known, users).items():
      if name.startswith(_KEYED):
        rows = rows + first * _per_user(known, name)
      self.arrays[name].extend(rows)
    self.arrays['reorder_user'].extend(reorder)
    self.codes.extend(codes)
    time = events['time'] - self.origin
    ends = len(self.history['item']) + np.searchsorted(events['local'], np.arange(1, users + 1))
    self.history['start'].extend(ends)
    self.history['item'].extend(events['item'] + 1)
    self.history['time'].extend(time)

  def histories(self) -> Histories:
    start, item, time = (self.history[name].view for name in ('start', 'item', 'time'))
    return Histories(start, item, time, self.origin)


def count(events: Mapping[str, np.ndarray], known: Snapshot, users: int) -> dict[str, np.ndarray]:
  """Arrays as those of a snapshot of `users` users alone, numbered by `local`; see UserRows.add."""
  order = np.argsort(events['time'], kind='stable')
  columns = {name: values[order] for name, values in events.items()}
  columns['user'] = columns['local']
  columns['trip'] = snapshot.trips_after(columns['user'], columns['day'])
  arrays = snapshot.count_pairs(columns, known.num_items)
  pairs = snapshot.pair_frame(arrays, known.num_items)
  arrays['user'] = snapshot.count_users(columns, pairs['user'].to_numpy(), users)
  for level, coded in enumerate(known['category']):
    arrays |= snapshot.count_affinity(columns, coded, level)
  arrays['place'] = _usual_places(columns, users)
  arrays |= snapshot.list_recent(pairs, users)
  if known.promoted:
    user = columns['user'].astype(np.int64)
    place = np.searchsorted(arrays['pair_key'], user * known.num_items + columns['item'])
    for name, owner, number in (('pair', place, len(arrays['pair_key'])), ('user', user, users)):
      counts = np.bincount(owner, minlength=number)
      shares = np.bincount(owner, columns['promoted'], minlength=number) / np.maximum(counts, 1)
      arrays[f'promotion_{name}'] = shares.astype(np.float32)
  return arrays


def _usual_places(columns: Mapping[str, np.ndarray], users: int) -> np.ndarray:
  """[users] as snapshot.count_places has it: where the most was bought, purchases of long ago counting less."""
  first, places = int(columns['place'].min()), int(np.ptp(columns['place'])) + 1
  key = columns['user'].astype(np.int64) * places + columns['place'] - first
  weight = np.bincount(key, np.exp(-columns['age'] / 90), minlength=users * places).reshape(users, places)
  return np.where(weight.any(1), weight.argmax(1) + first, -1).astype(np.int32)


def _per_user(known: Snapshot, name: str) -> int:
  """How many numbers a user has in the keys of a table."""
  if name == 'pair_key':
    return known.num_items
  return int(known['category'][int(name.removeprefix('affinity_key_'))].max()) + 1
