"""What people expect of a search box: snippets with the matched words marked, counts by folder, "did you mean"."""

import collections
import dataclasses
import itertools
import unicodedata
from collections.abc import Iterator, Sequence

import regex

from mlsd_jax.retrieval.search import Hit
from mlsd_jax.retrieval.store import Store
from mlsd_jax.retrieval.terms import Analyzer, spans

_SNIPPET = 240  # characters
_SHORTEST = 4  # letters of a word that is corrected: shorter ones are one letter from too many others
_READ = 50  # texts in which a word is looked for, of those that have its stem
_ALPHABET = 20_000  # terms whose letters are counted
_LETTER_SHARE = 0.001  # of a script's letters, below which one is not tried
_WORD = regex.compile(r'\p{L}+')


@dataclasses.dataclass(frozen=True)
class Snippet:
  """A part of a text, and where the query's words stand in it, [start, end) in characters of `text`."""

  text: str
  marks: Sequence[tuple[int, int]]


class Marker:
  """Marks the words of a query in texts: those of the same stem."""

  def __init__(self, query: str):
    self._analyze = Analyzer(stem=True)
    self._words = set(self._analyze(query))

  def marks(self, text: str) -> list[tuple[int, int]]:
    """[start, end) of each word of the query."""
    return [(start, end) for start, end in spans(text) if not self._words.isdisjoint(self._analyze(text[start:end]))]

  def snippet(self, text: str, most: int = _SNIPPET) -> Snippet:
    """At most so many characters, where most different words of the query are; white space made single spaces.

    Cut between words, where there are any, with a sign for what is left out.
    """
    text = ' '.join(text.split())
    marks = self.marks(text)
    if len(text) <= most:
      return Snippet(text, marks)
    room = most - 4
    start = self._start(text, marks, room)
    if start:
      space = text.find(' ', start, start + 30)
      start = space + 1 if space >= 0 else start
    end = min(start + room, len(text))
    if end < len(text):
      space = text.rfind(' ', max(end - 30, start + 1), end + 1)
      end = space if space >= 0 else end
    before, after = '… ' if start else '', ' …' if end < len(text) else ''
    shift = len(before) - start
    inside = [(first + shift, last + shift) for first, last in marks if start <= first and last <= end]
    return Snippet(f'{before}{text[start:end]}{after}', inside)

  def _start(self, text: str, marks: Sequence[tuple[int, int]], room: int) -> int:
    """Where the window begins that has most of the query's words, a little before the first of them; the first such."""
    own = [frozenset(self._analyze(text[start:end])) & self._words for start, end in marks]
    best, most = 0, 0
    for place, (start, _) in enumerate(marks):
      window = itertools.takewhile(lambda at: marks[at][1] <= start + room * 3 // 4, range(place, len(marks)))
      number = len(frozenset().union(*(own[at] for at in window)))
      if number > most:
        best, most = start, number
    return max(0, min(best - room // 4, len(text) - room))


def facets(store: Store, hits: Sequence[Hit]) -> list[tuple[str, int]]:
  """Folders of the pages that were found and how many of them each has, the most first; pages without one left out."""
  counts = collections.Counter(store.folders[hit.page] for hit in hits)
  return sorted(((name, number) for name, number in counts.items() if name), key=lambda item: (-item[1], item[0]))


class Speller:
  """Words of a corpus in the place of words that it does not have."""

  def __init__(self, store: Store):
    self._store, self._analyze = store, Analyzer(store.manifest['config']['bm25']['stem'])
    self._alphabets: dict[str, str] | None = None

  def suggest(self, query: str) -> str:
    """The query with each word that no page has made one that some have, one letter away; '' if there is none.

    A letter too many, missing, wrong, or two that changed places (Damerau 1964). Of several words the one that most
    pages have. Words of less than four letters stay, and those of scripts without spaces, which are searched by pairs
    of characters.
    """
    changed = _WORD.sub(lambda found: self._instead(found[0]), query)
    return changed if changed != query else ''

  def _instead(self, word: str) -> str:
    if len(word) < _SHORTEST or len(self._analyze(word)) != 1 or self._number(word):
      return word
    candidates = {edited: number for edited in set(self._edits(word.casefold())) if (number := self._number(edited))}
    for edited in sorted(candidates, key=lambda each: (-candidates[each], each)):
      if spelled := self._spelled(edited):
        return spelled
    return word

  def _number(self, word: str) -> int:
    """How many pages have a word of its stem; those of function words are not counted."""
    found = self._analyze(word)
    return min((len(self._store.bm25_pages.texts_with(term)) for term in found), default=1)

  def _spelled(self, word: str) -> str:
    """The word as a page has it, in small letters; '' if none does: not every string with a stem is a word."""
    rows = self._store.bm25_pages.texts_with(self._analyze(word)[0])[:_READ] if self._analyze(word) else ()
    pages = (self._store.page(int(row)) for row in rows)
    words = (each for page in pages for each in _WORD.findall(f'{page.title} {page.text}'))
    return next((each.lower() for each in words if each.casefold() == word), '')

  def _edits(self, word: str) -> Iterator[str]:
    letters = self._letters(word[0])
    for at in range(len(word) + 1):
      left, right = word[:at], word[at:]
      if right:
        yield left + right[1:]
        yield from (left + letter + right[1:] for letter in letters)
      if len(right) > 1:
        yield left + right[1] + right[0] + right[2:]
      yield from (left + letter + right for letter in letters)

  def _letters(self, letter: str) -> str:
    """Those of the corpus in the script of one."""
    if self._alphabets is None:
      counts: dict[str, collections.Counter[str]] = {}
      for term in itertools.islice(self._store.bm25_pages.vocabulary(), _ALPHABET):
        for each in term:
          if each.isalpha():
            counts.setdefault(_script(each), collections.Counter())[each] += 1
      self._alphabets = {
        script: ''.join(each for each, number in own.items() if number >= _LETTER_SHARE * own.total())
        for script, own in counts.items()
      }
    return self._alphabets.get(_script(letter), '')


def _script(letter: str) -> str:
  return unicodedata.name(letter, ' ').split(' ', 1)[0]
