"""The merge loop of byte-pair encoding (Sennrich et al. 2016, arXiv:1508.07909), incremental and vectorised.

All distinct pieces lie behind each other in flat arrays of one slot a byte (or other symbol), linked to their live
neighbours. A pair of tokens is known by a number: `pair_at` says which pair starts at a slot. A merge looks at the
slots where its pair was found when it came into being, changes those that still hold it, and takes the weights of the
pairs it destroys off their counts. Pairs it makes all hold the new token, which no earlier pair does; so a pair's slots
are found once, in ascending order, and from then on its count only falls and its first slot only moves on. That is what
makes a lazy heap right: an entry that is out of date when it comes up goes back with what is true now.
"""

import heapq
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mlsd_jax.errors import UserError

type Pair = tuple[int, int]

TIES = ('first', 'smallest')


def learn_merges(
  pieces: Mapping[bytes, int] | Mapping[tuple[int, ...], int],
  num_merges: int,
  *,
  alphabet_size: int = 256,
  ties: str = 'first',
  on_merge: Callable[[Pair, int], None] = lambda pair, saved: None,
) -> list[Pair]:
  """Up to `num_merges` merges of the pair of adjacent tokens that is the most frequent.

  Args:
    pieces: how often each distinct piece (bytes, or ids below alphabet_size) occurs, in the order of first occurrence.
    alphabet_size: how many ids there are before the first merge; the bytes are 0 to 255.
    ties: which of equally frequent pairs goes first: 'first', the one whose first occurrence in the text is the first
      (minbpe's rule); 'smallest', the one of the smallest ids (that of tokenizers and rustbpe).
    on_merge: called with each merge and the number of tokens it took off the text.

  Returns:
    The pairs in order; the i-th makes id alphabet_size + i. Fewer than asked for if no pair occurs twice any more.
  """
  if ties not in TIES:
    raise UserError(f'ties={ties!r} is not one of {", ".join(TIES)}')
  loop = _Loop(pieces, by_position=ties == 'first')
  merges: list[Pair] = []
  while len(merges) < num_merges:
    found = loop.most_frequent()
    if found is None:
      break
    merges.append(loop.pair(found))
    on_merge(merges[-1], loop.merge(found, alphabet_size + len(merges) - 1))
  return merges


def recover_merges(ranks: Mapping[bytes, int]) -> list[Pair]:
  """The pair of ids that each longer token was merged from, in the order of rank.

  It is what is left of the token's bytes when pairs of a lower rank than its own are merged, the lowest first.

  Raises:
    UserError: a token is no merge of two tokens of lower rank.
  """
  pairs = []
  for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
    parts = [token[i : i + 1] for i in range(len(token))]
    while len(parts) > 2:
      found = [ranks.get(left + right, rank) for left, right in itertools.pairwise(parts)]
      lowest = min(found)
      if lowest >= rank:
        raise UserError(f'{token!r} is no merge of two tokens of lower rank')
      first = found.index(lowest)
      parts[first : first + 2] = [parts[first] + parts[first + 1]]
    if len(parts) == 2:
      pairs.append((ranks[parts[0]], ranks[parts[1]]))
  return pairs


class _Loop:
  """The state between two merges. Slots are int32: up to 2 GB of distinct pieces."""

  def __init__(self, pieces: Mapping[Any, int], *, by_position: bool):
    self._by_position = by_position
    lengths = np.fromiter(map(len, pieces), np.int64, len(pieces))
    self._token = np.fromiter(itertools.chain.from_iterable(pieces), np.int32, lengths.sum())
    slots = len(self._token)
    self._weight = np.repeat(np.fromiter(pieces.values(), np.int64, len(pieces)), lengths)
    self._next = np.arange(1, slots + 1, dtype=np.int32)
    self._previous = np.arange(-1, slots - 1, dtype=np.int32)
    ends = np.cumsum(lengths[lengths > 0])
    if slots:
      self._next[ends - 1] = -1
      self._previous[np.concatenate([[0], ends[:-1]])] = -1
    self._pair_at = np.full(slots, -1, np.int32)
    # Of each pair: its tokens, its count, and where its slots lie in one growing array.
    self._left, self._right = _Growing(np.int32), _Growing(np.int32)
    self._counts, self._start, self._end = _Growing(np.int64), _Growing(np.int64), _Growing(np.int64)
    self._slots = _Growing(np.int32)
    self._heap: list[tuple[int, int, int]] = []
    starts = np.flatnonzero(self._next >= 0).astype(np.int32)
    self._add(starts, self._token[starts], self._token[starts + 1])
    heapq.heapify(self._heap)

  def pair(self, number: int) -> Pair:
    return int(self._left.values[number]), int(self._right.values[number])

  def count(self, number: int) -> int:
    return int(self._counts.values[number])

  def most_frequent(self) -> int | None:
    """The number of the pair to merge next; None if none occurs twice."""
    while self._heap:
      negative_count, tie, number = self._heap[0]
      count = self.count(number)
      if count < 2:
        heapq.heappop(self._heap)
        continue
      now = self._first_slot(number) if self._by_position else tie
      if (-negative_count, tie) == (count, now):
        return number
      heapq.heapreplace(self._heap, (-count, now, number))
    return None

  def _first_slot(self, number: int) -> int:
    """The first slot where the pair still starts."""
    start, end = int(self._start.values[number]), int(self._end.values[number])
    slots = self._slots.values
    step = 8
    while start < end:
      live = self._pair_at[slots[start : min(start + step, end)]] == number
      first = int(live.argmax())
      if live[first]:
        start += first
        break
      start, step = start + len(live), 4 * step
    self._start.values[number] = start
    return int(slots[start])

  def merge(self, number: int, new_token: int) -> int:
    """Puts `new_token` in the place of the pair wherever it stands; returns how many tokens the text has less."""
    left_token, right_token = self.pair(number)
    slots = self._slots.values[self._start.values[number] : self._end.values[number]]
    left = slots[self._pair_at[slots] == number]
    if left_token == right_token:
      left = self._not_overlapping(left)
    right = self._next[left]
    before, after = self._previous[left], self._next[right]

    # Pairs that cease to be: the one with what stands before, unless that is merged too (then it is the one behind it).
    self._token[right] = -1
    before = before[before >= 0]
    self._remove(before[self._token[before] >= 0])
    self._remove(right[after >= 0])
    self._pair_at[left] = -1
    self._counts.values[number] = 0

    self._token[left] = new_token
    self._next[left] = after
    self._previous[after[after >= 0]] = left[after >= 0]

    before = self._previous[left]
    before = before[before >= 0]
    behind = left[after >= 0]
    before = before[self._token[before] != new_token]  # else it is the pair behind that other new token
    starts = np.concatenate([before, behind])
    self._add(starts, self._token[starts], self._token[self._next[starts]])
    return int(self._weight[left].sum())

  def _not_overlapping(self, slots: np.ndarray) -> np.ndarray:
    """Of slots of a pair of equal tokens, every second in a run such as 'aaaa', from its left."""
    if not len(slots):
      return slots
    chained = self._next[slots[:-1]] == slots[1:]
    run_starts = np.flatnonzero(np.concatenate([[True], ~chained]))
    places = np.arange(len(slots))
    in_run = places - np.repeat(run_starts, np.diff(np.append(run_starts, len(slots))))
    return slots[in_run % 2 == 0]

  def _remove(self, slots: np.ndarray) -> None:
    np.subtract.at(self._counts.values, self._pair_at[slots], self._weight[slots])
    self._pair_at[slots] = -1

  def _add(self, starts: np.ndarray, left: np.ndarray, right: np.ndarray) -> None:
    """Numbers the pairs that start at `starts`, none of which has been seen before."""
    if not len(starts):
      return
    keys = left.astype(np.int64) << 32 | right
    order = np.lexsort((starts, keys)) if len(starts) > 1 else np.zeros(1, np.int64)
    starts, keys = starts[order], keys[order]
    firsts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    first_number, offset = len(self._counts.values), len(self._slots.values)
    counts = np.add.reduceat(self._weight[starts], firsts)
    self._pair_at[starts] = first_number + np.repeat(
      np.arange(len(firsts), dtype=np.int32), np.diff(np.append(firsts, len(starts)))
    )
    self._slots.append(starts)
    self._start.append(offset + firsts)
    self._end.append(offset + np.append(firsts[1:], len(starts)))
    self._left.append(left[order][firsts])
    self._right.append(right[order][firsts])
    self._counts.append(counts)
    ties = starts[firsts] if self._by_position else keys[firsts]
    worth = np.flatnonzero(counts > 1)
    entries = zip((-counts[worth]).tolist(), ties[worth].tolist(), (first_number + worth).tolist(), strict=True)
    if first_number:
      for entry in entries:
        heapq.heappush(self._heap, entry)
    else:
      self._heap = list(entries)


class _Growing:
  """An array that can be appended to; `values` is the part in use."""

  def __init__(self, dtype: type):
    self._buffer: np.ndarray = np.empty(1024, dtype)
    self.values = self._buffer[:0]

  def append(self, more: np.ndarray) -> None:
    used = len(self.values)
    if used + len(more) > len(self._buffer):
      buffer = np.empty(max(2 * len(self._buffer), used + len(more)), self._buffer.dtype)
      buffer[:used] = self.values
      self._buffer = buffer
    self._buffer[used : used + len(more)] = more
    self.values = self._buffer[: used + len(more)]
