"""Markdown by its blocks: title, headings, code, and what a reader sees of any span of the text.

Blocks are CommonMark's (markdown-it-py), so that code is code wherever it stands: in fences of any length, indented, in
lists and quotes. Code is given as it was written; of prose the markup is left out (inline.py).
"""

import bisect
import dataclasses
import functools
import itertools
import re
from collections.abc import Container, Iterator, Sequence
from typing import Any

from mlsd_jax import reading
from mlsd_jax.errors import UserError
from mlsd_jax.retrieval.inline import BLOCK, MARKUP, Mark, find_markup

_FRONT_MATTER = re.compile(r'\s*(---|\+\+\+)[ \t]*\r?\n(.*?)^(?:\1|\.\.\.)[ \t]*\r?(?:\n|$)', re.DOTALL | re.MULTILINE)
_FRONT_TITLE = re.compile(r'^(["\']?)title\1[ \t]*[:=]', re.IGNORECASE | re.MULTILINE)
_LINE_END = re.compile(r'\r\n?|\n')
_CONTAINERS = re.compile(r'[ \t]*(?:(?:>|[-*+](?=[ \t]|$))[ \t]*)*')
_TABLE_RULE = re.compile(r'[ \t>]*\|?[ \t]*:?-+[-:| \t]*')
_HTML_TITLE = re.compile(r'<h1(?:\s[^<>]{0,400})?>(.{1,400}?)</h1', re.DOTALL | re.IGNORECASE)
_LONGEST_NAME = 100  # characters; what is longer is a paragraph above a rule
_LONGEST_FRONT = 100_000
_REMEMBERED = 16  # pages


@dataclasses.dataclass(frozen=True)
class Block:
  """The lines [start, end) of a text that belong together: code, or what stands between blank lines.

  Attributes:
    headings: those it stands under, outermost first; a heading goes with what follows it.
    opens: it stands first in its section.
    code: it is a block of code.
  """

  start: int
  end: int
  headings: tuple[str, ...]
  opens: bool
  code: bool


class Markdown:
  """A text that was read.

  Attributes:
    title: of the front matter, else the first heading of the first level; '' if it has neither.
    front_titles: how many the front matter has, of which one at most counts.
    blocks: all of the text in order, but white space and front matter.
  """

  def __init__(self, text: str):
    self._text = text
    title, begin = _front_matter(text)
    self.front_titles = _count_titles(text)
    ends = [found.end() for found in _LINE_END.finditer(text, begin)]
    self._starts = [begin, *ends] if ends and ends[-1] == len(text) else [begin, *ends, len(text)]
    self._code = [0] * (len(self._starts) - 1)  # of each line the number of its block of code, from 1; 0: it is none
    self._number = 0
    self._names: dict[int, tuple[int, str]] = {}  # line where a heading begins -> level and name
    self._underlined: set[int] = set()  # the other lines of headings
    self._html_title = ''
    self._marks = [Mark(0, begin, MARKUP, ' ')] if begin else []
    self._read(text[begin:])
    self._marks = sorted(mark for mark in self._marks if mark.start < mark.end)
    self._mark_ends = [mark.end for mark in self._marks]
    first = next((name for level, name in self._names.values() if level == 1), '')
    self.title = title or first or self._html_title
    self.blocks = list(self._blocks())

  def code_spans(self) -> list[tuple[int, int]]:
    """Where blocks of code stand, fences and all."""
    spans = []
    for number, lines in itertools.groupby(range(len(self._code)), self._code.__getitem__):
      if number:
        own = list(lines)
        spans.append((self._starts[own[0]], self._starts[own[-1] + 1]))
    return spans

  def is_code(self, position: int) -> bool:
    """Whether a block of code has this character."""
    line = bisect.bisect_right(self._starts, position) - 1
    return 0 <= line < len(self._code) and self._code[line] > 0

  def plain(self, start: int = 0, end: int | None = None) -> str:
    """What a reader sees of the span [start, end): prose with single spaces, code as it was written."""
    text, at = self._text, start
    end = len(text) if end is None else end
    parts: list[tuple[str, str]] = []
    for place in range(bisect.bisect_right(self._mark_ends, start), len(self._marks)):
      mark = self._marks[place]
      if mark.start >= end:
        break
      if mark.start > at:
        parts.append((MARKUP, text[at : mark.start]))
      shown = mark.shown if mark.kind == MARKUP else text[max(mark.start, start) : min(mark.end, end)]
      if shown:
        parts.append((mark.kind, shown))
      at = max(at, mark.end)
    if at < end:
      parts.append((MARKUP, text[at:end]))
    return _join(parts)

  def _read(self, body: str) -> None:
    references: dict[str, Any] = {}
    tokens = _parser().parse(body, references)
    labels: Container[str] = references.get('references', {})
    prose = [True] * len(self._code)  # lines that no block has taken, such as definitions of references
    in_table = False
    for place, token in enumerate(tokens):
      in_table = (in_table or token.type == 'table_open') and token.type != 'table_close'
      if token.map is None or (in_table and token.type != 'table_open'):
        continue
      first, last = token.map
      taken = range(first, min(last, len(self._code)))
      if token.type in ('fence', 'code_block'):
        self._read_code(token, taken)
      elif token.type == 'heading_open':
        self._read_heading(token, tokens[place + 1].content, taken)
      elif token.type == 'hr':
        self._hide(taken)
      elif token.type == 'inline' and tokens[place - 1].type != 'heading_open':
        self._read_prose(taken, labels)
      elif token.type == 'table_open':
        self._read_table(taken, labels)
      elif token.type == 'html_block':
        self._read_html(token.content, taken)
      else:
        continue
      for line in taken:
        prose[line] = False
    for line in (line for line, is_left in enumerate(prose) if is_left and self._line(line).strip()):
      self._read_prose(range(line, line + 1), labels)

  def _line(self, number: int) -> str:
    return self._text[self._starts[number] : self._starts[number + 1]].rstrip('\r\n')

  def _hide(self, lines: Sequence[int]) -> None:
    self._marks += [Mark(self._starts[line], self._starts[line + 1], MARKUP, ' ') for line in lines]

  def _read_code(self, token: Any, lines: range) -> None:
    """The lines of its content as they are, without what a list, a quote or indentation puts before them."""
    self._number += 1
    content = token.content.removesuffix('\n').split('\n') if token.content else []
    fences = int(token.type == 'fence')
    for line in lines:
      self._code[line] = self._number
      start, end, place = self._starts[line], self._starts[line + 1], line - lines.start - fences
      if not 0 <= place < len(content):
        self._hide([line])
        continue
      begin = self._own(line, content[place])
      self._marks += [Mark(start, begin, MARKUP), Mark(begin, end, BLOCK)]

  def _own(self, line: int, content: str) -> int:
    """Where a line's own text begins, which the parser gives without lists, quotes and indentation around it."""
    written = self._line(line)
    own = content if written.endswith(content) else content.lstrip()  # tabs became spaces
    return self._starts[line] + (len(written) - len(own) if written.endswith(own) else 0)

  def _read_heading(self, token: Any, content: str, lines: range) -> None:
    start, end = self._starts[lines.start], self._starts[lines.stop]
    if token.markup[0] == '#':
      before = max(self._text.find(content, start, end), start) if content else end
      self._marks.append(Mark(start, before, MARKUP, ' '))
      self._mark(before, before + len(content), find_markup(content))
      self._marks.append(Mark(before + len(content), end, MARKUP, ' '))
    else:
      self._read_prose(range(lines.start, lines.stop - 1), ())
      self._hide([lines.stop - 1])
    if token.level == 0 and len(content) <= _LONGEST_NAME:
      self._names[lines.start] = int(token.tag[1]), _shown(content)
      self._underlined |= set(lines[1:])

  def _mark(self, start: int, end: int, marks: Sequence[Mark]) -> None:
    self._marks += [mark._replace(start=start + mark.start, end=min(start + mark.end, end)) for mark in marks]

  def _read_prose(self, lines: range, labels: Container[str]) -> None:
    start, end = self._starts[lines.start], self._starts[lines.stop]
    if not lines:
      return
    words = []
    for line in lines:
      written = self._text[self._starts[line] : self._starts[line + 1]]
      before = _containers(written)
      self._marks.append(Mark(self._starts[line], self._starts[line] + before, MARKUP, ' '))
      words.append(' ' * before + written[before:])
    self._mark(start, end, find_markup(''.join(words), references=labels))

  def _read_table(self, lines: range, labels: Container[str]) -> None:
    for line in lines:
      written = self._line(line)
      if line == lines.start + 1 or _TABLE_RULE.fullmatch(written):
        self._hide([line])
        continue
      start = self._starts[line]
      before = _containers(written)
      self._marks.append(Mark(start, start + before, MARKUP, ' '))
      written = ' ' * before + written[before:]
      inside = find_markup(written, references=labels)
      self._mark(start, start + len(written), inside)
      hidden = {at for mark in inside for at in range(mark.start, mark.end)}
      bars = (found.start() for found in re.finditer(r'\|', written) if found.start() not in hidden)
      self._marks += [Mark(start + at, start + at + 1, MARKUP, ' ') for at in bars]

  def _read_html(self, content: str, lines: range) -> None:
    start, end = self._starts[lines.start], self._starts[lines.stop]
    own = [self._own(line, words) for line, words in zip(lines, content.split('\n'), strict=False)]
    self._marks += [Mark(self._starts[line], begin, MARKUP, ' ') for line, begin in zip(lines, own, strict=False)]
    begins = zip(lines, own, strict=False)
    written = ''.join(' ' * (at - self._starts[n]) + self._text[at : self._starts[n + 1]] for n, at in begins)
    self._mark(start, end, find_markup(written, only_html=True))
    found = _HTML_TITLE.search(content)
    if found and not self._html_title:
      self._html_title = _shown(found[1], only_html=True)

  def _blocks(self) -> Iterator[Block]:
    text, path = self._text, list[tuple[int, str]]()
    start: int | None = None  # of the block that is being read
    opens, code, only_headings = True, 0, False

    def closed(end: int) -> Iterator[Block]:
      nonlocal start, opens, only_headings
      if start is not None and text[start:end].strip():
        yield Block(start, end, tuple(name for _, name in path), opens, bool(code))
        opens = False
      start, only_headings = None, False

    for line, number in enumerate(self._code):
      begin = self._starts[line]
      if number != code:
        if code or not only_headings:
          yield from closed(begin)
        start = begin if start is None else start
        only_headings, code = False, number
      if line in self._names:
        if not only_headings:
          yield from closed(begin)
          start = begin
        level, name = self._names[line]
        path = [each for each in path if each[0] < level] + [(level, name)]
        opens, only_headings = True, True
      elif line in self._underlined:
        continue
      elif not number and not self._line(line).strip():
        if not only_headings:
          yield from closed(begin)
      else:
        start = begin if start is None else start
        only_headings = False
    yield from closed(len(text))


def _containers(line: str) -> int:
  """How many characters at its beginning only put it into lists and quotes."""
  found = _CONTAINERS.match(line)
  return found.end() if found else 0


@functools.lru_cache(_REMEMBERED)
def read_markdown(text: str) -> Markdown:
  """Reads a text; the last ones are remembered."""
  return Markdown(text)


@functools.cache
def _parser() -> Any:
  from markdown_it import MarkdownIt

  return MarkdownIt('commonmark').enable('table').disable('inline')


def _shown(words: str, *, only_html: bool = False) -> str:
  """A heading without its markup."""
  parts, at = [], 0
  for mark in find_markup(words, only_html=only_html):
    parts += [words[at : mark.start], mark.shown if mark.kind == MARKUP else words[mark.start : mark.end]]
    at = mark.end
  return ' '.join(''.join([*parts, words[at:]]).split())


def _join(parts: Sequence[tuple[str, str]]) -> str:
  """Prose with single spaces; blocks of code apart from it, with their own."""
  pieces = []
  for is_code, stretch in itertools.groupby(parts, lambda part: part[0] == BLOCK):
    if is_code:
      pieces.append(''.join(shown for _, shown in stretch).strip('\r\n'))
      continue
    words: list[str] = []
    for kind, shown in stretch:
      shown = re.sub(r'\s+', ' ', shown) if kind == MARKUP else _LINE_END.sub(' ', shown)
      if kind == MARKUP and words and words[-1].endswith(' '):
        shown = shown.removeprefix(' ')
      if shown:
        words.append(shown)
    pieces.append(''.join(words).strip())
  return '\n'.join(piece for piece in pieces if piece.strip())


def _front_matter(text: str) -> tuple[str, int]:
  """The title in the front matter, and where it ends; 0 if there is none, as `---` may just be a rule."""
  found = _FRONT_MATTER.match(text)
  if not found:
    return '', 0
  values = _toml(found[2]) if found[1] == '+++' else _yaml(found[2])
  if values is None:
    return '', 0
  title = next((value for name, value in values.items() if str(name).lower() == 'title'), '')
  return ' '.join(str(title).split()) if isinstance(title, (str, int, float)) else '', found.end()


def _count_titles(text: str) -> int:
  found = _FRONT_MATTER.match(text)
  if not found:
    return 0
  top = re.split(r'^\[', found[2], maxsplit=1, flags=re.MULTILINE)[0] if found[1] == '+++' else found[2]
  return len(_FRONT_TITLE.findall(top))  # keys of mappings in the mapping stand further to the right


def _yaml(text: str) -> dict[Any, Any] | None:
  """The mapping in a YAML text, scalars as they are written; None if it is no mapping.

  `title: Part 1: begin` is common and no YAML: then each entry is read by itself, and what is none is taken as it is.
  """
  if len(text) > _LONGEST_FRONT or not text.strip():
    return None if text.strip() else {}
  values = _load_yaml(text)
  if isinstance(values, dict) or values is not _NO_YAML:
    return values if isinstance(values, dict) else None
  entries: dict[Any, Any] = {}
  for entry in re.split(r'^(?=[\w-]+:)', text, flags=re.MULTILINE):
    own, (name, colon, value) = _load_yaml(entry), entry.partition(':')
    if isinstance(own, dict):
      entries |= own
    elif colon:
      entries[name] = value.strip()
  return entries or None


_NO_YAML = object()


def _load_yaml(text: str) -> Any:
  try:
    return reading.parse_yaml(text, '', plain=True, unique=False)
  except UserError:
    return _NO_YAML


def _toml(text: str) -> dict[Any, Any] | None:
  import tomllib

  try:
    return tomllib.loads(text)
  except (tomllib.TOMLDecodeError, RecursionError):
    return None
