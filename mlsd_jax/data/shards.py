"""A folder of prepared tokens: its shards, the manifest that lists them, and how a part of a preparation is written."""

import contextlib
import dataclasses
import hashlib
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from mlsd_jax import files
from mlsd_jax.errors import UserError

FORMAT = 1
MANIFEST = 'manifest.json'


@dataclasses.dataclass(frozen=True)
class Shard:
  """A file of little-endian token ids.

  Attributes:
    file: its name in the folder.
    num_tokens: ids in it.
    num_documents: documents that begin in it.
    text_bytes: UTF-8 bytes of the text that its tokens stand for, separators not counted.
    first_token: the first id.
    max_token: the largest id.
    sha256: of the file's bytes.
  """

  file: str
  num_tokens: int
  num_documents: int
  text_bytes: int
  first_token: int
  max_token: int
  sha256: str


@dataclasses.dataclass(frozen=True)
class Manifest:
  """The content of manifest.json, which is written last: a folder that has one is whole.

  Attributes:
    identity: all that determines the shards; see `identity`.
    vocab_size: of the tokenizer.
    end_of_text: the id before each document, or None.
    dtype: 'uint16' or 'uint32', stored little-endian.
    splits: 'train' and 'val' -> shards in order.
    first_token_bytes: text bytes of the first token of each split, which is never a target.
  """

  identity: dict[str, Any]
  vocab_size: int
  end_of_text: int | None
  dtype: str
  splits: dict[str, list[Shard]]
  first_token_bytes: dict[str, int]

  def write(self, folder: pathlib.Path) -> None:
    splits = {
      name: {
        'num_tokens': sum(shard.num_tokens for shard in shards),
        'num_documents': sum(shard.num_documents for shard in shards),
        'text_bytes': sum(shard.text_bytes for shard in shards),
        'first_token_bytes': self.first_token_bytes[name],
        'shards': [dataclasses.asdict(shard) for shard in shards],
      }
      for name, shards in self.splits.items()
    }
    head = {'format': FORMAT, 'identity': self.identity, 'vocab_size': self.vocab_size, 'end_of_text': self.end_of_text}
    files.write_json(folder / MANIFEST, {**head, 'dtype': self.dtype, 'splits': splits})


def read_manifest(folder: pathlib.Path) -> Manifest:
  """Raises: UserError: there is no manifest in `folder`, or not one of this format."""
  if not (folder / MANIFEST).exists():
    raise UserError(f'{folder} holds no {MANIFEST}: no tokens have been prepared there, or not to the end')
  content = files.read_json(folder / MANIFEST)
  try:
    if content['format'] != FORMAT:
      raise UserError(f'{folder / MANIFEST} has format {content["format"]}, this version reads {FORMAT}: prepare again')
    return Manifest(
      identity=content['identity'],
      vocab_size=content['vocab_size'],
      end_of_text=content['end_of_text'],
      dtype=content['dtype'],
      splits={name: [Shard(**shard) for shard in split['shards']] for name, split in content['splits'].items()},
      first_token_bytes={name: split['first_token_bytes'] for name, split in content['splits'].items()},
    )
  except (KeyError, TypeError, AttributeError) as error:
    raise UserError(f'{folder / MANIFEST} is damaged ({error!r}): delete the folder and prepare again') from error


def check_size(folder: pathlib.Path, shard: Shard, itemsize: int) -> None:
  """Raises UserError unless the shard's file has the size that its manifest states."""
  path = folder / shard.file
  if not path.exists():
    raise UserError(f'shard {path} is missing: delete {folder} and prepare again')
  size, stated = path.stat().st_size, shard.num_tokens * itemsize
  if size != stated:
    raise UserError(f'shard {path} is damaged: {size} bytes instead of {stated}; delete {folder} and prepare again')


def check_content(folder: pathlib.Path, shard: Shard) -> None:
  """Raises UserError unless the shard's bytes have the SHA-256 that its manifest states."""
  if files.sha256(folder / shard.file) != shard.sha256:
    raise UserError(f'shard {folder / shard.file} is damaged (wrong SHA-256): delete {folder} and prepare again')


def differences(one: dict[str, Any], other: dict[str, Any]) -> str:
  """The keys in which two identities differ, with both values, in one line."""
  keys = [key for key in {**one, **other} if one.get(key) != other.get(key)]
  return ', '.join(f'{key} {one.get(key)!r} against {other.get(key)!r}' for key in keys)


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
