"""Texts to the terms that BM25 counts, in any script.

Words are those of Unicode's word breaking (UAX 29, as `regex` has it) after NFKC and case folding. Where words are not
spaced, overlapping n-grams of characters stand for them: what Lucene's CJK analyser does for Chinese and Japanese, and
what serves as well for Thai, Lao, Khmer and Myanmar (their letters with the signs on them count as one character).
Words are stemmed by their script. Where articles or pronouns are written on to words, and in the scripts of India,
their trigrams are terms too (McNamee and Mayfield 2004), as stemmers miss much there.
"""

import itertools
import unicodedata
from collections.abc import Iterator

import regex

VERSION = 5  # of the terms: an index holds those of the version it was made with
_CACHED = 2**18  # pieces of text between white space whose terms are remembered,
_LONGEST = 32  # if they are no longer than this; longer ones hardly come twice

# Scripts without spaces between words; Hangul has spaces, but its words end in particles.
_UNSPACED = (
  r'[[\p{L}\p{M}\p{N}]&&'
  r'[\p{scx=Han}\p{scx=Hira}\p{scx=Kana}\p{scx=Bopo}\p{scx=Yiii}\p{scx=Hang}\p{Line_Break=Complex_Context}]]'
)
# A word, with what makes it another one: the dot of .NET, the signs of C++ and C#.
_WORD = r"""(?P<dot>(?:^|(?<=[\s(\[{<,;:/"'`*=|]))\.(?=\p{L}))?(?P<word>\b\w.*?\b)(?P<sign>\+\+|\#(?!\p{L}))?"""
_RUNS = regex.compile(rf'(?V1)({_UNSPACED}+)')
_WORDS = regex.compile(rf'(?V1sw){_WORD}')
_SPANS = regex.compile(rf'(?V1sw){_UNSPACED}\p{{M}}*|{_WORD}')
_INITIALS = regex.compile(r'(?<![\w&])\w{1,3}(?:&\w{1,3})+(?![\w&;])')  # AT&T, R&D, Q&A; no &amp; of HTML
# Pictures are terms, whatever colour is behind them; (c) and TM are pictures to Unicode only.
_EMOJI = regex.compile(
  r'(?V1)\p{Regional_Indicator}{2}|[\p{Extended_Pictographic}--[\u00a9\u00ae\u2122\u2139\u3030\u303d]]'
)
_HANGUL = regex.compile(r'\p{Hangul}+')
# Scripts with a stemmer of Snowball's: that of the language which most texts in them are of.
_STEMMERS = tuple(
  (regex.compile(rf'\p{{{script}}}'), language)
  for script, language in (
    ('Arabic', 'arabic'),
    ('Armenian', 'armenian'),
    ('Cyrillic', 'russian'),
    ('Devanagari', 'hindi'),
    ('Greek', 'greek'),
    ('Tamil', 'tamil'),
  )
)
_COMPOUNDING = regex.compile(
  r'[\p{Arabic}\p{Hebrew}\p{Devanagari}\p{Bengali}\p{Gurmukhi}\p{Gujarati}\p{Oriya}\p{Tamil}\p{Telugu}\p{Kannada}'
  r'\p{Malayalam}\p{Sinhala}]'
)
_GRAM = 3  # characters
_CHARACTER = regex.compile(r'\X')
_BETWEEN = regex.compile(r'[\W_]+')
_NUMBER = regex.compile(r'[\d.,]+')
_IGNORABLE = regex.compile(r'(?V1)[\p{Default_Ignorable_Code_Point}--\u200b]+')  # soft hyphens, joiners; no space
_SPELLINGS = str.maketrans({'\u2019': "'", '\u02bc': "'", '\u266f': '#', '\u200b': ' '})


_ABBREVIATIONS = ('e.g', 'i.e')  # English stop words as well


class Analyzer:
  """Texts to terms.

  A word is a term, stemmed and without stop words if so asked. What it joins are terms as well, if they have two
  characters: the parts of snake_case, node.js, l'avion. Names such as C++, C#, .NET and numbers such as 3.12 are
  whole; C++ is no C, but .NET is also net. AT&T and R&D are terms beside the words in them.
  """

  def __init__(self, stem: bool):
    """`stem`: stemmers of Snowball, trigrams where they help, and Lucene's English stop words."""
    import Stemmer
    from bm25s.stopwords import STOPWORDS_EN

    self._stop = frozenset((*STOPWORDS_EN, *_ABBREVIATIONS)) if stem else frozenset()
    self._stem = Stemmer.Stemmer('english').stemWord if stem else None
    self._stemmers = [(script, Stemmer.Stemmer(language).stemWord) for script, language in _STEMMERS if stem]
    self._numbers: dict[str, list[int]] = {}  # of pieces that were seen, the numbers of their terms

  def __call__(self, text: str) -> list[str]:
    return [term for piece in text.split() for term in self._terms(piece)]

  def number(self, text: str, vocabulary: dict[str, int]) -> list[int]:
    """Numbers of the terms of a text in a vocabulary, to which new ones are added; always the same one.

    Most pieces of a corpus come again and again: each is taken apart once.
    """
    numbers: list[int] = []
    for piece in text.split():
      own = self._numbers.get(piece)
      if own is None:
        own = [vocabulary.setdefault(term, len(vocabulary)) for term in self._terms(piece)]
        if len(piece) <= _LONGEST:
          if len(self._numbers) == _CACHED:
            self._numbers.clear()
          self._numbers[piece] = own
      numbers += own
    return numbers

  def _terms(self, piece: str) -> list[str]:
    """Of what stands between white space: no word goes beyond it."""
    folded = _fold(piece)
    if folded.isascii():
      bare = folded.strip('()",;:!?').rstrip('.')
      return self._plain(bare) if bare.isalnum() else self._words(folded)
    terms: list[str] = _EMOJI.findall(folded)
    for number, stretch in enumerate(_RUNS.split(folded)):
      terms += _ngrams(stretch) if number % 2 else self._words(stretch)
    return terms

  def _plain(self, word: str) -> list[str]:
    """Of a word that joins nothing."""
    if word in self._stop:
      return []
    if self._stem is None:
      return [word]
    if word.isascii():
      return [self._stem(word)]
    stem = next((stem for script, stem in self._stemmers if script.match(word)), self._stem)
    return [stem(word), *_trigrams(word)]

  def _words(self, text: str) -> list[str]:
    terms: list[str] = []
    if '&' in text:
      terms += _INITIALS.findall(text)
    for found in _WORDS.finditer(text):
      dot, word, sign = found.group('dot', 'word', 'sign')
      terms += self._plain(word) if word.isalnum() and not dot and not sign else self._of_word(word, dot, sign)
    return terms

  def _of_word(self, word: str, dot: str | None, sign: str | None) -> Iterator[str]:
    """Of a word with signs in it, before it or behind it."""
    word, dot, sign = word.removesuffix("'s"), dot or '', sign or ''
    if dot or sign:
      yield dot + word + sign
    if sign and len(word) == 1:
      return
    parts = [part for part in _BETWEEN.split(word) if len(part) > 1]
    joined = not word.isalnum() and parts != [word]
    if joined and not dot and not sign and word not in self._stop:
      yield word
    if not joined:
      parts = [word]
    elif _NUMBER.fullmatch(word):
      return
    for part in parts:
      yield from self._plain(part)


def _trigrams(word: str) -> list[str]:
  """Of a word longer than that, where words are written together; each with a sign that tells it from words."""
  if len(word) <= _GRAM or not _COMPOUNDING.match(word):
    return []
  return [f'_{word[start : start + _GRAM]}' for start in range(len(word) - _GRAM + 1)]


def spans(text: str) -> Iterator[tuple[int, int]]:
  """Where the words of a text stand, or the characters of what has no words: what can be marked in it."""
  return (found.span() for found in _SPANS.finditer(text))


def _fold(text: str) -> str:
  """NFKC and case folding, without what is not seen."""
  if text.isascii():
    return text.lower()
  text = _IGNORABLE.sub('', text.translate(_SPELLINGS))
  folded = unicodedata.normalize('NFKC', text).casefold()
  # A Turkish capital i with its dot folds to an i and a dot of its own, which no one types.
  return unicodedata.normalize('NFKC', folded).replace('i\u0307', 'i')


def _ngrams(run: str) -> Iterator[str]:
  """Single characters and pairs of neighbours; of Hangul also the whole word."""
  characters = _CHARACTER.findall(run)
  yield from characters
  yield from map(''.join, itertools.pairwise(characters))
  if len(characters) > 2 and _HANGUL.fullmatch(run):
    yield run
