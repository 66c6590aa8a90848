"""Pages cut into chunks along their structure: sections with their headings, paragraphs, code blocks whole.

A chunk is a span of its page's text. What encoder and BM25 see is made of it by `chunk_text`: the page's title and the
headings above, then the span without markup.
"""

import bisect
import collections
import dataclasses
import hashlib
import itertools
import re
from collections.abc import Callable, Sequence

import numpy as np

from mlsd_jax.errors import UserError
from mlsd_jax.retrieval.markdown import Block, read_markdown
from mlsd_jax.retrieval.page import MARKDOWN, Page

type Count = Callable[[Sequence[str]], Sequence[int]]  # texts -> their numbers of tokens


@dataclasses.dataclass(frozen=True)
class ChunkConfig:
  """How pages are cut.

  Attributes:
    max_tokens: of a chunk with its headings; a page is one chunk if this is 0.
    overlap: tokens at the end of a chunk that the next one of the same section begins with.
    min_tokens: a section shorter than this is joined with the next.
  """

  max_tokens: int = 200
  overlap: int = 32
  min_tokens: int = 64

  def __post_init__(self):
    if self.max_tokens and not self.max_tokens >= 16:
      raise UserError(f'chunk.max_tokens={self.max_tokens} must be at least 16, or 0 for whole pages')
    if self.max_tokens and not 0 <= self.overlap <= self.max_tokens // 2:
      raise UserError(f'chunk.overlap={self.overlap} must be between 0 and half of max_tokens={self.max_tokens}')


@dataclasses.dataclass(frozen=True)
class Chunk:
  """The span [start, end) of a page's text, and the headings it stands under, outermost first."""

  start: int
  end: int
  headings: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class _Unit:
  """What is never cut if it fits: a paragraph, a list, a table, a code block, or a piece of one that does not fit."""

  start: int
  end: int
  headings: tuple[str, ...]
  tokens: int
  context: int  # tokens of title and headings, which a chunk has once
  opens: bool  # stands first in its section
  code: bool
  alone: bool  # a piece of a code block that does not fit: shares its chunk with other pieces of it only


_LINE = re.compile(r'\s*(?P<words>\S[^\n]*)\n\s*')  # the first that is not blank, and what is blank below it
_BLANK = re.compile(r'\n(?:[^\S\n]*\n)+')
_SENTENCE = re.compile(r'(?<=[.!?])["\')\]]*\s+|\n+')


def plain_text(text: str, format_: str) -> str:
  """A text as a reader sees it: without its markup and with single spaces, code as it was written."""
  return read_markdown(text).plain() if format_ == MARKDOWN else ' '.join(text.split())


def plain_span(page: Page, start: int, end: int) -> str:
  """The same of the span [start, end) of a page's text, which is read as a part of the page."""
  if page.format == MARKDOWN:
    return read_markdown(page.text).plain(start, end)
  return ' '.join(page.text[start:end].split())


def whole_text(page: Page) -> str:
  """What BM25 counts of a page as a whole."""
  return chunk_text(page, Chunk(0, len(page.text)), heading=True)


def chunk_text(page: Page, chunk: Chunk, *, heading: bool = False) -> str:
  """What stands for a chunk in the index: title and headings, each once, then its plain text.

  Args:
    heading: keep the lines at its beginning that only say title or headings again. BM25 needs them: a function's
      signature holds names that are asked for. To an encoder they are noise.
  """
  parts = [page.title, *(each for each in chunk.headings if each != page.title)]
  context = ' - '.join(part for part in parts if part)
  if page.context and not heading:
    context = f'{context} ({page.context})'
  start = chunk.start
  while not heading:
    first = _LINE.match(page.text, start, chunk.end)
    if not first or first.end() == chunk.end or not _says_again(page, first, parts):
      break
    start = first.end()
  body = plain_span(page, start, chunk.end)
  return f'{context}: {body}' if context and not body.startswith(context) else body


def _says_again(page: Page, line: re.Match[str], parts: Sequence[str]) -> bool:
  """Whether a line is no more than a title or heading, or a signature that begins with the title; no code is."""
  name = plain_span(page, line.start(), line.end())
  if page.format == MARKDOWN:
    return (name in parts or not name) and not read_markdown(page.text).is_code(line.start('words'))
  return name in parts or (bool(page.title) and name.startswith(f'{page.title}('))


def cut(page: Page, config: ChunkConfig, count: Count) -> list[Chunk]:
  """The chunks of a page, in order. Together they cover all of its text but white space and front matter.

  Args:
    count: numbers of tokens of texts, without the special ones.
  """
  if not config.max_tokens:
    return [Chunk(0, len(page.text))]
  units = _units(page, config.max_tokens, count)
  if not units:  # nothing but front matter
    return [Chunk(0, len(page.text))]
  chunks: list[Chunk] = []
  first = 0
  while first < len(units):
    last, total = first, units[first].context + units[first].tokens
    while last + 1 < len(units):
      unit = units[last + 1]
      if (
        total + unit.tokens > config.max_tokens
        or (unit.opens and total >= config.min_tokens)
        or unit.alone
        or units[last].alone
      ):
        break
      last += 1
      total += unit.tokens
    chunks.append(Chunk(units[first].start, units[last].end, units[first].headings))
    if last + 1 == len(units):
      break
    first = _first_of_next(units, first, last + 1, config)
  return chunks


def _first_of_next(units: Sequence[_Unit], first: int, following: int, config: ChunkConfig) -> int:
  """Where the chunk with `following` in it begins: there, or as far before it as the overlap reaches."""
  if units[following].alone:
    return following
  back, repeated = following, 0
  while not units[back].opens and back - 1 > first and not units[back - 1].code:
    repeated += units[back - 1].tokens
    if repeated > config.overlap:
      break
    back -= 1
  total = units[back].context + sum(unit.tokens for unit in units[back : following + 1])
  return back if total <= config.max_tokens else following


def _units(page: Page, max_tokens: int, count: Count) -> list[_Unit]:
  blocks = read_markdown(page.text).blocks if page.format == MARKDOWN else _paragraphs(page.text)
  headings = sorted({block.headings for block in blocks})
  context = dict(
    zip(headings, count([' - '.join((page.title, page.context, *path)) for path in headings]), strict=True)
  )
  sizes = count([plain_span(page, block.start, block.end) for block in blocks])
  units: list[_Unit] = []
  for block, size in zip(blocks, sizes, strict=True):
    room = max(max_tokens - context[block.headings], max_tokens // 2)
    whole = size <= room
    pieces = [(block.start, block.end, size)] if whole else _pieces(page, block, room, count)
    for number, (a, b, tokens) in enumerate(pieces):
      opens, alone = block.opens and number == 0, block.code and not whole
      units.append(_Unit(a, b, block.headings, tokens, context[block.headings], opens, block.code, alone))
  return units


def _paragraphs(text: str) -> list[Block]:
  """What stands between blank lines."""
  edges = [0, *(found.end() for found in _BLANK.finditer(text)), len(text)]
  spans = [(start, end) for start, end in itertools.pairwise(edges) if text[start:end].strip()]
  return [Block(start, end, (), number == 0, False) for number, (start, end) in enumerate(spans)]


def _pieces(page: Page, block: Block, room: int, count: Count) -> list[tuple[int, int, int]]:
  """A block that is too long, cut at line ends (code) or sentences, or where even those are too long, anywhere."""
  sentences = re.compile(r'\n') if block.code else _SENTENCE
  cuts = [found.end() for found in sentences.finditer(page.text, block.start, block.end)]
  edges = sorted({block.start, *cuts, block.end})
  spans = list(itertools.pairwise(edges))
  sizes = list(count([plain_span(page, a, b) for a, b in spans]))
  short: list[tuple[int, int, int]] = []
  for (a, b), size in zip(spans, sizes, strict=True):
    short += [(a, b, size)] if size <= room else _halves(page, a, b, room, count)
  return _packed(short, room) if block.code else short


def _packed(spans: list[tuple[int, int, int]], room: int) -> list[tuple[int, int, int]]:
  joined: list[tuple[int, int, int]] = []
  for a, b, size in spans:
    if joined and joined[-1][2] + size <= room:
      joined[-1] = (joined[-1][0], b, joined[-1][2] + size)
    else:
      joined.append((a, b, size))
  return joined


def _halves(page: Page, start: int, end: int, room: int, count: Count) -> list[tuple[int, int, int]]:
  """A sentence without end, cut between words into pieces that fit; a word without end between characters."""
  # A token has at least one character, so pieces of `room` characters fit; longer ones may, and are tried first.
  breaks = [found.end() for found in re.finditer(r'\s+', page.text[start:end])]
  pieces: list[tuple[int, int, int]] = []
  position, step = start, room * 4
  while position < end:
    stop = min(position + step, end)
    if stop < end:
      near = bisect.bisect_right(breaks, stop - start) - 1
      if near >= 0 and start + breaks[near] > position:
        stop = start + breaks[near]
    size = count([plain_span(page, position, stop)])[0]
    if size > room and stop - position > 1:
      step = max((stop - position) // 2, 1)
      continue
    pieces.append((position, stop, size))
    position, step = stop, room * 4
  return pieces


def chunk_ids(pages: Sequence[Page], texts: Sequence[Sequence[str]]) -> np.ndarray:
  """int64 [chunks], from page, folder and text: a chunk that stays keeps its id, whatever its row.

  Args:
    texts: of each page those of its chunks.
  """
  digests: list[bytes] = []
  for page, own in zip(pages, texts, strict=True):
    times: collections.Counter[str] = collections.Counter()  # of each text on this page
    for text in own:
      times[text] += 1
      whole = f'{page.id}\0{page.folder}\0{times[text]}\0{text}'.encode('utf-8', 'surrogatepass')
      digests.append(hashlib.blake2b(whole, digest_size=8).digest())
  return (np.frombuffer(b''.join(digests), np.uint64) >> np.uint64(1)).astype(np.int64)
