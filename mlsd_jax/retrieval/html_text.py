"""HTML as Markdown: headings, paragraphs, lists, code; without scripts, styles and navigation.

Made for pages from anywhere: the standard library's parser takes quadratic time for tags and comments that never end,
and libraries that build a tree take it for deep nesting. This reads from left to right, each character once or within
a bounded window, and keeps no tree.
"""

import collections
import html
import re
from collections.abc import Iterator

from mlsd_jax.retrieval.markdown import read_markdown

_RAW = {'script', 'style', 'title', 'textarea', 'noscript', 'iframe', 'template'}  # end at their own end tag only
_DROPPED = {'nav', 'footer', 'svg', 'select', 'datalist'}  # a form may be around all of a page
_HEADINGS = {f'h{level}': '#' * level for level in range(1, 7)}
_CODE = {'code', 'kbd', 'samp', 'tt'}
_BLOCKS = {'p', 'div', 'section', 'article', 'main', 'table', 'tr', 'ul', 'ol', 'dl', 'dd', 'blockquote', 'hr'}
_TAG = re.compile(r'</?([a-zA-Z][a-zA-Z0-9:-]{0,40})')
_LONGEST_TAG = 8192  # characters
# What Markdown would take for its own: signs that are not within a word, and what begins a line.
_SIGNS = re.compile(r'[`*\\]|(?<![^\W_])_|_(?![^\W_])|<(?=[a-zA-Z/!?%])|&(?=#?\w{1,32};)|\{(?=%)')
_BEGINNINGS = re.compile(r'#{1,6}(?=\s|$)|>|[-+=](?=\s|$|[-=])|~(?=~~)')


def html_to_markdown(text: str) -> tuple[str, str]:
  """(title, the text in an HTML page as Markdown); time is linear in the page's length, whatever its tags."""
  writer = _Writer()
  for kind, value in _events(text):
    getattr(writer, kind)(value)
  body = writer.finished()
  return ' '.join(writer.first_title.split()) or read_markdown(body).title, body


def _events(text: str) -> Iterator[tuple[str, str]]:
  """('data', words), ('opened', tag), ('closed', tag), ('title', words) in their order."""
  position = 0
  endless: set[str] = set()  # what was found to have no end from here on
  while position < len(text):
    start = text.find('<', position)
    if start < 0:
      yield 'data', html.unescape(text[position:])
      return
    if start > position:
      yield 'data', html.unescape(text[position:start])
    if text.startswith('<!--', start):
      end = -1 if '-->' in endless else text.find('-->', start + 4)
      if end < 0:
        endless.add('-->')  # a comment without end hides no more than its mark
      position = start + 4 if end < 0 else end + 3
      continue
    tag = _TAG.match(text, start)
    end = _tag_end(text, start) if tag or text.startswith(('<!', '<?'), start) else -1
    if end < 0:
      yield 'data', '<'
      position = start + 1
      continue
    position = end + 1
    if not tag:
      continue
    name, closes = tag[1].lower(), text[start + 1] == '/'
    yield ('closed' if closes else 'opened'), name
    if name in _RAW and not closes and name not in endless:
      closing = re.compile(f'</{name}', re.IGNORECASE).search(text, position)
      if closing is None:
        endless.add(name)
        continue
      if name == 'title':
        yield 'title', html.unescape(text[position : closing.start()])
      position = closing.start()


def _tag_end(text: str, start: int) -> int:
  """Where the '>' of the tag at `start` is that stands in no quotes; -1 if it is not near."""
  limit = start + _LONGEST_TAG
  first = text.find('>', start, limit)
  end, quotes = first, text.count('"', start, first) if first >= 0 else 0
  while end >= 0 and quotes % 2:
    quote = text.find('"', end, limit)
    after = text.find('>', quote, limit) if quote >= 0 else -1
    quotes += text.count('"', end, after) if after >= 0 else 0
    end = after
  return end if end >= 0 else first


class _Writer:
  """Turns events into Markdown, with counters where a parser would have a tree."""

  def __init__(self):
    self.parts: list[str] = ['\n']  # of the prose since the last code
    self.first_title = ''
    self.hidden: list[str] = []  # open tags whose contents do not count, outermost first
    self.open: collections.Counter[str] = collections.Counter()  # the same, counted
    self._done: list[str] = []
    self._block: list[str] | None = None  # words of the block of code that is open
    self._span: list[str] | None = None  # and of the code in a line

  def finished(self) -> str:
    """All of it; what was left open ends here."""
    self._close_span()
    self._close_block()
    self._close_prose()
    return '\n\n'.join(part for part in self._done if part) + '\n'

  def title(self, words: str) -> None:
    if not self.open['svg']:  # whose title is that of a picture
      self.first_title = self.first_title or words

  def opened(self, tag: str) -> None:
    if tag in _DROPPED:
      self.hidden.append(tag)
      self.open[tag] += 1
    elif self.hidden or (self._block is not None and tag != 'br'):
      return
    elif tag in _CODE:
      self._span = [] if self._span is None else self._span
    elif tag == 'pre':
      self._close_span()
      self._close_prose()
      self._block = []
    elif tag == 'br' and self._block is not None:
      self._block.append('\n')
    elif tag in _HEADINGS:
      self._write(f'\n\n{_HEADINGS[tag]} ')
    elif tag in ('li', 'dt'):
      self._write('\n- ')
    elif tag in ('td', 'th'):
      self._write(' ')
    elif tag == 'br':
      self._write('\n')
    elif tag in _BLOCKS:
      self._write('\n\n')

  def closed(self, tag: str) -> None:
    if self.hidden:
      while self.open[tag]:  # what was left open inside goes with it
        last = self.hidden.pop()
        self.open[last] -= 1
        if last == tag:
          break
    elif self._block is not None:
      if tag == 'pre':
        self._close_block()
    elif tag in _CODE:
      self._close_span()
    elif tag in _BLOCKS or tag in _HEADINGS:
      self._write('\n\n')

  def data(self, words: str) -> None:
    if self.hidden:
      return
    if self._block is not None:
      self._block.append(words)
    elif self._span is not None:
      self._span.append(words)
    elif words := re.sub(r'\s+', ' ', words):
      at_start = self.parts[-1].endswith('\n')
      words = words.lstrip() if self.parts[-1].endswith(('\n', ' ')) else words
      words = _SIGNS.sub(r'\\\g<0>', words)
      words = _BEGINNINGS.sub(r'\\\g<0>', words, count=1) if at_start and _BEGINNINGS.match(words) else words
      if words:
        self.parts.append(words)

  def _write(self, markup: str) -> None:
    self._close_span()
    self.parts.append(markup)

  def _close_prose(self) -> None:
    text = '\n'.join(line.rstrip(' \t') for line in ''.join(self.parts).split('\n'))
    self._done.append(re.sub(r'\n{3,}', '\n\n', text).strip())
    self.parts = ['\n']

  def _close_block(self) -> None:
    """Code as it was written, in a fence longer than those in it."""
    if self._block is not None:
      words = ''.join(self._block).removeprefix('\n').rstrip()
      fence = '`' * max(3, _longest_run(words) + 1)
      self._done.append(f'{fence}\n{words}\n{fence}' if words else '')
      self._block = None

  def _close_span(self) -> None:
    words = re.sub(r'\s+', ' ', ''.join(self._span or [])).strip()
    self._span = None
    if words:
      ticks = '`' * (_longest_run(words) + 1)
      self.parts.append(f'{ticks} {words} {ticks}' if '`' in (words[0], words[-1]) else f'{ticks}{words}{ticks}')


def _longest_run(words: str) -> int:
  """Of backticks."""
  return max(map(len, re.findall('`+', words)), default=0)
