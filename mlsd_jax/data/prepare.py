"""Documents to token shards on disk: streamed, in parallel, and picked up where they were left."""

import hashlib
import itertools
import json
import os
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

from mlsd_jax import folders, sealed
from mlsd_jax.data.documents import Document
from mlsd_jax.data.encoding import encode_chunks
from mlsd_jax.data.reading_progress import progress_bar
from mlsd_jax.data.shard_writer import EncodedSegment, Segment, write_part
from mlsd_jax.data.shards import (
  FORMAT,
  MANIFEST,
  TOKENIZER,
  Manifest,
  Shard,
  check,
  differences,
  read_manifest,
)
from mlsd_jax.data.sources import Source
from mlsd_jax.errors import UserError
from mlsd_jax.tokenizers.base import Tokenizer

UNFINISHED = 'unfinished.json'
_CHUNK_CHARACTERS = 2**20
_CHUNK_TEXTS = 4096
# Below this starting processes takes longer than it saves.
_CHUNKS_WITHOUT_WORKERS = 8
# What one process can read and hand out, they can encode.
_MOST_WORKERS = 32

type Split = Literal['documents', 'contiguous']


def prepare(
  source: Source,
  tokenizer: Tokenizer,
  folder: str | pathlib.Path | None = None,
  *,
  val_fraction: float = 0.1,
  split: Split = 'documents',
  shard_tokens: int = 2**26,
  workers: int | None = None,
) -> pathlib.Path:
  """Writes the token ids of `source` as shards of a training and a validation split, and returns their folder.

  Before each document stands the end-of-text token, if the tokenizer has one. If the folder holds the same preparation
  already, it is used as it is. One that was interrupted goes on behind its last whole shards, and its result is
  byte for byte that of an undisturbed one.

  Args:
    source: what to read.
    tokenizer: what to encode with; a copy is kept in the folder as tokenizer.json.
    folder: where to write; by default in the user cache, under a name that source, tokenizer and options determine.
    val_fraction: share of the validation split, of documents or of characters.
    split: 'documents': a hash of its text decides in which split a document falls, so that equal documents fall in the
      same one. 'contiguous': the last `val_fraction` of all characters are the validation split, as in nanoGPT; reads
      the source twice.
    shard_tokens: shards are closed once both splits together got so many tokens.
    workers: encoding processes, by default one a core up to 32; some megabytes are encoded without any.

  Raises:
    UserError: a bad option, nothing to read, text that the tokenizer cannot represent, a split that stays empty, no
      disk space, or a folder that holds another preparation.
  """
  if not 0 <= val_fraction <= 1:
    raise UserError(f'val_fraction must be between 0 and 1, not {val_fraction}')
  if split not in ('documents', 'contiguous'):
    raise UserError(f"split must be 'documents' or 'contiguous', not {split!r}")
  if shard_tokens < 1:
    raise UserError(f'shard_tokens must be at least 1, not {shard_tokens}')
  identity = {
    'format': FORMAT,
    'source': source.name,
    'source_fingerprint': source.fingerprint(),
    'tokenizer': tokenizer.name,
    'tokenizer_fingerprint': tokenizer.fingerprint,
    'split': split,
    'val_fraction': float(val_fraction),
    'shard_tokens': shard_tokens,
  }
  folder = default_folder(identity) if folder is None else pathlib.Path(folder)
  if not _is_prepared(folder, identity):
    with sealed.lock(folder, wait=True):
      if not _is_prepared(folder, identity):  # another process may have done it meanwhile
        _prepare(source, tokenizer, folder, identity, workers)
  return folder


def default_folder(identity: dict[str, Any]) -> pathlib.Path:
  """Where a preparation lies in the user cache."""
  key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]
  name = re.sub(r'[^\w.-]+', '_', f'{identity["source"]}-{identity["tokenizer"]}')
  return folders.cache_folder() / 'tokens' / f'{name}-{key}'


def _is_prepared(folder: pathlib.Path, identity: dict[str, Any]) -> bool:
  if not (folder / MANIFEST).exists():
    return False
  found = read_manifest(folder)
  _refuse_other(folder, found.identity, identity)
  check(folder, itertools.chain(*found.splits.values()), found.dtype, found.vocab_size)
  return True


def _refuse_other(folder: pathlib.Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
  if found != wanted:
    differing = differences(found, wanted)
    raise UserError(f'{folder} holds another preparation ({differing}): name another folder or delete this one')


def _prepare(
  source: Source, tokenizer: Tokenizer, folder: pathlib.Path, identity: dict[str, Any], workers: int | None
) -> None:
  for left_over in folder.glob('.*.tmp*'):  # of a process that was killed
    left_over.unlink()
  dtype = token_dtype(tokenizer)
  parts = _finished_parts(folder, identity, dtype, tokenizer.vocab_size)
  tokenizer.save(folder / TOKENIZER)
  if identity['split'] == 'documents':
    segments = by_document(source.documents(), identity['val_fraction'])
  else:
    segments = _contiguous(source, identity['val_fraction'])
  done = sum(part['segments'] for part in parts)
  for _ in range(done):
    next(segments)

  text_bytes = sum(shard['text_bytes'] for part in parts for shard in part['shards'].values())
  with progress_bar(f'preparing {source.name}', source.text_bytes(), text_bytes) as advance:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1  # macOS has none
    workers = min(cores, _MOST_WORKERS) if workers is None else workers
    stream = _encoded(segments, tokenizer, dtype, workers, advance)
    while True:
      part, ended = write_part(folder, len(parts), stream, identity['shard_tokens'], tokenizer.end_of_text, dtype)
      if part['segments']:
        parts.append(part)
      if ended:
        break
      sealed.write_json(folder / UNFINISHED, {'identity': identity, 'parts': parts})

  splits: dict[str, list[Shard]] = {'train': [], 'val': []}
  for part in parts:
    for name, shard in part['shards'].items():
      if shard['num_tokens']:
        splits[name].append(Shard(**shard))
  refuse_empty(source.name, splits, identity)
  first_token_bytes = {
    name: 0
    if not shards or shards[0].first_token == tokenizer.end_of_text
    else len(tokenizer.decode_bytes([shards[0].first_token]))
    for name, shards in splits.items()
  }
  Manifest(identity, tokenizer.vocab_size, tokenizer.end_of_text, dtype, splits, first_token_bytes).write(folder)
  (folder / UNFINISHED).unlink(missing_ok=True)


def refuse_empty(source: str, splits: dict[str, list[Shard]], identity: dict[str, Any]) -> None:
  """Raises UserError if a split that should hold text is empty."""
  if not any(splits.values()):
    raise UserError(f'source {source} holds no text')
  val_fraction = identity['val_fraction']
  for name, share in (('train', 1 - val_fraction), ('val', val_fraction)):
    if share > 0 and not splits[name]:
      remedy = "use split='contiguous' or another val_fraction" if identity['split'] == 'documents' else 'raise it'
      raise UserError(f'val_fraction {val_fraction} leaves the {name} split of {source} empty: {remedy}')


def _finished_parts(
  folder: pathlib.Path, identity: dict[str, Any], dtype: str, vocab_size: int
) -> list[dict[str, Any]]:
  if not (folder / UNFINISHED).exists():
    return []
  content = sealed.read_json(folder / UNFINISHED)
  _refuse_other(folder, content['identity'], identity)
  check(folder, (Shard(**shard) for part in content['parts'] for shard in part['shards'].values()), dtype, vocab_size)
  return content['parts']


def token_dtype(tokenizer: Tokenizer) -> str:
  """Of the ids on disk."""
  return 'uint16' if tokenizer.vocab_size <= 2**16 else 'uint32'


def by_document(documents: Iterable[Document], val_fraction: float) -> Iterator[Segment]:
  """Each document in the split that a hash of its text decides, so that equal ones fall in the same."""
  name = 'train'
  for document in documents:
    if not document.continued:
      digest = hashlib.blake2b(document.text.encode('utf-8', 'replace'), digest_size=8).digest()
      name = 'val' if int.from_bytes(digest) < val_fraction * 2**64 else 'train'
    if document.text:
      yield Segment(name, document.text, not document.continued)


def _contiguous(source: Source, val_fraction: float) -> Iterator[Segment]:
  left = int(sum(len(document.text) for document in source.documents()) * (1 - val_fraction))
  for document in source.documents():
    head, tail = document.text[:left], document.text[left:]
    left -= len(head)
    if head:
      yield Segment('train', head, not document.continued)
    if tail:
      yield Segment('val', tail, not document.continued and not head)


def _encoded(
  segments: Iterator[Segment], tokenizer: Tokenizer, dtype: str, workers: int, advance: Callable[[int], None]
) -> Iterator[EncodedSegment]:
  """Each segment with its ids and its number of UTF-8 bytes."""
  in_flight: list[list[Segment]] = []

  def texts() -> Iterator[list[str]]:
    for chunk in chunked(segments):
      in_flight.append(chunk)
      yield [segment.text for segment in chunk]

  for encoded in encode_chunks(texts(), tokenizer, dtype, workers, _CHUNKS_WITHOUT_WORKERS):
    start = 0
    for segment, num_tokens, num_bytes in zip(in_flight.pop(0), encoded.num_tokens, encoded.num_bytes, strict=True):
      yield segment, encoded.tokens[start : start + num_tokens], num_bytes
      start += num_tokens
    advance(sum(encoded.num_bytes))


def chunked(segments: Iterator[Segment]) -> Iterator[list[Segment]]:
  """Segments in lists of about a megabyte, to be encoded together."""
  chunk: list[Segment] = []
  size = 0
  for segment in segments:
    chunk.append(segment)
    size += len(segment.text)
    if size >= _CHUNK_CHARACTERS or len(chunk) >= _CHUNK_TEXTS:
      yield chunk
      chunk, size = [], 0
  if chunk:
    yield chunk
