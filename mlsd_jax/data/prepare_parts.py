"""Token shards of terabytes: files as parts, each tokenized by whoever is free (mlsd_jax/executor).

    OUTPUT/part-00003/train-00000.bin, val-00000.bin     shards, as prepare.py writes them
    OUTPUT/manifest.json, tokenizer.json                 written last; TokenDataset opens the folder

Read in order, the splits hold what `prepare` with split='documents' writes of the same files. OUTPUT may be a prefix of
an object store; `local_tokens` makes a checked local copy of one.
"""

import dataclasses
import functools
import os
import pathlib
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

from mlsd_jax.data.documents import read_files
from mlsd_jax.data.encoding import encode_chunk
from mlsd_jax.data.prepare import by_document, chunked, refuse_empty, token_dtype
from mlsd_jax.data.shard_writer import EncodedSegment, write_part
from mlsd_jax.data.shards import FORMAT, MANIFEST, TOKENIZER, Manifest, Shard
from mlsd_jax.data.sources import list_files
from mlsd_jax.errors import UserError
from mlsd_jax.executor import ExecutorConfig, Parts, is_remote, map_parts, open_parts
from mlsd_jax.executor.parts import fingerprint, numbered
from mlsd_jax.executor.place import open_place
from mlsd_jax.tokenizers.base import Tokenizer

_ALL = 2**62  # tokens: a part is one shard a split


def prepare_parts(
  source: str,
  tokenizer: Tokenizer,
  output: str | os.PathLike[str],
  *,
  text_key: str = 'text',
  val_fraction: float = 0.1,
  part_bytes: float = 2**28,
  config: ExecutorConfig | None = None,
  on_part: Callable[[int], object] = lambda text_bytes: None,
) -> Parts:
  """Token shards of a file, a folder or a glob, and the manifest that makes them one preparation.

  A part is of whole files, of `part_bytes` together at least (but the last). A hash of its text decides in which split
  a document falls, as in `prepare`.

  Args:
    source: files, which all workers see.
    output: a folder that all workers see, or a prefix of an object store.
    on_part: called with the bytes of text of each part that is made.

  Raises:
    UserError: nothing to read, text that the tokenizer cannot represent, another preparation in `output`, or what
      `map_parts` says.
  """
  if not 0 <= val_fraction <= 1:
    raise UserError(f'val_fraction must be between 0 and 1, not {val_fraction}')
  paths = list_files(source, text_key)
  identity = {
    'format': FORMAT,
    'source': pathlib.Path(source).name or source,
    'source_fingerprint': _fingerprint(paths, text_key),
    'tokenizer': tokenizer.name,
    'tokenizer_fingerprint': tokenizer.fingerprint,
    'split': 'documents',
    'val_fraction': float(val_fraction),
    'part_bytes': float(part_bytes),
  }
  parts = map_parts(
    numbered(_groups(paths, part_bytes)),
    functools.partial(_Preparer, tokenizer, text_key, val_fraction),
    output, identity=identity, config=config, on_part=lambda name, note: on_part(note['text_bytes']),
  )  # fmt: skip
  _write_manifest(parts, tokenizer, val_fraction)
  return parts


def local_tokens(path: str | os.PathLike[str]) -> pathlib.Path:
  """A local folder of a preparation: itself, or a checked copy in the user cache of one in an object store.

  Raises:
    UserError: nothing was prepared there, or not to the end; a shard is missing or damaged.
  """
  if not is_remote(path):
    return pathlib.Path(path)
  place = open_place(path)
  if place.read_json(MANIFEST) is None:
    raise UserError(f'{path} holds no {MANIFEST}: no tokens have been prepared there, or not to the end')
  for _ in open_parts(path).folders():
    pass
  place.read_file(TOKENIZER)
  return place.read_file(MANIFEST).parent


def _fingerprint(paths: list[pathlib.Path], text_key: str) -> str:
  return fingerprint([text_key, [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]])


def _groups(paths: list[pathlib.Path], part_bytes: float) -> list[list[str]]:
  groups: list[list[str]] = [[]]
  size = 0.0
  for path in paths:
    if size >= part_bytes:
      groups.append([])
      size = 0.0
    groups[-1].append(str(path.absolute()))
    size += path.stat().st_size
  return groups


@dataclasses.dataclass(frozen=True)
class _Preparer:
  """A worker; see `prepare_parts`."""

  tokenizer: Tokenizer
  text_key: str
  val_fraction: float

  def __call__(self, paths: list[str], folder: pathlib.Path) -> dict[str, Any]:
    tokenizer, dtype = self.tokenizer, token_dtype(self.tokenizer)
    documents = read_files([pathlib.Path(path) for path in paths], self.text_key)

    def encoded() -> Iterator[EncodedSegment]:
      for chunk in chunked(by_document(documents, self.val_fraction)):
        found = encode_chunk(tokenizer, dtype, [segment.text for segment in chunk])
        start = 0
        for segment, tokens, size in zip(chunk, found.num_tokens, found.num_bytes, strict=True):
          yield segment, found.tokens[start : start + tokens], size
          start += tokens

    made, _ = write_part(folder, 0, encoded(), _ALL, tokenizer.end_of_text, dtype)
    if not made['shards']:  # a part of files without text has a file all the same
      (folder / 'empty').touch()
    return {'shards': made['shards'], 'text_bytes': sum(shard['text_bytes'] for shard in made['shards'].values())}


def _write_manifest(parts: Parts, tokenizer: Tokenizer, val_fraction: float) -> None:
  splits: dict[str, list[Shard]] = {'train': [], 'val': []}
  for name, note in parts.notes.items():
    for split, shard in note['shards'].items():
      if shard['num_tokens']:
        splits[split].append(Shard(**{**shard, 'file': f'{name}/{shard["file"]}'}))
  refuse_empty(str(parts.identity['source']), splits, {'val_fraction': val_fraction, 'split': 'documents'})
  end = tokenizer.end_of_text
  first_bytes = {
    split: 0 if not shards or shards[0].first_token == end else len(tokenizer.decode_bytes([shards[0].first_token]))
    for split, shards in splits.items()
  }
  manifest = Manifest(dict(parts.identity), tokenizer.vocab_size, end, token_dtype(tokenizer), splits, first_bytes)
  place = open_place(parts.path)
  with tempfile.TemporaryDirectory() as folder:
    tokenizer.save(pathlib.Path(folder, TOKENIZER))
    place.write_file(pathlib.Path(folder, TOKENIZER), TOKENIZER)
    manifest.write(pathlib.Path(folder))
    place.write_file(pathlib.Path(folder, MANIFEST), MANIFEST)
