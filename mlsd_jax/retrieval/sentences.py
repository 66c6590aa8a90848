"""A span of text cut into sentences, in any script.

The ends are those of Unicode's sentence breaking (UAX 29, as `regex` has its properties): full stops, question and
exclamation marks of all scripts, with the quotes and brackets that close behind them. Where the script puts a space
behind a full stop one must be there, and what follows an abbreviation, an initial or a number in a list is no new
sentence.
"""

import itertools
from collections.abc import Sequence

import regex

# A stop that needs a space behind it, another one that does not, and ends of paragraphs, list items and table rows.
_CLOSE = r'[\p{Pe}\p{Pf}"\'*_]*'
_END = regex.compile(
  rf'(?V1)(?P<dot>[.\u2024\ufe52]+{_CLOSE}(?=\s))'
  rf'|(?P<ascii>[!?\u203c\u203d\u2047-\u2049]+{_CLOSE}(?=\s))'
  rf'|(?P<mark>(?:[[\p{{SB=ST}}\uff0e\uff61]--[!?\u203c\u203d\u2047-\u2049]]|\u2026\u2026)+{_CLOSE})'
  r'|(?P<block>\n(?=\s*\n|\s*[-*#|>]|\s*\d+[.)]\s|\s*```))'
)
_ABBREVIATIONS = (  # each between spaces
  ' mr mrs ms dr prof st mt ft no nos vs etc al cf eg ie fig figs eq eqs vol ed eds pp ca approx dept gen col lt sgt '
  'capt rev hon jr sr inc ltd co corp jan feb mar apr jun jul aug sep sept oct nov dec '
)
_BEFORE = regex.compile(r'(?P<word>[\p{L}\p{M}.]*|\d+)$')


def cut_sentences(text: str, start: int, end: int, whole: Sequence[tuple[int, int]] = ()) -> list[tuple[int, int]]:
  """The spans [start, end) of the sentences of text[start:end], in order; together they cover it.

  Args:
    whole: spans that are never cut, and stand by themselves: blocks of code.
  """
  cased = _has_capitals(text[start:end])
  edges = {start, end, *(min(max(edge, start), end) for span in whole for edge in span)}
  for found in _END.finditer(text, start, end):
    at = found.end()
    while at < end and text[at].isspace():
      at += 1
    if any(first < at < last for first, last in whole) or (
      found['dot'] and _goes_on(text, found.start(), at, start, end, cased)
    ):
      continue
    edges.add(at)
  return [span for span in itertools.pairwise(sorted(edges)) if text[span[0] : span[1]].strip()]


def _has_capitals(text: str) -> bool:
  """Whether sentences begin with capitals: some collections are in lower case throughout."""
  return sum(map(str.isupper, text)) > 0.005 * len(text)


def _goes_on(text: str, dot: int, after: int, start: int, end: int, cased: bool) -> bool:
  """Whether a full stop ends no sentence."""
  if after >= end:
    return False
  if cased and text[after].islower():
    return True
  found = _BEFORE.search(text, max(start, dot - 24), dot)
  word = found['word'] if found else ''
  if len(word) == 1 and word.isalpha() and word.isupper():
    return text[dot - 2 : dot - 1].isspace() or dot - 1 == start  # an initial
  bare = word.lower().replace('.', '')
  return f' {bare} ' in _ABBREVIATIONS or ('.' in word and len(word) <= 4 and text[after].isupper())
