"""Prepared tokens as memory-mapped arrays, and as the batches that training and evaluation ask for."""

import bisect
import functools
import math
import pathlib

import numpy as np

from mlsd_jax.data.batches import Batch, BatchList, Stream
from mlsd_jax.data.shards import Shard, check, read_manifest
from mlsd_jax.errors import UserError
from mlsd_jax.tokenizers.base import Tokenizer

# grain's shuffle walks a cycle of 2^16 or more, so that each visit takes 2^16 / n steps for fewer windows n than that.
_GRAIN_SHUFFLES_FROM = 2**16


class TokenDataset:
  """One split of prepared tokens, read as if it were one array.

  Attributes:
    split: 'train' or 'val'.
    vocab_size: of the tokenizer that made the ids.
    end_of_text: the id before each document, or None.
    num_documents: documents that begin in the split.
    text_bytes: UTF-8 bytes of the text that the tokens stand for.
    target_bytes: those of all tokens but the first. Every token but the first can be a target, so with nats summed over
      all of them, bits per byte are nats / ln 2 / target_bytes.
  """

  def __init__(
    self,
    folder: pathlib.Path,
    split: str,
    shards: list[Shard],
    *,
    dtype: str,
    vocab_size: int,
    end_of_text: int | None,
    first_token_bytes: int,
  ):
    self.folder = folder
    self.split = split
    self.vocab_size = vocab_size
    self.end_of_text = end_of_text
    self.num_documents = sum(shard.num_documents for shard in shards)
    self.text_bytes = sum(shard.text_bytes for shard in shards)
    self.target_bytes = self.text_bytes - first_token_bytes
    # Mapped, not read: a corpus may be larger than memory, and the pages that a batch touches are all it costs.
    stored = np.dtype(dtype).newbyteorder('<')
    self._files = [shard.file for shard in shards]
    self._arrays = [np.asarray(np.memmap(folder / shard.file, stored, 'r')) for shard in shards]
    self._starts = np.cumsum([0] + [len(array) for array in self._arrays]).tolist()

  @classmethod
  def open(
    cls,
    folder: str | pathlib.Path,
    split: str,
    *,
    tokenizer: Tokenizer | None = None,
    vocab_size: int | None = None,
  ) -> 'TokenDataset':
    """Maps the shards of a split that `prepare` wrote.

    Args:
      folder: what `prepare` returned.
      split: 'train' or 'val'.
      tokenizer: if given, must be the one that the tokens were made with.
      vocab_size: if given, ids must be below it; checked by the manifest.

    Raises:
      UserError: no such preparation, another tokenizer, ids out of range, or a shard missing, truncated or damaged.
    """
    folder = pathlib.Path(folder)
    found = read_manifest(folder)
    shards = found.splits.get(split)
    if not shards:
      raise UserError(f'{folder} has no {split!r} split; it has {", ".join(n for n, s in found.splits.items() if s)}')
    if tokenizer is not None and tokenizer.fingerprint != found.identity['tokenizer_fingerprint']:
      raise UserError(
        f'{folder} was prepared with tokenizer {found.identity["tokenizer"]}, not with this {tokenizer.name}'
      )
    limit = found.vocab_size if vocab_size is None else vocab_size
    check(folder, shards, found.dtype, found.vocab_size)
    for shard in shards:
      if shard.max_token >= limit:
        raise UserError(
          f'shard {folder / shard.file} holds token id {shard.max_token}, out of range for {limit} tokens'
        )
    return cls(
      folder,
      split,
      shards,
      dtype=found.dtype,
      vocab_size=found.vocab_size,
      end_of_text=found.end_of_text,
      first_token_bytes=found.first_token_bytes[split],
    )

  def __len__(self) -> int:
    return self._starts[-1]

  def read(self, start: int, stop: int) -> np.ndarray:
    """Tokens start to stop - 1 as int32, 0 <= start <= stop <= len."""
    return self.windows([start], stop - start)[0]

  def windows(self, starts: list[int], length: int) -> np.ndarray:
    """int32 [len(starts), length]: the `length` tokens from each start on, across shard boundaries.

    Raises:
      UserError: an id that the vocabulary does not have: the shard has changed since it was opened.
    """
    # int32 whatever is stored: uint16 halves the disk's work, but arithmetic on ids would wrap around in it.
    out = np.empty((len(starts), length), np.int32)
    for row, start in zip(out, starts, strict=True):
      i = bisect.bisect_right(self._starts, start) - 1
      filled = 0
      # Documents are cut into shards for the writer's sake only; a window runs on from one into the next.
      while filled < length:
        offset = start + filled - self._starts[i]
        part = self._arrays[i][offset : offset + length - filled]
        row[filled : filled + len(part)] = part
        filled += len(part)
        i += 1
    # A model would look such an id up in the place of another, or in none, and give a loss that is no number.
    if out.size and not 0 <= out.min() <= out.max() < self.vocab_size:
      window, place = (int(at[0]) for at in np.nonzero((out < 0) | (out >= self.vocab_size)))
      shard = self._files[bisect.bisect_right(self._starts, starts[window] + place) - 1]
      raise UserError(
        f'shard {self.folder / shard} holds token id {int(out[window, place]) % 2**32}, out of range for '
        f'{self.vocab_size} tokens: it was damaged since it was opened; delete {self.folder} and prepare again'
      )
    return out

  def _require(self, length: int) -> None:
    if len(self) < length + 1:
      raise UserError(
        f'the {self.split} split holds {len(self)} tokens, too few for a window of {length} and its next token: '
        f'lower the sequence length to at most {len(self) - 1}, or give the split more text (val_fraction, source)'
      )


class TokenBatches(Stream):
  """An endless stream of numbered batches for training (TrainData), {'tokens': int32 [B, length + 1]}.

  An epoch cuts the split into windows of `length` targets, from an offset drawn for that epoch, and visits them in an
  order shuffled for that epoch, each once. Batch i is the same whatever `start` and `rows` are, and reaching it takes
  the same time and memory whatever i is.
  """

  def __init__(self, dataset: TokenDataset, batch_size: int, length: int, seed: int = 0):
    """Args:
      dataset: the split.
      batch_size: rows of a global batch.
      length: targets in a row, which holds one token more.
      seed: 0 to 2^32 - 1, of order and offsets.

    Raises:
      UserError: the split is shorter than one row, or an argument is out of range.
    """
    import grain

    dataset._require(length)
    if batch_size < 1 or length < 1 or not 0 <= seed < 2**32:
      raise UserError(f'batch size {batch_size} and length {length} must be positive, seed {seed} from 0 to 2^32 - 1')
    # Read ahead: a page of a mapped file that was not read before waits for the disk.
    super().__init__(self._read, ahead=True)
    self.batch_size = batch_size
    self.length = length
    self._dataset = dataset
    self._seed = seed
    # Windows do not heed documents: the end-of-text token between two tells the model that the context changes.
    self.windows_per_epoch = max(1, (len(dataset) - length) // length)
    # Any offset up to here leaves room for that many windows, so that every token can stand anywhere in a row.
    self._largest_offset = len(dataset) - 1 - self.windows_per_epoch * length
    self._order = grain.MapDataset.range(self.windows_per_epoch).shuffle(seed=seed).repeat()

  def _read(self, number: int, rows: slice | np.ndarray) -> Batch:
    first = number * self.batch_size
    visits = np.arange(first, first + self.batch_size)[rows].tolist()
    # One token more than targets: row[:-1] is what the model reads, row[1:] what it is to predict.
    return {'tokens': self._dataset.windows([self._start(visit) for visit in visits], self.length + 1)}

  def _start(self, visit: int) -> int:
    # Visits count on over epochs, so that a batch may end one and begin the next, and none is ever short.
    epoch, i = divmod(visit, self.windows_per_epoch)
    offset, order = _epoch(self._seed, epoch, self._largest_offset, self.windows_per_epoch)
    window = self._order[visit] if order is None else order[i]
    return offset + window * self.length


@functools.lru_cache(maxsize=16)
def _epoch(seed: int, epoch: int, largest_offset: int, num_windows: int) -> tuple[int, list[int] | None]:
  """The offset of an epoch, and the order of its windows where that is not left to grain."""
  rng = np.random.default_rng([seed, epoch])
  offset = int(rng.integers(largest_offset + 1))
  return offset, rng.permutation(num_windows).tolist() if num_windows < _GRAIN_SHUFFLES_FROM else None


class EvalBatches(BatchList):
  """A split as a finite list of batches in which every token but the first is a target once (EvalData).

  {'tokens': int32 [B, length + 1], 'weights': float32 [B, length]}; weights are 0 or 1.

  Windows of `length` targets start every `stride` tokens, the last one so that it ends with the split. A target is
  weighted in the first window that holds it; beyond the first window it so has at least length - stride tokens of
  context before its own.

  Attributes:
    num_windows: rows with weight.
    num_targets: targets with weight.
    target_bytes: UTF-8 bytes of text that those stand for: bits per byte are summed nats / ln 2 / target_bytes. Exact
      for the whole split, in proportion to the targets where max_batches leaves some out.
  """

  def __init__(
    self,
    dataset: TokenDataset,
    batch_size: int,
    length: int,
    stride: int | None = None,
    max_batches: int | None = None,
  ):
    """Args:
      dataset: the split.
      batch_size: rows of a global batch; the last batch is filled up with rows of weight zero.
      length: targets in a row, which holds one token more.
      stride: 1 to length, by default length.
      max_batches: leaves out what comes after so many batches, for a quicker look; by default nothing.

    Raises:
      UserError: the split is shorter than one row, or an argument is out of range.
    """
    stride = length if stride is None else stride
    dataset._require(length)
    if batch_size < 1 or not 1 <= stride <= length or (max_batches is not None and max_batches < 1):
      raise UserError(
        f'batch size {batch_size} and max_batches {max_batches} must be positive, '
        f'stride {stride} from 1 to the window of {length}'
      )
    self.batch_size = batch_size
    self.length = length
    self.stride = stride
    self._dataset = dataset
    self._last_start = len(dataset) - 1 - length
    self.num_windows = 1 + math.ceil(self._last_start / stride)
    if max_batches is not None:
      self.num_windows = min(self.num_windows, max_batches * batch_size)
    self.num_targets = min((self.num_windows - 1) * stride, self._last_start) + length
    self.target_bytes = round(dataset.target_bytes * self.num_targets / (len(dataset) - 1))
    super().__init__(math.ceil(self.num_windows / batch_size), self._read)

  def _read(self, number: int, rows: slice | np.ndarray) -> Batch:
    # The last window is moved back to end with the split; what it then shares with the one before weighs nothing again.
    window = (number * self.batch_size + np.arange(self.batch_size))[rows]
    start = np.minimum(window * self.stride, self._last_start)
    previous_end = np.where(window > 0, np.minimum((window - 1) * self.stride, self._last_start) + self.length, 0)
    target = start[:, None] + 1 + np.arange(self.length)
    real = (window < self.num_windows)[:, None]
    tokens = np.where(real, self._dataset.windows(start.tolist(), self.length + 1), 0)
    return {'tokens': tokens.astype(np.int32), 'weights': (real & (target > previous_end[:, None])).astype(np.float32)}
