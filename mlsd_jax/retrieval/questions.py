"""What a question asks for (a number, a time, a person, a place, a reason), and whether a sentence has such a thing.

Answer types by the question's words are as old as open question answering (Voorhees 1999, TREC-8); here they are a
few patterns, for English above all, that make one of several features. Where no pattern fits nothing is claimed.
"""

import enum

import regex


def _words(text: str) -> frozenset[str]:
  return frozenset(text.split())


class Kind(enum.Enum):
  NUMBER = 'number'
  TIME = 'time'
  NAME = 'name'  # of a person or place
  REASON = 'reason'
  OTHER = 'other'


_KINDS = (
  (
    Kind.NUMBER,
    r'\bhow (?:many|much|long|often|old|large|big|far|high|tall|deep|wide|fast|late|early)\b'
    r'|\b(?:what|which) (?:is the |was the )?(?:percentage|percent|number|amount|fraction|proportion|rate)\b'
    r'|\bwie ?viele?\b|\bcombien\b|\bcuánt[oa]s?\b|多少|几|كم|\bсколько\b|कितन',
  ),
  (
    Kind.TIME,
    r'\bwhen\b|\b(?:what|which) (?:\w+ )?(?:year|date|day|month|century|decade|time)s?\b'
    r'|\bwann\b|\bquand\b|\bcuándo\b|什么时候|何时|哪一?年|متى|\bкогда\b|कब',
  ),
  (
    Kind.NAME,
    r"\bwho(?:m|se)?\b(?!')|\bwhere\b|\bwer\b|\bwo\b|\bqui\b|\boù\b|\bquién(?:es)?\b|\bdónde\b|\bкто\b|\bгде\b",
  ),
  (
    Kind.NAME,
    r'\b(?:what|which) (?:\w+ )?(?:city|country|state|place|region|area|location|town|street|river|continent|county)\b',
  ),
  (Kind.REASON, r'\bwhy\b'),
)
_ASKS = tuple((kind, regex.compile(pattern)) for kind, pattern in _KINDS)
_WORD = regex.compile(r"\w[\w'’.-]*\w|\w")
_NUMBER_WORDS = _words(
  'one two three four five six seven eight nine ten eleven twelve thirteen fifteen twenty thirty forty fifty sixty '
  'hundred thousand million billion half third quarter dozen twice once first second'
)
_TIME_WORDS = _words(
  'january february march april may june july august september october november december century ago years months days '
  'hours since'
)
_YEAR = regex.compile(r'[12]\p{Nd}{3}s?')
_DIGIT = regex.compile(r'\p{N}')
_NUMERAL = regex.compile(r'[一二两三四五六七八九十百千万亿]')  # where words are not spaced
_CAUSE = regex.compile(
  r'\b(?:because|due to|since|so that|in order to|as a result|caus\w+|reason|to avoid|therefore|thus)\b',
  regex.IGNORECASE,
)
# Words of questions and of grammar that say nothing of what is asked about.
FUNCTION_WORDS = (
  'did does do many much type kind name called what who whom whose when where why which how during according used use '
  'between would could can has have had been being were from also some any most'
)


class Question:
  """A question's kind and words.

  Attributes:
    kind: of what is asked for.
    words: in lower case.
  """

  def __init__(self, text: str):
    lower = text.lower()
    self.kind = next((kind for kind, pattern in _ASKS if pattern.search(lower)), Kind.OTHER)
    self.words = frozenset(_WORD.findall(lower))

  def lacks(self, sentence: str) -> bool | None:
    """Whether a sentence has nothing of the kind that is asked for; None if that cannot be told.

    What the question itself says does not count.
    """
    if self.kind is Kind.OTHER:
      return None
    if self.kind is Kind.REASON:
      return not _CAUSE.search(sentence)
    words = _WORD.findall(sentence)
    new = [(place, word) for place, word in enumerate(words) if word.lower() not in self.words]
    if self.kind is Kind.NAME:
      return not any(word[0].isupper() for place, word in new if place)
    numbers = any(_DIGIT.search(word) or word.lower() in _NUMBER_WORDS for _, word in new)
    if self.kind is Kind.NUMBER:
      return not numbers and not _NUMERAL.search(sentence)
    return not numbers and not any(_YEAR.fullmatch(word) or word.lower() in _TIME_WORDS for _, word in new)
