"""The markup within a paragraph of Markdown, by its places: what a reader does not see, and code, which stays as it is.

CommonMark's rules of precedence: code before HTML and autolinks, these before links, links before emphasis. The time is
linear in the text's length: what is not closed is looked for once.
"""

import bisect
import collections
import html
import re
from collections.abc import Container, Sequence
from typing import NamedTuple, cast

from markdown_it import MarkdownIt
from markdown_it.common.utils import normalizeReference
from markdown_it.rules_inline.balance_pairs import processDelimiters
from markdown_it.rules_inline.state_inline import Delimiter, StateInline

MARKUP, SPAN, BLOCK = 'markup', 'code span', 'code block'


class Mark(NamedTuple):
  """Of the span [start, end) a reader sees `shown` if it is MARKUP, or what is written there if it is code."""

  start: int
  end: int
  kind: str
  shown: str = ''


_TAG = r"""</?[a-zA-Z][a-zA-Z0-9-]{0,40}
  (?:\s+[a-zA-Z_:][\w.:-]{0,100}(?:\s*=\s*(?:[^\s"'=<>`]{1,2000}|'[^']{0,2000}'|"[^"]{0,2000}"))?)*\s*/?>"""
_HTML = re.compile(
  rf'(?P<hidden><!--|<%|\{{%|<\?)|(?P<tag>{_TAG})|(?P<entity>&(?:\#\w{{1,8}}|[a-zA-Z]\w{{1,31}});)', re.X
)
_INLINE = re.compile(
  rf"""\\(?P<escaped>[!-/:-@\[-`{{-~])|(?P<ticks>`+)|{_HTML.pattern}
  |<(?P<address>[a-zA-Z][a-zA-Z0-9+.-]{{1,31}}:[^\s<>]{{0,2000}}|[\w.+-]{{1,64}}@[\w.-]{{1,255}})>
  |(?P<opening>!?\[)|(?P<closing>\])|(?P<run>\*+|_+)""",
  re.X,
)
_ENDS = {'<!--': '-->', '<%': '%>', '{%': '%}', '<?': '?>'}  # comments, and the tags of templates
_TARGET = re.compile(
  r"""\(\s{0,9}(?:<[^<>\n]{0,2000}>|(?:[^\s()\\]|\\.|\((?:[^\s()\\]|\\.){0,500}\)){0,2000})
  (?:\s{1,9}(?:"[^"]{0,500}"|'[^']{0,500}'|\([^()]{0,500}\)))?\s{0,9}\)""",
  re.X,
)
_LABEL = re.compile(r'\[([^\[\]]{0,500})\]')


def find_markup(text: str, *, references: Container[str] = (), only_html: bool = False) -> list[Mark]:
  """The marks in a paragraph, in order; they do not overlap.

  Args:
    references: labels that the page defines, as markdown-it spells them.
    only_html: it is a block of HTML, in which nothing else is markup.
  """
  marks: list[Mark] = []
  brackets: list[re.Match[str]] = []
  runs: list[tuple[int, int]] = []  # of * or _, of which some are emphasis
  ticks = _backticks(text) if '`' in text and not only_html else {}
  endless: set[str] = set()
  pattern = _HTML if only_html else _INLINE
  found = pattern.search(text)
  while found:
    kind, (start, end) = found.lastgroup, found.span()
    if kind == 'escaped':
      marks.append(Mark(start, start + 1, MARKUP))
    elif kind == 'ticks':
      same = ticks[end - start]
      place = bisect.bisect_left(same, end)
      if place < len(same):
        marks += _code_span(text, start, end, same[place])
        end = same[place] + end - start
    elif kind == 'hidden':
      close = _ENDS[found[0]]
      stop = -1 if close in endless else text.find(close, end)
      if stop < 0:
        endless.add(close)  # it hides no more than its mark
        marks.append(Mark(start, end, MARKUP, ' ' if found[0] == '<!--' else found[0]))
      else:
        end = stop + len(close)
        marks.append(Mark(start, end, MARKUP, ' '))
    elif kind == 'tag':
      marks.append(Mark(start, end, MARKUP, ' '))
    elif kind == 'entity':
      marks.append(Mark(start, end, MARKUP, html.unescape(found[0])))
    elif kind == 'address':
      marks += [Mark(start, start + 1, MARKUP), Mark(end - 1, end, MARKUP)]
    elif kind == 'opening':
      brackets.append(found)
    elif kind == 'closing' and brackets:
      opening = brackets.pop()
      stop = _link_end(text, opening.end(), end, references)
      if stop:
        marks += [Mark(*opening.span(), MARKUP), Mark(start, stop, MARKUP)]
        first = bisect.bisect_left(runs, opening.span())
        marks += _emphasis(text, runs[first:], start)  # none begins in a link and ends after it
        del runs[first:]
        end = stop
    elif kind == 'run':
      runs.append((start, end))
    found = pattern.search(text, end)
  return sorted(marks + _emphasis(text, runs, len(text)))


def _backticks(text: str) -> dict[int, list[int]]:
  """Length of a run of backticks -> where such runs start."""
  places: dict[int, list[int]] = collections.defaultdict(list)
  for found in re.finditer('`+', text):
    places[len(found[0])].append(found.start())
  return places


def _code_span(text: str, start: int, begin: int, end: int) -> list[Mark]:
  """`[begin, end)` between backticks; one space at each side belongs to them."""
  if text[begin] in ' \n' and text[end - 1] in ' \n' and text[begin:end].strip():
    inner = begin + 1, end - 1
  else:
    inner = begin, end
  return [Mark(start, inner[0], MARKUP), Mark(*inner, SPAN), Mark(inner[1], end + begin - start, MARKUP)]


def _link_end(text: str, begin: int, end: int, references: Container[str]) -> int:
  """Where a link or picture ends whose words are text[begin : end - 1]; 0 if it is none."""
  target = _TARGET.match(text, end)
  if target:
    return target.end()
  label = _LABEL.match(text, end)
  if label and normalizeReference(label[1] or text[begin : end - 1]) in references:
    return label.end()
  return end if end - begin < 500 and normalizeReference(text[begin : end - 1]) in references else 0


def _emphasis(text: str, runs: Sequence[tuple[int, int]], end: int) -> list[Mark]:
  """The signs among the runs of * and _ that make emphasis, in text[:end], by markdown-it's own pairing."""
  state = StateInline(text, cast(MarkdownIt, None), {}, [])
  state.posMax = end
  signs: list[Delimiter] = []
  for start, stop in runs:
    found = state.scanDelims(start, text[start] == '*')
    signs += [
      Delimiter(ord(text[start]), stop - start, at, -1, found.can_open, found.can_close) for at in range(start, stop)
    ]
  processDelimiters(state, signs)
  pairs = ((sign.token, signs[sign.end].token) for sign in signs if sign.end >= 0)
  return [Mark(at, at + 1, MARKUP) for pair in pairs for at in pair]
