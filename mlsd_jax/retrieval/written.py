"""What a language model writes of the sources that were found: sentences that cite them, each held against them.

A sentence stays if it cites sources in brackets, [1] or [1][3], and these say it: most of what it says beyond the
question stands in them, and all of its numbers. That is a test of words, not of meaning: it drops what a model adds of
its own, and would let pass what turns the sources' words around.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import regex

from mlsd_jax.retrieval.sentences import cut_sentences
from mlsd_jax.retrieval.terms import Analyzer

_HELD = 0.7  # of the terms of a sentence that the question does not have
_CITATION = regex.compile(r'\s*\[(\d+(?:\s*,\s*\d+)*)\]')
_ONLY_CITATIONS = regex.compile(r'(?:\s*\[[\d,\s]+\])+[.!?]?\s*')
_BEGUN_CITATION = regex.compile(r'\s*(?:\[[\d,\s]*\]?\s*)*')
_NUMBER = regex.compile(r'\d+(?:[.,]\d+)*')

# A model as a function of a prompt, and of what is called with each piece of text as it is settled.
type Write = Callable[..., str]


@dataclasses.dataclass(frozen=True)
class Written:
  """Attributes: text: the sentences that its sources hold. dropped: those that they do not."""

  text: str = ''
  dropped: tuple[str, ...] = ()


def write_answer(
  write: Write,
  prompt: str,
  query: str,
  sources: Sequence[str],
  on_sentence: Callable[[str], None] | None = None,
) -> Written:
  """Has the model write, and checks each sentence as soon as it is whole.

  Args:
    write: prompt -> text; with on_sentence it is also given on_text, and tells its text piece by piece.
    sources: what [1], [2], ... say.
    on_sentence: called with each sentence that stays.
  """
  checker = _Checker(query, sources, on_sentence)
  if on_sentence is None:
    checker.push(write(prompt))
  else:
    write(prompt, on_text=checker.push)
  checker.close()
  return Written(' '.join(checker.kept), tuple(checker.dropped))


def cited_by(sentence: str) -> list[int]:
  """The numbers in its brackets."""
  return [int(number) for found in _CITATION.finditer(sentence) for number in found[1].split(',')]


def is_held(sentence: str, query: str, sources: Sequence[str]) -> bool:
  """Whether the sources that a sentence cites say it; see the module."""
  cited = cited_by(sentence)
  if not cited or not all(1 <= number <= len(sources) for number in cited):
    return False
  analyze = _analyzer()
  said = _CITATION.sub('', sentence)
  told = ' '.join(sources[number - 1] for number in cited)
  numbers = {*_NUMBER.findall(said)} - {*_NUMBER.findall(query)}
  if not numbers <= {*_NUMBER.findall(told)}:
    return False
  terms = {*analyze(said)}
  new = terms - {*analyze(query)} or terms  # a sentence of the question's words alone is held to all of them
  return bool(new) and len(new & {*analyze(told)}) >= _HELD * len(new)


@functools.cache
def _analyzer() -> Analyzer:
  return Analyzer(stem=True)


class _Checker:
  """Sentences out of a stream of text. The last one is held back: what cites it may stand behind its full stop."""

  def __init__(self, query: str, sources: Sequence[str], on_sentence: Callable[[str], None] | None):
    self._query, self._sources, self._on_sentence = query, sources, on_sentence
    self._text = ''
    self.kept: list[str] = []
    self.dropped: list[str] = []

  def push(self, text: str) -> None:
    self._text += text
    pieces = self._pieces()
    if len(pieces) > 1 and not _BEGUN_CITATION.fullmatch(pieces[-1]):
      for piece in pieces[:-1]:
        self._settle(piece)
      self._text = pieces[-1]

  def close(self) -> None:
    for piece in self._pieces():
      self._settle(piece)
    self._text = ''

  def _pieces(self) -> list[str]:
    """The text by sentences, what cites one behind its full stop with it."""
    cut = [self._text[start:end] for start, end in cut_sentences(self._text, 0, len(self._text))]
    pieces: list[str] = []
    for piece in cut:
      citation = _leading_citations(piece) if pieces else ''
      if citation:
        pieces[-1] = f'{pieces[-1].rstrip()} {citation.strip()} '
        piece = piece[len(citation) :]
      if piece.strip():
        pieces.append(piece)
    return pieces

  def _settle(self, sentence: str) -> None:
    sentence = ' '.join(sentence.split())
    if not is_held(sentence, self._query, self._sources):
      self.dropped.append(sentence)
      return
    self.kept.append(sentence)
    if self._on_sentence is not None:
      self._on_sentence(sentence)


def _leading_citations(piece: str) -> str:
  found = _ONLY_CITATIONS.match(piece)
  return found[0] if found else ''
