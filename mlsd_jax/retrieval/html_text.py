"""HTML as Markdown: headings, paragraphs, lists, code; without scripts, styles and navigation."""

import collections
import html.parser
import re

_DROPPED = {'script', 'style', 'nav', 'footer', 'noscript', 'template', 'svg', 'iframe', 'form'}
_HEADINGS = {f'h{level}': '#' * level for level in range(1, 7)}
_BLOCKS = {'p', 'div', 'section', 'article', 'main', 'table', 'tr', 'ul', 'ol', 'dl', 'dd', 'blockquote', 'hr'}


class _Reader(html.parser.HTMLParser):
  """Walks the tags in their order with counters instead of a tree, so that no depth of nesting is a danger."""

  def __init__(self):
    super().__init__(convert_charrefs=True)
    self.parts: list[str] = ['\n']
    self.title: list[str] = []
    self.in_title = False
    self.preformatted = False
    self.dropped: list[str] = []  # open tags whose contents do not count, outermost first
    self.open: collections.Counter[str] = collections.Counter()  # the same, counted

  def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
    if tag == 'title' and not self.title:
      self.in_title = True
    elif tag in _DROPPED:
      self.dropped.append(tag)
      self.open[tag] += 1
    elif self.dropped:
      return
    elif tag == 'pre' and not self.preformatted:
      self.preformatted = True
      self.parts.append('\n\n```\n')
    elif tag in _HEADINGS:
      self.parts.append(f'\n\n{_HEADINGS[tag]} ')
    elif tag in ('li', 'dt'):
      self.parts.append('\n- ')
    elif tag in ('td', 'th'):
      self.parts.append(' ')
    elif tag == 'br':
      self.parts.append('\n')
    elif tag in _BLOCKS:
      self.parts.append('\n\n')

  def handle_endtag(self, tag: str) -> None:
    if tag == 'title':
      self.in_title = False
    elif self.dropped:
      while self.open[tag]:  # what was left open inside goes with it
        closed = self.dropped.pop()
        self.open[closed] -= 1
        if closed == tag:
          break
    elif tag == 'pre' and self.preformatted:
      self.preformatted = False
      self.parts.append('\n```\n\n')
    elif tag in _BLOCKS or tag in _HEADINGS:
      self.parts.append('\n\n')

  def handle_data(self, data: str) -> None:
    if self.in_title:
      self.title.append(data)
    elif self.dropped:
      return
    elif self.preformatted:
      self.parts.append(data)
    else:
      words = re.sub(r'\s+', ' ', data)
      words = words.lstrip() if self.parts[-1].endswith(('\n', ' ')) else words
      if words:
        self.parts.append(words)


def html_to_markdown(text: str) -> tuple[str, str]:
  """(title, the text in an HTML page as Markdown); linear in the page's length, whatever its tags."""
  reader = _Reader()
  reader.feed(text)
  reader.close()
  body = re.sub(r'[ \t]+\n', '\n', ''.join(reader.parts))
  body = re.sub(r'\n{3,}', '\n\n', body).strip() + '\n'
  title = ' '.join(''.join(reader.title).split())
  if not title:
    found = re.search(r'^# (.+)$', body, re.MULTILINE)
    title = found[1].strip() if found else ''
  return title, body
