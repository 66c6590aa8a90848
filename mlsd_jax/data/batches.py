"""Numbered batches: the TrainData and EvalData (training/task.py) of every system are made here.

A batch is a dict of arrays whose first axis is the rows, [B, ...]. Where not all of it counts, it has 'weights' of
float32 [B] or [B, T]: 1 for a row or target that counts, 0 for padding. Losses and metrics sum what they weigh and
divide by the sum of the weights, so that a padded batch gives what its real rows give.

grain reads ahead where a disk is waited for (tokens.py). Arrays in memory are served by a plain loop, which gave 3.4
times as many rows a second as grain for an encoder's pairs, 1.6 for masked words, 1.14 for the recommender's towers and
13 for its ranker, whose batches are views (python benchmarks/batches.py, two busy CPU cores).
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np

from mlsd_jax.errors import UserError

type Batch = dict[str, np.ndarray]
type Arrange = Callable[[np.random.Generator, Batch], Batch]

ALL_ROWS = slice(None)
_LAST_BATCH = 2**62
_BYTES_AHEAD = 2**24
_MOST_AHEAD = 64
_DRAWN_AT_ONCE = 256  # batches: drawing the rows of each by itself would take longer than copying them


class Stream:
  """An endless stream of a function of the batch number (TrainData).

  Being a function of the number is what makes a run resumable: the step is the only position there is, so that a run
  that goes on at step 1,000, on one process or on eight, sees the batches it would have seen.
  """

  def __init__(self, batch: Callable[[int, slice | np.ndarray], Batch], *, ahead: bool = False):
    """Streams batch(0), batch(1), ...

    Args:
      batch: (number, rows) -> rows `rows` of global batch `number`. They follow from the number (and a seed) alone. One
        process of several asks for its own rows only.
      ahead: grain makes the next batches in a thread. For what waits for a disk; to hand an array over from one thread
        to another costs more than to copy it (benchmarks/batches.py).
    """
    self.batch = batch
    self._ahead = ahead

  def batches(self, start: int = 0, rows: slice | np.ndarray = ALL_ROWS) -> Iterator[Batch]:
    """Rows `rows` of batch start, start + 1, ... without end."""
    first = self.batch(start, rows)
    yield first
    if not self._ahead:
      for number in itertools.count(start + 1):
        yield self.batch(number, rows)
    import grain

    size = max(1, sum(array.nbytes for array in first.values()))
    # One thread: the work is copying, and more of them only fight for the interpreter.
    options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=max(2, min(_MOST_AHEAD, _BYTES_AHEAD // size)))
    numbers = grain.MapDataset.range(start + 1, _LAST_BATCH)
    iterator = iter(numbers.map(lambda number: self.batch(number, rows)).to_iter_dataset(options))
    try:
      yield from iterator
    finally:
      iterator.close()


class BatchList:
  """A finite list of such batches, all of one shape (EvalData)."""

  def __init__(self, length: int, batch: Callable[[int, slice | np.ndarray], Batch]):
    """Lists batch(0) to batch(length - 1).

    Args:
      length: batches.
      batch: (number, rows) -> rows `rows` of global batch `number`.
    """
    self.batch = batch
    self._length = length

  def __len__(self) -> int:
    return self._length

  def batches(self, rows: slice | np.ndarray = ALL_ROWS) -> Iterator[Batch]:
    """Rows `rows` of every batch, in order."""
    yield from (self.batch(number, rows) for number in range(len(self)))


def shuffled(arrays: Batch, batch_size: int, seed: int = 0, arrange: Arrange | None = None) -> Stream:
  """All N rows of the arrays [N, ...], in another order each epoch. A batch may end one epoch and begin the next.

  Args:
    arrange: (rng, rows of the arrays) -> a batch; for what is drawn anew each time, such as masked words.
  """
  count = _count(arrays)

  @functools.lru_cache(maxsize=2)
  def order(epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, 0, epoch]).permutation(count)

  def batch(number: int, rows: slice | np.ndarray) -> Batch:
    places = np.arange(number * batch_size, (number + 1) * batch_size)
    epochs = places // count
    parts = [order(epoch)[places[epochs == epoch] % count] for epoch in range(epochs[0], epochs[-1] + 1)]
    chosen = np.concatenate(parts)
    if arrange is None:
      return {name: array[chosen[rows]] for name, array in arrays.items()}
    # The whole batch is arranged: what is drawn for a row must not depend on which process has it.
    whole = arrange(np.random.default_rng([seed, 1, number]), {name: array[chosen] for name, array in arrays.items()})
    return {name: array[rows] for name, array in whole.items()}

  return Stream(batch)


def drawn(arrays: Batch, batch_size: int, seed: int = 0) -> Stream:
  """Rows of the arrays [N, ...] drawn with replacement, each batch for itself."""
  count = _count(arrays)

  @functools.lru_cache(maxsize=2)
  def choices(block: int) -> np.ndarray:
    return np.random.default_rng([seed, block]).integers(count, size=(_DRAWN_AT_ONCE, batch_size))

  def batch(number: int, rows: slice | np.ndarray) -> Batch:
    chosen = choices(number // _DRAWN_AT_ONCE)[number % _DRAWN_AT_ONCE, rows]
    return {name: array[chosen] for name, array in arrays.items()}

  return Stream(batch)


def slices(arrays: Batch, batch_size: int, seed: int = 0) -> Stream:
  """Contiguous slices of arrays [N, ...] that were shuffled once, the slices in another order each epoch.

  For large rows: a slice is a view, while rows picked one by one are copied from all over memory. Each epoch cuts from
  another beginning, so that the same rows do not meet again. Batches have N rows if N is less than batch_size.
  """
  count = _count(arrays)
  size = min(batch_size, count)

  @functools.lru_cache(maxsize=2)
  def epoch_of(epoch: int) -> tuple[int, np.ndarray]:
    first = int(np.random.default_rng([seed, epoch]).integers(count))
    return first, np.random.default_rng([seed, 1, epoch]).permutation(count // size)

  def batch(number: int, rows: slice | np.ndarray) -> Batch:
    epoch, place = divmod(number, count // size)
    shift, order = epoch_of(epoch)
    first = (shift + int(order[place]) * size) % count
    return {name: _slice_around(array, first, size)[rows] for name, array in arrays.items()}

  return Stream(batch)


def padded(arrays: Batch, batch_size: int, arrange: Arrange | None = None) -> BatchList:
  """All N rows of the arrays [N, ...] once, in order; the last batch is filled up with copies of the last row.

  The copies weigh nothing: 'weights' [B] is added, or where the arrays or `arrange` have weights, theirs become 0.

  Args:
    arrange: as in `shuffled`; the same draws in every evaluation.
  """
  count = _count(arrays)

  def batch(number: int, rows: slice | np.ndarray) -> Batch:
    places = np.arange(number * batch_size, (number + 1) * batch_size)
    whole = {name: array[np.minimum(places, count - 1)] for name, array in arrays.items()}
    if arrange is not None:
      whole = arrange(np.random.default_rng([2, number]), whole)
    real = (places < count).astype(np.float32)
    weights = whole.get('weights', np.ones(batch_size, np.float32))
    whole = whole | {'weights': weights * real.reshape(-1, *[1] * (weights.ndim - 1))}
    return {name: array[rows] for name, array in whole.items()}

  return BatchList(math.ceil(count / batch_size), batch)


def _count(arrays: Batch) -> int:
  counts = {len(array) for array in arrays.values()}
  if len(counts) != 1:
    raise ValueError(f'arrays of {sorted(counts)} rows cannot be batched together')
  count = counts.pop()
  if not count:
    raise UserError('there are no examples')
  return count


def _slice_around(array: np.ndarray, first: int, size: int) -> np.ndarray:
  """`size` rows from `first` on, beginning anew behind the last."""
  part = array[first : first + size]
  return part if len(part) == size else np.concatenate([part, array[: size - len(part)]])
