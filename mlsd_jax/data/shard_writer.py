"""How a part of a preparation is written: text segments and their ids to one shard of each split."""

import contextlib
import dataclasses
import hashlib
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from mlsd_jax import files
from mlsd_jax.data.shards import Shard


@dataclasses.dataclass(frozen=True)
class Segment:
  """A run of text within one document and one split."""

  split: str
  text: str
  opens_document: bool


# A segment, its ids, and how many UTF-8 bytes of text it has.
type EncodedSegment = tuple[Segment, np.ndarray, int]


class _ShardWriter:
  """A shard in the making."""

  def __init__(self, path: pathlib.Path, dtype: str, end_of_text: int | None):
    self._file = path.open('wb')
    self._digest = hashlib.sha256()
    self._dtype = np.dtype(dtype).newbyteorder('<')
    self._separator = None if end_of_text is None else np.array([end_of_text], self._dtype)
    self._counts = dict(num_tokens=0, num_documents=0, text_bytes=0, first_token=-1, max_token=-1)

  def add(self, segment: Segment, tokens: np.ndarray, num_bytes: int) -> int:
    """Appends a segment and returns how many tokens that took."""
    if segment.opens_document and self._separator is not None:
      tokens = np.concatenate([self._separator, tokens])
    if not tokens.size:
      return 0
    data = tokens.astype(self._dtype, copy=False).tobytes()
    self._file.write(data)
    self._digest.update(data)
    counts = self._counts
    if counts['num_tokens'] == 0:
      counts['first_token'] = int(tokens[0])
    counts['num_tokens'] += tokens.size
    counts['num_documents'] += segment.opens_document
    counts['text_bytes'] += num_bytes
    counts['max_token'] = max(counts['max_token'], int(tokens.max()))
    return tokens.size

  def close(self) -> None:
    self._file.close()

  def shard(self, name: str) -> Shard:
    return Shard(file=name, sha256=self._digest.hexdigest(), **self._counts)


def write_part(
  folder: pathlib.Path,
  number: int,
  stream: Iterator[EncodedSegment],
  shard_tokens: int,
  end_of_text: int | None,
  dtype: str,
) -> tuple[dict[str, Any], bool]:
  """Writes one shard of each split that gets text, and says whether the stream has ended.

  The shards of a part are renamed into place together and count as finished only once unfinished.json or the manifest
  lists them, so that a restart knows at which segment to go on.
  """
  num_segments = num_tokens = 0
  ended = False
  writers: dict[str, _ShardWriter] = {}
  with contextlib.ExitStack() as stack:
    for segment, tokens, num_bytes in stream:
      if segment.split not in writers:
        path = stack.enter_context(files.atomic_path(folder / f'{segment.split}-{number:05d}.bin'))
        writers[segment.split] = _ShardWriter(path, dtype, end_of_text)
        stack.callback(writers[segment.split].close)
      num_segments += 1
      num_tokens += writers[segment.split].add(segment, tokens, num_bytes)
      if num_tokens >= shard_tokens:
        break
    else:
      ended = True
  shards = {name: dataclasses.asdict(writer.shard(f'{name}-{number:05d}.bin')) for name, writer in writers.items()}
  return {'segments': num_segments, 'shards': shards}, ended
