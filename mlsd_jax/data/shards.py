"""A folder of prepared tokens: its shards and the manifest that lists them. How they are written: shard_writer.py."""

import dataclasses
import pathlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from mlsd_jax import sealed
from mlsd_jax.errors import UserError

FORMAT = 1
MANIFEST = 'manifest.json'
TOKENIZER = 'tokenizer.json'  # a copy of the one that made the ids


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
    sealed.write_json(folder / MANIFEST, {**head, 'dtype': self.dtype, 'splits': splits})


def read_manifest(folder: pathlib.Path) -> Manifest:
  """Raises: UserError: there is no manifest in `folder`, or not one of this format."""
  if not (folder / MANIFEST).exists():
    raise UserError(f'{folder} holds no {MANIFEST}: no tokens have been prepared there, or not to the end')
  content = sealed.read_json(folder / MANIFEST)
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


def check(folder: pathlib.Path, shards: Iterable[Shard], dtype: str, vocab_size: int) -> None:
  """Raises UserError, naming the file, unless every shard has the size and the SHA-256 that its manifest states, and no
  id outside the vocabulary. Ids are looked at whenever the bytes are."""
  stored = np.dtype(dtype).newbyteorder('<')
  stated = {shard.file: {'bytes': shard.num_tokens * stored.itemsize, 'sha256': shard.sha256} for shard in shards}

  def largest_id(path: pathlib.Path) -> str | None:
    largest = int(np.memmap(path, stored, 'r').max()) if path.stat().st_size else -1
    return None if largest < vocab_size else f'holds token id {largest}, out of range for {vocab_size} tokens'

  damage = sealed.damage(folder, stated, inspect=largest_id)
  if damage:
    in_parts = any('/' in file for file in stated)  # of --mode=prepare, which makes a damaged part anew
    remedy = 'prepare again, which makes that part anew' if in_parts else f'delete {folder} and prepare again'
    raise UserError(f'shard {damage}: {remedy}')


def differences(one: dict[str, Any], other: dict[str, Any]) -> str:
  """The keys in which two identities differ, with both values, in one line."""
  keys = [key for key in {**one, **other} if one.get(key) != other.get(key)]
  return ', '.join(f'{key} {one.get(key)!r} against {other.get(key)!r}' for key in keys)
