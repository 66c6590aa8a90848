"""Pages cut into chunks along their structure: sections with their headings, paragraphs, code blocks whole.

A chunk is a span of its page's text. What encoder and BM25 see is made of it by `chunk_text`: the page's title and the
headings above, then the span without markup.
"""

import bisect
import dataclasses
import itertools
import re
from collections.abc import Callable, Sequence

from mlsd_jax.errors import UserError
from mlsd_jax.retrieval.pages import MARKDOWN, Page

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


_FENCE = re.compile(r' {0,3}(`{3,}|~{3,})')
_HEADING = re.compile(r' {0,3}(#{1,6})[ \t]+(.*?)[ \t]*#*[ \t]*$')
_UNDERLINE = re.compile(r' {0,3}(=+|-{2,})[ \t]*$')
_FRONT_MATTER = re.compile(r'\s*---[ \t]*\n.*?\n---[ \t]*(?:\n|$)', re.DOTALL)
_SENTENCE = re.compile(r'(?<=[.!?])["\')\]]*\s+|\n+')
_MARKUP = (
  (re.compile(r'<!--.*?-->', re.DOTALL), ' '),
  (re.compile(r'<%.*?%>|\{%.*?%\}', re.DOTALL), ' '),  # templates' tags
  (re.compile(r'!?\[([^\]\n]*)\]\([^)\n]*\)'), r'\1'),  # links and pictures
  (re.compile(r'\[([^\]\n]*)\]\[[^\]\n]*\]'), r'\1'),
  (re.compile(r'</?[a-zA-Z][^<>\n]{0,400}>'), ' '),
  (re.compile(r'^ {0,3}(?:`{3,}|~{3,}).*$', re.MULTILINE), ' '),
  (re.compile(r'^ {0,3}#{1,6}[ \t]+|^[ \t]*>[ \t]?|^[ \t]*[-*+][ \t]+|[*_]{2,}|[ \t]#+$', re.MULTILINE), ' '),
  (re.compile(r'^[ \t]*\|?[ \t]*:?-{3,}.*$', re.MULTILINE), ' '),  # the rule below a table's head
  (re.compile(r'[`|]'), ' '),
)


def plain_text(text: str, format_: str) -> str:
  """A text without its markup and with single spaces."""
  if format_ == MARKDOWN:
    text = _FRONT_MATTER.sub(' ', text, count=1) if text.lstrip().startswith('---') else text
    for pattern, replacement in _MARKUP:
      text = pattern.sub(replacement, text)
  return ' '.join(text.split())


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
  text = page.text[chunk.start : chunk.end]
  while not heading:
    first, _, rest = text.lstrip().partition('\n')
    name = plain_text(first, page.format)
    if not rest.strip() or not (name in parts or (page.title and name.startswith(page.title))):
      break
    text = rest
  body = plain_text(text, page.format)
  return f'{context}: {body}' if context and not body.startswith(context) else body


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
      if total + unit.tokens > config.max_tokens or (unit.opens and total >= config.min_tokens):
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
  back, repeated = following, 0
  while not units[back].opens and back - 1 > first and not units[back - 1].code:
    repeated += units[back - 1].tokens
    if repeated > config.overlap:
      break
    back -= 1
  total = units[back].context + sum(unit.tokens for unit in units[back : following + 1])
  return back if total <= config.max_tokens else following


def _units(page: Page, max_tokens: int, count: Count) -> list[_Unit]:
  blocks = _blocks(page.text, page.format)
  headings = sorted({block[2] for block in blocks})
  context = dict(
    zip(headings, count([' - '.join((page.title, page.context, *path)) for path in headings]), strict=True)
  )
  sizes = count([plain_text(page.text[start:end], page.format) for start, end, *_ in blocks])
  units: list[_Unit] = []
  for (start, end, path, opens, code), size in zip(blocks, sizes, strict=True):
    room = max(max_tokens - context[path], max_tokens // 2)
    pieces = [(start, end, size)] if size <= room else _pieces(page, start, end, code, room, count)
    for number, (a, b, tokens) in enumerate(pieces):
      units.append(_Unit(a, b, path, tokens, context[path], opens and number == 0, code))
  return units


def _blocks(text: str, format_: str) -> list[tuple[int, int, tuple[str, ...], bool, bool]]:
  """(start, end, headings, first of its section, is code) of what stands between blank lines; a heading goes with
  what follows it."""
  blocks: list[tuple[int, int, tuple[str, ...], bool, bool]] = []
  path: list[tuple[int, str]] = []
  start: int | None = None  # of the block that is being read
  opens, code, fence, only_headings = True, False, '', False
  position = 0
  if format_ == MARKDOWN and (front := _FRONT_MATTER.match(text)):
    position = front.end()

  def close(end: int) -> None:
    nonlocal start, opens, code, only_headings
    if start is not None and text[start:end].strip():
      blocks.append((start, end, tuple(title for _, title in path), opens, code))
      opens = False
    start, code, only_headings = None, False, False

  previous = ''
  while position < len(text):
    line_end = text.find('\n', position)
    line_end = len(text) if line_end < 0 else line_end + 1
    line = text[position:line_end].rstrip('\n')
    mark = _FENCE.match(line) if format_ == MARKDOWN else None
    heading = _HEADING.match(line) if format_ == MARKDOWN and not fence else None
    underline = _UNDERLINE.match(line) if format_ == MARKDOWN and not fence and previous.strip() else None
    if fence:
      if mark and mark[1].startswith(fence) and not line.strip().strip(mark[1][0]):
        fence = ''
        close(line_end)
    elif mark:
      if not only_headings:
        close(position)
        start = position
      fence, code, only_headings = mark[1], True, False
    elif heading or (underline and _is_title(previous)):
      level = len(heading[1]) if heading else (1 if line.strip()[0] == '=' else 2)
      name = heading[2] if heading else previous.strip()
      begin = position if heading else position - len(previous) - 1
      if not only_headings or not heading:
        close(begin)
        start = begin
      path = [each for each in path if each[0] < level] + [(level, plain_text(name, format_))]
      opens, only_headings = True, True
    elif not line.strip():
      if not only_headings:
        close(position)
    else:
      if start is None:
        start = position
      only_headings = False
    previous = line
    position = line_end
  close(len(text))
  return blocks


def _is_title(line: str) -> bool:
  return len(line) < 100 and not line.lstrip().startswith(('|', '-', '*', '>'))


def _pieces(page: Page, start: int, end: int, code: bool, room: int, count: Count) -> list[tuple[int, int, int]]:
  """A block that is too long, cut at line ends (code) or sentences, or where even those are too long, anywhere."""
  text = page.text
  cuts = [found.end() for found in (re.compile(r'\n') if code else _SENTENCE).finditer(text, start, end)]
  edges = sorted({start, *cuts, end})
  spans = list(itertools.pairwise(edges))
  sizes = list(count([plain_text(text[a:b], page.format) for a, b in spans]))
  short: list[tuple[int, int, int]] = []
  for (a, b), size in zip(spans, sizes, strict=True):
    short += [(a, b, size)] if size <= room else _halves(page, a, b, room, count)
  if code:
    return _packed(short, room)
  return short


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
    size = count([plain_text(page.text[position:stop], page.format)])[0]
    if size > room and stop - position > 1:
      step = max((stop - position) // 2, 1)
      continue
    pieces.append((position, stop, size))
    position, step = stop, room * 4
  return pieces
