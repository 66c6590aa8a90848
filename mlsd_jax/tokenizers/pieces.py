"""Counts of the distinct pieces of a text of any length, in bounded memory and on all cores."""

import collections
import concurrent.futures
import dataclasses
import itertools
import os
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator

from mlsd_jax import processes, sealed
from mlsd_jax.errors import UserError
from mlsd_jax.tokenizers import base
from mlsd_jax.tokenizers.patterns import MARK, Pattern

_CHUNK = 2**21  # characters that one worker counts at a time

# Between a letter and a space before a letter no published pattern has a piece that goes on, nor one that looks across.
_SEAM = re.compile(r'(?<=[a-z])(?= [a-zA-Z])')


@dataclasses.dataclass
class Counts:
  """Distinct pieces in the order of first occurrence, and how much of the text they are from.

  Attributes:
    pieces: how often each occurred.
    chunks: parts of the text that are counted.
    characters: how long those were.
    source: what they were counted from, so that counts of another text are not gone on from.
  """

  pieces: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
  chunks: int = 0
  characters: int = 0
  source: str = ''

  def save(self, path: pathlib.Path) -> None:
    """Writes a Parquet file, atomically."""
    import polars as pl

    table = pl.DataFrame({'piece': list(self.pieces), 'count': list(self.pieces.values())})
    about = {'chunks': str(self.chunks), 'characters': str(self.characters), 'source': self.source}
    sealed.write_file(path, lambda target: table.write_parquet(target, metadata=about))

  @classmethod
  def load(cls, path: pathlib.Path) -> 'Counts':
    """What `save` wrote.

    Raises:
      UserError: the file is damaged.
    """
    import polars as pl

    try:
      sealed.check_file(path)
      about, table = pl.read_parquet_metadata(path), pl.read_parquet(path)
      pieces = dict(zip(table['piece'].to_list(), table['count'].to_list(), strict=True))
      return cls(collections.Counter(pieces), int(about['chunks']), int(about['characters']), about['source'])
    except (UserError, pl.exceptions.PolarsError, KeyError) as error:
      raise UserError(f'{path} is damaged ({error}); delete it to count anew') from error


def count_pieces(
  texts: Iterable[str],
  pattern: Pattern,
  *,
  workers: int = 0,
  start: Counts | None = None,
  on_chunk: Callable[[Counts], None] = lambda counts: None,
) -> Counts:
  """How often each distinct piece occurs: the same for any number of workers.

  Args:
    texts: documents; no piece reaches across two of them.
    workers: 0 is one a core. Published patterns are counted in threads (the work is in Rust), a pattern of the user's
      own in processes.
    start: what an earlier call on the same texts and pattern had counted; it goes on from there.
    on_chunk: called with the counts so far behind each part of some millions of characters.

  Raises:
    UserError: the pattern leaves out a part of the text, which then could not be decoded.
  """
  counts = start or Counts()
  workers = workers or os.cpu_count() or 1
  rest = itertools.islice(_chunks(texts, pattern), counts.chunks, None)
  for characters, part in _ordered(_count, rest, pattern, workers):
    counts.pieces.update(part)  # keeps the order of first occurrence
    counts.chunks += 1
    counts.characters += characters
    on_chunk(counts)
  return counts


def _chunks(texts: Iterable[str], pattern: Pattern) -> Iterator[list[str]]:
  """Lists of texts of about _CHUNK characters; a longer text is cut at seams."""
  chunk: list[str] = []
  size = 0
  for text in texts:
    for part in _parts(base.well_formed(text), pattern):
      chunk.append(part)
      size += len(part)
      if size >= _CHUNK:
        yield chunk
        chunk, size = [], 0
  if chunk:
    yield chunk


def _parts(text: str, pattern: Pattern) -> Iterator[str]:
  start = 0
  if pattern.fast is not None:
    while len(text) - start > _CHUNK:
      seam = _SEAM.search(text, start + _CHUNK)
      if seam is None:
        break
      yield text[start : seam.start()]
      start = seam.start()
  yield text[start:]


def _ordered(work, chunks: Iterator[list[str]], pattern: Pattern, workers: int) -> Iterator[tuple[int, dict[str, int]]]:
  """work(chunk, pattern) for every chunk, in order, with never more than a few chunks under way."""
  if workers == 1:
    yield from (work(chunk, pattern) for chunk in chunks)
    return
  threads = pattern.fast is not None or not pattern.plain
  executor = concurrent.futures.ThreadPoolExecutor(workers) if threads else processes.process_pool(workers)
  with executor:
    yield from processes.map_in_order(executor, work, chunks, pattern, ahead=workers)


def _count(chunk: list[str], pattern: Pattern) -> tuple[int, dict[str, int]]:
  characters = sum(map(len, chunk))
  if pattern.fast is not None and not any(MARK in text for text in chunk):
    return characters, _count_fast(chunk, pattern.fast)
  counts: collections.Counter[str] = collections.Counter()
  for text in chunk:
    pieces = pattern.split(text)
    if sum(map(len, pieces)) != len(text):
      missing = _first_gap(text, pieces)
      raise UserError(f'the pattern leaves out {missing!r} of the text; end it with |\\s+|. or the like')
    counts.update(pieces)
  return characters, counts


def _count_fast(chunk: list[str], fast: tuple[str, str]) -> dict[str, int]:
  import polars as pl

  seam, pieces = fast
  column = pl.col('piece')
  marked = column.str.replace_all(seam, f'${{1}}{MARK}${{2}}')
  table = (
    pl.DataFrame({'piece': chunk})
    .select(marked.str.extract_all(pieces).explode())
    .drop_nulls()
    .group_by('piece', maintain_order=True)
    .len()
  )
  return dict(zip(table['piece'].to_list(), table['len'].to_list(), strict=True))


def _first_gap(text: str, pieces: list[str]) -> str:
  position = 0
  for piece in pieces:
    found = text.index(piece, position)
    if found != position:
      return text[position:found][:20]
    position += len(piece)
  return text[position:][:20]
